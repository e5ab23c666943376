"""The examples of docs/inputs.md are true."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from osteoscribe.core.labels import LabelRules, answers_from_label


def examples() -> list[tuple[str, str, str]]:
    page = (Path(__file__).resolve().parents[3] / "docs" / "inputs.md").read_text(encoding="utf-8")
    table = page.split("| label | records | reported back |\n")[1].split("\n\n")[0].splitlines()[1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return [(label.strip("`"), records, reported) for label, records, reported in rows]


@pytest.mark.parametrize(("label", "records", "reported"), examples())
def test_the_page_says_what_the_label_records(
    label: str, records: str, reported: str, rules: LabelRules
) -> None:
    found = answers_from_label(label, rules)
    stated = {f.name: getattr(found.answers, f.name).value.value for f in fields(found.answers)}
    expected = dict(pair.split(" ", 1) for pair in records.split(", ")) if records else {}
    assert {name: value for name, value in stated.items() if value != "unknown"} == expected
    assert ", ".join(found.unknown_tokens) == reported
