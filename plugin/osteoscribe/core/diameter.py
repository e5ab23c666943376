"""In-plane diameters of one slice: of points as drawn, and of a pixel mask without the bias of its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.polygon import TIE, across, convex_hull, longest, row_ends

LEAST_VARIANCE_PX2 = 1 / 16
"""Variance across a row of single pixels: that of an ellipse one pixel broad."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diameters:
    """Longest diameter on one slice and the longest chord perpendicular to it, in the mm axes of the slice.

    Parameters
    ----------
    long_mm, short_mm
        Lengths; `short_mm` is None where only one length was drawn.
    long_ends, short_ends
        (2, 2), their ends.
    """

    long_mm: float
    long_ends: FloatArray
    short_mm: float | None
    short_ends: FloatArray | None

    @staticmethod
    def of_lines(long_ends: FloatArray, short_ends: FloatArray | None = None) -> Diameters:
        """Lengths as drawn."""
        return Diameters(
            long_mm=_length(long_ends),
            long_ends=long_ends,
            short_mm=None if short_ends is None else _length(short_ends),
            short_ends=short_ends,
        )


def of_points(points_mm: npt.ArrayLike) -> Diameters:
    """Diameters of the convex hull of points: from vertex to vertex, and across.

    Parameters
    ----------
    points_mm
        (n, 2), n >= 1.

    Returns
    -------
    Diameters
        Of several equally long ones the broadest.
    """
    hull = convex_hull(points_mm)
    best: Diameters | None = None
    for pair in longest(hull):
        direction = pair[1] - pair[0]
        if not direction.any():
            return Diameters.of_lines(pair, pair)
        found = Diameters.of_lines(pair, across(hull, (-direction[1], direction[0])))
        if best is None or (found.short_mm or 0.0) > (best.short_mm or 0.0) + TIE:
            best = found
    assert best is not None
    return best


def of_mask(mask: npt.NDArray[np.bool_], steps_mm: FloatArray, first: tuple[int, int] = (0, 0)) -> Diameters:
    """Diameters of the shape that a pixel mask stands for.

    The diameters between pixel centres, plus what the same measurement misses on the ellipse that has the
    mask's own moments, rasterised on the same pixels at the same place.

    Parameters
    ----------
    mask
        (rows, columns) bool, not empty.
    steps_mm
        (2, 2), the steps to the next row and to the next column in the mm axes of the slice.
    first
        (row, column) of the first pixel of the mask.

    Returns
    -------
    Diameters
        mm axes with their origin in the pixel (0, 0).
    """
    drawn = of_points((row_ends(mask) + first) @ steps_mm)
    centre, moments = _moments(mask, steps_mm)
    pixels = _ellipse_pixels(centre, moments, steps_mm)
    along = drawn.long_ends[1] - drawn.long_ends[0]
    if not along.any():
        along = np.linalg.eigh(moments)[1][:, 1]
    perpendicular = np.array([-along[1], along[0]])
    missed_long = 4 * np.sqrt(np.linalg.eigvalsh(moments)[1]) - _length(longest(convex_hull(pixels))[0])
    missed_short = _ellipse_chord(moments, perpendicular) - _length(
        across(convex_hull(pixels), perpendicular)
    )
    assert drawn.short_ends is not None
    return Diameters.of_lines(
        _stretched(drawn.long_ends, along, missed_long),
        _stretched(drawn.short_ends, perpendicular, missed_short),
    )


def _moments(mask: npt.NDArray[np.bool_], steps_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centroid (2,) and covariance (2, 2) of the pixel centres in mm, never thinner than one pixel."""
    points = np.argwhere(mask) @ steps_mm
    centre = points.mean(axis=0)
    spread = (points - centre).T @ (points - centre) / len(points)
    values, vectors = np.linalg.eigh(spread)
    pixel2 = abs(float(np.linalg.det(steps_mm)))
    values = np.maximum(values, LEAST_VARIANCE_PX2 * pixel2)
    return centre, np.asarray((vectors * values) @ vectors.T)


def _ellipse_pixels(centre: FloatArray, moments: FloatArray, steps_mm: FloatArray) -> FloatArray:
    """(n, 2) pixel centres in mm inside the ellipse of a centroid and a covariance."""
    to_index = np.linalg.inv(steps_mm)
    middle = centre @ to_index
    reach = 2 * np.sqrt(np.diag(to_index.T @ moments @ to_index))
    rows = np.arange(np.floor(middle[0] - reach[0]), np.ceil(middle[0] + reach[0]) + 1)
    columns = np.arange(np.floor(middle[1] - reach[1]), np.ceil(middle[1] + reach[1]) + 1)
    r, c = np.meshgrid(rows, columns, indexing="ij")
    points = np.column_stack([r.ravel(), c.ravel()]) @ steps_mm
    offset = points - centre
    inside = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(4 * moments), offset) <= 1 + 1e-9
    return np.asarray(points[inside])


def _ellipse_chord(moments: FloatArray, direction: FloatArray) -> float:
    """Longest chord along a direction of the ellipse of a covariance."""
    u = direction / np.hypot(*direction)
    return float(4 / np.sqrt(u @ np.linalg.inv(moments) @ u))


def _length(ends: FloatArray) -> float:
    return float(np.hypot(*(ends[1] - ends[0])))


def _stretched(ends: FloatArray, direction: FloatArray, by: float) -> FloatArray:
    half = direction / np.hypot(*direction) * by / 2
    return np.array([ends[0] - half, ends[1] + half])
