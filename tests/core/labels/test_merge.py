"""Statements of several sources."""

from __future__ import annotations

from dataclasses import fields
from itertools import permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.core.answers import Answer, Answers, Morphology, Provenance, Stated
from osteoscribe.core.labels import merge_answers, shared_answers
from osteoscribe.core.labels.rules import QUESTIONS


def said(provenance: Provenance, **values: Any) -> Answers:
    return Answers(**{n: Stated(value=v, provenance=provenance, where="here") for n, v in values.items()})


LABEL = Provenance.ROI_LABEL
POLICY = Provenance.SITE_POLICY
SOURCES = (LABEL, Provenance.CODED_ITEM, Provenance.DICOM_ATTRIBUTE, Provenance.REVIEW_FORM, POLICY)


def test_an_answer_of_one_source_fills_what_the_others_leave_open() -> None:
    answers, conflicts = merge_answers(
        said(LABEL, morphology=Morphology.TYPICAL), said(POLICY, symptoms=Answer.NO), Answers()
    )
    assert answers.morphology.value is Morphology.TYPICAL
    assert answers.symptoms.provenance is POLICY
    assert conflicts == ()


def test_sources_that_agree_are_quoted_nearest_the_reader_first() -> None:
    answers, conflicts = merge_answers(said(POLICY, symptoms=Answer.NO), said(LABEL, symptoms=Answer.NO))
    assert answers.symptoms.provenance is LABEL
    assert conflicts == ()


def test_a_policy_never_silences_the_reader() -> None:
    answers, conflicts = merge_answers(said(POLICY, symptoms=Answer.NO), said(LABEL, symptoms=Answer.YES))
    assert answers.symptoms.value is Answer.YES
    assert "site policy (here) says no" in conflicts[0].message
    assert "ROI label (here) says yes" in conflicts[0].message
    assert conflicts[0].message.endswith("Taken as yes.")


def test_a_contradiction_inside_one_source_is_not_outvoted_by_another() -> None:
    label, _ = merge_answers(
        said(LABEL, morphology=Morphology.TYPICAL), said(LABEL, morphology=Morphology.ATYPICAL)
    )
    answers, conflicts = merge_answers(label, said(POLICY, morphology=Morphology.TYPICAL))
    assert answers.morphology.value is Morphology.UNKNOWN
    assert conflicts


def test_nothing_said_stays_unknown() -> None:
    assert merge_answers() == (Answers(), ())
    assert merge_answers(Answers(), Answers()) == (Answers(), ())


@st.composite
def sources(draw: st.DrawFn) -> tuple[Answers, ...]:
    made = []
    for provenance in draw(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=4)):
        picked = draw(st.sets(st.sampled_from(sorted(QUESTIONS)), max_size=4))
        made.append(
            said(provenance, **{q: draw(st.sampled_from(list(QUESTIONS[q]))) for q in sorted(picked)})
        )
    return tuple(made)


@given(made=sources())
def test_the_result_is_one_of_the_values_or_unknown_and_every_disagreement_is_listed(
    made: tuple[Answers, ...],
) -> None:
    answers, conflicts = merge_answers(*made)
    for question in (f.name for f in fields(Answers)):
        stated = [getattr(a, question) for a in made]
        values = {s.value for s in stated if s.provenance is not Provenance.NOT_RECORDED}
        result = getattr(answers, question).value
        assert result in values or result.value == "unknown"
        assert (question in [c.question for c in conflicts]) == (len(values) > 1)


@given(made=sources())
def test_the_order_of_sources_does_not_change_a_value(made: tuple[Answers, ...]) -> None:
    def values(order: tuple[Answers, ...]) -> list[object]:
        answers, _ = merge_answers(*order)
        return [getattr(answers, f.name).value for f in fields(answers)]

    assert len({tuple(values(order)) for order in permutations(made)}) == 1


def test_a_cancer_named_on_one_mark_holds_for_all_and_symptoms_do_not() -> None:
    told = said(LABEL, malignancy_history=Answer.YES, symptoms=Answer.YES)
    (first, second), conflicts = shared_answers([told, Answers()])
    assert first == told
    assert second.malignancy_history.value is Answer.YES
    assert "another mark" in second.malignancy_history.where
    assert second.symptoms == Answers().symptoms
    assert conflicts == ()


def test_marks_that_contradict_each_other_about_the_patient_are_listed() -> None:
    marks = [said(LABEL, malignancy_history=Answer.NO), said(LABEL, malignancy_history=Answer.YES)]
    shared, conflicts = shared_answers(marks)
    assert [one.malignancy_history.value for one in shared] == [Answer.YES, Answer.YES]
    assert [c.question for c in conflicts] == ["malignancy_history"]


@given(made=sources())
def test_sharing_twice_changes_nothing_and_keeps_the_questions_of_each_lesion(
    made: tuple[Answers, ...],
) -> None:
    shared, _ = shared_answers(made)
    again, _ = shared_answers(shared)
    for before, after, twice in zip(made, shared, again, strict=True):
        for question in ("density", "morphology", "symptoms", "growth", "known_metastasis"):
            assert getattr(after, question) == getattr(before, question)
        for question in ("malignancy_history", "multiplicity", "age"):
            assert getattr(after, question).value is getattr(twice, question).value
            assert getattr(after, question).value is getattr(shared[0], question).value
