"""Lay a mark on the CT: find the slices it is drawn on, rasterise its contours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

import numpy as np
import numpy.typing as npt

from osteoscribe.core.coverage import (
    HALF,
    BoolArray,
    check_gaps,
    check_inside_image,
    cropped,
    refuse_missing,
)
from osteoscribe.core.geometry import STEP_TOLERANCE_MM, FloatArray, Grid
from osteoscribe.core.mapping import place_mask
from osteoscribe.core.marks import (
    Caliper,
    ImageContours,
    InstanceRef,
    MaskShape,
    PatientCaliper,
    PatientContours,
    PatientEllipsoid,
    PatientPoint,
    PointMark,
    RoiMark,
)
from osteoscribe.core.polygon import rasterise
from osteoscribe.core.region import Outline, Placement, Region, RegionKind
from osteoscribe.core.series import SeriesIndex
from osteoscribe.errors import InputError

CENTRE_PX = 0.5
"""Drawn coordinates count from the outer corner of the first pixel, index coordinates from its centre."""
DIFFERS = "roi.frame-of-reference-differs"
PARALLEL_MM = 0.1
"""How far the points of one contour may spread across its slice plane, in mm..."""
PARALLEL_SLOPE = 0.05
"""...or as a part of its extent: three degrees, which shorten a length by 0.13 %."""

_Drawn = list[tuple[int, FloatArray]]
"""Slice and (n, 2) (row, column) index coordinates of each line."""


def place(mark: RoiMark, index: SeriesIndex) -> Placement:
    """Lay a mark on the grid of a CT series.

    Parameters
    ----------
    mark
        The mark as read.
    index
        The series; its slices and grid, no voxels.

    Returns
    -------
    Placement
        The region to measure and the region on the CT.

    Raises
    ------
    InputError
        ``roi.frame-of-reference-differs``, ``roi.frame-of-reference-missing``, ``roi.empty``,
        ``roi.bad-coordinates``, ``roi.not-parallel``, ``roi.outside-images``, ``roi.missing-slices``,
        ``roi.image-not-in-series``, ``roi.frame-number-missing``.
    """
    shape = mark.shape
    match shape:
        case PatientContours():
            _check_frame_of_reference(mark, index, shape.images, mark.frame_of_reference_uid)
            return _contours(
                _on_slices(shape.contours_lps_mm, index.grid), index.grid, sections=shape.sections
            )
        case ImageContours():
            drawn = [
                (_slice_of(ref, index), _index_coordinates(points))
                for points, ref in zip(shape.contours_px, shape.images, strict=True)
            ]
            return _contours(drawn, index.grid, sections=False)
        case Caliper():
            axes = [shape.long_axis_px] + ([] if shape.short_axis_px is None else [shape.short_axis_px])
            return _on_image(RegionKind.CALIPER, shape.image, axes, index)
        case PointMark():
            return _on_image(RegionKind.POINT, shape.image, [shape.point_px], index)
        case PatientCaliper():
            lengths = [shape.long_axis_lps_mm]
            lengths += [] if shape.short_axis_lps_mm is None else [shape.short_axis_lps_mm]
            _check_frame_of_reference(mark, index, (shape.image,), mark.frame_of_reference_uid)
            return _in_space(RegionKind.CALIPER, lengths, index.grid)
        case PatientPoint():
            _check_frame_of_reference(mark, index, (shape.image,), mark.frame_of_reference_uid)
            return _in_space(RegionKind.POINT, [shape.point_lps_mm.reshape(1, 3)], index.grid)
        case PatientEllipsoid():
            _check_frame_of_reference(mark, index, (shape.image,), mark.frame_of_reference_uid)
            _check_ellipsoid(shape, index.grid)
            return _contours(_on_slices(shape.on_slices(index.grid).contours_lps_mm, index.grid), index.grid)
        case MaskShape():
            return _mask(mark, shape, index)
        case _:
            assert_never(shape)


def _mask(mark: RoiMark, shape: MaskShape, index: SeriesIndex) -> Placement:
    own = mark.frame_of_reference_uid or shape.grid.frame_of_reference_uid
    _check_frame_of_reference(mark, index, shape.images, own)
    return place_mask(shape, index.grid)


def _check_frame_of_reference(
    mark: RoiMark, index: SeriesIndex, images: Iterable[InstanceRef | None], own: str | None
) -> None:
    ct = index.grid.frame_of_reference_uid
    if own and ct:
        if own != ct:
            raise InputError(
                DIFFERS,
                f"The mark lies in frame of reference {own}, the CT in {ct}; coordinates of one mean nothing "
                "in the other. Draw the mark on this CT series, or register it first.",
                where=mark.item,
            )
    elif not _refers_to(mark, index, images):
        raise InputError(
            "roi.frame-of-reference-missing",
            f"The {'CT' if own else 'mark'} names no frame of reference, and the mark refers to no image of "
            f"the series {index.series_instance_uid}. Save the mark again with references to the CT images.",
            where=mark.item,
        )


def _refers_to(mark: RoiMark, index: SeriesIndex, images: Iterable[InstanceRef | None]) -> bool:
    named = (ref.sop_instance_uid for ref in (*images, *mark.referenced_images) if ref)
    return (
        any(uid in index.by_image for uid in named) or mark.referenced_series_uid == index.series_instance_uid
    )


def _index_coordinates(points_px: npt.ArrayLike) -> FloatArray:
    """(row, column) index coordinates of drawn (column, row) pixel coordinates (PS3.3 C.18.6.1.1)."""
    return np.asarray(points_px, dtype=np.float64).reshape(-1, 2)[:, ::-1] - CENTRE_PX


def _slice_of(ref: InstanceRef, index: SeriesIndex) -> int:
    """Slice that an image reference names."""
    found = [
        k
        for k in index.by_image.get(ref.sop_instance_uid, ())
        if ref.frame_number is None or (index.slices[k].ref.frame_number or 1) == ref.frame_number
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            "roi.frame-number-missing",
            f"The mark is drawn on the multi-frame image {ref.sop_instance_uid} without a frame number; "
            f"{len(found)} frames are possible. Save the mark again with the frame that it is drawn on.",
        )
    reason = next(
        (why for left, why in index.left_out if left.sop_instance_uid == ref.sop_instance_uid), None
    )
    raise InputError(
        "roi.image-not-in-series",
        f"The mark is drawn on the image {ref.sop_instance_uid}"
        + (f", frame {ref.frame_number}" if ref.frame_number else "")
        + (f", which is no slice of the series ({reason})" if reason else ", which is no slice of the series")
        + f" {index.series_instance_uid}. Draw the mark on a CT slice, or send that image.",
    )


def _on_slices(contours_lps_mm: Sequence[FloatArray], grid: Grid) -> _Drawn:
    """Nearest slice, within half a spacing, of each contour that has an area."""
    drawn: _Drawn = []
    missing: list[float] = []
    positions = grid.plane_positions_mm
    for contour in contours_lps_mm:
        points = np.asarray(contour, dtype=np.float64).reshape(-1, 3)
        if len(points) == 0:
            continue
        _check_finite(points)
        heights = points @ grid.normal
        _check_parallel(points, heights)
        height = float(heights.mean())
        k = int(np.argmin(abs(positions - height)))
        if abs(positions[k] - height) > HALF * grid.slice_spacing_mm + STEP_TOLERANCE_MM:
            missing.append(height)
        else:
            drawn.append((k, grid.to_plane(points, k)[:, 1:]))
    if missing:
        refuse_missing(missing, everything=not drawn, grid=grid)
    return drawn


def _check_finite(points: FloatArray) -> None:
    if not np.isfinite(points).all():
        raise InputError(
            "roi.bad-coordinates",
            "A coordinate of the mark is not a finite number. Save the mark again.",
        )


def _check_parallel(points: FloatArray, heights: FloatArray) -> None:
    spread = float(np.ptp(heights))
    extent = float(np.linalg.norm(np.ptp(points, axis=0)))
    if spread > max(PARALLEL_MM, PARALLEL_SLOPE * extent):
        raise InputError(
            "roi.not-parallel",
            f"The mark spreads {spread:.2f} mm across the slices over an extent of {extent:.1f} mm; "
            "marks parallel to the CT slices are expected. Draw the mark on the CT slices themselves.",
        )


def _contours(drawn: _Drawn, grid: Grid, *, sections: bool = True) -> Placement:
    remarks = []
    usable = [(k, points) for k, points in drawn if len(points) > 2]
    if len(usable) < len(drawn):
        remarks.append(f"{len(drawn) - len(usable)} contours of less than three points were left out.")
    if not usable:
        raise InputError(
            "roi.empty",
            f"The mark has {len(drawn)} contours, none with three points or more. Draw the mark again.",
        )
    for _, points in usable:
        _check_finite(points)
        check_inside_image(points, grid)
    slices = sorted({k for k, _ in usable})
    uneven = check_gaps(slices, grid)
    if slices[-1] - slices[0] + 1 > len(slices):
        remarks.append(
            f"{slices[-1] - slices[0] + 1 - len(slices)} slices between those of the mark have no contour; "
            "the volume is of the slices with one."
        )
    offset, mask = _rasterised(usable, slices, grid)
    region = Region(
        kind=RegionKind.CONTOUR,
        grid=grid,
        offset=offset,
        mask=mask,
        outlines=tuple(Outline(k=k, points_rc=points) for k, points in usable),
        uneven=uneven,
        flat=len(slices) == 1 and not sections,
    )
    return Placement(measured=region, on_ct=region, remarks=tuple(remarks))


def _rasterised(drawn: _Drawn, slices: Sequence[int], grid: Grid) -> tuple[tuple[int, int, int], BoolArray]:
    """Offset and mask of the pixels whose centre lies inside an odd number of the contours of their slice."""
    points = np.concatenate([points for _, points in drawn])
    last = np.array(grid.shape[1:]) - 1
    low = np.clip(np.ceil(points.min(axis=0)), 0, last).astype(int)
    high = np.clip(np.floor(points.max(axis=0)), low, last).astype(int)
    rows, columns = (high - low + 1).tolist()
    first = (int(low[0]), int(low[1]))
    mask = np.zeros((slices[-1] - slices[0] + 1, rows, columns), dtype=bool)
    for k in slices:
        on_slice = [line for at, line in drawn if at == k]
        mask[k - slices[0]] = rasterise(on_slice, rows=rows, columns=columns, first=first)
    return cropped(mask, (slices[0], *first))


def _on_image(
    kind: RegionKind, image: InstanceRef, lines_px: Sequence[FloatArray], index: SeriesIndex
) -> Placement:
    return _lines(kind, _slice_of(image, index), [_index_coordinates(line) for line in lines_px], index.grid)


def _in_space(kind: RegionKind, lines_lps_mm: Sequence[FloatArray], grid: Grid) -> Placement:
    """Place lines by the slice that all their points lie on."""
    counts = [len(line) for line in lines_lps_mm]
    ((k, points),) = _on_slices([np.concatenate(lines_lps_mm)], grid)
    return _lines(kind, k, np.split(points, np.cumsum(counts)[:-1]), grid)


def _lines(kind: RegionKind, k: int, lines_rc: Sequence[FloatArray], grid: Grid) -> Placement:
    for line in lines_rc:
        _check_finite(line)
        check_inside_image(line, grid)
    region = Region(
        kind=kind,
        grid=grid,
        offset=(k, 0, 0),
        mask=np.zeros((0, 0, 0), dtype=bool),
        outlines=tuple(Outline(k=k, points_rc=line) for line in lines_rc),
    )
    return Placement(measured=region, on_ct=region)


def _check_ellipsoid(shape: PatientEllipsoid, grid: Grid) -> None:
    """Refuse an ellipsoid that reaches beyond the slices: its outlines there would be missing unseen."""
    _check_finite(shape.axes_lps_mm)
    middle = float(shape.axes_lps_mm.mean(axis=(0, 1)) @ grid.normal)
    reach = float(np.linalg.norm((shape.axes_lps_mm[:, 1] - shape.axes_lps_mm[:, 0]) @ grid.normal)) / 2
    room = HALF * grid.slice_spacing_mm + STEP_TOLERANCE_MM
    positions = grid.plane_positions_mm
    ends = (middle - reach, middle + reach)
    beyond = [end for end in ends if not positions.min() - room <= end <= positions.max() + room]
    if beyond:
        apart = ends[1] < positions.min() or ends[0] > positions.max()
        refuse_missing(beyond, everything=bool(apart), grid=grid)
