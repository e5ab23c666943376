"""Every one-cell edit of the shipped table is caught: by the loader, by a proof or by an oracle.

The edits are generated from the table itself. A table that the loader takes is held against the specification
(where it decides otherwise in any combination, or names other inputs as not recorded, the proofs of
``test_proof.py`` fail), against the oracles, and for what is printed only (a source, a meaning, a condition
that rows above make idle) against the page for clinicians, which is a file of its own under review.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from osteoscribe.cli.rules.guide import guide
from osteoscribe.core.rules.boxes import overlap, size_of
from osteoscribe.core.rules.check import check
from osteoscribe.core.rules.parse import parse
from osteoscribe.core.rules.reach import Reach
from osteoscribe.core.rules.show import shown_rows
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.errors import SetupError
from tests.core.rules import oracles

Plain = dict[str, Any]
Edit = tuple[str, Plain]
SHA256 = "0" * 64
SAME_WORDS = {
    f"fragment/{name} dropped"
    for name in (
        "density/cases/1/when",
        "density/cases/1/when/density",
        "foci/cases/1/when",
        "foci/cases/1/when/density",
        "risk/cases/1/when",
        "risk/cases/1/when/location_risk",
    )
}
"""Edits that change no word in any combination: the last of two cases takes what the first one leaves."""


@pytest.fixture(scope="module")
def plain(table_path: Path) -> Plain:
    return tomllib.loads(table_path.read_text(encoding="utf-8"), parse_float=Decimal)


def proved(plain: Plain) -> tuple[RuleTable, tuple[Reach, ...]]:
    table = parse(plain, sha256=SHA256)
    return table, check(table)


def row_edits(plain: Plain) -> Iterator[Edit]:
    """Drop, double and swap rows."""
    rows = plain["rule"]
    for i, row in enumerate(rows):
        yield f"drop {row['id']}", {**plain, "rule": rows[:i] + rows[i + 1 :]}
        twin = {**row, "id": row["id"] + "b"}
        yield f"double {row['id']}", {**plain, "rule": [*rows[: i + 1], twin, *rows[i + 1 :]]}
        for j in range(i + 1, len(rows)):
            swapped = [*rows]
            swapped[i], swapped[j] = rows[j], rows[i]
            yield f"swap {row['id']} {rows[j]['id']}", {**plain, "rule": swapped}


def cut_edits(plain: Plain) -> Iterator[Edit]:
    """Move, drop and add a cut; a moved cut also where conditions use it, so that only its number changes."""
    cuts = plain["column"]["size"]["cuts_mm"]
    for i, cut in enumerate(cuts):
        for other in (cut - 1, cut + 1):
            edited = copy.deepcopy(plain)
            edited["column"]["size"]["cuts_mm"][i] = other
            yield f"cut {cut} is {other}", edited
            edited = copy.deepcopy(edited)
            _rename_limit(edited, cut, other)
            yield f"cut {cut} is {other} everywhere", edited
        edited = copy.deepcopy(plain)
        del edited["column"]["size"]["cuts_mm"][i]
        yield f"cut {cut} dropped", edited
    for new in (3, 8, 15, 30):
        edited = copy.deepcopy(plain)
        edited["column"]["size"]["cuts_mm"] = sorted([*cuts, new])
        yield f"cut {new} added", edited


def _rename_limit(node: Any, old: int, new: int) -> None:
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict | list):
            _rename_limit(value, old, new)
    for key in ("from_mm", "below_mm"):
        if isinstance(node, dict) and node.get(key) == old:
            node[key] = new


def cell_edits(plain: Plain) -> Iterator[Edit]:
    """Every leaf below the rows, fragments, clauses and frame, one at a time."""
    for part in ("rule", "fragment", "clause", "frame", "column"):
        for path in _places(plain[part], (part,)):
            yield from _edits_at(plain, path)


def _places(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _places(value, (*path, key))


def _edits_at(plain: Plain, path: tuple[Any, ...]) -> Iterator[Edit]:
    value, name = _at(plain, path), "/".join(str(key) for key in path)
    if len(path) > 2:
        edited = copy.deepcopy(plain)
        del _at(edited, path[:-1])[path[-1]]
        yield f"{name} dropped", edited
    for other in _others(plain, path, value):
        edited = copy.deepcopy(plain)
        _at(edited, path[:-1])[path[-1]] = other
        yield f"{name} is {other!r}", edited


def _others(plain: Plain, path: tuple[Any, ...], value: Any) -> Iterator[Any]:
    """Other values of a cell."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value - 1, value + 1)
        if path[-1] in {"from_mm", "below_mm"}:
            yield from (cut for cut in plain["column"]["size"]["cuts_mm"] if cut != value)
    elif isinstance(value, str):
        if path[-1] == "scope":
            yield "lesion" if value == "examination" else "examination"
        elif path[-1] == "source":
            yield from [key for key in plain["source"] if key != value][:2]
        else:
            yield f"{value}!"
    elif isinstance(value, list) and path[-1] in {"conditional_on", "listed", "said"}:
        yield from ([*value, name] for name in plain["clause"] if name not in value)
    elif isinstance(value, list) and path[-1] in plain["column"] and path[-1] != "size":
        known = plain["column"][path[-1]]["values"]
        yield from ([*value, other] for other in known if other not in value)
    elif isinstance(value, list) and len(value) > 1 and path[-1] not in {"given", "worsening"}:
        yield value[::-1]


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


def caught_by(plain: Plain, shipped: tuple[RuleTable, tuple[Reach, ...]], page: str) -> str:
    """What catches an edit, or an empty string."""
    try:
        table, reaches = proved(plain)
    except SetupError:
        return "loader"
    specified, boxes = shipped
    if table.space != specified.space:
        return "specification"
    expected = {found.rule.id: found for found in boxes}
    alike = sum(
        size_of(overlap(found.boxes, expected[found.rule.id].boxes))
        for found in reaches
        if found.rule.id in expected
    )
    if alike < size_of([specified.space]) or _asked(table) != _asked(specified):
        return "specification"
    if oracles.failures(table):
        return "oracle"
    return "print" if guide(table, shown_rows(table, reaches)) != page else ""


def _asked(table: RuleTable) -> object:
    """What each row names where it is not recorded, and the urgencies and the order of harm."""
    rows = [(r.id, set(r.conditional_on), set(r.listed), set(r.said), r.urgency) for r in table.rules]
    clauses = {clause.column: sorted(clause.when) for clause in table.clauses}
    return rows, clauses, [(column.name, column.worsening) for column in table.columns]


def every_edit(plain: Plain) -> Iterator[Edit]:
    yield from row_edits(plain)
    yield from cut_edits(plain)
    yield from cell_edits(plain)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_edit_of_one_cell_is_caught(plain: Plain) -> None:
    shipped = proved(plain)
    page = guide(shipped[0], shown_rows(*shipped))
    caught: dict[str, int] = {}
    missed = []
    for name, edited in every_edit(plain):
        by = caught_by(edited, shipped, page)
        caught[by] = caught.get(by, 0) + 1
        if not by:
            missed.append(name)
    assert set(missed) == SAME_WORDS
    assert caught["loader"] > 300
    assert caught["specification"] > 100
    assert caught["oracle"] > 100


def test_the_table_as_it_is_is_not_caught(plain: Plain) -> None:
    shipped = proved(plain)
    assert caught_by(plain, shipped, guide(shipped[0], shown_rows(*shipped))) == ""
