"""`IntensityReference`: HU statistics for display. Nothing that decides or words may import this module."""

from __future__ import annotations

from dataclasses import dataclass

from osteoscribe.core.units import Hounsfield


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityReference:
    """HU statistics of the voxels of a mark, for reference only.

    The standard deviation is that of the population (divided by n).
    """

    mean_hu: Hounsfield
    standard_deviation_hu: Hounsfield
    minimum_hu: Hounsfield
    maximum_hu: Hounsfield
    median_hu: Hounsfield
    voxel_count: int
    remarks: tuple[str, ...] = ()
