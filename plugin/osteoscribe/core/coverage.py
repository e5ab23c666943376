"""Whether a CT covers a mark: its slices, its pixels, without a gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from osteoscribe.core.geometry import STEP_TOLERANCE_MM, FloatArray, Grid
from osteoscribe.errors import InputError

BoolArray = npt.NDArray[np.bool_]

HALF = 0.501
"""Half a slice spacing, with room for rounded decimals."""
GAP = 1.5
"""Slices farther apart than this many usual steps have something missing between them."""
OUTSIDE_PX = 1.5
"""How far a mark may reach beyond the centre of the outermost pixel: one pixel over the edge of the image."""
NAMED_POSITIONS = 5


def refuse_missing(heights: Sequence[float], *, everything: bool, grid: Grid) -> NoReturn:
    """Refuse a mark at places where the CT has no slice.

    Parameters
    ----------
    heights
        Those places along the slice normal, in mm.
    everything
        Whether no part of the mark lies on a slice.
    grid
        Grid of the CT.

    Raises
    ------
    InputError
        ``roi.outside-images`` or ``roi.missing-slices``.
    """
    named = ", ".join(f"{height:.2f}" for height in sorted(set(heights))[:NAMED_POSITIONS])
    more = " ..." if len(set(heights)) > NAMED_POSITIONS else ""
    positions = grid.plane_positions_mm
    raise InputError(
        "roi.outside-images" if everything else "roi.missing-slices",
        f"{len(set(heights))} slice positions of the mark have no CT slice within half a slice spacing "
        f"({grid.slice_spacing_mm / 2:.2f} mm): {named}{more} mm along the slice normal; the "
        f"{len(positions)} slices here lie from {positions.min():.2f} to {positions.max():.2f} mm. Send the "
        "missing slices, or draw the mark on this series.",
    )


def check_inside_image(points_rc: FloatArray, grid: Grid) -> None:
    """Refuse points that lie beside the pixels of the image.

    Parameters
    ----------
    points_rc
        (n, 2), (row, column) index coordinates.
    grid
        Grid of the CT.

    Raises
    ------
    InputError
        ``roi.outside-images``.
    """
    last = np.array(grid.shape[1:]) - 1
    if (points_rc < -OUTSIDE_PX).any() or (points_rc > last + OUTSIDE_PX).any():
        low, high = points_rc.min(axis=0), points_rc.max(axis=0)
        raise InputError(
            "roi.outside-images",
            f"The mark reaches over rows {low[0]:.1f} to {high[0]:.1f} and columns {low[1]:.1f} to "
            f"{high[1]:.1f} of images of {grid.shape[1]} x {grid.shape[2]} pixels. Check that the mark "
            "belongs to this series, or draw it again inside the image.",
        )


def check_gaps(slices: Sequence[int], grid: Grid) -> bool:
    """Refuse a mark that spans missing slices; say whether its slices are unevenly spaced.

    Parameters
    ----------
    slices
        First to last CT slice of the mark; slices between that it does not touch may be left out.
    grid
        Grid of the CT.

    Returns
    -------
    bool
        Whether two steps from slice to slice differ, those to the slices before and after the mark
        included: beside a gap nobody knows whether the lesion goes on.

    Raises
    ------
    InputError
        ``roi.missing-slices``.
    """
    positions = grid.plane_positions_mm[slices[0] : slices[-1] + 1]
    steps = np.abs(np.diff(positions))
    gaps = np.flatnonzero((steps > GAP * grid.slice_spacing_mm) & (grid.slice_spacing_mm > 0)).tolist()
    if gaps:
        named = ", ".join(f"{positions[i]:.2f} to {positions[i + 1]:.2f}" for i in gaps[:NAMED_POSITIONS])
        raise InputError(
            "roi.missing-slices",
            f"The mark spans {len(gaps)} gaps in the CT slices, at {named} mm along the slice normal; the "
            f"usual step is {grid.slice_spacing_mm:.2f} mm. Send the missing slices.",
        )
    beside = np.abs(np.diff(grid.plane_positions_mm[max(slices[0] - 1, 0) : slices[-1] + 2]))
    return bool(len(beside) and np.ptp(beside) > STEP_TOLERANCE_MM)


def cropped(mask: BoolArray, offset: tuple[int, int, int]) -> tuple[tuple[int, int, int], BoolArray]:
    """Cut a mask down to its box.

    Parameters
    ----------
    mask
        (slices, rows, columns).
    offset
        (k, r, c) of its first voxel.

    Returns
    -------
    tuple
        Offset and voxels of the box; an empty mask becomes one of shape (0, 0, 0).
    """
    if not mask.any():
        return offset, np.zeros((0, 0, 0), dtype=bool)
    used = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    k, r, c = (slice(int(line[0]), int(line[-1]) + 1) for line in used)
    return (offset[0] + k.start, offset[1] + r.start, offset[2] + c.start), mask[k, r, c]
