# ruff: noqa: E501 (an edit stands on its line)
"""What the loader refuses, and how it says so."""

from __future__ import annotations

import copy
import time
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from osteoscribe.app.rule_tables import parse_table
from osteoscribe.core.rules.check import check
from osteoscribe.core.rules.parse import parse
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.errors import SetupError

Plain = dict[str, Any]


@pytest.fixture(scope="session")
def plain(table_path: Path) -> Plain:
    return tomllib.loads(table_path.read_text(encoding="utf-8"), parse_float=Decimal)


def refused(plain: Plain, edit: Callable[[Plain], object]) -> SetupError:
    edited = copy.deepcopy(plain)
    edit(edited)
    with pytest.raises(SetupError) as caught:
        check(parse(edited, sha256="0" * 64))
    return caught.value


def rule(plain: Plain, name: str) -> Plain:
    (found,) = (rule for rule in plain["rule"] if rule["id"] == name)
    assert isinstance(found, dict)
    return found


def without(plain: Plain, name: str) -> None:
    plain["rule"] = [rule for rule in plain["rule"] if rule["id"] != name]


def doubled(plain: Plain, name: str, new_name: str) -> None:
    place = plain["rule"].index(rule(plain, name))
    plain["rule"].insert(place + 1, {**copy.deepcopy(plain["rule"][place]), "id": new_name})


def drop_age(plain: Plain) -> None:
    """Leave the age out everywhere."""
    for key in ("column", "clause"):
        del plain[key]["age"]
    without(plain, "X2")
    for row in plain["rule"]:
        for key in ("conditional_on", "listed"):
            row[key] = [name for name in row.get(key, []) if name != "age"]


REFUSED: list[tuple[str, str, Callable[[Plain], object]]] = [
    ("rules.gap", "size: 5 mm or less, density: sclerotic, morphology: typical / not recorded", lambda p: without(p, "L1")),
    ("rules.gap", "size: 6 to 20 mm", lambda p: without(p, "U1")),
    ("rules.gap", "density: mixed", lambda p: rule(p, "F1")["when"].pop()),
    ("rules.dead-row", "row L1b", lambda p: doubled(p, "L1", "L1b")),
    ("rules.dead-row", "row L1: its condition is never met", lambda p: rule(p, "L2").update(when={}) or p["rule"].insert(15, p["rule"].pop(18))),
    ("rules.dead-row", "condition 3 of 3", lambda p: rule(p, "L2")["when"].append({"growth": ["stable_24"]})),
    ("rules.dead-value", "growth 'up_or_new'", lambda p: rule(p, "U2")["when"]["growth"].append("up_or_new")),
    ("rules.double-row", "row K1", lambda p: doubled(p, "K1", "K1")),
    ("rules.unknown-column", "'mean_hu'", lambda p: rule(p, "L1")["when"].update(mean_hu=["high"])),
    ("rules.unknown-column", "mean_hu", lambda p: p["column"].update(mean_hu={"label": "HU", "values": ["low"], "words": ["low"]})),
    ("rules.missing-column", "'age'", drop_age),
    ("rules.column-values", "column density", lambda p: p["column"]["density"].update(values=["sclerotic", "mixed", "other", "unknown", "dense"], words=list("abcde"))),
    ("rules.column-values", "3 words for 4 values", lambda p: p["column"]["density"]["words"].pop()),
    ("rules.column-values", "not_measurable", lambda p: p["column"]["size"].update(also=["none"]) or rule(p, "X4").update(when={"size": ["none"]})),
    ("rules.unknown-value", "'dense'", lambda p: rule(p, "L1")["when"].update(density=["dense"])),
    ("rules.unknown-value", "7 mm is not one of the cuts", lambda p: rule(p, "L1")["when"].update(size={"below_mm": 7})),
    ("rules.wrong-kind", "Decimal('4.5')", lambda p: rule(p, "L1")["when"].update(size={"below_mm": Decimal("4.5")})),
    ("rules.wrong-kind", "expected an array of values", lambda p: rule(p, "L1")["when"].update(density="sclerotic")),
    ("rules.wrong-kind", "names a value twice", lambda p: rule(p, "L1")["when"].update(density=["mixed", "mixed"])),
    ("rules.wrong-kind", "hit is 'all'", lambda p: p["table"].update(hit="all")),
    ("rules.wrong-kind", "status", lambda p: p["table"].update(status="final")),
    ("rules.empty-condition", "row L1, density", lambda p: rule(p, "L1")["when"].update(density=[])),
    ("rules.empty-condition", "row L4, size", lambda p: rule(p, "L4")["when"].update(size={"from_mm": 6, "below_mm": 6})),
    ("rules.idle-condition", "asks nothing", lambda p: rule(p, "L1")["when"].update(morphology=["typical", "atypical", "unknown"])),
    ("rules.idle-condition", "'malignancy_history' is always known", lambda p: rule(p, "K1")["conditional_on"].append("malignancy_history")),
    ("rules.idle-condition", "two of conditional_on", lambda p: rule(p, "L1").update(listed=["age"])),
    ("rules.cuts", "rising whole mm", lambda p: p["column"]["size"].update(cuts_mm=[0, 6, 5, 10, 21])),
    ("rules.idle-cut", "the cut at 15 mm separates nothing", lambda p: p["column"]["size"].update(cuts_mm=[0, 5, 6, 10, 15, 21])),
    ("rules.unknown-key", "'unless'", lambda p: rule(p, "L1").update(unless="x")),
    ("rules.missing-key", "'why'", lambda p: rule(p, "L1").pop("why")),
    ("rules.unknown-source", "'nobody-2020'", lambda p: rule(p, "L1")["cite"].append({"source": "nobody-2020", "at": "p. 1"})),
    ("rules.unused-source", "'sala-2019'", lambda p: rule(p, "M1")["cite"].pop(0)),
    ("rules.no-source", "row X4", lambda p: rule(p, "X4")["cite"].clear()),
    ("rules.unknown-placeholder", "{mean_hu}", lambda p: rule(p, "L1").update(phrase="{whole_mm} mm, {mean_hu}")),
    ("rules.unknown-placeholder", "without a size", lambda p: rule(p, "E1").update(phrase="{whole_mm} mm with {features}")),
    ("rules.unknown-placeholder", "name it in 'given'", lambda p: rule(p, "L1").update(phrase="{site}")),
    ("rules.unknown-placeholder", "a name in braces", lambda p: rule(p, "L1").update(phrase="{whole_mm:d} mm")),
    ("rules.unknown-placeholder", "without its partner", lambda p: rule(p, "L1").update(phrase="{whole_mm mm")),
    ("rules.unknown-placeholder", "without placeholders", lambda p: rule(p, "L1").update(recommend="{whole_mm}")),
    ("rules.unknown-placeholder", "must be declared above", lambda p: p["fragment"]["place"]["cases"][-1].update(text="{lesion}")),
    ("rules.unused-fragment", "fragment risk", lambda p: rule(p, "E4").update(phrase="{lesion}")),
    ("rules.case-gap", "fragment density", lambda p: p["fragment"]["density"]["cases"].pop()),
    ("rules.case-gap", "fragment features", lambda p: p["fragment"]["features"]["cases"].pop()),
    ("rules.case-gap", "row E4", lambda p: rule(p, "E4")["recommend"].pop()),
    ("rules.dead-case", "never holds here", lambda p: rule(p, "E3").update(add=[{"when": {"growth": ["stable"]}, "text": "x"}])),
    ("rules.unknown-clause", "'size'", lambda p: rule(p, "L1")["conditional_on"].append("size")),
    ("rules.unknown-clause", "said_by", lambda p: p["clause"]["largest"].update(said_by="size")),
    ("rules.unused-clause", "clause density", lambda p: rule(p, "X3").pop("said")),
    ("rules.less-urgent", "row L4: multiplicity from solitary to multiple leads to row M2", lambda p: rule(p, "L4").update(urgency=3)),
    ("rules.less-urgent", "row U1: morphology from not recorded to atypical leads to row F1", lambda p: rule(p, "F1").update(urgency=0)),
]  # fmt: skip


@pytest.mark.parametrize(("code", "said", "edit"), REFUSED, ids=[f"{c}-{s}" for c, s, _ in REFUSED])
def test_refused(plain: Plain, code: str, said: str, edit: Callable[[Plain], object]) -> None:
    error = refused(plain, edit)
    assert error.code == code
    assert said in error.message


def test_a_gap_is_counted_and_printed_in_words(plain: Plain) -> None:
    error = refused(plain, lambda p: without(p, "U1"))
    assert error.message.startswith("table: 13824 combinations meet no row, for example: size: 6 to 20 mm")


def test_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(SetupError) as caught:
        parse_table("[table", sha256="0" * 64)
    assert caught.value.code == "rules.not-toml"


def test_a_key_that_stands_twice_is_refused(table_path: Path) -> None:
    text = table_path.read_text(encoding="utf-8")
    with pytest.raises(SetupError) as caught:
        parse_table(text.replace('id = "L1"', 'id = "L1"\nid = "L1"'), sha256="0" * 64)
    assert caught.value.code == "rules.not-toml"


def test_the_proof_takes_milliseconds(table: RuleTable) -> None:
    started = time.process_time()
    check(table)
    assert time.process_time() - started < 0.5
