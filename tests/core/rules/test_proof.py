"""Proofs over the whole input space: 35 429 400 combinations, none left out."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.core.answers import (
    Age,
    Answer,
    Density,
    Growth,
    Largest,
    LocationRisk,
    Morphology,
    Multiplicity,
)
from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.phrase import PhraseValues, word
from osteoscribe.core.rules.check import check
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.core.units import WholeMillimetre
from tests.core.rules import reference, space
from tests.core.rules.reference import NAMES, ROWS, is_in

COMBINATIONS = 35_429_400


def of_rows(*prefixes: str) -> reference.Bools:
    """Where one of these rows, or of these families of rows, holds."""
    wanted = np.array([name.startswith(prefixes) for name in ROWS])
    return wanted[reference.rows()]


def along(name: str, value: str, cells: Any) -> Any:
    """The slice of the space in which one input has one value."""
    return np.take(cells, reference.AXES[name].index(value), axis=NAMES.index(name))


def changes(name: str, before: str, after: str) -> set[tuple[str, str]]:
    """From which row to which a change of one input leads, where it leads to another."""
    old, new = (along(name, value, reference.rows()) for value in (before, after))
    codes = np.unique(old[old != new].astype(np.uint16) * 256 + new[old != new])
    return {(ROWS[code // 256], ROWS[code % 256]) for code in codes.tolist()}


@pytest.mark.slow
def test_the_table_is_the_specification_everywhere(table: RuleTable) -> None:
    assert tuple(rule.id for rule in table.rules) == ROWS
    assert prod(reference.SHAPE) == COMBINATIONS
    assert np.count_nonzero(space.rows(table) != reference.rows()) == 0


@pytest.mark.slow
def test_the_load_time_proof_counts_every_combination_once(table: RuleTable) -> None:
    counts = np.bincount(reference.rows().ravel(), minlength=len(ROWS))
    reaches = check(table)
    assert [found.combinations for found in reaches] == counts.tolist()
    assert sum(found.combinations for found in reaches) == COMBINATIONS


# The order of harm, written here again: the table's own order is what is tested against it.
YES_NO = ("no", "unknown", "yes")
WORSENING = {
    "size": ("0-4", "5", "6-9", "10-20", "21-"),
    "density": ("sclerotic", "mixed"),
    "morphology": ("typical", "unknown", "atypical"),
    "multiplicity": ("solitary", "unknown", "multiple"),
    "largest": ("<5", "unknown", ">=5"),
    "malignancy_history": YES_NO,
    "known_metastasis": ("no", "unknown"),
    "symptoms": YES_NO,
    "growth": ("stable_24", "stable", "no_prior", "unknown", "up_or_new"),
    "soft_tissue_mass": YES_NO,
    "cortical_destruction": YES_NO,
    "other_aggressive": YES_NO,
    "location_risk": ("none", "site_only", "unknown", "risk_canal"),
    "location_risk ": ("none", "site_only", "unknown", "risk_fracture"),
    "age": ("adult", "unknown"),
}
URGENCY = {
    **dict.fromkeys(("L1", "L2", "L3", "L4", "M1"), 0),
    **dict.fromkeys(("K1", "U1"), 1),
    **dict.fromkeys(("F1", "M2"), 2),
    **dict.fromkeys(("K2", "M3", "U2"), 3),
    **dict.fromkeys(("E2", "E3", "E4", "E5"), 4),
    "E1": 5,
}
NO_SUGGESTION = -1


def test_the_table_ranks_its_rows_as_specified(table: RuleTable) -> None:
    assert {rule.id: rule.urgency for rule in table.rules if rule.urgency is not None} == URGENCY


@pytest.mark.slow
@pytest.mark.parametrize("name", WORSENING)
def test_a_worse_input_never_lowers_the_urgency(name: str) -> None:
    ranks = np.array([URGENCY.get(row, NO_SUGGESTION) for row in ROWS], dtype=np.int8)
    steps = [ranks[along(name.strip(), value, reference.rows())] for value in WORSENING[name]]
    for better, worse in combinations(steps, 2):
        assert not np.any((worse < better) & (worse != NO_SUGGESTION))


@pytest.mark.parametrize("name", WORSENING)
def test_the_table_holds_the_same_order_of_harm(table: RuleTable, name: str) -> None:
    column = table.columns[table.position(name.strip())]
    places = [column.worsening.index(value) for value in WORSENING[name]]
    assert places == sorted(places)


@pytest.mark.slow
def test_a_red_flag_ends_in_e_or_x1() -> None:
    flags = is_in("symptoms", "yes") | is_in("growth", "up_or_new")
    flags = flags | is_in("location_risk", "risk_canal", "risk_fracture")
    for name in reference.AGGRESSIVE:
        flags = flags | is_in(name, "yes")
    assert np.all(of_rows("E", "X1")[np.broadcast_to(flags, reference.SHAPE)])


@pytest.mark.slow
def test_malignancy_never_ends_in_a_row_of_reassurance() -> None:
    assert not np.any(along("malignancy_history", "yes", of_rows("L", "F", "U", "M1", "M2")))


@pytest.mark.slow
def test_multiple_never_ends_in_a_row_of_one_lesion() -> None:
    assert not np.any(along("multiplicity", "multiple", of_rows("L")))


@pytest.mark.slow
def test_a_known_metastasis_always_ends_in_x1() -> None:
    assert np.all(along("known_metastasis", "yes", of_rows("X1")))


BENIGN = {
    "multiplicity": "solitary",
    "malignancy_history": "no",
    "known_metastasis": "no",
    "symptoms": "no",
    "soft_tissue_mass": "no",
    "cortical_destruction": "no",
    "other_aggressive": "no",
    "age": "adult",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BENIGN)
def test_a_benign_value_that_is_not_recorded_leaves_the_row(name: str) -> None:
    assert changes(name, BENIGN[name], "unknown") == set()


@pytest.mark.slow
@pytest.mark.parametrize("value", ["none", "site_only"])
def test_a_site_that_is_not_recorded_leaves_the_row(value: str) -> None:
    assert changes("location_risk", value, "unknown") == set()


@pytest.mark.slow
@pytest.mark.parametrize("value", ["stable", "no_prior"])
def test_growth_that_is_not_recorded_leaves_the_row(value: str) -> None:
    assert changes("growth", value, "unknown") == set()


@pytest.mark.slow
def test_where_an_input_that_is_not_recorded_does_change_the_row() -> None:
    assert changes("morphology", "typical", "unknown") == {
        ("L4", "U1"),
        ("L4", "L3"),
        ("F1", "U2"),
        ("M2", "U2"),
    }
    assert changes("largest", "<5", "unknown") == {("M1", "M2")}
    assert {after for _, after in changes("density", "sclerotic", "unknown")} == {"X3"}
    assert changes("growth", "stable_24", "unknown") == {
        *(("L3", after) for after in ("L2", "U1", "F1", "U2", "E5")),
        *(("M2", after) for after in ("U2", "E5")),
        ("K2", "E5"),
        ("M3", "E5"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", reference.missing())
def test_what_is_not_recorded_is_named_exactly_where_specified(table: RuleTable, name: str) -> None:
    where, wanted = reference.missing()[name]
    expected = np.broadcast_to(where, reference.SHAPE) & of_rows(*wanted)
    (clause,) = (clause for clause in table.clauses if clause.column == name)
    asking = [rule.id for rule in table.rules if name in (*rule.conditional_on, *rule.listed, *rule.said)]
    named = space.inside(table, clause.when) & reference.unknown(name) & of_rows(*asking)
    assert np.count_nonzero(named != expected) == 0


def test_what_is_not_recorded_stands_in_front_except_in_e_rows(table: RuleTable) -> None:
    for rule in table.rules:
        assert not (rule.listed and rule.conditional_on)
        assert bool(rule.listed) == rule.id.startswith("E")
        assert bool(rule.conditional_on) == (not rule.id.startswith(("E", "X")))
        assert rule.said == {"U1": ("morphology",), "U2": ("morphology",), "X3": ("density",)}.get(
            rule.id, ()
        )


def any_facts() -> st.SearchStrategy[RuleFacts]:
    yes_no = st.sampled_from(Answer)
    sizes = st.one_of(st.none(), st.integers(0, 30).map(WholeMillimetre))
    return st.builds(
        RuleFacts,
        size=sizes,
        density=st.sampled_from(Density),
        morphology=st.sampled_from(Morphology),
        multiplicity=st.sampled_from(Multiplicity),
        largest=st.sampled_from(Largest),
        malignancy_history=yes_no,
        known_metastasis=yes_no,
        symptoms=yes_no,
        growth=st.sampled_from(Growth),
        soft_tissue_mass=yes_no,
        cortical_destruction=yes_no,
        other_aggressive=yes_no,
        location_risk=st.sampled_from(LocationRisk),
        age=st.sampled_from(Age),
    )


def band(size: int | None) -> str:
    if size is None:
        return "not_measurable"
    return (
        "0-4" if size < 5 else "5" if size == 5 else "6-9" if size < 10 else "10-20" if size < 21 else "21-"
    )


@given(any_facts())
def test_deciding_one_lesion_agrees_with_the_reference(table: RuleTable, facts: RuleFacts) -> None:
    cell = tuple(
        values.index(band(facts.size) if name == "size" else getattr(facts, name).value)
        for name, values in reference.AXES.items()
    )
    decision = decide(table, facts)
    row = reference.row_at(cell)
    unknown = {
        name
        for name, (where, wanted) in reference.missing().items()
        if reference.at(where, cell) and row in wanted
    }
    said = {"U1": {"morphology"}, "U2": {"morphology"}, "X3": {"density"}}.get(row, set())
    conditional = bool(unknown - said) and not row.startswith(("E", "X"))
    assert set(decision.unknown) == unknown
    assert decision.rule_id == (f"{row}-C" if conditional else row)
    assert decision.conditional is conditional


@given(any_facts(), st.integers(0, 40).map(WholeMillimetre))
def test_every_phrase_is_a_whole_sentence(
    table: RuleTable, facts: RuleFacts, largest: WholeMillimetre
) -> None:
    decision = decide(table, facts)
    phrase = word(table, decision, facts, PhraseValues(whole_mm=largest))
    assert not set("{}") & set(phrase.text)
    assert "  " not in phrase.text
    assert "HU" not in phrase.text
    assert "%" not in phrase.text
    assert phrase.text[0].isdigit() or phrase.text[0].isupper()
    assert phrase.conditional is decision.conditional is phrase.text.startswith("If ")
    assert phrase.recommendation


@given(any_facts())
def test_the_same_facts_give_the_same_words(table: RuleTable, facts: RuleFacts) -> None:
    decision = decide(table, facts)
    assert decision == decide(table, replace(facts))
    assert word(table, decision, facts, PhraseValues()) == word(table, decision, facts, PhraseValues())
