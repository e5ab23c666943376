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


def area_mm2(outline: Outline, grid: Grid) -> float:
    """Area inside a closed outline on a slice of a grid.

    Examples
    --------
    >>> import numpy as np
    >>> axial = Grid(
    ...     shape=(1, 4, 4), origins_lps_mm=np.zeros((1, 3)), row_step_lps_mm=np.array([0, 0.5, 0]),
    ...     column_step_lps_mm=np.array([0.5, 0, 0]), slice_step_lps_mm=np.array([0, 0, 1.0]),
    ... )
    >>> area_mm2(Outline(k=0, points_rc=np.array([[0, 0], [0, 2], [2, 2], [2, 0]])), axial)
    1.0
    """
    points = np.asarray(outline.points_rc, dtype=np.float64)
    rows, columns = (points - points.mean(axis=0)).T
    pixels = abs(rows @ np.roll(columns, -1) - columns @ np.roll(rows, -1)) / 2
    return float(pixels * np.linalg.norm(np.cross(grid.row_step_lps_mm, grid.column_step_lps_mm)))


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
