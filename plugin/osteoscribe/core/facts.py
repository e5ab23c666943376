"""`RuleFacts`: the only thing a rule can see. It has no attenuation field."""

from __future__ import annotations

from dataclasses import dataclass

from osteoscribe.core.answers import (
    Age,
    Answer,
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
from osteoscribe.core.units import WholeMillimetre


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


__all__ = ["FactSheet", "RuleFacts", "Stated", "StatedFact"]
