from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from osteoscribe.core.geometry import Grid
from osteoscribe.core.region import Outline, Placement, Region, RegionKind
from osteoscribe.core.size import Doubt, NotMeasurable, Size, measure_size, outline_on_ct
from tests.core.phantoms import axial_grid, ellipsoid, random_phantom, region_of
from tests.examples import many

MASKS = arrays(np.bool_, st.tuples(*[st.integers(1, 5)] * 3)).filter(lambda mask: bool(mask.any()))


def size_of(region: Region, slice_thickness_mm: float | None = None) -> Size:
    size = measure_size(region, slice_thickness_mm)
    assert isinstance(size, Size)
    return size


def drawn(kind: RegionKind, *lines: object, pixel_mm: float = 0.5, step_mm: float = 1.0) -> Region:
    """Lines of (row, column) points, the nth on slice n for contours, all on slice 1 for calipers."""
    return Region(
        kind=kind,
        grid=axial_grid((8, 64, 64), pixel_mm, step_mm),
        offset=(0, 0, 0),
        mask=np.zeros((0, 0, 0), dtype=bool),
        outlines=tuple(
            Outline(k=k if kind is RegionKind.CONTOUR else 1, points_rc=np.array(line, dtype=float))
            for k, line in enumerate(lines)
        ),
    )


def block(*shape: int, pixel_mm: float = 1.0, step_mm: float = 1.0) -> Region:
    grid = axial_grid((shape[0] + 4, shape[1] + 4, shape[2] + 4), pixel_mm, step_mm)
    return region_of(np.ones(shape), grid, (2, 2, 2))


# Contours and calipers


def test_a_contour_is_measured_from_vertex_to_vertex_on_its_longest_slice() -> None:
    small = [(10, 10), (10, 14), (13, 12)]
    large = [(10, 10), (20, 30), (14, 26), (22, 12)]
    size = size_of(drawn(RegionKind.CONTOUR, small, large))
    assert size.long_axis_mm == pytest.approx(0.5 * np.hypot(10, 20), abs=1e-9)
    assert size.k == 1
    long_axis = size.endpoints_lps_mm[1] - size.endpoints_lps_mm[0]
    assert np.linalg.norm(long_axis) == pytest.approx(size.long_axis_mm)
    assert size.short_endpoints_lps_mm is not None
    assert abs(long_axis @ (size.short_endpoints_lps_mm[1] - size.short_endpoints_lps_mm[0])) < 1e-9
    assert size.volume_mm3 is None


@settings(max_examples=many(30))
@given(st.floats(2, 14), st.floats(0.3, 1), st.floats(0, 3.14))
def test_a_finely_drawn_ellipse_has_its_own_diameters(semi: float, ratio: float, turn: float) -> None:
    t = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    x, y = semi * np.cos(t), semi * ratio * np.sin(t)
    rc = np.column_stack([x * np.sin(turn) + y * np.cos(turn), x * np.cos(turn) - y * np.sin(turn)]) + 30
    size = size_of(drawn(RegionKind.CONTOUR, rc, pixel_mm=1.0))
    assert size.long_axis_mm == pytest.approx(2 * semi, abs=1e-3)
    if ratio < 0.99:
        assert size.short_axis_mm == pytest.approx(2 * semi * ratio, abs=2e-2)


def test_a_caliper_is_as_long_as_drawn() -> None:
    size = size_of(drawn(RegionKind.CALIPER, [(10, 10), (10, 20)], [(8, 15), (14, 15)]))
    assert (size.long_axis_mm, size.short_axis_mm) == (5.0, 3.0)
    assert (size.volume_mm3, size.maximum_3d_diameter_mm) == (None, None)
    assert size_of(drawn(RegionKind.CALIPER, [(10, 10), (10, 20)])).short_axis_mm is None


@pytest.mark.parametrize(
    ("length_mm", "whole"), [(4.49, 4), (4.5, 5), (5.49, 5), (5.5, 6), (9.5, 10), (20.49, 20), (20.5, 21)]
)
def test_whole_millimetres_are_rounded_half_up_once(length_mm: float, whole: int) -> None:
    line = [(10.0, 10.0), (10.0, 10.0 + length_mm / 0.5)]
    assert size_of(drawn(RegionKind.CALIPER, line)).whole_mm == whole


# Masks


@settings(max_examples=many(80))
@given(
    MASKS,
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.booleans()] * 4),
    st.sampled_from([0.3, 0.48828125, 0.7, 0.977, 1.0]),
    st.sampled_from([0.5, 1.25, 3.27, 5.0]),
)
def test_how_the_patient_lay_and_how_voxels_are_ordered_changes_no_length(
    mask: np.ndarray, seed: int, flips: tuple[bool, ...], pixel_mm: float, step_mm: float
) -> None:
    grid = axial_grid((mask.shape[0], mask.shape[1], mask.shape[2]), pixel_mm, step_mm)
    plain, turned = region_of(mask, grid), region_of(mask, _turned(grid, seed))
    for axis, flip in enumerate(flips[:3]):
        turned = _flipped(turned, axis) if flip else turned
    if flips[3]:
        turned = _transposed(turned)
    one, other = measure_size(plain), measure_size(turned)
    assert type(one) is type(other)
    if isinstance(one, Size) and isinstance(other, Size):
        assert one.whole_mm == other.whole_mm or abs(one.long_axis_mm % 1 - 0.5) < 1e-6
        for name in (
            "long_axis_mm",
            "short_axis_mm",
            "maximum_3d_diameter_mm",
            "volume_mm3",
            "mesh_volume_mm3",
        ):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6), name


def _turned(grid: Grid, seed: int) -> Grid:
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return replace(
        grid,
        origins_lps_mm=grid.origins_lps_mm @ turn.T + rng.uniform(-500, 500, 3),
        row_step_lps_mm=turn @ grid.row_step_lps_mm,
        column_step_lps_mm=turn @ grid.column_step_lps_mm,
        slice_step_lps_mm=turn @ grid.slice_step_lps_mm,
    )


def _flipped(region: Region, axis: int) -> Region:
    grid = region.grid
    if axis == 0:
        grid = replace(
            grid, origins_lps_mm=grid.origins_lps_mm[::-1], slice_step_lps_mm=-grid.slice_step_lps_mm
        )
    else:
        name = ("", "row_step_lps_mm", "column_step_lps_mm")[axis]
        step = getattr(grid, name)
        last = grid.origins_lps_mm + (grid.shape[axis] - 1) * step
        grid = replace(grid, origins_lps_mm=last, **{name: -step})
    return region_of(np.flip(region.mask, axis), grid)


def _transposed(region: Region) -> Region:
    grid = region.grid
    k, r, c = grid.shape
    grid = replace(
        grid,
        shape=(k, c, r),
        row_step_lps_mm=grid.column_step_lps_mm,
        column_step_lps_mm=grid.row_step_lps_mm,
    )
    return region_of(region.mask.transpose(0, 2, 1), grid)


@pytest.mark.slow
def test_masks_of_random_ellipsoids_are_measured_without_bias() -> None:
    rng = np.random.default_rng(20261122)
    errors_px: dict[bool, list[float]] = {True: [], False: []}
    while min(len(found) for found in errors_px.values()) < 300:
        sphere = len(errors_px[True]) <= len(errors_px[False])
        phantom = random_phantom(rng, sphere=sphere)
        if phantom is None or phantom.in_plane_mm < 4 * phantom.pixel_mm:
            continue
        size = measure_size(phantom.region)
        assert isinstance(size, Size)
        errors_px[sphere].append((size.long_axis_mm - phantom.in_plane_mm) / phantom.pixel_mm)
    for found in errors_px.values():
        assert abs(np.mean(found)) < 0.1
        assert np.percentile(np.abs(found), 95) < 0.6


def test_the_uncertainty_holds_for_the_full_diameter_of_round_lesions() -> None:
    rng = np.random.default_rng(7)
    held = []
    while len(held) < 300:
        phantom = random_phantom(rng, sphere=True)
        size = None if phantom is None else measure_size(phantom.region)
        if phantom is not None and isinstance(size, Size) and size.uncertainty_mm is not None:
            held.append(abs(size.long_axis_mm - phantom.full_mm) <= size.uncertainty_mm)
    assert np.mean(held) >= 0.95


def test_a_volume_by_voxels_is_that_of_the_shape_on_average() -> None:
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(60):
        phantom = ellipsoid((4, 3, 5), pixel_mm=0.6, step_mm=0.8, rng=rng)
        assert phantom is not None
        ratios.append(float(size_of(phantom.region).volume_mm3 or 0) / phantom.volume_mm3)
    assert np.mean(ratios) == pytest.approx(1, abs=0.01)


def test_the_axes_of_a_mask_are_perpendicular_and_as_long_as_their_ends_are_apart() -> None:
    phantom = ellipsoid((7, 4, 4), pixel_mm=0.7, step_mm=1.0, rng=np.random.default_rng(1))
    assert phantom is not None
    size = size_of(phantom.region)
    assert size.short_endpoints_lps_mm is not None
    long_axis, short_axis = (
        ends[1] - ends[0] for ends in (size.endpoints_lps_mm, size.short_endpoints_lps_mm)
    )
    assert np.linalg.norm(long_axis) == pytest.approx(size.long_axis_mm, abs=1e-6)
    assert np.linalg.norm(short_axis) == pytest.approx(size.short_axis_mm, abs=1e-6)
    assert abs(long_axis @ short_axis) < 1e-6
    middle = size.endpoints_lps_mm.mean(axis=0) @ phantom.region.grid.normal
    assert middle == pytest.approx(phantom.region.grid.plane_positions_mm[size.k])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1)])
def test_a_mask_under_two_pixels_across_is_not_measurable(shape: tuple[int, int, int]) -> None:
    found = measure_size(block(*shape))
    assert isinstance(found, NotMeasurable)
    assert found.code == "roi.too-small"


def test_a_single_row_of_pixels_is_measured_one_pixel_broad() -> None:
    size = size_of(block(1, 1, 9, pixel_mm=0.5))
    assert size.short_axis_mm == pytest.approx(0.5, rel=0.05)
    assert 4.0 <= size.long_axis_mm <= 5.0


@given(st.floats(0, 3.14), st.floats(4, 25), st.floats(1, 3))
def test_a_line_of_pixels_is_not_lengthened_by_more_than_its_pixels(
    turn: float, length: float, breadth: float
) -> None:
    r, c = np.mgrid[-15:16, -15:16]
    along, across = r * np.sin(turn) + c * np.cos(turn), r * np.cos(turn) - c * np.sin(turn)
    mask = (abs(along) <= length / 2) & (abs(across) <= breadth / 2)
    size = size_of(region_of(mask[None], axial_grid((1, 31, 31), 1.0, 1.0)))
    assert abs(size.long_axis_mm - length) < 2.5


def test_a_point_has_no_size() -> None:
    found = measure_size(drawn(RegionKind.POINT, [(5, 5)]))
    assert isinstance(found, NotMeasurable)
    assert found.code == "roi.no-size"


def test_an_image_without_pixel_spacing_gives_no_size() -> None:
    region = block(2, 5, 5)
    grid = replace(region.grid, row_step_lps_mm=np.zeros(3), column_step_lps_mm=np.zeros(3))
    found = measure_size(region_of(region.mask, grid, region.offset))
    assert isinstance(found, NotMeasurable)
    assert found.code == "ct.no-pixel-spacing"


# Volume and spacing


def test_the_volume_counts_the_local_step_between_slices() -> None:
    region = block(3, 4, 4, pixel_mm=0.5, step_mm=1.25)
    far = np.vstack([region.grid.origins_lps_mm[:1] - [0, 0, 200], region.grid.origins_lps_mm])
    grid = replace(region.grid, shape=(8, 8, 8), origins_lps_mm=far)
    moved = region_of(region.mask, grid, (3, 2, 2))
    assert size_of(moved).volume_mm3 == pytest.approx(48 * 0.25 * 1.25)


def test_unevenly_spaced_slices_count_half_way_to_their_neighbours_and_are_doubted() -> None:
    region = block(3, 4, 4)
    origins = region.grid.origins_lps_mm.copy()
    origins[4:, 2] += 0.4
    grid = replace(region.grid, origins_lps_mm=origins)
    size = size_of(replace(region, grid=grid, uneven=True))
    assert size.volume_mm3 == pytest.approx(16 * (1 + 1.2 + 1.4))
    assert Doubt.UNEVEN_SLICES in size.doubts


def test_slices_of_a_tilted_gantry_are_as_high_as_the_planes_are_apart() -> None:
    region = block(4, 6, 6)
    shear = np.arange(8)[:, None] * np.array([0.0, 0.3, 0.0])
    grid = replace(
        region.grid,
        origins_lps_mm=region.grid.origins_lps_mm + shear,
        slice_step_lps_mm=region.grid.slice_step_lps_mm + np.array([0.0, 0.3, 0.0]),
    )
    size, straight = size_of(replace(region, grid=grid)), size_of(region)
    assert size.volume_mm3 == pytest.approx(straight.volume_mm3)
    assert size.long_axis_mm == pytest.approx(straight.long_axis_mm)


def test_the_3d_diameter_is_never_shorter_than_the_long_axis() -> None:
    for seed in range(20):
        phantom = random_phantom(np.random.default_rng(seed), sphere=False)
        size = None if phantom is None else measure_size(phantom.region)
        if isinstance(size, Size):
            assert size.maximum_3d_diameter_mm is not None
            assert size.maximum_3d_diameter_mm >= size.long_axis_mm


# Doubts


@pytest.mark.parametrize(
    ("length_mm", "borderline"), [(4.999, False), (5.0, True), (5.999, True), (6.0, False)]
)
def test_lengths_around_the_limit_are_borderline(length_mm: float, borderline: bool) -> None:
    size = size_of(drawn(RegionKind.CALIPER, [(10, 10), (10, 10 + 2 * length_mm)]))
    assert (Doubt.BORDERLINE in size.doubts) == borderline


def test_slices_thicker_than_half_the_diameter_are_doubted() -> None:
    line = [(10, 10), (10, 26)]
    assert Doubt.THICK_SLICES not in size_of(drawn(RegionKind.CALIPER, line), 4.0).doubts
    assert Doubt.THICK_SLICES in size_of(drawn(RegionKind.CALIPER, line), 4.1).doubts
    assert Doubt.THICK_SLICES in size_of(drawn(RegionKind.CALIPER, line, step_mm=5.0)).doubts


def test_a_mark_under_three_pixels_across_is_doubted() -> None:
    assert Doubt.FEW_PIXELS in size_of(block(3, 2, 2)).doubts
    assert Doubt.FEW_PIXELS not in size_of(block(4, 4, 4)).doubts


# The outline for the report


def placed(region: Region) -> Placement:
    return Placement(measured=region, on_ct=region)


def test_the_outline_of_a_mask_is_that_of_the_slice_of_the_long_axis() -> None:
    mask = np.zeros((3, 8, 8), dtype=bool)
    mask[0, 2:4, 2:4] = mask[2, 2:4, 2:4] = mask[1, 1:7, 1:7] = True
    region = region_of(mask, axial_grid((9, 20, 20), 1.0, 1.0), (4, 5, 6))
    outline = outline_on_ct(placed(region), size_of(region))
    assert outline is not None
    assert outline.k == 5
    assert outline.points_rc.min(axis=0).tolist() == [5.5, 6.5]
    assert outline.points_rc.max(axis=0).tolist() == [11.5, 12.5]


def test_a_mask_of_another_grid_is_outlined_on_the_nearest_ct_slice() -> None:
    own = block(5, 6, 6, step_mm=1.0)
    ct = region_of(np.ones((2, 6, 6)), axial_grid((4, 10, 10), 1.0, 3.0), (1, 2, 2))
    outline = outline_on_ct(Placement(measured=own, on_ct=ct), size_of(own))
    assert outline is not None
    assert outline.k == 1


def test_a_mark_without_size_is_outlined_where_it_is_largest() -> None:
    region = block(1, 1, 1)
    outline = outline_on_ct(placed(region), None)
    assert outline is not None
    assert len(outline.points_rc) == 4


def test_a_mark_between_the_pixel_centres_of_the_ct_has_no_outline() -> None:
    nothing = region_of(np.zeros((0, 0, 0)), axial_grid((4, 10, 10), 1.0, 3.0))
    assert outline_on_ct(Placement(measured=block(3, 3, 3), on_ct=nothing), size_of(block(3, 3, 3))) is None


def test_the_line_of_a_caliper_is_its_outline() -> None:
    region = drawn(RegionKind.CALIPER, [(10, 10), (10, 20)], [(8, 15), (14, 15)])
    assert outline_on_ct(placed(region), size_of(region)) is region.outlines[0]


@settings(max_examples=many(200))
@given(MASKS)
def test_short_axis_of_any_mask_is_never_longer_than_its_long_axis(mask: np.ndarray) -> None:
    size = measure_size(region_of(mask, axial_grid(mask.shape, 0.7, 1.0)))
    if isinstance(size, Size):
        assert size.short_axis_mm is not None
        assert size.short_axis_mm <= size.long_axis_mm


def test_short_axis_of_a_square_is_not_longer_than_its_diagonal() -> None:
    size = size_of(block(1, 16, 16, pixel_mm=0.488))
    assert size.short_axis_mm == pytest.approx(size.long_axis_mm)
