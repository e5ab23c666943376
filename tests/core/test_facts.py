"""From sizes, a comparison and answers to the facts of a rule."""

from __future__ import annotations

from dataclasses import fields
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from osteoscribe.app.rule_tables import load_table
from osteoscribe.core.answers import (
    Answer,
    Answers,
    Density,
    Growth,
    Largest,
    Morphology,
    Multiplicity,
    Provenance,
    Stated,
)
from osteoscribe.core.facts import FactSheet, RuleFacts, StatedFact, facts_for
from osteoscribe.core.prior import Comparison
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.size import NotMeasurable, Size
from osteoscribe.core.units import Millimetre, round_half_up

LABEL = Provenance.ROI_LABEL


def sized(mm: float) -> Size:
    return Size(
        long_axis_mm=Millimetre(mm),
        short_axis_mm=None,
        maximum_3d_diameter_mm=None,
        volume_mm3=None,
        mesh_volume_mm3=None,
        whole_mm=round_half_up(mm),
        k=0,
        endpoints_lps_mm=np.zeros((2, 3)),
        short_endpoints_lps_mm=None,
        method="vertex to vertex",
    )


UNMEASURED = NotMeasurable(code="size.too-few-pixels", reason="under 2 pixels")


def compared(growth: Growth, *, comparable: bool = True, why_not: str = "") -> Comparison:
    return Comparison(
        prior_tracking_uid="2.25.1",
        prior_date=date(2024, 3, 1),
        prior_long_axis_mm=Millimetre(4.0),
        difference_mm=Millimetre(3.0),
        growth=growth,
        comparable=comparable,
        why_not=why_not,
    )


def alone(answers: Answers, mm: float = 4.0, comparison: Comparison | None = None) -> FactSheet:
    return facts_for(sized(mm), (sized(mm),), comparison, answers)


def stated(sheet: FactSheet, name: str) -> StatedFact:
    (fact,) = (fact for fact in sheet.stated if fact.name == name)
    return fact


def test_nothing_stated_is_unknown_throughout() -> None:
    sheet = alone(Answers())
    assert sheet.facts == RuleFacts(size=round_half_up(4.0))
    assert [fact.name for fact in sheet.stated] == [field.name for field in fields(RuleFacts)]
    assert {fact.provenance for fact in sheet.stated[1:]} == {Provenance.NOT_RECORDED}
    assert sheet.conflicts == ()


def test_a_stated_value_keeps_its_place() -> None:
    answers = Answers(symptoms=Stated(value=Answer.NO, provenance=LABEL, where="token asymp"))
    sheet = alone(answers)
    assert sheet.facts.symptoms is Answer.NO
    assert stated(sheet, "symptoms") == StatedFact(
        name="symptoms", value="no", provenance=LABEL, where="token asymp"
    )


def test_a_mark_without_a_size_has_none() -> None:
    sheet = facts_for(UNMEASURED, (UNMEASURED,), None, Answers())
    assert sheet.facts.size is None
    assert stated(sheet, "size").where == "size.too-few-pixels: under 2 pixels"


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((3.0, 4.0), Largest.UNDER_5),
        ((3.0, 4.49), Largest.UNDER_5),
        ((3.0, 4.5), Largest.FROM_5),
        ((3.0, 5.0), Largest.FROM_5),
        ((3.0, None), Largest.UNKNOWN),
        ((8.0, None), Largest.FROM_5),
        ((None, None), Largest.UNKNOWN),
    ],
)
def test_two_marks_are_multiple_and_tell_the_largest(
    lengths: tuple[float | None, ...], expected: Largest
) -> None:
    sizes = tuple(UNMEASURED if mm is None else sized(mm) for mm in lengths)
    sheet = facts_for(sizes[0], sizes, None, Answers())
    assert sheet.facts.multiplicity is Multiplicity.MULTIPLE
    assert stated(sheet, "multiplicity").provenance is Provenance.MARKS
    assert sheet.facts.largest is expected
    assert sheet.conflicts == ()


@pytest.mark.parametrize(
    ("multiplicity", "mm", "expected"),
    [
        (Multiplicity.UNKNOWN, 4.0, Largest.UNKNOWN),
        (Multiplicity.UNKNOWN, 9.0, Largest.UNKNOWN),
        (Multiplicity.MULTIPLE, 4.0, Largest.UNKNOWN),
        (Multiplicity.SOLITARY, 4.0, Largest.UNDER_5),
        (Multiplicity.SOLITARY, 9.0, Largest.FROM_5),
    ],
)
def test_a_single_mark_tells_the_largest_only_where_it_is_solitary(
    multiplicity: Multiplicity, mm: float, expected: Largest
) -> None:
    answers = Answers(multiplicity=Stated(value=multiplicity, provenance=LABEL))
    assert alone(answers, mm).facts.largest is expected


def test_solitary_with_several_marks_is_a_conflict_and_multiple() -> None:
    answers = Answers(
        multiplicity=Stated(value=Multiplicity.SOLITARY, provenance=LABEL, where="token solitary")
    )
    sheet = facts_for(sized(3), (sized(3), sized(4)), None, answers)
    assert sheet.facts.multiplicity is Multiplicity.MULTIPLE
    (conflict,) = sheet.conflicts
    assert conflict.question == "multiplicity"
    assert "ROI label: token solitary" in conflict.message


def test_mixed_density_is_atypical() -> None:
    sheet = alone(Answers(density=Stated(value=Density.MIXED, provenance=LABEL)))
    assert sheet.facts.morphology is Morphology.ATYPICAL
    assert stated(sheet, "morphology").provenance is LABEL
    assert sheet.conflicts == ()


def test_typical_with_mixed_density_is_a_conflict_and_atypical() -> None:
    answers = Answers(
        density=Stated(value=Density.MIXED, provenance=LABEL),
        morphology=Stated(value=Morphology.TYPICAL, provenance=LABEL),
    )
    sheet = alone(answers)
    assert sheet.facts.morphology is Morphology.ATYPICAL
    assert [conflict.question for conflict in sheet.conflicts] == ["morphology"]


def test_a_known_metastasis_without_malignancy_is_a_conflict_and_row_x1(project: Path) -> None:
    answers = Answers(
        known_metastasis=Stated(value=Answer.YES, provenance=LABEL),
        malignancy_history=Stated(value=Answer.NO, provenance=Provenance.REVIEW_FORM),
    )
    sheet = alone(answers)
    table = load_table(project / "config/rules/incidental-sclerotic-lesion-2026.1.toml")
    assert decide(table, sheet.facts).rule_id == "X1"
    assert [conflict.question for conflict in sheet.conflicts] == ["known_metastasis"]


UP, SAME, SAME_24, NONE, UNKNOWN = (
    Growth.UP_OR_NEW,
    Growth.STABLE,
    Growth.STABLE_24,
    Growth.NO_PRIOR,
    Growth.UNKNOWN,
)


@pytest.mark.parametrize(
    ("coded", "measured", "expected", "conflicts"),
    [
        (UNKNOWN, UP, UP, 0),
        (UNKNOWN, SAME, SAME, 0),
        (UNKNOWN, SAME_24, SAME_24, 0),
        (UNKNOWN, UNKNOWN, UNKNOWN, 0),
        (SAME, UP, UNKNOWN, 1),
        (SAME_24, UP, UNKNOWN, 1),
        (SAME, SAME, SAME, 0),
        (SAME_24, SAME, SAME_24, 0),
        (SAME, SAME_24, SAME, 0),
        (SAME, UNKNOWN, SAME, 0),
        (UP, UP, UP, 0),
        (UP, SAME, UP, 1),
        (UP, SAME_24, UP, 1),
        (UP, UNKNOWN, UP, 0),
        (NONE, UP, UP, 1),
        (NONE, SAME_24, UNKNOWN, 1),
        (NONE, UNKNOWN, NONE, 0),
    ],
)
def test_growth_stated_and_measured(
    coded: Growth, measured: Growth, expected: Growth, conflicts: int
) -> None:
    answers = Answers(growth=Stated(value=coded, provenance=LABEL))
    sheet = alone(answers, comparison=compared(measured))
    assert sheet.facts.growth is expected
    assert len(sheet.conflicts) == conflicts


def test_measured_growth_names_the_prior() -> None:
    fact = stated(alone(Answers(), comparison=compared(UP)), "growth")
    assert fact == StatedFact(
        name="growth", value="up_or_new", provenance=Provenance.PRIOR, where="2024-03-01, +3.0 mm"
    )


def test_an_incomparable_prior_leaves_growth_unknown_and_says_why() -> None:
    comparison = compared(UNKNOWN, comparable=False, why_not="slices of 5 mm")
    fact = stated(alone(Answers(), comparison=comparison), "growth")
    assert (fact.value, fact.provenance, fact.where) == ("unknown", Provenance.NOT_RECORDED, "slices of 5 mm")
