"""`IntensityReference`: HU statistics for display. Nothing that decides or words may import this module."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK

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
    count = int(on_ct.mask.sum())
    if count == 0:
        return None
    voxels_hu = _voxels(on_ct, box)
    statistics = SimpleITK.LabelStatisticsImageFilter()
    # One thread: sums in another order differ in their last digits, and the same input gives the same report.
    statistics.SetNumberOfThreads(1)
    statistics.SetNumberOfWorkUnits(1)
    statistics.UseHistogramsOff()
    label = SimpleITK.GetImageFromArray(on_ct.mask.astype(np.uint8))
    statistics.Execute(SimpleITK.GetImageFromArray(voxels_hu), label)
    # ITK's median is that of a histogram (128 bins), so off by up to a bin.
    tenth, median, ninetieth = np.percentile(voxels_hu[on_ct.mask], (10, 50, 90)).tolist()
    return IntensityReference(
        mean_hu=Hounsfield(statistics.GetMean(1)),
        standard_deviation_hu=Hounsfield(_population(statistics.GetVariance(1), count)),
        minimum_hu=Hounsfield(statistics.GetMinimum(1)),
        maximum_hu=Hounsfield(statistics.GetMaximum(1)),
        median_hu=Hounsfield(median),
        voxel_count=count,
        remarks=(PARTIAL_VOLUME,) if count < FEW_VOXELS else (),
        percentile_10_hu=Hounsfield(tenth),
        percentile_90_hu=Hounsfield(ninetieth),
    )


def _voxels(on_ct: Region, box: CtBox) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Cut out the voxels of the mark's own box."""
    start = np.array(on_ct.offset) - box.offset
    stop = start + on_ct.mask.shape
    if (start < 0).any() or (stop > box.voxels_hu.shape).any():
        raise ValueError(f"the box at {box.offset} {box.voxels_hu.shape} does not hold that of the mark")
    (k, r, c), (k_end, r_end, c_end) = start.tolist(), stop.tolist()
    return box.voxels_hu[k:k_end, r:r_end, c:c_end]


def _population(sample_variance: float, count: int) -> float:
    """ITK divides by n - 1; the report's SD divides by n."""
    return float(np.sqrt(sample_variance * (count - 1) / count)) if count > 1 else 0.0
