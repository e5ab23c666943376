"""Lay a pixel mask on the CT: directly where it shares the CT's pixels, else measured on its own grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from osteoscribe.core.coverage import (
    GAP,
    HALF,
    OUTSIDE_PX,
    BoolArray,
    check_gaps,
    check_inside_image,
    cropped,
    refuse_missing,
)
from osteoscribe.core.geometry import STEP_TOLERANCE_MM, FloatArray, Grid
from osteoscribe.core.marks import MaskShape
from osteoscribe.core.polygon import row_ends
from osteoscribe.core.region import Placement, Region, RegionKind
from osteoscribe.errors import InputError

SAME_GRID_PX = 0.02
"""A mask whose corners lie closer than this to CT pixel centres is on the CT's own pixels."""


def place_mask(shape: MaskShape, ct: Grid) -> Placement:
    """Lay a pixel mask on the CT.

    Parameters
    ----------
    shape
        The mask on its own grid.
    ct
        Grid of the CT, in the same frame of reference.

    Returns
    -------
    Placement
        `on_ct` is `measured` where the mask has the CT's own pixels and planes.

    Raises
    ------
    InputError
        ``roi.empty``, ``roi.outside-images``, ``roi.missing-slices``.
    """
    planes: list[int] = np.flatnonzero(shape.mask.any(axis=(1, 2))).tolist()
    if not planes:
        raise InputError("roi.empty", "The mark is a mask without a single pixel set. Draw the mark again.")
    slices = _same_planes(shape.grid, planes, ct)
    shift = _same_pixels(shape.grid, planes[0], ct, slices[0]) if slices else None
    if slices and shift is not None:
        return _direct(shape, planes, slices, shift, ct)
    return _mapped(shape, ct)


def _same_planes(own: Grid, planes: Sequence[int], ct: Grid) -> list[int] | None:
    """CT slices whose plane each mask plane coincides with, or None where one does not."""
    corners = _plane_corners(own, planes[0]) - own.origins_lps_mm[planes[0]]
    heights = (own.origins_lps_mm[planes] @ ct.normal)[:, None] + corners @ ct.normal
    positions = ct.plane_positions_mm
    nearest = np.abs(positions - heights.mean(axis=1)[:, None]).argmin(axis=1)
    away = np.abs(heights - positions[nearest][:, None])
    if away.max() > STEP_TOLERANCE_MM + SAME_GRID_PX * ct.slice_spacing_mm:
        return None
    slices: list[int] = nearest.tolist()
    return slices if len(set(slices)) == len(slices) else None


def _plane_corners(grid: Grid, k: int) -> FloatArray:
    """(4, 3) centres of the corner pixels of a slice."""
    rows, columns = grid.shape[1] - 1, grid.shape[2] - 1
    return grid.to_patient([(k, 0, 0), (k, 0, columns), (k, rows, 0), (k, rows, columns)])


def _same_pixels(own: Grid, plane: int, ct: Grid, k: int) -> tuple[int, int] | None:
    """Whole (row, column) shift of the mask's pixels on the CT's, or None where the pixels differ."""
    corners = ct.to_plane(_plane_corners(own, plane), k)[:, 1:]
    rows, columns = own.shape[1] - 1, own.shape[2] - 1
    shift = corners - np.array([(0, 0), (0, columns), (rows, 0), (rows, columns)])
    whole = np.rint(shift[0])
    if np.abs(shift - whole).max() > SAME_GRID_PX:
        return None
    return int(whole[0]), int(whole[1])


def _direct(
    shape: MaskShape, planes: Sequence[int], slices: Sequence[int], shift: tuple[int, int], grid: Grid
) -> Placement:
    """Take the mask as it is: its pixels are the CT's."""
    low = min(slices)
    stack = np.zeros((max(slices) - low + 1, *shape.mask.shape[1:]), dtype=bool)
    for plane, k in zip(planes, slices, strict=True):
        stack[k - low] = shape.mask[plane]
    offset, mask = cropped(stack, (low, *shift))
    # A pixel of the mask must be a pixel of the image.
    ends = np.array([offset[1:], np.array(offset[1:]) + mask.shape[1:] - 1], dtype=np.float64)
    check_inside_image(ends + OUTSIDE_PX * np.array([[-1.0], [1.0]]), grid)
    region = Region(
        kind=RegionKind.MASK,
        grid=grid,
        offset=offset,
        mask=mask,
        outlines=(),
        uneven=check_gaps(sorted(slices), grid),
    )
    return Placement(measured=region, on_ct=region)


def _mapped(shape: MaskShape, ct: Grid) -> Placement:
    """Measured on the mask's own grid; on the CT the voxels whose centre the mask's nearest voxel covers."""
    offset, mask = cropped(shape.mask, (0, 0, 0))
    own = Region(
        kind=RegionKind.MASK,
        grid=shape.grid,
        offset=offset,
        mask=mask,
        outlines=(),
        uneven=_uneven(shape.grid.plane_positions_mm[offset[0] : offset[0] + mask.shape[0]], shape.grid),
    )
    _check_covered(own, ct)
    ct_offset, ct_mask = _sampled(own, ct)
    on_ct = Region(
        kind=RegionKind.MASK,
        grid=ct,
        offset=ct_offset,
        mask=ct_mask,
        outlines=(),
        uneven=check_gaps(range(ct_offset[0], ct_offset[0] + ct_mask.shape[0]), ct)
        if ct_mask.size
        else False,
    )
    pixel = f"{own.grid.row_spacing_mm:.3g} x {own.grid.column_spacing_mm:.3g}"
    remark = (
        f"The mask has a grid of its own ({pixel} x {own.grid.slice_spacing_mm:.3g} mm): size taken on it, "
        f"HU of the {int(ct_mask.sum())} CT voxels whose centre lies inside it."
    )
    return Placement(measured=own, on_ct=on_ct, remarks=(remark,))


def _uneven(positions_mm: FloatArray, grid: Grid) -> bool:
    """Whether steps between neighbouring planes differ; gaps where the mask is empty do not count."""
    steps = np.abs(np.diff(positions_mm))
    near = steps[steps <= GAP * grid.slice_spacing_mm]
    return bool(len(near) and np.ptp(near) > STEP_TOLERANCE_MM)


def _check_covered(own: Region, ct: Grid) -> None:
    """Refuse a mask of which a voxel centre lies beside the CT's slices or pixels."""
    positions = ct.plane_positions_mm
    points = np.concatenate([own.grid.to_patient(ends) for ends in _edge_voxels(own)])
    heights = points @ ct.normal
    k = np.abs(heights[:, None] - positions[None, :]).argmin(axis=1)
    beside = np.abs(heights - positions[k]) > HALF * ct.slice_spacing_mm + STEP_TOLERANCE_MM
    if beside.any():
        refuse_missing(np.round(heights[beside], 2).tolist(), everything=bool(beside.all()), grid=ct)
    for at in np.unique(k):
        check_inside_image(ct.to_plane(points[k == at], int(at))[:, 1:], ct)


def _edge_voxels(region: Region) -> Iterable[FloatArray]:
    """(n, 3) index coordinates of the ends of each row of voxels, slice by slice."""
    first_k, first_r, first_c = region.offset
    for k in np.flatnonzero(region.mask.any(axis=(1, 2))).tolist():
        ends = row_ends(region.mask[k]) + np.array([first_r, first_c])
        yield np.column_stack([np.full(len(ends), first_k + k), ends])


def _sampled(own: Region, ct: Grid) -> tuple[tuple[int, int, int], BoolArray]:
    """Offset and mask of the CT voxels whose centre lies in a voxel of the mask."""
    slices, low, high = _ct_box(own, ct)
    r, c = np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1]
    mask = np.zeros((len(slices), *r.shape), dtype=bool)
    for i, k in enumerate(slices):
        index = np.column_stack([np.full(r.size, k), r.ravel(), c.ravel()])
        mask[i] = _covers(own, ct.to_patient(index), ct.slice_spacing_mm).reshape(r.shape)
    return cropped(mask, (slices[0] if slices else 0, int(low[0]), int(low[1])))


def _ct_box(own: Region, ct: Grid) -> tuple[list[int], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """CT slices, first and last (row, column) that voxels of the mask can reach."""
    grid = own.grid
    planes, rows, columns = ([part.start, part.stop - 1] for part in own.box)
    half = grid.slice_step_lps_mm / 2
    corners = np.concatenate(
        [
            grid.to_patient([(k, r, c)]) + side * half
            for k in planes
            for r in (rows[0] - 0.5, rows[1] + 0.5)
            for c in (columns[0] - 0.5, columns[1] + 0.5)
            for side in (-1, 1)
        ]
    )
    heights = corners @ ct.normal
    near = (ct.plane_positions_mm >= heights.min()) & (ct.plane_positions_mm <= heights.max())
    slices: list[int] = np.flatnonzero(near).tolist()
    if not slices:
        return [], np.zeros(2, dtype=np.intp), np.zeros(2, dtype=np.intp)
    in_plane = np.concatenate([ct.to_plane(corners, k)[:, 1:] for k in (slices[0], slices[-1])])
    last = np.array(ct.shape[1:]) - 1
    low = np.clip(np.floor(in_plane.min(axis=0)), 0, last).astype(np.intp)
    return slices, low, np.clip(np.ceil(in_plane.max(axis=0)), low, last).astype(np.intp)


def _covers(own: Region, points_lps_mm: FloatArray, spacing_mm: float) -> BoolArray:
    """Whether the voxel of the mask nearest to each point is set."""
    grid = own.grid
    planes = np.arange(own.box[0].start, own.box[0].stop)
    positions = grid.plane_positions_mm[planes]
    order = np.argsort(positions)
    heights = points_lps_mm @ grid.normal
    between = (positions[order][1:] + positions[order][:-1]) / 2
    k = order[np.searchsorted(between, heights)]
    half = (grid.slice_spacing_mm or spacing_mm) / 2
    basis = np.column_stack([grid.normal, grid.row_step_lps_mm, grid.column_step_lps_mm])
    index = np.linalg.solve(basis, (points_lps_mm - grid.origins_lps_mm[planes[k]]).T).T
    rc = np.floor(np.round(index[:, 1:] + 0.5, 6)).astype(np.intp) - own.offset[1:]
    inside = (np.abs(index[:, 0]) <= half + STEP_TOLERANCE_MM) & (rc >= 0).all(axis=1)
    inside &= (rc < own.mask.shape[1:]).all(axis=1)
    inside[inside] = own.mask[k[inside], rc[inside, 0], rc[inside, 1]]
    return np.asarray(inside)
