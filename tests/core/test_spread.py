from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.core.spread import longest_distance


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 600),
    axes=st.sampled_from([2, 3]),
    shape=st.sampled_from(["cloud", "sphere", "lattice", "one place"]),
    far=st.sampled_from([0.0, 1000.0]),
)
def test_longest_distance_is_that_of_all_pairs(
    seed: int, count: int, axes: int, shape: str, far: float
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, axes))
    if shape == "sphere":
        points = 20 * points / np.linalg.norm(points, axis=1)[:, None]
    elif shape == "lattice":
        points = np.round(10 * points) * 0.7
    elif shape == "one place":
        points[:] = points[0]
    points += far
    every = np.sqrt(((points[:, None] - points) ** 2).sum(axis=2).max())
    assert longest_distance(points) == pytest.approx(every, abs=1e-9)
