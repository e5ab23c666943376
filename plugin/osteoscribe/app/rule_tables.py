"""Rule tables from files: read, proved, and pinned by hash once approved."""

from __future__ import annotations

import hashlib
import tomllib
from decimal import Decimal
from pathlib import Path

from osteoscribe.core.rules.check import check
from osteoscribe.core.rules.parse import parse
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.errors import SetupError

APPROVED = "APPROVED"
"""The file beside the tables that lists approved ones, as ``sha256sum`` prints them."""


def parse_table(text: str, *, sha256: str) -> RuleTable:
    """A proved rule table from the text of its file.

    Parameters
    ----------
    text
        TOML.
    sha256
        Of the file's bytes; the report names it.

    Raises
    ------
    SetupError
        Not TOML, not a rule table, or its proof fails; the code says which (``rules.gap``...).
    """
    try:
        plain = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise SetupError("rules.not-toml", f"the table is not TOML: {error}") from error
    table = parse(plain, sha256=sha256)
    check(table)
    return table


def load_table(path: Path) -> RuleTable:
    """The rule table of a file.

    Raises
    ------
    SetupError
        As `parse_table`; ``rules.unreadable``; ``rules.changed``: an approved table, or one that calls
        itself approved, is not the one that ``APPROVED`` beside it lists.
    """
    try:
        encoded = path.read_bytes()
        text = encoded.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError("rules.unreadable", f"{path.name} cannot be read as UTF-8 text: {error}") from error
    sha256 = hashlib.sha256(encoded).hexdigest()
    approved = _approved(path.with_name(APPROVED))
    if approved.get(path.name, sha256) != sha256:
        raise SetupError(
            "rules.changed",
            f"{path.name} was approved with SHA-256 {approved[path.name]} and now has {sha256}; "
            "restore it, and write the change as a new version in a file of its own",
            where=path.name,
        )
    table = parse_table(text, sha256=sha256)
    if table.status == "approved" and path.name not in approved:
        raise SetupError(
            "rules.not-approved",
            f"{path.name} calls itself approved but is not listed in {APPROVED}; "
            "whoever signs it adds the line that sha256sum prints",
            where=path.name,
        )
    return table


def _approved(path: Path) -> dict[str, str]:
    """File name to SHA-256, as listed; empty where there is no list."""
    if not path.exists():
        return {}
    approved = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        sha256, _, name = line.partition("  ")
        if len(sha256) != 64 or not name.strip():
            raise SetupError(
                "rules.bad-approved",
                f"{APPROVED} line {number}: expected '<SHA-256>  <file name>', as sha256sum prints",
            )
        approved[name.strip()] = sha256.lower()
    return approved
