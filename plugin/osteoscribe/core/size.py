"""Longest and perpendicular diameter, volume; never sees voxel values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.units import CubicMillimetre, Millimetre, WholeMillimetre


class Doubt(Enum):
    """Why a size is to be taken with care. Never changes the rule."""

    BORDERLINE = "borderline"
    """The unrounded long axis lies in [5.0, 6.0) mm."""
    THICK_SLICES = "slice thickness exceeds half the diameter"
    """Slice thickness above half the long axis."""
    FEW_PIXELS = "mark is under 3 pixels across"
    """Less than 3 pixels across."""
    UNEVEN_SLICES = "the slices of the series are not evenly spaced"
    """The volume is of the slices that the mark touches only."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Size:
    """The size of a mark.

    Parameters
    ----------
    long_axis_mm
        Longest straight in-plane diameter, the largest over the slices, unrounded.
    short_axis_mm
        Longest diameter perpendicular to it on the same slice, or None (a single length).
    maximum_3d_diameter_mm
        Longest 3D diameter, or None where the mark has no volume.
    volume_mm3
        Volume by counting voxels, or None where the mark has no area.
    mesh_volume_mm3
        Volume enclosed by the triangle mesh of the mark's voxels, or None likewise.
    whole_mm
        `long_axis_mm` rounded half up, once: what rule and sentence see.
    k
        Slice index (in the measured region's grid) of the long axis.
    endpoints_lps_mm
        (2, 3), ends of the long axis.
    short_endpoints_lps_mm
        (2, 3), ends of the short axis, or None.
    method
        The convention in words, for the report.
    uncertainty_mm
        Expected error from pixel and slice size, in mm (about 95 %), or None.
    """

    long_axis_mm: Millimetre
    short_axis_mm: Millimetre | None
    maximum_3d_diameter_mm: Millimetre | None
    volume_mm3: CubicMillimetre | None
    mesh_volume_mm3: CubicMillimetre | None
    whole_mm: WholeMillimetre
    k: int
    endpoints_lps_mm: FloatArray
    short_endpoints_lps_mm: FloatArray | None
    method: str
    uncertainty_mm: Millimetre | None = None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasurable:
    """The mark has no size that can be trusted; an expected outcome, not an error."""

    code: str
    reason: str
