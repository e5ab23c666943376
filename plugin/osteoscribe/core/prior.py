"""Pairing with earlier lesions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from osteoscribe.core.answers import Growth
from osteoscribe.core.units import Millimetre


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A lesion against the same lesion in an earlier examination."""

    prior_tracking_uid: str
    prior_date: date
    prior_long_axis_mm: Millimetre
    difference_mm: Millimetre
    growth: Growth
    comparable: bool
    why_not: str = ""
