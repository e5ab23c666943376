from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from osteoscribe.core.intensity import PARTIAL_VOLUME, reference
from osteoscribe.core.voxels import CtBox
from tests.core.phantoms import axial_grid, region_of

GRID = axial_grid((20, 20, 20), 0.5, 1.0)
MASKS = arrays(np.bool_, (3, 4, 5)).filter(lambda mask: bool(mask.any()))


@given(MASKS, st.integers(0, 1000), st.tuples(*[st.integers(0, 3)] * 3))
def test_statistics_are_those_of_the_marked_voxels(
    mask: np.ndarray, seed: int, margin: tuple[int, int, int]
) -> None:
    hu = np.random.default_rng(seed).integers(-1024, 3071, size=(9, 10, 11)).astype(float)
    found = reference(
        region_of(mask, GRID, (margin[0] + 2, margin[1] + 2, margin[2] + 2)),
        CtBox(offset=(2, 2, 2), voxels_hu=hu),
    )
    inside = hu[margin[0] : margin[0] + 3, margin[1] : margin[1] + 4, margin[2] : margin[2] + 5][mask]
    assert found is not None
    assert found.mean_hu == pytest.approx(inside.mean())
    assert found.standard_deviation_hu == pytest.approx(inside.std(), abs=1e-6)
    assert (found.minimum_hu, found.maximum_hu) == (inside.min(), inside.max())
    assert found.median_hu == np.median(inside)
    assert found.voxel_count == mask.sum()
    assert (PARTIAL_VOLUME in found.remarks) == (mask.sum() < 30)


@given(MASKS, st.integers(0, 1000), st.sampled_from([0.0, 1e6]))
def test_simpleitk_and_numpy_say_the_same(mask: np.ndarray, seed: int, far_hu: float) -> None:
    hu = np.random.default_rng(seed).normal(300, 200, size=mask.shape) + far_hu
    found = reference(region_of(mask, GRID), CtBox(offset=(0, 0, 0), voxels_hu=hu))
    statistics = SimpleITK.LabelStatisticsImageFilter()
    statistics.Execute(SimpleITK.GetImageFromArray(hu), SimpleITK.GetImageFromArray(mask.astype(np.uint8)))
    count = statistics.GetCount(1)
    assert found is not None
    assert found.voxel_count == count
    assert found.mean_hu == pytest.approx(statistics.GetMean(1), abs=1e-9 + 1e-15 * far_hu)
    assert (found.minimum_hu, found.maximum_hu) == (statistics.GetMinimum(1), statistics.GetMaximum(1))
    # ITK divides by n - 1, and gives nothing of a single value.
    deviation = statistics.GetSigma(1) * np.sqrt((count - 1) / count) if count > 1 else 0.0
    assert found.standard_deviation_hu == pytest.approx(deviation, abs=1e-9 if not far_hu else 1e-3)
    expected = np.percentile(hu[mask], (10, 50, 90))
    assert (found.percentile_10_hu, found.median_hu, found.percentile_90_hu) == pytest.approx(
        expected, abs=1e-9
    )


def test_a_mark_without_voxels_has_no_hu() -> None:
    box = CtBox(offset=(0, 0, 0), voxels_hu=np.zeros((1, 1, 1)))
    assert reference(region_of(np.zeros((0, 0, 0)), GRID), box) is None


def test_a_box_that_does_not_hold_the_mark_is_a_bug() -> None:
    box = CtBox(offset=(0, 0, 0), voxels_hu=np.zeros((4, 4, 4)))
    with pytest.raises(ValueError, match="does not hold"):
        reference(region_of(np.ones((2, 2, 2)), GRID, (3, 0, 0)), box)


def test_the_same_voxels_give_the_same_bits() -> None:
    hu = np.random.default_rng(1).normal(300, 200, size=(20, 20, 20))
    mask = np.random.default_rng(2).random((20, 20, 20)) < 0.7
    found = {repr(reference(region_of(mask, GRID), CtBox(offset=(0, 0, 0), voxels_hu=hu))) for _ in range(20)}
    assert len(found) == 1


def test_the_median_of_simpleitk_is_that_of_a_histogram() -> None:
    # Why the median is numpy's: SimpleITK's is off by up to a bin.
    hu = np.concatenate([np.full(50, 39.0), np.array([-1000.0, 3000.0, 40.0])]).reshape(1, 1, -1)
    shape = SimpleITK.LabelIntensityStatisticsImageFilter()
    shape.Execute(SimpleITK.GetImageFromArray(np.ones(hu.shape, np.uint8)), SimpleITK.GetImageFromArray(hu))
    region = region_of(np.ones(hu.shape), axial_grid((1, 1, 60), 1, 1))
    found = reference(region, CtBox(offset=(0, 0, 0), voxels_hu=hu))
    assert found is not None
    assert found.median_hu == 39.0
    assert shape.GetMedian(1) != 39.0
