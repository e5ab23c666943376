"""Longest and perpendicular diameter, volume; never sees voxel values.

What is measured on masks, contours and calipers, and how well, is told in ``docs/measurement.md``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from osteoscribe.core.coverage import GAP
from osteoscribe.core.diameter import Diameters, longest_of, of_masks, of_points
from osteoscribe.core.geometry import FloatArray, Grid
from osteoscribe.core.mesh import longest_3d, mesh_volume
from osteoscribe.core.polygon import outlines
from osteoscribe.core.region import Outline, Placement, Region, RegionKind
from osteoscribe.core.units import CubicMillimetre, Millimetre, WholeMillimetre, round_half_up

MINIMUM_PIXELS = 2.0
"""A mark that measures less than this many pixels across has no size."""
FEW_PIXELS = 3.0
"""A mark that measures less than this many pixels across is doubtful."""
BORDERLINE_MM = (5.0, 6.0)
"""Unrounded long axes in [5.0, 6.0) mm lie around the limit of the 5 mm rules."""
DRAWN_ENDS_PX = 0.78
"""95 % limit of the error of a length whose two ends are each rounded to a pixel."""

METHODS = {
    RegionKind.MASK: "longest in-plane diameter of the pixel mask, corrected for digitisation, and longest "
    "perpendicular to it",
    RegionKind.CONTOUR: "longest in-plane diameter from contour vertex to contour vertex, and longest "
    "perpendicular to it",
    RegionKind.CALIPER: "length of the caliper as drawn",
}


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
        Volume by counting voxels, or None where the mark has no area or is an outline on one image alone.
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


def measure_size(region: Region, slice_thickness_mm: float | None = None) -> Size | NotMeasurable:
    """Size of a mark laid on a grid.

    Parameters
    ----------
    region
        The mark on the grid that it is measured on.
    slice_thickness_mm
        SliceThickness of the CT, where it is known; else the slice spacing of the grid stands for it.

    Returns
    -------
    Size or NotMeasurable
        `NotMeasurable` for points, for marks under two pixels across and without pixel spacing.
    """
    grid = region.grid
    spacing = max(grid.row_spacing_mm, grid.column_spacing_mm)
    if region.kind is RegionKind.POINT:
        return NotMeasurable(
            code="roi.no-size",
            reason="The mark is a point: it has a place but no size. Mark the lesion with a contour, a "
            "segmentation or a length.",
        )
    if not (np.isfinite(spacing) and spacing > 0):
        return NotMeasurable(
            code="ct.no-pixel-spacing",
            reason="The image has no pixel spacing: lengths in mm cannot be known. Measure by hand.",
        )
    plane = _Plane.of(grid)
    found = _longest_slice(region, plane)
    if found is None or _clean(found[1].long_mm) < _clean(MINIMUM_PIXELS * spacing):
        across = found[1].long_mm / spacing if found else 0.0
        return NotMeasurable(
            code="roi.too-small",
            reason=f"The mark is {across:.1f} pixels across; at least {MINIMUM_PIXELS:.0f} are needed for a "
            "size. Measure by hand.",
        )
    return _size(region, plane, *found, slice_thickness_mm or grid.slice_spacing_mm)


def _size(region: Region, plane: _Plane, k: int, diameters: Diameters, thickness_mm: float) -> Size:
    origin = region.grid.origins_lps_mm[k]
    long_axis = _clean(diameters.long_mm)
    solid = region.kind is not RegionKind.CALIPER and region.mask.any() and not region.flat
    heights = _layer_heights(region) if solid else None
    volume = mesh = None
    if heights is not None:
        volume = _volume(region.mask, heights) * plane.pixel_area
        mesh = mesh_volume(region.mask, pixel_area=plane.pixel_area, layer_heights=heights)
    return Size(
        long_axis_mm=Millimetre(long_axis),
        short_axis_mm=None if diameters.short_mm is None else Millimetre(_clean(diameters.short_mm)),
        maximum_3d_diameter_mm=Millimetre(max(long_axis, _longest_3d(region, heights))) if solid else None,
        volume_mm3=None if volume is None else CubicMillimetre(_clean(volume)),
        mesh_volume_mm3=None if mesh is None else CubicMillimetre(_clean(mesh)),
        whole_mm=round_half_up(long_axis),
        k=k,
        endpoints_lps_mm=origin + np.array(diameters.long_ends) @ plane.basis,
        short_endpoints_lps_mm=None
        if diameters.short_ends is None
        else origin + np.array(diameters.short_ends) @ plane.basis,
        method=METHODS[region.kind],
        uncertainty_mm=Millimetre(_uncertainty(region, plane, long_axis, thickness_mm)),
        doubts=tuple(_doubts(region, long_axis, thickness_mm)),
    )


def _clean(number: float) -> float:
    """Without the noise of the last float digits, which depends on how the patient lay."""
    return round(number, 9)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plane:
    """The mm axes of the slices of a grid.

    Parameters
    ----------
    basis
        (2, 3), orthogonal unit vectors along a row, and down.
    steps_mm
        (2, 2), the steps to the next row and to the next column in these axes.
    pixel_area
        In mm2.
    """

    basis: FloatArray
    steps_mm: FloatArray
    pixel_area: float

    @staticmethod
    @lru_cache(maxsize=4)  # marks share their grid
    def of(grid: Grid) -> _Plane:
        right = grid.column_step_lps_mm / grid.column_spacing_mm
        down = grid.row_step_lps_mm - (grid.row_step_lps_mm @ right) * right
        basis = np.array([right, down / np.linalg.norm(down)])
        steps = np.array([grid.row_step_lps_mm @ basis.T, grid.column_step_lps_mm @ basis.T])
        (a, b), (c, d) = steps.tolist()
        return _Plane(basis=basis, steps_mm=steps, pixel_area=abs(a * d - b * c))

    def to_mm(self, points_rc: npt.ArrayLike) -> FloatArray:
        """Index coordinates (n, 2) of a slice in these axes."""
        return np.asarray(points_rc, dtype=np.float64) @ self.steps_mm


def _longest_slice(region: Region, plane: _Plane) -> tuple[int, Diameters] | None:
    """Slice and diameters of the longest in-plane diameter; None where there is nothing to measure."""
    if region.kind is RegionKind.MASK:
        used = np.flatnonzero(region.mask.any(axis=(1, 2)))
        if not len(used):
            return None
        best, found = of_masks(region.mask[used], plane.steps_mm)
        return region.offset[0] + int(used[best]), found.moved(*plane.to_mm(region.offset[1:]).tolist())
    if region.kind is RegionKind.CALIPER:
        lines = [plane.to_mm(line.points_rc).tolist() for line in region.outlines]
        return region.outlines[0].k, Diameters.of_lines(*[(tuple(a), tuple(b)) for a, b in lines])
    slices = sorted({outline.k for outline in region.outlines})
    drawn = [
        of_points(np.concatenate([plane.to_mm(line.points_rc) for line in region.outlines if line.k == k]))
        for k in slices
    ]
    best = longest_of(drawn)
    return slices[best], drawn[best]


def _layer_heights(region: Region) -> FloatArray | None:
    """(slices + 1,) distance in mm from each slice of the mask to the one before it; None without a spacing.

    Beside the mark, and across a gap in its slices, the spacing of its other slices counts.
    """
    usual = region.grid.slice_spacing_mm
    steps = np.abs(np.diff(region.grid.plane_positions_mm[region.box[0]]))
    near = steps[steps <= GAP * usual] if usual > 0 else steps
    local = statistics.median(near.tolist()) if len(near) else usual
    if not local > 0:
        return None
    inner = np.where(steps > GAP * local, local, steps)
    ends = inner if len(inner) else np.array([local])
    return np.concatenate([ends[:1], inner, ends[-1:]])


def _volume(mask: npt.NDArray[np.bool_], layer_heights: FloatArray) -> float:
    """Voxels counted, each as high as half way to the next slice on either side; pixels have an area of 1."""
    heights = (layer_heights[:-1] + layer_heights[1:]) / 2
    return float(np.count_nonzero(mask, axis=(1, 2)) @ heights)


def _longest_3d(region: Region, heights: FloatArray | None) -> float:
    grid = region.grid
    positions = grid.origins_lps_mm[region.box[0]]
    scale = 1.0 if heights is None else statistics.median(heights.tolist()) / grid.slice_spacing_mm
    steps = np.array([grid.slice_step_lps_mm * scale, grid.row_step_lps_mm, grid.column_step_lps_mm])
    return _clean(longest_3d(region.mask, positions_mm=positions, steps_mm=steps))


def _uncertainty(region: Region, plane: _Plane, long_axis_mm: float, thickness_mm: float) -> float:
    """Expected error of the long axis (about 95 %) in mm, from pixels and slices; not that of the reader.

    In the plane: of masks a pixel over the cube root of the length in pixels, as the error of rasterised
    ellipses runs; of drawn ends, each known to half a pixel, 0.78 pixel. Across: a round lesion of which a
    slice shows this diameter measures up to hypot(diameter, slice distance) between the slices.
    """
    pixel = math.sqrt(plane.pixel_area)
    in_plane = DRAWN_ENDS_PX * pixel
    if region.kind is RegionKind.MASK:
        in_plane = pixel * math.cbrt(pixel / long_axis_mm)
    across = math.hypot(long_axis_mm, max(thickness_mm, region.grid.slice_spacing_mm)) - long_axis_mm
    return _clean(math.hypot(in_plane, across))


def _doubts(region: Region, long_axis_mm: float, thickness_mm: float) -> Iterator[Doubt]:
    if BORDERLINE_MM[0] <= long_axis_mm < BORDERLINE_MM[1]:
        yield Doubt.BORDERLINE
    if thickness_mm > long_axis_mm / 2:
        yield Doubt.THICK_SLICES
    if long_axis_mm < _clean(FEW_PIXELS * max(region.grid.row_spacing_mm, region.grid.column_spacing_mm)):
        yield Doubt.FEW_PIXELS
    if region.uneven:
        yield Doubt.UNEVEN_SLICES


def outline_on_ct(placement: Placement, size: Size | None) -> Outline | None:
    """Choose the outline to draw on the CT: on the slice of the long axis, or the nearest with a mark.

    Parameters
    ----------
    placement
        The mark on the CT's grid.
    size
        Its size, or None where it is not measurable: then the slice with the largest outline is taken.

    Returns
    -------
    Outline or None
        The largest closed outline of that slice, the line of a caliper's long axis or the place of a point;
        None where no pixel centre of the CT lies inside the mark.
    """
    region = placement.on_ct
    if region.kind in (RegionKind.CALIPER, RegionKind.POINT):
        return region.outlines[0]
    extents = _extents(region)
    if not extents:
        return None
    if size is None:
        k = max(extents, key=lambda k: (extents[k], -k))
    else:
        at = float(np.mean(size.endpoints_lps_mm @ region.grid.normal))
        positions = region.grid.plane_positions_mm.tolist()
        k = min(extents, key=lambda k: (round(abs(positions[k] - at), 6), k))
    lines = _traced(region, k) if region.kind is RegionKind.MASK else _drawn_on(region, k)
    return max(lines, key=_enclosed)


def _extents(region: Region) -> dict[int, float]:
    """Slices that a mask or a contour touches, and how much of each, in pixels."""
    if region.kind is RegionKind.MASK:
        counts = region.mask.sum(axis=(1, 2)).tolist() if region.mask.size else []
        return {region.offset[0] + k: float(count) for k, count in enumerate(counts) if count}
    return {line.k: max(map(_enclosed, _drawn_on(region, line.k))) for line in region.outlines}


def _drawn_on(region: Region, k: int) -> list[Outline]:
    return [line for line in region.outlines if line.k == k]


def _traced(region: Region, k: int) -> list[Outline]:
    first_k, first_r, first_c = region.offset
    loops, _ = outlines(region.mask[k - first_k])
    return [Outline(k=k, points_rc=loop + np.array([first_r, first_c])) for loop in loops]


def _enclosed(line: Outline) -> float:
    """Enclosed area in pixels."""
    following = np.concatenate([line.points_rc[1:], line.points_rc[:1]])
    return float(
        abs(np.sum(line.points_rc[:, 0] * following[:, 1] - line.points_rc[:, 1] * following[:, 0])) / 2
    )
