"""`merge_answers`: statements of several sources made one, with every contradiction listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from enum import Enum
from typing import Any

from osteoscribe.core.answers import (
    Answer,
    Answers,
    Conflict,
    Density,
    Growth,
    LocationRisk,
    Multiplicity,
    Provenance,
    Stated,
)

STANDING: tuple[Enum, ...] = (
    Growth.UP_OR_NEW,
    LocationRisk.RISK_CANAL,
    LocationRisk.RISK_FRACTURE,
    Multiplicity.MULTIPLE,
    Density.MIXED,
)
"""Values that stand against any other of their question: the advice is never less urgent for a doubt."""

YES_STANDS = (
    "malignancy_history",
    "symptoms",
    "soft_tissue_mass",
    "cortical_destruction",
    "other_aggressive",
)
"""Questions whose yes stands against a no. Not `known_metastasis`: its yes withholds a suggestion."""

OF_THE_EXAMINATION = ("malignancy_history", "multiplicity", "age")
"""Questions about the patient or the examination: said on one mark, they hold for all."""

QUOTED_FIRST = (
    Provenance.ROI_LABEL,
    Provenance.CODED_ITEM,
    Provenance.REVIEW_FORM,
    Provenance.DICOM_ATTRIBUTE,
    Provenance.PRIOR,
    Provenance.MEASUREMENT,
    Provenance.MARKS,
    Provenance.SITE_POLICY,
    Provenance.NOT_RECORDED,
)
"""Whose words the report quotes where several sources say the same: nearest to the reader first."""


_UNSTATED: Mapping[str, Stated[Any]] = {one.name: getattr(Answers(), one.name) for one in fields(Answers)}
"""Every question with the answer of nobody."""


def merge_answers(*sources: Answers) -> tuple[Answers, tuple[Conflict, ...]]:
    """Statements of several sources made one.

    Sources that agree give the value, quoted from the first of `QUOTED_FIRST`. Where they contradict each
    other no source outranks another: a stated red flag stands, in all other cases the input is unknown;
    both are listed as a conflict. A contradiction inside one source (an unknown that names its place)
    counts as a statement.

    Parameters
    ----------
    *sources
        Answers of one mark, for example of its label, its codes, the DICOM attributes, the site policy.

    Returns
    -------
    tuple[Answers, tuple[Conflict, ...]]
        The answers, and what disagreed, in the order of the questions.

    Examples
    --------
    >>> yes = Answers(symptoms=Stated(value=Answer.YES, provenance=Provenance.ROI_LABEL))
    >>> no = Answers(symptoms=Stated(value=Answer.NO, provenance=Provenance.SITE_POLICY))
    >>> answers, conflicts = merge_answers(no, yes)
    >>> answers.symptoms.value, conflicts[0].question
    (<Answer.YES: 'yes'>, 'symptoms')
    """
    merged: dict[str, Any] = {}
    conflicts: list[Conflict] = []
    for question, unknown in _UNSTATED.items():
        statements = _statements(question, sources)
        values = {stated.value for stated in statements}
        if len(values) <= 1:
            merged[question] = statements[0] if statements else unknown
            continue
        merged[question] = _settle(question, statements)
        conflicts.append(_conflict(question, statements, merged[question]))
    return Answers(**merged), tuple(conflicts)


def shared_answers(of_marks: Sequence[Answers]) -> tuple[tuple[Answers, ...], tuple[Conflict, ...]]:
    """Answers of the marks of one examination, with what holds for all of them said on each.

    Parameters
    ----------
    of_marks
        Merged answers of each mark.

    Returns
    -------
    tuple[tuple[Answers, ...], tuple[Conflict, ...]]
        The answers in the same order, and marks that contradict each other about the patient. A mark that
        says the same keeps its own words.

    Examples
    --------
    >>> told = Answers(malignancy_history=Stated(value=Answer.YES, provenance=Provenance.ROI_LABEL))
    >>> (first, second), _ = shared_answers([told, Answers()])
    >>> second.malignancy_history.value, second.malignancy_history.where
    (<Answer.YES: 'yes'>, 'said on another mark')
    """
    merged, conflicts = merge_answers(*of_marks)
    shared = {question: getattr(merged, question) for question in OF_THE_EXAMINATION}
    return (
        tuple(
            replace(one, **{q: _own_or_shared(getattr(one, q), shared[q]) for q in shared})
            for one in of_marks
        ),
        tuple(conflict for conflict in conflicts if conflict.question in OF_THE_EXAMINATION),
    )


def _own_or_shared(own: Stated[Any], shared: Stated[Any]) -> Stated[Any]:
    if own.value is shared.value:
        return own
    where = f"{shared.where} (said on another mark)" if shared.where else "said on another mark"
    return replace(shared, where=where)


def _statements(question: str, sources: tuple[Answers, ...]) -> list[Stated[Any]]:
    stated: list[Stated[Any]] = [getattr(source, question) for source in sources]
    given = [s for s in stated if s.provenance is not Provenance.NOT_RECORDED or s.value.value != "unknown"]
    if len(given) < 2:  # as nearly always
        return given
    return sorted(dict.fromkeys(given), key=lambda s: QUOTED_FIRST.index(s.provenance))


def _settle(question: str, statements: list[Stated[Any]]) -> Stated[Any]:
    standing = (*STANDING, *((Answer.YES,) if question in YES_STANDS else ()))
    for value in standing:
        for stated in statements:
            if stated.value is value:
                return stated
    unknown = type(statements[0].value)("unknown")
    where = "contradictory: " + "; ".join(dict.fromkeys(s.where for s in statements if s.where))
    return Stated(value=unknown, provenance=statements[0].provenance, where=where)


def _conflict(question: str, statements: list[Stated[Any]], settled: Stated[Any]) -> Conflict:
    said = "; ".join(
        f"{s.provenance.value}{f' ({s.where})' if s.where else ''} says {s.value.value}" for s in statements
    )
    return Conflict(question=question, message=f"{said}. Taken as {settled.value.value}.")
