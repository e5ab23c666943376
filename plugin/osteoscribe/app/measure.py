"""One placed mark to one measured lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from osteoscribe.app.gather import Placed
from osteoscribe.core.intensity import IntensityReference, reference
from osteoscribe.core.marks import InstanceRef
from osteoscribe.core.region import Outline
from osteoscribe.core.series import ReadBytes, SeriesIndex
from osteoscribe.core.size import NotMeasurable, Size, measure_size, outline_on_ct
from osteoscribe.errors import InputError
from osteoscribe.readers.ct import read_box


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A placed mark with its size, and its HU for reference.

    Parameters
    ----------
    k
        Slice of the series that carries the outline.
    remark
        Why there is no HU where there should be one, or empty.
    """

    placed: Placed
    size: Size | NotMeasurable
    intensity: IntensityReference | None
    k: int
    outline: Outline | None
    remark: str = ""

    def image(self, index: SeriesIndex) -> InstanceRef:
        """The CT image that carries the outline."""
        return index.slices[self.k].ref


def measure(placed: Placed, index: SeriesIndex, read: ReadBytes) -> Measured:
    """Size of a mark, and HU of its voxels; only the slices that it touches are read.

    HU decides nothing: pixels that cannot be decoded take the HU away, not the size.
    """
    placement = placed.placement
    size = measure_size(placement.measured, slice_thickness_mm=index.acquisition.slice_thickness_mm)
    outline = outline_on_ct(placement, size if isinstance(size, Size) else None)
    region = placement.on_ct
    intensity, remark = None, ""
    try:
        if region.mask.size:
            intensity = reference(region, read_box(index, region.box, read))
    except InputError as error:
        remark = f"No HU: {error.message}"
    return Measured(
        placed=placed,
        size=size,
        intensity=intensity,
        remark=remark,
        k=region.offset[0] if outline is None else outline.k,
        outline=outline,
    )


def same_shape(one: Measured, other: Measured) -> bool:
    """Whether two marks are drawn alike, to 0.01 mm: the same mark, saved twice."""
    a, b = one.placed.placement.on_ct, other.placed.placement.on_ct
    if a.kind is not b.kind or a.offset != b.offset or a.mask.shape != b.mask.shape:
        return False
    if len(a.outlines) != len(b.outlines) or not np.array_equal(a.mask, b.mask):
        return False
    return all(
        x.k == y.k
        and x.points_rc.shape == y.points_rc.shape
        and np.allclose(x.points_rc, y.points_rc, rtol=0, atol=0.01 / a.grid.row_spacing_mm)
        for x, y in zip(a.outlines, b.outlines, strict=True)
    )
