"""Rule tables from files: read, proved, and pinned by hash once approved."""

from __future__ import annotations

import glob
import hashlib
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from osteoscribe.core.rules.check import check
from osteoscribe.core.rules.parse import parse
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.core.rules.wording import reword
from osteoscribe.errors import SetupError

APPROVED = "APPROVED"
"""The file beside the tables that lists approved ones, as ``sha256sum`` prints them."""


PHRASES = "phrases"
"""The folder beside the tables with their words in other languages."""


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
    table = parse(_plain(text, "the table"), sha256=sha256)
    check(table)
    return table


def load_table(path: Path, *, language: str = "en") -> RuleTable:
    """The rule table of a file.

    Parameters
    ----------
    path
        The table.
    language
        Of the phrases: that of the table itself, or one that ``phrases/`` beside it has a file of, named
        after the table: ``phrases/<table>.<language>.toml``.

    Raises
    ------
    SetupError
        As `parse_table`; ``rules.unreadable``; ``rules.changed``: an approved table, or one that calls
        itself approved, is not the one that ``APPROVED`` beside it lists; ``rules.wording-differs``: the
        wording is not that of this table.
    """
    approved = _approved(path.with_name(APPROVED))
    text, sha256 = _pinned(path, path.name, approved)
    table = parse_table(text, sha256=sha256)
    if table.status == "approved" and path.name not in approved:
        raise SetupError(
            "rules.not-approved",
            f"{path.name} calls itself approved but is not listed in {APPROVED}; "
            "whoever signs it adds the line that sha256sum prints",
            where=path.name,
        )
    if language == table.language:
        return table
    if not re.fullmatch("[a-z]{2,3}", language):
        raise SetupError("rules.unknown-language", f"language {language!r}: expected a code such as 'de'")
    wording = f"{PHRASES}/{path.stem}.{language}.toml"
    text, sha256 = _pinned(path.parent / wording, wording, approved)
    worded = reword(table, _plain(text, wording), sha256=sha256)
    if worded.language != language:
        raise SetupError("rules.wording-differs", f"{wording} says that its language is {worded.language!r}")
    check(worded)
    return worded


def languages_of(path: Path) -> tuple[str, ...]:
    """The other languages that a table has words in."""
    found = path.parent.joinpath(PHRASES).glob(f"{glob.escape(path.stem)}.*.toml")
    return tuple(sorted(file.name.removeprefix(f"{path.stem}.").removesuffix(".toml") for file in found))


def read_text(path: Path) -> str:
    """A file as text.

    Raises
    ------
    SetupError
        ``rules.unreadable``.
    """
    return _decoded(_bytes(path), path.name)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SetupError("rules.unreadable", f"{path.name} cannot be read: {error.strerror}") from error


def _decoded(encoded: bytes, name: str) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise SetupError("rules.unreadable", f"{name} is not UTF-8 text: {error.reason}") from error


def _pinned(path: Path, name: str, approved: Mapping[str, str]) -> tuple[str, str]:
    """Text and SHA-256 of a file that, where it is listed as approved, has not changed."""
    encoded = _bytes(path)
    sha256 = hashlib.sha256(encoded).hexdigest()
    if approved.get(name, sha256) != sha256:
        raise SetupError(
            "rules.changed",
            f"{name} was approved with SHA-256 {approved[name]} and now has {sha256}; "
            "restore it, and write the change as a new version in a file of its own",
            where=name,
        )
    return _decoded(encoded, name), sha256


def _plain(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise SetupError("rules.not-toml", f"{name} is not TOML: {error}") from error


def _approved(path: Path) -> dict[str, str]:
    """File name to SHA-256, as listed; empty where there is no list."""
    if not path.exists():
        return {}
    approved = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
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
