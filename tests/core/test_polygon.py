from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from osteoscribe.core.polygon import across, convex_hull, longest, outlines, rasterise, row_ends
from tests.examples import many

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 7)))
CORNER = st.floats(0, 9).map(lambda x: round(x, 3))
POLYGONS = arrays(np.float64, st.tuples(st.integers(3, 7), st.just(2)), elements=CORNER)


def raster(*contours: np.ndarray) -> np.ndarray:
    return rasterise(contours, rows=10, columns=10)


@given(POLYGONS, POLYGONS)
def test_contours_of_one_slice_are_combined_by_exclusive_or(one: np.ndarray, other: np.ndarray) -> None:
    assert np.array_equal(raster(one, other), raster(one) ^ raster(other))


@given(POLYGONS)
def test_neither_the_first_point_nor_the_direction_of_a_contour_matters(points: np.ndarray) -> None:
    assert np.array_equal(raster(points), raster(np.roll(points, 1, axis=0)))
    assert np.array_equal(raster(points), raster(points[::-1]))


@given(POLYGONS, st.integers(-3, 3), st.integers(-3, 3))
def test_a_box_sees_its_part_of_the_whole_raster(points: np.ndarray, r: int, c: int) -> None:
    whole = rasterise([points], rows=30, columns=30, first=(-10, -10))
    part = rasterise([points], rows=8, columns=6, first=(r, c))
    assert np.array_equal(part, whole[10 + r : 18 + r, 10 + c : 16 + c])


def test_a_pixel_on_a_shared_edge_belongs_to_one_contour() -> None:
    left = np.array([(1, 1), (1, 4), (6, 4), (6, 1)], dtype=float)
    right = np.array([(1, 4), (1, 8), (6, 8), (6, 4)], dtype=float)
    assert not (raster(left) & raster(right)).any()
    assert raster(left).sum() == 15


def test_a_keyhole_gives_the_same_pixels_as_a_separate_hole() -> None:
    outer = np.array([(0.5, 0.5), (0.5, 8.5), (8.5, 8.5), (8.5, 0.5)])
    hole = np.array([(2.5, 2.5), (2.5, 5.5), (5.5, 5.5), (5.5, 2.5)])
    keyhole = np.concatenate([outer, outer[:1], hole[:1], hole[::-1]])
    assert raster(outer, hole).sum() == 64 - 9
    assert np.array_equal(raster(outer, hole), raster(keyhole))


@given(MASKS)
def test_outlines_enclose_exactly_the_mask_and_its_holes(mask: np.ndarray) -> None:
    found, holes = outlines(mask)
    again = rasterise(found, rows=mask.shape[0], columns=mask.shape[1])
    assert (again | ~mask).all()
    assert holes or np.array_equal(again, mask)


@given(MASKS)
def test_outlines_pass_half_way_between_pixels(mask: np.ndarray) -> None:
    for line in outlines(mask)[0]:
        assert np.array_equal(np.sort(line % 1, axis=1), np.tile([0.0, 0.5], (len(line), 1)))


def test_the_largest_outline_comes_first_and_a_hole_is_counted() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[0, 0] = mask[3:8, 3:8] = True
    mask[5, 5] = False
    found, holes = outlines(mask)
    assert [len(line) for line in found] == [8, 4]
    assert holes == 1


@given(arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(-9, 9)))
def test_the_hull_keeps_the_longest_distance(points: np.ndarray) -> None:
    pair = longest(convex_hull(points))[0]
    every = np.hypot(*(points[:, None] - points[None]).T)
    assert np.isclose(np.hypot(*(pair[1] - pair[0])), every.max())


@settings(max_examples=many(50))
@given(
    arrays(np.float64, st.tuples(st.integers(3, 9), st.just(2)), elements=CORNER),
    st.floats(0, 3.1),
)
def test_no_chord_along_the_direction_is_longer_than_the_one_found(points: np.ndarray, angle: float) -> None:
    hull = convex_hull(points)
    assume(len(hull) > 2)
    u = np.array([np.cos(angle), np.sin(angle)])
    (ends,) = across(hull, [u])
    along = ends[1] - ends[0]
    assert abs(along @ (u[1], -u[0])) < 1e-9
    weights = np.random.default_rng(0).dirichlet(np.ones(len(hull)), size=200)
    inside = weights @ hull
    reach = ((inside[:, None] - inside[None]) @ (u[1], -u[0])).ravel()
    level = np.abs(reach) < 1e-3
    widths = ((inside[:, None] - inside[None]) @ u).ravel()[level]
    assert widths.max() <= np.hypot(*along) + 0.05


@given(MASKS.filter(lambda mask: mask.any()))
def test_row_ends_have_the_hull_of_the_mask(mask: np.ndarray) -> None:
    assert np.array_equal(convex_hull(row_ends(mask)), convex_hull(np.argwhere(mask)))


def test_a_flat_top_is_a_chord() -> None:
    triangle = convex_hull([(0, 0), (0, 1), (1, 1)])
    for direction, length in (((1, 0), 1.0), ((-1, 0), 1.0), ((0, 1), 1.0), ((0, -1), 1.0)):
        (ends,) = across(triangle, [direction])
        assert np.hypot(*(ends[1] - ends[0])) == length
