"""Facts that are all benign and known, to change one by one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

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
from osteoscribe.core.units import round_half_up

BENIGN = RuleFacts(
    size=round_half_up(5.0),
    density=Density.SCLEROTIC,
    morphology=Morphology.TYPICAL,
    multiplicity=Multiplicity.SOLITARY,
    largest=Largest.UNKNOWN,
    malignancy_history=Answer.NO,
    known_metastasis=Answer.NO,
    symptoms=Answer.NO,
    growth=Growth.NO_PRIOR,
    soft_tissue_mass=Answer.NO,
    cortical_destruction=Answer.NO,
    other_aggressive=Answer.NO,
    location_risk=LocationRisk.NONE,
    age=Age.ADULT,
)


def benign(mm: float | str | None = 5, **changed: Any) -> RuleFacts:
    """Benign and known, of this unrounded length (None: not measurable), with some inputs changed."""
    values = {name: getattr(BENIGN, name) for name in BENIGN.__slots__}
    values["size"] = None if mm is None else round_half_up(float(Decimal(mm)))
    return RuleFacts(**{**values, **changed})
