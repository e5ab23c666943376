"""Polygons and pixel masks in a plane: raster, outline, convex hull, longest and perpendicular diameter.

Plain geometry on arrays; it knows neither marks nor patients. Index coordinates are (row, column) with 0.0
at the centre of the first pixel; plane coordinates are any two orthogonal axes in one unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from osteoscribe.core.geometry import FloatArray

BoolArray = npt.NDArray[np.bool_]

SNAP = 1e-6
"""Vertices are rounded to this part of a pixel before rasterising, so that float noise decides nothing."""
TIE = 1e-6
"""Two diameters closer than this (in the unit of the plane) are equally long."""
MOST_TIES = 64
"""So many equally long diameters are looked at; more has only a regular polygon, and there all are alike."""


def rasterise(
    contours_rc: Sequence[npt.ArrayLike], *, rows: int, columns: int, first: tuple[int, int] = (0, 0)
) -> BoolArray:
    """Pixels whose centre lies inside an odd number of closed contours.

    A centre exactly on an edge is inside where the contour lies to the right or below, so contours that share
    an edge share no pixel. Holes may be contours of their own or keyholes.

    Parameters
    ----------
    contours_rc
        Each (n, 2), (row, column) index coordinates, without the first point repeated.
    rows, columns
        Shape of the mask.
    first
        (row, column) of the first pixel of the mask.

    Returns
    -------
    BoolArray
        (rows, columns).

    Examples
    --------
    >>> square = [(0.5, 0.5), (0.5, 2.5), (2.5, 2.5), (2.5, 0.5)]
    >>> rasterise([square], rows=4, columns=4).astype(int).sum(axis=1)
    array([0, 2, 2, 0])
    """
    toggles = np.zeros((rows, columns + 1), dtype=np.int64)
    for contour in contours_rc:
        points = np.round(np.asarray(contour, dtype=np.float64) / SNAP) * SNAP
        row, column = _crossings(points, first[0], first[0] + rows)
        start = np.ceil(np.round(column / SNAP) * SNAP) - first[1]
        np.add.at(toggles, (row - first[0], np.clip(start, 0, columns).astype(np.intp)), 1)
    return np.asarray(np.cumsum(toggles[:, :columns], axis=1) % 2 == 1)


def _crossings(points: FloatArray, start: int, stop: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Where edges cross the centre lines of the rows [start, stop): row numbers and column coordinates."""
    ends = np.roll(points, -1, axis=0)
    upward = points[:, :1] > ends[:, :1]
    top, bottom = np.where(upward, ends, points), np.where(upward, points, ends)
    first = np.clip(np.ceil(top[:, 0]), start, stop).astype(np.intp)
    count = np.clip(np.ceil(bottom[:, 0]), start, stop).astype(np.intp) - first
    edge = np.repeat(np.arange(len(points)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    slope = (bottom[edge, 1] - top[edge, 1]) / (bottom[edge, 0] - top[edge, 0])
    return row, top[edge, 1] + (row - top[edge, 0]) * slope


def outlines(mask: npt.ArrayLike) -> tuple[tuple[FloatArray, ...], int]:
    """Outer outlines of a pixel mask, half way between the pixels inside and outside.

    Parameters
    ----------
    mask
        (rows, columns) bool.

    Returns
    -------
    tuple
        The closed outlines, each (n, 2) (row, column) index coordinates without the first point repeated, the
        one that encloses most first; pixels that meet at a corner only have outlines of their own. Then the
        number of holes, which have no outline here.

    Examples
    --------
    >>> found, holes = outlines([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    >>> found[0].tolist(), holes
    ([[0.5, 1.0], [1.0, 1.5], [1.5, 1.0], [1.0, 0.5]], 0)
    """
    inside = np.asarray(mask, dtype=bool)
    padded = np.zeros((inside.shape[0] + 2, inside.shape[1] + 2), dtype=np.int8)
    padded[1:-1, 1:-1] = inside
    loops = [(_signed_area(loop), loop) for loop in _crack_loops(padded)]
    outer = sorted((-area, tuple(loop[0]), at) for at, (area, loop) in enumerate(loops) if area > 0)
    lines = [loops[at][1] for _, _, at in outer]
    middles = [(line + _next(line)) / 2 - 1.5 for line in lines]
    return tuple(_corners(line) for line in middles), len(loops) - len(outer)


def _next(line: FloatArray) -> FloatArray:
    """For each point of a closed line the one after it."""
    return np.concatenate([line[1:], line[:1]])


def _corners(line: FloatArray) -> FloatArray:
    """Drop the points between which a closed line runs straight on."""
    onward = _next(line) - line
    before = np.concatenate([onward[-1:], onward[:-1]])
    return np.asarray(line[(onward != before).any(axis=1)])


def _crack_loops(padded: npt.NDArray[np.int8]) -> list[FloatArray]:
    """Walk along pixel edges with the mask on the right; closed paths in corner coordinates, unit steps.

    Corners are numbered row by row, so that a step is a difference of two numbers.
    """
    width = padded.shape[1] + 1
    across, along = np.diff(padded, axis=0), np.diff(padded, axis=1)
    r, c = np.nonzero(across)
    leftward = across[r, c] < 0
    starts = [(r + 1) * width + c + leftward]
    steps = [np.where(leftward, -1, 1)]
    r, c = np.nonzero(along)
    upward = along[r, c] > 0
    starts.append((r + upward) * width + c + 1)
    steps.append(np.where(upward, -width, width))
    heads: dict[int, list[int]] = {}
    for start, step in zip(np.concatenate(starts).tolist(), np.concatenate(steps).tolist(), strict=True):
        heads.setdefault(start, []).append(step)
    loops = []
    for start in sorted(heads):
        while heads[start]:
            path = np.array(_walk(heads, start, width))
            loops.append(np.array([path // width, path % width], dtype=np.float64).T)
    return loops


def _walk(heads: dict[int, list[int]], start: int, width: int) -> list[int]:
    """Follow one loop from a corner, using its edges up; at a crossing turn right, so stay on the pixel."""
    right_of = {1: width, width: -1, -1: -width, -width: 1}
    path, at, step = [], start, heads[start].pop(0)
    while True:
        path.append(at)
        at += step
        if at == start:
            return path
        choices = heads[at]
        right = right_of[step]
        step = choices.pop(choices.index(right) if right in choices else 0)


def _signed_area(loop: FloatArray) -> float:
    """Enclosed area, positive where (row, column) turn clockwise on the screen."""
    nxt = _next(loop)
    return float(np.sum(loop[:, 1] * nxt[:, 0] - nxt[:, 1] * loop[:, 0]) / 2)


def row_ends(mask: npt.ArrayLike) -> FloatArray:
    """First and last pixel of each row of a mask: all that its convex hull can need.

    Parameters
    ----------
    mask
        (rows, columns) bool.

    Returns
    -------
    FloatArray
        (n, 2), (row, column).
    """
    inside = np.asarray(mask, dtype=bool)
    rows = np.flatnonzero(inside.any(axis=1))
    first = inside[rows].argmax(axis=1)
    last = inside.shape[1] - 1 - inside[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.column_stack([rows, first]), np.column_stack([rows, last])]).astype(np.float64)


def convex_hull(points: npt.ArrayLike) -> FloatArray:
    """Corners of the convex hull, in order (Andrew's monotone chain).

    Parameters
    ----------
    points
        (n, 2), n >= 1.

    Returns
    -------
    FloatArray
        (m, 2), m >= 1.
    """
    unique = sorted(set(map(tuple, np.asarray(points, dtype=np.float64).tolist())))
    if len(unique) < 3:
        return np.array(unique, dtype=np.float64)
    lower, upper = _chain(unique), _chain(unique[::-1])
    return np.array(lower[:-1] + upper[:-1], dtype=np.float64)


def _chain(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    chain = [points[0]]
    x1, y1 = points[0]
    for point in points[1:]:
        x, y = point
        while len(chain) > 1:
            x0, y0 = chain[-2]
            if (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0:
                break
            chain.pop()
            x1, y1 = x0, y0
        chain.append(point)
        x1, y1 = x, y
    return chain


def longest(hull: npt.ArrayLike) -> FloatArray:
    """Pairs of corners of a convex polygon that lie farthest apart.

    Parameters
    ----------
    hull
        (n, 2), corners as `convex_hull` gives them, n >= 1.

    Returns
    -------
    FloatArray
        (pairs, 2, 2); more than one, at most `MOST_TIES`, where pairs are equally far apart (within `TIE`).

    References
    ----------
    Shamos MI. Computational geometry. Thesis, Yale 1978: such corners lie on parallel supporting lines.
    """
    corners = np.asarray(hull, dtype=np.float64)
    first, second = _antipodal(corners)
    distance = np.hypot(*(corners[first] - corners[second]).T)
    far = np.flatnonzero(distance >= distance.max() - TIE)
    pairs = {(min(i, j), max(i, j)) for i, j in zip(first[far].tolist(), second[far].tolist(), strict=True)}
    return np.asarray(corners[np.array(sorted(pairs)[:MOST_TIES])])


def _antipodal(corners: FloatArray) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pairs of corners that parallel lines can touch: the ends of each edge, and the corners opposite."""
    count = len(corners)
    edges = np.concatenate([corners[1:], corners[:1]]) - corners
    turn = np.arctan2(edges[:, 1], edges[:, 0])
    turn[turn < turn[0]] += 2 * np.pi
    opposite = np.searchsorted(np.concatenate([turn, turn + 2 * np.pi]), turn + np.pi)
    # One corner more to either side, for edges that are parallel but for the last float digit.
    first = (np.arange(count) + np.array([[0], [0], [0], [1], [1], [1]])) % count
    second = (opposite + np.array([[-1], [0], [1], [-1], [0], [1]])) % count
    return first.ravel(), second.ravel()


def across(hull: npt.ArrayLike, directions: npt.ArrayLike) -> FloatArray:
    """Find the longest chords of a convex polygon along some directions.

    Parameters
    ----------
    hull
        (n, 2), corners as `convex_hull` gives them, n >= 1.
    directions
        (m, 2), any length but zero.

    Returns
    -------
    FloatArray
        (m, 2, 2), ends of each, the second in the direction seen from the first; the same point twice where
        the polygon has no width.
    """
    frames = np.array(
        [
            [[x / length, -y / length], [y / length, x / length]]
            for x, y in np.asarray(directions, dtype=np.float64).tolist()
            for length in (math.hypot(x, y),)
        ]
    )
    corners = np.asarray(hull, dtype=np.float64) @ frames
    count = corners.shape[1]
    # Once around from a lowest corner: up on the right, perhaps along a flat top, down on the left.
    ring = (corners[:, :, 1].argmin(axis=1)[:, None] + np.arange(count + 1)) % count
    alongs, levels = np.take_along_axis(corners, ring[:, :, None], axis=1).transpose(2, 0, 1)
    up, down = levels.argmax(axis=1).tolist(), levels[:, ::-1].argmax(axis=1).tolist()
    chords = []
    for along, level, top, end in zip(alongs, levels, up, down, strict=True):
        right = np.interp(level, level[: top + 1], along[: top + 1])
        left = np.interp(level, level[::-1][: end + 1], along[::-1][: end + 1])
        best = (right - left).argmax()
        chords.append([[left[best], level[best]], [right[best], level[best]]])
    return np.asarray(np.array(chords) @ frames.transpose(0, 2, 1))
