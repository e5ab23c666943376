"""The sentence: decision + whole millimetres + unknown answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from osteoscribe.core.units import WholeMillimetre


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseValues:
    """What a sentence may name beside the facts. No HU.

    ``whole_mm`` is the lesion's own size, or the largest lesion's for a row of scope examination.
    """

    whole_mm: WholeMillimetre | None = None
    prior_date: date | None = None
    site: str = ""
    laterality: str = ""
    largest_unrounded_borderline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """The suggested sentence and recommendation."""

    text: str
    recommendation: str
    conditional: bool
