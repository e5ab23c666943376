"""Units as types, and the one rounding of a length to whole millimetres."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import NewType

Millimetre = NewType("Millimetre", float)
"""A length in mm, unrounded."""
WholeMillimetre = NewType("WholeMillimetre", int)
"""A length in whole mm: what rules and sentences see."""
CubicMillimetre = NewType("CubicMillimetre", float)
"""A volume in mm3."""
Hounsfield = NewType("Hounsfield", float)
"""An attenuation in HU: for reference only, never an input of a rule."""


def round_half_up(length_mm: float | Decimal) -> WholeMillimetre:
    """Whole millimetres of an unrounded length, half up.

    Parameters
    ----------
    length_mm
        Length in mm, unrounded.

    Returns
    -------
    WholeMillimetre
        The nearest whole number of mm; a half goes up.

    Examples
    --------
    >>> [round_half_up(x) for x in (4.49, 4.5, 5.46, 5.5)]
    [4, 5, 5, 6]
    """
    return WholeMillimetre(int(Decimal(length_mm).quantize(Decimal(1), rounding=ROUND_HALF_UP)))
