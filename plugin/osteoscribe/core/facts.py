"""`RuleFacts`: the only thing a rule can see. It has no attenuation field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import TypeVar

from osteoscribe.core.answers import (
    Age,
    Answer,
    Answers,
    Conflict,
    Density,
    Growth,
    Largest,
    LocationRisk,
    Morphology,
    Multiplicity,
    Provenance,
    Stated,
)
from osteoscribe.core.prior import Comparison
from osteoscribe.core.size import NotMeasurable, Size
from osteoscribe.core.units import WholeMillimetre

T = TypeVar("T", bound=Enum)

LARGEST_LIMIT_MM = 5
"""Whole mm from which a lesion is no longer one of several small ones (`Largest`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """The inputs of the rule table for one lesion (``docs/rules.md``).

    ``size`` is None where the mark is not measurable.
    """

    size: WholeMillimetre | None = None
    density: Density = Density.UNKNOWN
    morphology: Morphology = Morphology.UNKNOWN
    multiplicity: Multiplicity = Multiplicity.UNKNOWN
    largest: Largest = Largest.UNKNOWN
    malignancy_history: Answer = Answer.UNKNOWN
    known_metastasis: Answer = Answer.UNKNOWN
    symptoms: Answer = Answer.UNKNOWN
    growth: Growth = Growth.UNKNOWN
    soft_tissue_mass: Answer = Answer.UNKNOWN
    cortical_destruction: Answer = Answer.UNKNOWN
    other_aggressive: Answer = Answer.UNKNOWN
    location_risk: LocationRisk = LocationRisk.UNKNOWN
    age: Age = Age.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedFact:
    """One input of the rule as the report prints it.

    ``name`` is the field of `RuleFacts`; ``value`` its value in words, for size the whole mm.
    """

    name: str
    value: str
    provenance: Provenance
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSheet:
    """The facts of one lesion with the place each came from, and what disagreed."""

    facts: RuleFacts
    stated: tuple[StatedFact, ...]
    conflicts: tuple[Conflict, ...] = ()


def facts_for(
    size: Size | NotMeasurable,
    sizes: Sequence[Size | NotMeasurable],
    comparison: Comparison | None,
    answers: Answers,
) -> FactSheet:
    """The facts of one lesion from what was measured and what was stated.

    Parameters
    ----------
    size
        Of this lesion.
    sizes
        Of all marked lesions of the examination, this one among them.
    comparison
        Against the same lesion in an earlier examination, or None where there is none to compare with.
    answers
        What was stated about this lesion.

    Returns
    -------
    FactSheet
        Every field of `RuleFacts` with its provenance. Statements that disagree are listed as conflicts
        with what was made of them: the less reassuring one stands, or unknown.
    """
    own = size.whole_mm if isinstance(size, Size) else None
    sheet = facts_from_whole(
        own, [one.whole_mm if isinstance(one, Size) else None for one in sizes], comparison, answers
    )
    if isinstance(size, Size):
        return sheet
    why = replace(sheet.stated[0], where=f"{size.code}: {size.reason}")
    return replace(sheet, stated=(why, *sheet.stated[1:]))


def facts_from_whole(
    whole_mm: WholeMillimetre | None,
    all_whole_mm: Sequence[WholeMillimetre | None],
    comparison: Comparison | None,
    answers: Answers,
) -> FactSheet:
    """The same from sizes that are rounded already; None stands for a lesion that is not measurable."""
    morphology, odd_morphology = _morphology(answers)
    multiplicity, odd_multiplicity = _multiplicity(answers.multiplicity, len(all_whole_mm))
    growth, odd_growth = _growth(answers.growth, comparison)
    resolved = replace(answers, morphology=morphology, multiplicity=multiplicity, growth=growth)
    largest = _largest(multiplicity.value, all_whole_mm)
    facts = RuleFacts(
        size=whole_mm,
        largest=largest.value,
        **{field.name: getattr(resolved, field.name).value for field in fields(Answers)},
    )
    stated = {
        "size": StatedFact(
            name="size",
            value="not_measurable" if whole_mm is None else f"{whole_mm} mm",
            provenance=Provenance.MEASUREMENT,
        ),
        "largest": _stated("largest", largest),
        **{field.name: _stated(field.name, getattr(resolved, field.name)) for field in fields(Answers)},
    }
    return FactSheet(
        facts=facts,
        stated=tuple(stated[field.name] for field in fields(RuleFacts)),
        conflicts=(*_metastasis(answers), *odd_morphology, *odd_multiplicity, *odd_growth),
    )


def _stated(name: str, stated: Stated[T]) -> StatedFact:
    return StatedFact(
        name=name, value=str(stated.value.value), provenance=stated.provenance, where=stated.where
    )


def _source(stated: Stated[T]) -> str:
    return f"{stated.provenance.value}: {stated.where}" if stated.where else stated.provenance.value


def _metastasis(answers: Answers) -> tuple[Conflict, ...]:
    known, history = answers.known_metastasis, answers.malignancy_history
    if known.value is not Answer.YES or history.value is not Answer.NO:
        return ()
    message = (
        f"recorded as a known metastasis ({_source(known)}), but without a history of malignancy "
        f"({_source(history)}); taken as a known metastasis, no suggestion is made"
    )
    return (Conflict(question="known_metastasis", message=message),)


def _morphology(answers: Answers) -> tuple[Stated[Morphology], tuple[Conflict, ...]]:
    """Mixed density forces atypical."""
    stated, density = answers.morphology, answers.density
    if density.value is not Density.MIXED or stated.value is Morphology.ATYPICAL:
        return stated, ()
    forced = Stated(value=Morphology.ATYPICAL, provenance=density.provenance, where=density.where)
    if stated.value is Morphology.UNKNOWN:
        return forced, ()
    message = (
        f"recorded as typical ({_source(stated)}), but of mixed density ({_source(density)}); "
        "taken as atypical"
    )
    return forced, (Conflict(question="morphology", message=message),)


def _multiplicity(
    stated: Stated[Multiplicity], marked: int
) -> tuple[Stated[Multiplicity], tuple[Conflict, ...]]:
    """Two or more marked lesions force multiple."""
    if marked < 2 or stated.value is Multiplicity.MULTIPLE:
        return stated, ()
    forced = Stated(
        value=Multiplicity.MULTIPLE, provenance=Provenance.MARKS, where=f"{marked} marked lesions"
    )
    if stated.value is Multiplicity.UNKNOWN:
        return forced, ()
    message = f"recorded as solitary ({_source(stated)}), but {marked} lesions are marked; taken as multiple"
    return forced, (Conflict(question="multiplicity", message=message),)


def _growth(
    stated: Stated[Growth], comparison: Comparison | None
) -> tuple[Stated[Growth], tuple[Conflict, ...]]:
    """A stated increase always stands; a statement of no change against a measured increase is unknown."""
    if comparison is None:
        return stated, ()
    measured = comparison.growth
    where = f"{comparison.prior_date.isoformat()}, {comparison.difference_mm:+.1f} mm"
    if stated.value is Growth.UNKNOWN:
        if measured is Growth.UNKNOWN:
            return replace(stated, where=stated.where or comparison.why_not), ()
        return Stated(value=measured, provenance=Provenance.PRIOR, where=where), ()
    made = _made_of(stated.value, measured)
    if made is None:
        return stated, ()
    provenance = {stated.value: stated.provenance, measured: Provenance.PRIOR}.get(
        made, Provenance.NOT_RECORDED
    )
    message = (
        f"recorded as {stated.value.value} ({_source(stated)}), but measured as {measured.value} against the "
        f"prior of {where}; taken as {made.value}"
    )
    kept = stated.where if made is stated.value else where
    return Stated(value=made, provenance=provenance, where=kept), (
        Conflict(question="growth", message=message),
    )


def _made_of(stated: Growth, measured: Growth) -> Growth | None:
    """What two statements of growth come to where they disagree, or None where they do not.

    Without a prior, one can say neither that a lesion grew nor that it did not: the measured increase then
    stands, and a measured "no change" is unknown.
    """
    if measured is Growth.UNKNOWN or stated is measured or measured is Growth.NO_PRIOR:
        return None
    if stated is Growth.UP_OR_NEW:
        return Growth.UP_OR_NEW
    if stated is Growth.NO_PRIOR:
        return Growth.UP_OR_NEW if measured is Growth.UP_OR_NEW else Growth.UNKNOWN
    return Growth.UNKNOWN if measured is Growth.UP_OR_NEW else None


def _largest(multiplicity: Multiplicity, sizes: Sequence[WholeMillimetre | None]) -> Stated[Largest]:
    """Whether the largest lesion is small, where the marks are all the lesions there are.

    A single mark is, only where the lesion is solitary: several lesions of which one is marked may have
    a larger one among them.
    """
    whole = [size for size in sizes if size is not None]
    if len(sizes) < 2 and multiplicity is not Multiplicity.SOLITARY:
        value = Largest.UNKNOWN
    elif any(mm >= LARGEST_LIMIT_MM for mm in whole):
        value = Largest.FROM_5
    else:
        value = Largest.UNDER_5 if whole and len(whole) == len(sizes) else Largest.UNKNOWN
    if value is Largest.UNKNOWN:
        return Stated(value=value)
    return Stated(value=value, provenance=Provenance.MARKS, where=f"largest of the marks {max(whole)} mm")


__all__ = ["FactSheet", "RuleFacts", "Stated", "StatedFact", "facts_for", "facts_from_whole"]
