"""`IntensityReference`: HU statistics for display. Nothing that decides or words may import this module."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.region import Region
from osteoscribe.core.units import Hounsfield
from osteoscribe.core.voxels import CtBox

FEW_VOXELS = 30
"""Below this many voxels most of them lie on the border of the mark."""
PARTIAL_VOLUME = "under 30 voxels: dominated by partial volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityReference:
    """HU statistics of the voxels of a mark, for reference only.

    The standard deviation is that of the population (divided by n). The median of an even count is the mean
    of the two middle values; percentiles between two values are interpolated.
    """

    mean_hu: Hounsfield
    standard_deviation_hu: Hounsfield
    minimum_hu: Hounsfield
    maximum_hu: Hounsfield
    median_hu: Hounsfield
    voxel_count: int
    remarks: tuple[str, ...] = ()
    percentile_10_hu: Hounsfield | None = None
    percentile_90_hu: Hounsfield | None = None


def reference(on_ct: Region, box: CtBox) -> IntensityReference | None:
    """HU statistics of the CT voxels whose centre lies inside a mark.

    Parameters
    ----------
    on_ct
        The mark on the grid of the CT.
    box
        Voxels of the CT that hold at least the box of the mark.

    Returns
    -------
    IntensityReference or None
        None where the mark has no voxel: a caliper, a point, or an outline between pixel centres.

    Raises
    ------
    ValueError
        Where `box` does not hold the box of the mark.
    """
    values = np.sort(_voxels(on_ct, box)[on_ct.mask])
    count = len(values)
    if count == 0:
        return None
    mean = float(values.sum()) / count
    away = values - mean
    return IntensityReference(
        mean_hu=Hounsfield(mean),
        standard_deviation_hu=Hounsfield(math.sqrt(float((away * away).sum()) / count)),
        minimum_hu=Hounsfield(float(values[0])),
        maximum_hu=Hounsfield(float(values[-1])),
        median_hu=_quantile(values, 0.5),
        voxel_count=count,
        remarks=(PARTIAL_VOLUME,) if count < FEW_VOXELS else (),
        percentile_10_hu=_quantile(values, 0.1),
        percentile_90_hu=_quantile(values, 0.9),
    )


def _quantile(ordered: FloatArray, part: float) -> Hounsfield:
    """Value at a part of the way from the first to the last, between two values in proportion."""
    at = part * (len(ordered) - 1)
    low, high = float(ordered[math.floor(at)]), float(ordered[math.ceil(at)])
    return Hounsfield(low + (high - low) * (at - math.floor(at)))


def _voxels(on_ct: Region, box: CtBox) -> FloatArray:
    """Cut out the voxels of the mark's own box."""
    if on_ct.offset == box.offset and on_ct.mask.shape == box.voxels_hu.shape:
        return box.voxels_hu
    start = np.array(on_ct.offset) - box.offset
    stop = start + on_ct.mask.shape
    if (start < 0).any() or (stop > box.voxels_hu.shape).any():
        raise ValueError(f"the box at {box.offset} {box.voxels_hu.shape} does not hold that of the mark")
    (k, r, c), (k_end, r_end, c_end) = start.tolist(), stop.tolist()
    return box.voxels_hu[k:k_end, r:r_end, c:c_end]
