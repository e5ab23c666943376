from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from osteoscribe.core.geometry import Grid
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
    Shape,
)
from osteoscribe.core.placement import place
from osteoscribe.core.region import Placement, RegionKind
from osteoscribe.core.series import SeriesIndex
from osteoscribe.core.size import Size, measure_size
from osteoscribe.errors import InputError
from tests.core.phantoms import FAR_MM, axial_grid, ellipsoid
from tests.core.real_cases import index_of, mark_of

GRID = axial_grid((10, 40, 50), 0.5, 2.0)
SQUARE = np.array([(5.0, 5.0), (9.0, 5.0), (9.0, 9.0), (5.0, 9.0)])
"""(x, y) mm from the first pixel centre."""


def at(z: float, square: np.ndarray = SQUARE) -> np.ndarray:
    """The square at a height over the first slice, in LPS mm."""
    return np.column_stack([square, np.full(len(square), z)]) + FAR_MM


def contours(*heights: float) -> PatientContours:
    return PatientContours(contours_lps_mm=tuple(at(z) for z in heights), images=(None,) * len(heights))


def on(shape: Shape, grid: Grid = GRID, frame: str | None = "1.2.3.9", **mark: str) -> Placement:
    return place(mark_of(shape, frame, **mark), index_of(grid))


def refused(shape: Shape, grid: Grid = GRID, frame: str | None = "1.2.3.9") -> InputError:
    with pytest.raises(InputError) as caught:
        on(shape, grid, frame)
    return caught.value


def image(k: int, frame: int | None = None) -> InstanceRef:
    return InstanceRef(sop_class_uid="1.2", sop_instance_uid=f"1.2.3.{k}", frame_number=frame)


# Contours in patient space


@pytest.mark.parametrize("off", [0.0, 0.001, -0.3, 0.99])
def test_a_contour_goes_to_the_nearest_slice_within_half_a_step(off: float) -> None:
    region = on(contours(6.0 + off)).measured
    assert (region.kind, region.offset, region.mask.shape) == (RegionKind.CONTOUR, (3, 10, 10), (1, 8, 8))
    assert region.mask.all()


def test_a_contour_off_every_slice_is_refused_as_outside() -> None:
    error = refused(contours(-3.0, -5.0))
    assert error.code == "roi.outside-images"
    assert "840.00 to 858.00 mm" in error.message


def test_contours_on_slices_that_are_not_there_are_counted_and_named() -> None:
    error = refused(contours(16.0, 18.0, 20.0, 22.0))
    assert error.code == "roi.missing-slices"
    assert error.message.startswith("2 slice positions")
    assert "860.00, 862.00" in error.message


def _gapped(step: float) -> Grid:
    origins = GRID.origins_lps_mm.copy()
    origins[4:, 2] += step
    return replace(GRID, origins_lps_mm=origins)


def test_a_mark_over_a_gap_in_the_slices_is_refused() -> None:
    grid = _gapped(2.0)
    error = refused(contours(4.0, 6.0, 10.0, 12.0), grid)
    assert error.code == "roi.missing-slices"
    assert "846.00 to 850.00" in error.message


def test_a_mark_beside_a_gap_is_placed() -> None:
    region = on(contours(10.0, 12.0), _gapped(2.0)).measured
    assert region.offset[0] == 4


def test_a_mark_on_or_beside_uneven_slices_says_so() -> None:
    assert on(contours(4.0, 6.0, 8.5), _gapped(0.5)).measured.uneven
    assert on(contours(4.0, 6.0), _gapped(0.5)).measured.uneven
    assert on(contours(10.0, 12.0), _gapped(2.0)).measured.uneven
    assert not on(contours(2.0, 4.0), _gapped(0.5)).measured.uneven


def test_an_outline_drawn_on_one_image_has_an_area_but_no_volume() -> None:
    square = np.array([(5.0, 5.0), (9.0, 5.0), (9.0, 9.0), (5.0, 9.0)])
    one = on(ImageContours(contours_px=(square,), images=(image(2),))).measured
    two = on(ImageContours(contours_px=(square, square), images=(image(2), image(3)))).measured
    in_space = on(replace(contours(4.0), sections=False)).measured
    section = on(contours(4.0)).measured
    sizes = [measure_size(region) for region in (one, in_space, two, section)]
    assert one.mask.sum() == 16
    volumes = [
        (size.volume_mm3, size.mesh_volume_mm3, size.maximum_3d_diameter_mm)
        for size in sizes
        if isinstance(size, Size)
    ]
    assert volumes[:2] == [(None, None, None)] * 2
    assert len(volumes) == 4 and all(None not in found for found in volumes[2:])


def test_a_contour_across_the_slices_is_refused() -> None:
    shape = contours(6.0)
    tilted = shape.contours_lps_mm[0] + np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1.5], [0, 0, 1.5]])
    assert refused(PatientContours(contours_lps_mm=(tilted,), images=(None,))).code == "roi.not-parallel"


def test_coordinates_that_are_no_numbers_are_refused() -> None:
    broken = at(6.0)
    broken[0, 1] = np.nan
    assert refused(PatientContours(contours_lps_mm=(broken,), images=(None,))).code == "roi.bad-coordinates"


@pytest.mark.parametrize("points", [0, 2])
def test_contours_without_an_area_are_refused_as_empty(points: int) -> None:
    assert refused(PatientContours(contours_lps_mm=(at(6.0)[:points],), images=(None,))).code == "roi.empty"


def test_a_contour_beside_the_image_is_refused() -> None:
    shape = PatientContours(contours_lps_mm=(at(6.0, SQUARE - 7.0),), images=(None,))
    assert refused(shape).code == "roi.outside-images"


def test_an_inner_contour_is_a_hole() -> None:
    inner = at(6.0, (SQUARE - 7) / 2 + 7)
    shape = PatientContours(contours_lps_mm=(at(6.0), inner), images=(None, None))
    assert on(shape).measured.mask.sum() == 64 - 16


def test_slices_between_those_of_a_mark_are_counted_in_a_remark() -> None:
    placement = on(contours(4.0, 8.0))
    assert placement.measured.mask.sum(axis=(1, 2)).tolist() == [64, 0, 64]
    assert placement.remarks[0].startswith("1 slices between")


def test_a_contour_between_pixel_centres_has_a_size_but_no_pixels() -> None:
    thin = np.array([(5.1, 5.1), (9.1, 5.1), (9.1, 5.4), (5.1, 5.4)])
    placement = on(PatientContours(contours_lps_mm=(at(6.0, thin),), images=(None,)))
    assert not placement.on_ct.mask.any()
    size = measure_size(placement.measured)
    assert isinstance(size, Size)
    assert size.long_axis_mm == pytest.approx(np.hypot(4.0, 0.3))
    assert size.volume_mm3 is None


# Frames of reference


def test_a_mark_of_another_frame_of_reference_is_refused() -> None:
    assert refused(contours(6.0), frame="1.2.3.8").code == "roi.frame-of-reference-differs"


def test_a_mark_without_frame_of_reference_needs_a_reference_to_the_images() -> None:
    assert refused(contours(6.0), frame=None).code == "roi.frame-of-reference-missing"
    assert on(contours(6.0), frame=None, referenced_series_uid="1.2.2").measured.mask.any()
    named = PatientContours(contours_lps_mm=(at(6.0),), images=(image(3),))
    assert on(named, frame=None).measured.mask.any()


# Drawn on images


def test_pixel_coordinates_count_from_the_outer_corner() -> None:
    drawn = np.array([(10, 20), (14, 20), (14, 23), (10, 23)], dtype=float)
    region = on(ImageContours(contours_px=(drawn,), images=(image(3),))).measured
    assert (region.offset, region.mask.shape) == ((3, 20, 10), (1, 3, 4))
    assert region.mask.all()
    assert region.outlines[0].points_rc[0].tolist() == [19.5, 9.5]


def test_a_mark_on_an_image_of_another_series_is_refused() -> None:
    shape = ImageContours(contours_px=(SQUARE,), images=(image(77),))
    assert refused(shape).code == "roi.image-not-in-series"


def test_a_mark_on_an_image_that_is_no_slice_says_why() -> None:
    index = replace(index_of(GRID), left_out=((image(77), "localizer"),))
    with pytest.raises(InputError, match="localizer"):
        place(mark_of(PointMark(image=image(77), point_px=np.array([3.0, 4.0]))), index)


def _multiframe() -> SeriesIndex:
    index = index_of(GRID)
    frames = tuple(replace(s, ref=image(0, k + 1)) for k, s in enumerate(index.slices))
    return replace(index, slices=frames)


def test_a_frame_of_a_multi_frame_image_is_found() -> None:
    mark = mark_of(PointMark(image=image(0, 7), point_px=np.array([3.0, 4.0])))
    assert place(mark, _multiframe()).measured.outlines[0].k == 6


def test_a_mark_on_a_multi_frame_image_needs_a_frame_number() -> None:
    with pytest.raises(InputError) as caught:
        place(mark_of(PointMark(image=image(0), point_px=np.array([3.0, 4.0]))), _multiframe())
    assert caught.value.code == "roi.frame-number-missing"


def test_lengths_on_an_image_and_in_space_are_alike() -> None:
    drawn = Caliper(
        image=image(3),
        long_axis_px=np.array([(10.5, 10.5), (22.5, 10.5)]),
        short_axis_px=np.array([(15.5, 8.5), (15.5, 14.5)]),
    )
    space = PatientCaliper(
        long_axis_lps_mm=at(6.2, np.array([(5.0, 5.0), (11.0, 5.0)])),
        short_axis_lps_mm=at(6.2, np.array([(7.5, 4.0), (7.5, 7.0)])),
    )
    for shape in (drawn, space):
        placement = on(shape)
        size = measure_size(placement.measured)
        assert isinstance(size, Size)
        assert (size.long_axis_mm, size.short_axis_mm, size.k) == (6.0, 3.0, 3)
        assert placement.on_ct.mask.size == 0


def test_a_length_across_slices_is_refused() -> None:
    ends = np.array([(5.0, 5.0, 4.0), (8.0, 5.0, 8.0)]) + FAR_MM
    assert refused(PatientCaliper(long_axis_lps_mm=ends)).code == "roi.not-parallel"


def test_a_point_in_space_lies_on_its_nearest_slice() -> None:
    region = on(PatientPoint(point_lps_mm=FAR_MM + np.array([5.0, 7.5, 6.4]))).measured
    assert (region.kind, region.outlines[0].k) == (RegionKind.POINT, 3)
    assert region.outlines[0].points_rc == pytest.approx(np.array([(15.0, 10.0)]))


def _ball(z: float, radius: float = 4.0) -> PatientEllipsoid:
    middle = FAR_MM + np.array([10.0, 10.0, z])
    return PatientEllipsoid(
        axes_lps_mm=np.array([(middle - radius * e, middle + radius * e) for e in np.eye(3)])
    )


def test_an_ellipsoid_is_measured_on_the_slices_that_cut_it() -> None:
    size = measure_size(on(_ball(8.0)).measured)
    assert isinstance(size, Size)
    assert size.long_axis_mm == pytest.approx(8.0, abs=1e-3)
    assert size.k == 4


def test_an_ellipsoid_that_reaches_beyond_the_slices_is_refused() -> None:
    assert refused(_ball(17.0)).code == "roi.missing-slices"
    assert refused(_ball(40.0)).code == "roi.outside-images"


# Masks


def mask_on(grid: Grid, mask: np.ndarray) -> MaskShape:
    return MaskShape(grid=grid, mask=mask, images=(None,) * len(mask))


def _cube(shape: tuple[int, int, int], box: tuple[slice, slice, slice]) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[box] = True
    return mask


def test_a_mask_on_the_pixels_of_the_ct_is_taken_as_it_is() -> None:
    placement = on(mask_on(GRID, _cube(GRID.shape, (slice(3, 6), slice(10, 14), slice(20, 27)))))
    assert placement.measured is placement.on_ct
    assert (placement.on_ct.offset, placement.on_ct.mask.shape) == ((3, 10, 20), (3, 4, 7))
    assert placement.remarks == ()


def test_a_mask_without_the_empty_frames_and_rows_of_the_ct_lies_at_the_same_place() -> None:
    part = replace(
        GRID,
        shape=(2, 6, 9),
        origins_lps_mm=GRID.origins_lps_mm[[3, 5]] + 8 * GRID.row_step_lps_mm + 18 * GRID.column_step_lps_mm,
    )
    region = on(mask_on(part, np.ones((2, 6, 9), dtype=bool))).measured
    assert (region.offset, region.mask.shape) == ((3, 8, 18), (3, 6, 9))
    assert region.mask.any(axis=(1, 2)).tolist() == [True, False, True]


def test_a_finer_mask_is_measured_on_its_own_grid_and_laid_on_the_ct() -> None:
    phantom = ellipsoid((6, 5, 5), pixel_mm=0.3, step_mm=0.7, rng=np.random.default_rng(2))
    assert phantom is not None
    own = phantom.region.grid
    shift = np.array([2.2, 1.1, 1.3])
    moved = replace(own, origins_lps_mm=own.origins_lps_mm + shift)
    placement = on(mask_on(moved, phantom.region.mask))
    size = measure_size(placement.measured)
    assert isinstance(size, Size)
    assert size.long_axis_mm == pytest.approx(phantom.in_plane_mm, abs=0.3)
    ct_volume = placement.on_ct.mask.sum() * 0.25 * 2.0
    assert ct_volume == pytest.approx(phantom.volume_mm3, rel=0.05)
    assert "a grid of its own" in placement.remarks[0]


def test_each_ct_voxel_of_a_mask_of_another_orientation_is_the_one_at_its_place() -> None:
    mask = np.random.default_rng(5).random((6, 12, 8)) < 0.5
    sagittal = Grid(
        shape=(6, 12, 8),
        origins_lps_mm=FAR_MM + np.array([8.0, 6.0, 2.0]) + np.arange(6)[:, None] * np.array([0.5, 0, 0]),
        row_step_lps_mm=np.array([0.0, 0.5, 0.0]),
        column_step_lps_mm=np.array([0.0, 0.0, 2.0]),
        slice_step_lps_mm=np.array([0.5, 0.0, 0.0]),
        frame_of_reference_uid="1.2.3.9",
    )
    placement = on(mask_on(sagittal, mask))
    whole = np.zeros(GRID.shape, dtype=bool)
    whole[placement.on_ct.box] = placement.on_ct.mask
    assert np.array_equal(whole[1:9, 12:24, 16:22], mask.transpose(2, 1, 0))
    assert whole.sum() == mask.sum()


def test_a_mask_finer_than_the_ct_may_hold_no_ct_voxel() -> None:
    grid = replace(
        axial_grid((3, 3, 3), 0.1, 0.1), origins_lps_mm=axial_grid((3, 3, 3), 0.1, 0.1).origins_lps_mm + 0.6
    )
    placement = on(mask_on(grid, np.ones((3, 3, 3), dtype=bool)))
    assert not placement.on_ct.mask.any()
    assert isinstance(measure_size(placement.measured), Size)


def test_a_mask_without_a_pixel_is_refused() -> None:
    assert refused(mask_on(GRID, np.zeros(GRID.shape, dtype=bool))).code == "roi.empty"


def test_a_mask_beyond_the_slices_or_pixels_is_refused() -> None:
    below = replace(GRID, origins_lps_mm=GRID.origins_lps_mm - [0, 0, 7.0])
    mask = _cube(GRID.shape, (slice(0, 6), slice(10, 14), slice(20, 27)))
    assert refused(mask_on(below, mask)).code == "roi.missing-slices"
    far = replace(GRID, origins_lps_mm=GRID.origins_lps_mm - [0, 0, 70.0])
    assert refused(mask_on(far, mask)).code == "roi.outside-images"
    beside = replace(GRID, origins_lps_mm=GRID.origins_lps_mm - [0, 10.0, 0.7])
    assert refused(mask_on(beside, mask)).code == "roi.outside-images"


def test_a_mask_over_a_gap_in_the_ct_is_refused() -> None:
    grid = _gapped(2.0)
    mask = _cube(grid.shape, (slice(2, 6), slice(10, 14), slice(20, 27)))
    assert refused(mask_on(grid, mask), grid).code == "roi.missing-slices"


def test_a_mask_of_another_frame_of_reference_is_refused_whatever_it_names() -> None:
    grid = replace(GRID, frame_of_reference_uid="1.2.3.8")
    mask = _cube(GRID.shape, (slice(3, 6), slice(10, 14), slice(20, 27)))
    assert refused(mask_on(grid, mask), frame="1.2.3.8").code == "roi.frame-of-reference-differs"
    with pytest.raises(InputError, match="differs"):
        on(mask_on(grid, mask), frame="1.2.3.8", referenced_series_uid="1.2.2")


def test_a_contour_and_its_raster_have_the_same_volume_on_a_tilted_series() -> None:
    shear = np.arange(10)[:, None] * np.array([0.0, 0.4, 0.0])
    tilted = replace(
        GRID, origins_lps_mm=GRID.origins_lps_mm + shear, slice_step_lps_mm=np.array([0.0, 0.4, 2.0])
    )
    size = measure_size(on(contours(4.0, 6.0, 8.0), tilted).measured)
    assert isinstance(size, Size)
    assert size.volume_mm3 == pytest.approx(3 * 16 * 2.0)
