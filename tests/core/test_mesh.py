from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from osteoscribe.core.mesh import longest_3d, mesh_volume
from tests.examples import many

MASKS = arrays(np.bool_, st.tuples(*[st.integers(1, 4)] * 3)).filter(lambda mask: bool(mask.any()))
STEPS = arrays(np.float64, (3, 3), elements=st.floats(-2, 2)).filter(lambda s: abs(np.linalg.det(s)) > 0.05)


def volume(mask: np.ndarray) -> float:
    return mesh_volume(mask, pixel_area=1.0, layer_heights=np.ones(len(mask) + 1))


def corners(mask: np.ndarray) -> np.ndarray:
    """Every point half way between a voxel inside and a neighbour outside."""
    padded = np.pad(mask, 1).astype(int)
    points = []
    for axis in range(3):
        found = np.argwhere(np.diff(padded, axis=axis)).astype(float)
        found[:, axis] += 0.5
        points.append(found)
    return np.concatenate(points)


@settings(max_examples=many(60))
@given(MASKS, STEPS)
def test_the_longest_diameter_is_that_of_all_mesh_corners(mask: np.ndarray, steps: np.ndarray) -> None:
    points = corners(mask) @ steps
    every = np.linalg.norm(points[:, None] - points[None], axis=2)
    positions = np.arange(len(mask))[:, None] * steps[0]
    assert longest_3d(mask, positions_mm=positions, steps_mm=steps) == pytest.approx(every.max(), abs=1e-9)


@given(MASKS)
def test_a_mask_and_the_rest_of_a_filled_box_share_one_mesh(mask: np.ndarray) -> None:
    box = np.pad(mask, 2)
    whole = np.ones(box.shape, dtype=bool)
    # Each of the two joins its opposite corners of a cell face, so they may overlap, but leave nothing out.
    both = volume(whole & ~box) + volume(box)
    assert both >= volume(whole) - 1e-9
    if not _touches_by_edges(box):
        assert both == pytest.approx(volume(whole))


def _touches_by_edges(mask: np.ndarray) -> bool:
    """Whether two voxels meet at an edge only, on either side of the border."""
    for axis in range(3):
        a, b = np.moveaxis(mask, axis, 0)[:, :-1, :-1], np.moveaxis(mask, axis, 0)[:, 1:, 1:]
        c, d = np.moveaxis(mask, axis, 0)[:, :-1, 1:], np.moveaxis(mask, axis, 0)[:, 1:, :-1]
        if ((a == b) & (c == d) & (a != c)).any():
            return True
    return False


@given(MASKS)
def test_turning_and_flipping_a_mask_keeps_its_volume(mask: np.ndarray) -> None:
    for turned in (mask[::-1], mask[:, ::-1], mask.transpose(0, 2, 1), mask.transpose(2, 0, 1)):
        assert volume(turned) == pytest.approx(volume(mask))


def test_the_mesh_of_a_block_cuts_its_edges_and_corners() -> None:
    # Along its edges the block lacks an eighth of a pixel square; its corners are octants of octahedra.
    edges = 4 * (2 + 3 + 4) / 8
    octants = 8 * (1 / 8 - 1 / 48)
    assert volume(np.ones((3, 4, 5))) == pytest.approx(60 - edges - octants)


def test_the_mesh_of_a_ball_approaches_the_volume_of_the_ball() -> None:
    axis = np.arange(-22, 23)
    ball = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2) <= 20.4**2
    assert volume(ball) == pytest.approx(4 / 3 * np.pi * 20.4**3, rel=0.005)


def test_layer_heights_are_those_between_the_slices() -> None:
    mask = np.ones((2, 6, 6), dtype=bool)
    even = mesh_volume(mask, pixel_area=1.0, layer_heights=[1, 1, 1])
    apart = mesh_volume(mask, pixel_area=1.0, layer_heights=[1, 3, 1])
    inner = mesh_volume(np.ones((9, 6, 6)), pixel_area=1.0, layer_heights=np.ones(10)) - mesh_volume(
        np.ones((8, 6, 6)), pixel_area=1.0, layer_heights=np.ones(9)
    )
    assert apart - even == pytest.approx(2 * inner)


def test_the_longest_diameter_of_a_large_mask_needs_little_memory() -> None:
    axis = np.arange(-40, 41)
    ball = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2) <= 40**2
    positions = axis[:, None] * np.array([0.0, 0.0, 1.0])
    found = longest_3d(ball, positions_mm=positions, steps_mm=np.eye(3)[::-1])
    assert found == pytest.approx(81.0)
