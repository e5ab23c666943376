"""`Region`: a mark laid on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from osteoscribe.core.geometry import FloatArray, Grid

Box = tuple[slice, slice, slice]
"""Index ranges (k, r, c) of a grid."""


class RegionKind(Enum):
    """What the size of a region is measured on."""

    MASK = "mask"
    """Pixels: size by the mask convention."""
    CONTOUR = "contour"
    """Contours: size from vertex to vertex."""
    CALIPER = "caliper"
    """A drawn length: the size is that length."""
    POINT = "point"
    """A point: no size."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outline:
    """A line on one slice of the grid.

    Parameters
    ----------
    k
        Slice index in the region's grid.
    points_rc
        (n, 2), (row, column) index coordinates, 0.0 = **centre** of the first voxel; a closed outline
        does not repeat its first point.
    """

    k: int
    points_rc: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """A mark laid on a grid.

    Parameters
    ----------
    kind
        What its size is measured on.
    grid
        The grid that `mask`, `offset` and `outlines` refer to.
    offset
        (k, r, c) of the first voxel of `mask` in `grid`.
    mask
        (slices, rows, columns) bool, cropped to the box of the mark, read-only: voxels whose centre lies
        inside the mark. Empty (a zero in its shape) for a caliper or a point.
    outlines
        The closed outlines as drawn (a contour), traced (a mask), or the lines of a caliper (long axis
        first, then the short axis where there is one).
    uneven
        True where the slices of the mark are not evenly spaced.
    flat
        True for an outline drawn on one image alone: it has an area, and says nothing of a depth.
    """

    kind: RegionKind
    grid: Grid
    offset: tuple[int, int, int]
    mask: npt.NDArray[np.bool_]
    outlines: tuple[Outline, ...]
    uneven: bool = False
    flat: bool = False

    def __post_init__(self) -> None:
        mask = np.array(self.mask, dtype=np.bool_)
        mask.setflags(write=False)
        object.__setattr__(self, "mask", mask)

    @property
    def box(self) -> Box:
        """Index ranges of `mask` in `grid`."""
        k, r, c = self.offset
        n, rows, columns = self.mask.shape
        return (slice(k, k + n), slice(r, r + rows), slice(c, c + columns))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """A mark as it is measured, and as it lies on the CT.

    Parameters
    ----------
    measured
        The region that the size is taken from; on the mark's own grid where that differs from the CT's.
    on_ct
        The region on the CT's grid: HU statistics and the outline of the report. The same object as
        `measured` where the grids agree.
    remarks
        What was done to lay the mark on the CT, in words, for the report.
    """

    measured: Region
    on_ct: Region
    remarks: tuple[str, ...] = ()
