"""The longest distance between two of many points."""

from __future__ import annotations

import math

import numpy as np

from osteoscribe.core.geometry import FloatArray

_BLOCK = 128
"""Rows of the table of distances held at a time."""
_NOISE = 1e-9
"""Part of a length that float noise may take off."""


def longest_distance(points: FloatArray) -> float:
    """Longest distance between two points, exactly.

    Parameters
    ----------
    points
        (n, d), n >= 1.

    Returns
    -------
    float
        In the unit of the points.

    Notes
    -----
    With all points within R of their centre and one pair known to be L apart, both points of the longest pair
    lie at least L - R from the centre. On round shapes, where most points could be an end, that leaves a few
    in a hundred, and only they are compared with each other.

    Examples
    --------
    >>> longest_distance(np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]]))
    5.0
    """
    if len(points) <= _BLOCK:
        return _longest_of_all_pairs(points)
    axes = np.ascontiguousarray(points.T)
    axes -= axes.mean(axis=1)[:, None]
    radius2 = np.einsum("ij,ij->j", axes, axes)
    known = _length_of_some_pair(axes, int(radius2.argmax()))
    least = known * (1 - _NOISE) - math.sqrt(radius2.max())
    return max(known, _longest_of_all_pairs(points[radius2 >= max(0.0, least) ** 2]))


def _length_of_some_pair(axes: FloatArray, start: int) -> float:
    """Go from a point to the one farthest from it, three times; mostly the longest distance or nearly so."""
    length2 = 0.0
    for _ in range(3):
        away = axes - axes[:, start, None]
        distance2 = np.einsum("ij,ij->j", away, away)
        start = int(distance2.argmax())
        length2 = max(length2, float(distance2[start]))
    return math.sqrt(length2)


def _longest_of_all_pairs(points: FloatArray) -> float:
    points = points - points[0]  # near the origin squares keep their digits
    square = np.einsum("ij,ij->i", points, points)
    best = 0.0
    for start in range(0, len(points), _BLOCK):
        table = points[start : start + _BLOCK] @ points[start:].T
        table *= -2.0
        table += square[start:]
        table += square[start : start + _BLOCK, None]
        best = max(best, float(table.max()))
    return math.sqrt(best)
