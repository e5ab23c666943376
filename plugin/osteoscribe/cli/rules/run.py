"""What the commands of ``osteoscribe rules`` do."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from osteoscribe.app.practice import RULE_TABLE
from osteoscribe.app.rule_cases import CaseChange, Told, Trial, changed_cases, past_cases, tell, trial_from
from osteoscribe.app.rule_tables import languages_of, load_table, read_text
from osteoscribe.app.shipped import data_folder
from osteoscribe.cli.rules import terminal
from osteoscribe.cli.rules.guide import guide
from osteoscribe.cli.rules.page import page
from osteoscribe.cli.rules.picture import picture
from osteoscribe.core.rules.check import check
from osteoscribe.core.rules.difference import difference
from osteoscribe.core.rules.show import shown_rows
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.core.rules.trace import misses
from osteoscribe.errors import SetupError

OK, FOUND, USAGE = 0, 1, 2


def _shipped() -> Path:
    return data_folder() / "config" / "rules"


def _table(path: Path | None, language: str = "en") -> RuleTable:
    return load_table(path or _shipped() / RULE_TABLE, language=language)


def _print_json(document: object) -> None:
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError("rules.unwritable", f"{path} cannot be written: {error.strerror}") from error


def show(options: argparse.Namespace) -> int:
    """``rules show``."""
    table = _table(options.table, options.language)
    rows = shown_rows(table, check(table))
    if options.json:
        head = {"id": table.id, "version": table.version, "status": table.status, "sha256": table.sha256}
        _print_json({"table": head, "rows": [asdict(row) for row in rows]})
    elif options.markdown:
        sys.stdout.write(guide(table, rows))
    elif options.html:
        _write(options.html, page(table, rows))
    elif options.picture:
        _write(options.picture, picture(table, rows))
    else:
        terminal.show(table, rows)
    return OK


def check_tables(options: argparse.Namespace) -> int:
    """``rules check``."""
    results = [_checked(path) for path in options.tables or sorted(_shipped().glob("*.toml"))]
    if options.json:
        _print_json(results)
    else:
        terminal.checked(results)
    if any(result["code"] == "rules.unreadable" for result in results):
        return USAGE
    return FOUND if any(result["code"] for result in results) else OK


def _checked(path: Path) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        table = load_table(path)
        combinations = sum(found.combinations for found in check(table))
        languages = [table.language, *languages_of(path)]
        for language in languages:
            load_table(path, language=language)
    except SetupError as error:
        return {"table": path.name, "ok": False, "code": error.code, "message": error.message}
    return {
        "table": path.name,
        "ok": True,
        "code": "",
        "message": "",
        "status": table.status,
        "languages": languages,
        "rows": len(table.rules),
        "combinations": combinations,
        "sha256": table.sha256,
        "seconds": round(time.perf_counter() - started, 3),
    }


def attempt(options: argparse.Namespace) -> int:
    """``rules try``."""
    table = _table(options.table, options.language)
    trial = trial_from(_inputs(options.inputs))
    told = tell(table, trial)
    if options.json:
        _print_json(_attempt_as_json(table, trial, told))
    else:
        terminal.attempt(trial, told, misses(table, trial.sheet.facts))
    return OK


def _inputs(words: Sequence[str]) -> dict[str, str]:
    inputs: dict[str, str] = {}
    for text in words:
        name, equals, value = text.partition("=")
        if not equals:
            raise SetupError("rules.bad-input", f"{text!r}: expected NAME=VALUE, for example size_mm=5")
        if name in inputs:
            raise SetupError("rules.bad-input", f"{name} is given twice")
        inputs[name] = value
    return inputs


def _told_as_json(told: Told) -> dict[str, Any]:
    return {
        "rule": told.decision.rule_id,
        "conditional": told.phrase.conditional,
        "phrase": told.phrase.text,
        "recommendation": told.phrase.recommendation,
        "analogue": told.decision.analogue,
        "unknown": list(told.decision.unknown),
    }


def _attempt_as_json(table: RuleTable, trial: Trial, told: Told) -> dict[str, Any]:
    decision = told.decision
    return {
        **_told_as_json(told),
        "remark": told.phrase.remark,
        "scope": decision.scope,
        "why": decision.why,
        "sources": list(decision.sources),
        "conflicts": [conflict.message for conflict in trial.sheet.conflicts],
        "path": [asdict(miss) for miss in misses(table, trial.sheet.facts)],
        "table": {
            "id": decision.table_id,
            "version": decision.table_version,
            "sha256": decision.table_sha256,
        },
    }


def diff(options: argparse.Namespace) -> int:
    """``rules diff``."""
    old, new = load_table(options.old), load_table(options.new)
    found = difference(old, new)
    cases = list(past_cases(read_text(options.cases).splitlines())) if options.cases else []
    changed = changed_cases(old, new, cases)
    if options.json:
        _print_json(
            {
                **asdict(found),
                "cases": {"count": len(cases), "changed": [_case_as_json(change) for change in changed]},
            }
        )
    else:
        terminal.diff(found)
        if options.cases:
            terminal.cases(changed, len(cases))
    return FOUND if found.rows or found.texts or changed else OK


def _case_as_json(change: CaseChange) -> dict[str, Any]:
    return {"case": change.name, "old": _told_as_json(change.old), "new": _told_as_json(change.new)}
