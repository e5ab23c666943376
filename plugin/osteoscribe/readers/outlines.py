"""Checked points and flattened curves: what the readers share about outlines."""

from __future__ import annotations

import math

import numpy as np

from osteoscribe.core.geometry import FloatArray
from osteoscribe.errors import InputError

MAX_PIXEL_POSITION = 1e6
"""Image coordinates beyond this are no positions on a CT."""
MAX_PATIENT_POSITION_MM = 1e5
"""100 m: patient coordinates beyond this are no positions in a scanner."""
CLOSED = 1e-3
"""Ends of an outline closer than this, in pixels or mm, are one point."""
FLATTENING_PX = 0.0005
"""Largest distance between an ellipse and the polygon that stands for it, in pixels (mm in patient space)."""


def image_points(values: FloatArray | None) -> FloatArray:
    """(n, 2) points of a flat list of columns and rows, checked.

    Raises
    ------
    InputError
        `roi.no-geometry` where there are none, `roi.coordinates-invalid` where they cannot be positions.
    """
    return _points(values, 2, MAX_PIXEL_POSITION)


def patient_points(values: FloatArray | None) -> FloatArray:
    """(n, 3) points of a flat list of x, y, z in mm, checked; raises like `image_points`."""
    return _points(values, 3, MAX_PATIENT_POSITION_MM)


def _points(values: FloatArray | None, dimensions: int, limit: float) -> FloatArray:
    if values is None or values.size == 0:
        raise InputError(
            "roi.no-geometry", "no geometry in the file, please save it again: the mark has no coordinates"
        )
    if values.size % dimensions or not np.isfinite(values).all() or np.abs(values).max() > limit:
        raise InputError(
            "roi.coordinates-invalid",
            f"found {values.size} coordinates that are not {dimensions} finite numbers for each point within"
            f" {limit:g}; please save the mark again",
        )
    return values.reshape(-1, dimensions)


def without_repeated_first(points: FloatArray) -> FloatArray:
    """A closed outline without its first point repeated at the end.

    Examples
    --------
    >>> without_repeated_first(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])).tolist()
    [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
    """
    return points[:-1] if is_closed(points) else points


def is_closed(points: FloatArray) -> bool:
    """Whether the last of several points repeats the first, within a rounding of 32-bit numbers."""
    return len(points) > 1 and bool(np.allclose(points[0], points[-1], rtol=0, atol=CLOSED))


def ellipse(ends: FloatArray) -> FloatArray:
    """Polygon of an ellipse given by the ends of its major and then its minor axis (PS3.3 C.18.6.1.2).

    Parameters
    ----------
    ends
        (4, 2) or (4, 3): both ends of one axis, then both ends of the other.

    Returns
    -------
    FloatArray
        Vertices on the ellipse, the four ends among them, so both axes are exact; no point of the ellipse is
        further than `FLATTENING_PX` from the polygon.

    Raises
    ------
    InputError
        `roi.coordinates-invalid` where four ends of two axes of some length are not given.
    """
    if len(ends) != 4:
        raise _malformed("an ellipse", 4, len(ends))
    return _flattened(
        (ends[0] + ends[1] + ends[2] + ends[3]) / 4, (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
    )


def circle(points: FloatArray) -> FloatArray:
    """Polygon of a circle on an image, given by its centre and a point on it; like `ellipse`."""
    if len(points) != 2:
        raise _malformed("a circle", 2, len(points))
    radius = points[1] - points[0]
    return _flattened(points[0], radius, np.array([-radius[1], radius[0]]))


def _flattened(centre: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    radii = (float(np.linalg.norm(first)), float(np.linalg.norm(second)))
    if min(radii) < 1e-6:
        raise InputError("roi.no-area", "the ellipse or circle has no area; please draw the mark again")
    # A chord over the angle a lies r (1 - cos(a / 2)) inside its circle; a multiple of 4 keeps the ends.
    half_angle = math.acos(max(1 - FLATTENING_PX / max(radii), -1.0)) if max(radii) > FLATTENING_PX else 1.0
    count = min(max(4 * math.ceil(math.pi / half_angle / 4), 64), 4096)
    turn = np.linspace(0, 2 * math.pi, count, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(turn) * first + np.sin(turn) * second)


def _malformed(what: str, expected: int, found: int) -> InputError:
    return InputError(
        "roi.coordinates-invalid",
        f"found {found} points for {what}, expected {expected}; please save the mark again",
    )


def is_rectangle(points: FloatArray) -> bool:
    """Whether four points are the corners of a rectangle in order.

    Examples
    --------
    >>> is_rectangle(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]]))
    True
    >>> is_rectangle(np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [1.0, 2.0]]))
    False
    """
    if len(points) != 4:
        return False
    first, second = points[1] - points[0], points[2] - points[1]
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    parallel = np.allclose(points[3] - points[0], second, atol=1e-3)
    return size > 0 and bool(parallel) and abs(float(first @ second)) < 1e-3 * size


def circle_through(points: FloatArray) -> FloatArray:
    """Centre and one point of the circle through three points.

    Parameters
    ----------
    points
        (3, 2).

    Returns
    -------
    FloatArray
        (2, 2): the centre, and the first of the points.

    Raises
    ------
    InputError
        `roi.no-area` where the three lie on one line.

    Examples
    --------
    >>> circle_through(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])).round(6).tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """
    sides = points[1:] - points[0]
    if abs(float(np.linalg.det(sides))) < 1e-9:
        raise InputError(
            "roi.no-area", "the three points of the circle lie on one line; please draw it again"
        )
    centre = points[0] + np.linalg.solve(sides, (sides**2).sum(axis=1) / 2)
    return np.vstack([centre, points[0]])


SPLINE_PARTS = 8
"""Pieces that an interpolated curve is cut into between two of its points."""


def interpolated(points: FloatArray) -> FloatArray:
    """Closed cubic spline through points, cut into `SPLINE_PARTS` pieces between two of them.

    The standard leaves the curve to the viewer but lets it pass through all points (PS3.3 C.10.5.1.2).

    Parameters
    ----------
    points
        (n, 2), without the first repeated; n at least 3.

    Returns
    -------
    FloatArray
        (8 n, 2), the points among them.
    """
    # The coefficients of the uniform periodic B-spline solve a circulant system: a division in Fourier space.
    count = len(points)
    circulant = (4 + 2 * np.cos(2 * math.pi * np.arange(count) / count)) / 6
    spectrum = np.fft.fft(points, axis=0) / circulant[:, None]
    control = np.real(np.fft.ifft(spectrum, axis=0))
    t = (np.arange(SPLINE_PARTS) / SPLINE_PARTS)[None, :, None]
    before, after, beyond = (np.roll(control, shift, axis=0)[:, None] for shift in (1, -1, -2))
    curve = (
        before * (1 - t) ** 3
        + control[:, None] * (3 * t**3 - 6 * t**2 + 4)
        + after * (-3 * t**3 + 3 * t**2 + 3 * t + 1)
        + beyond * t**3
    ) / 6
    return np.asarray(curve.reshape(-1, points.shape[1]))
