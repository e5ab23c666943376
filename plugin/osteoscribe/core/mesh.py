"""Triangle mesh of a voxel mask: enclosed volume and longest 3D diameter.

The mesh is that of marching cubes at the level 0.5: its corners lie half way between the centre of a voxel
inside and that of a neighbour outside, as in IBSI's morphological features and in pyradiomics.

References
----------
Lorensen WE, Cline HE. Computer Graphics 1987;21:163, doi 10.1145/37402.37422; Zwanenburg A et al. Radiology
2020;295:328, doi 10.1148/radiol.2020191145.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from osteoscribe.core.geometry import FloatArray

BoolArray = npt.NDArray[np.bool_]

_BLOCK = 128
"""Rows of the distance table held at a time."""
_CORNERS = np.array([(i >> 2 & 1, i >> 1 & 1, i & 1) for i in range(8)])
"""Corner number of a cell -> (k, r, c); the bit of the corner is 1 << number."""


def mesh_volume(mask: npt.ArrayLike, *, pixel_area: float, layer_heights: npt.ArrayLike) -> float:
    """Volume enclosed by the mesh of a mask.

    Parameters
    ----------
    mask
        (slices, rows, columns) bool.
    pixel_area
        Area of a pixel in mm2.
    layer_heights
        (slices + 1,), distance in mm from each slice to the one before it; the first and the last value reach
        to the empty slices beside the mask.

    Returns
    -------
    float
        mm3.

    Examples
    --------
    One voxel alone is an octahedron of a sixth of its volume.

    >>> round(mesh_volume([[[True]]], pixel_area=1.0, layer_heights=[1.0, 1.0]), 6)
    0.166667
    """
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    cells = np.zeros(tuple(n - 1 for n in padded.shape), dtype=np.uint8)
    for number, (k, r, c) in enumerate(_CORNERS.tolist()):
        corner = padded[k : k + cells.shape[0], r : r + cells.shape[1], c : c + cells.shape[2]]
        cells |= corner.astype(np.uint8) << np.uint8(number)
    table = _cell_volumes()
    filled = [float(np.bincount(layer.ravel(), minlength=256) @ table) for layer in cells]
    return float(np.dot(filled, np.asarray(layer_heights, dtype=np.float64)) * pixel_area)


@lru_cache(maxsize=1)
def _cell_volumes() -> FloatArray:
    """(256,), part of a unit cell that the mesh encloses, by which corners are inside."""
    return np.array([_cell_volume(tuple(bool(n >> i & 1) for i in range(8))) for n in range(256)])


def _cell_volume(inside: tuple[bool, ...]) -> float:
    """Flux of (k, 0, 0) out of the enclosed part: through the mesh and the cell's face k = 1.

    A loop of the mesh that is not flat is cut into triangles so that the smaller part, inside or outside, is
    the most convex; with four corners inside the mean of both ways counts. A mask and what lies outside of it
    then share one mesh.
    """
    volume = _face_area([inside[i] for i in (4, 5, 7, 6)])
    for loop in _mesh_loops(inside):
        fluxes = [_fan_flux(np.roll(loop, -start, axis=0)) for start in range(len(loop))]
        most, least = max(fluxes), min(fluxes)
        volume += {-1: most, 0: (most + least) / 2, 1: least}[int(np.sign(sum(inside) - 4))]
    return float(volume)


def _fan_flux(loop: FloatArray) -> float:
    """Flux of (k, 0, 0) through the triangles from the first corner of a loop to all its sides."""
    one, a, b = loop[0], loop[1:-1], loop[2:]
    normal_k = (a[:, 1] - one[1]) * (b[:, 2] - one[2]) - (a[:, 2] - one[2]) * (b[:, 1] - one[1])
    return float(np.sum(normal_k / 2 * (a[:, 0] + b[:, 0] + one[0]) / 3))


def _face_area(corners: list[bool]) -> float:
    """Area enclosed on a cell face; corners in order; two opposite corners are joined."""
    count = sum(corners)
    return {0: 0.0, 1: 1 / 8, 2: 3 / 4 if corners[0] == corners[2] else 1 / 2, 3: 7 / 8, 4: 1.0}[count]


def _mesh_loops(inside: tuple[bool, ...]) -> list[FloatArray]:
    """Find the closed loops of the mesh in one cell, turning to the left as seen from outside the mask."""
    follows: dict[tuple[float, ...], tuple[float, ...]] = {}
    for face in _faces():
        flags = [inside[i] for i in face]
        middles = [
            tuple((_CORNERS[a] + _CORNERS[b]) / 2) for a, b in zip(face, face[1:] + face[:1], strict=True)
        ]
        for i in range(4):
            if not flags[i] and flags[(i + 1) % 4]:
                back = next(j for j in (i - 1, i - 2, i - 3) if flags[j] and not flags[j + 1])
                follows[middles[i]] = middles[back]
    loops = []
    while follows:
        start, at = follows.popitem()
        loop = [start]
        while at != start:
            loop.append(at)
            at = follows.pop(at)
        loops.append(np.array(loop))
    return loops


def _faces() -> list[tuple[int, int, int, int]]:
    """Corner numbers of the six faces of a cell, turning to the left as seen from outside."""
    faces = []
    for axis in range(3):
        u, v = ((1, 2), (2, 0), (0, 1))[axis]
        for side in (0, 1):
            ring = [(0, 0), (1, 0), (1, 1), (0, 1)] if side else [(0, 0), (0, 1), (1, 1), (1, 0)]
            numbers = []
            for a, b in ring:
                corner = [0, 0, 0]
                corner[axis], corner[u], corner[v] = side, a, b
                numbers.append(corner[0] << 2 | corner[1] << 1 | corner[2])
            faces.append((numbers[0], numbers[1], numbers[2], numbers[3]))
    return faces


def longest_3d(mask: npt.ArrayLike, *, positions_mm: npt.ArrayLike, steps_mm: npt.ArrayLike) -> float:
    """Longest distance between two corners of the mesh of a mask.

    Parameters
    ----------
    mask
        (slices, rows, columns) bool, not empty.
    positions_mm
        (slices, 3), centre of the first voxel of each slice.
    steps_mm
        (3, 3), the steps to the next slice, row and column.

    Returns
    -------
    float
        mm.

    Notes
    -----
    A corner of the hull of the mesh is the centre of a voxel that is first or last of its line along all
    three axes, moved half a step along one axis. Two such moves differ most when both go along one axis, so
    the longest distance between corners is the largest length of d + e and d - e over all differences d
    between such centres and all three steps e.
    """
    steps = np.asarray(steps_mm, dtype=np.float64)
    k, r, c = np.nonzero(_line_ends(np.asarray(mask, dtype=bool)))
    points = np.asarray(positions_mm, dtype=np.float64)[k] + r[:, None] * steps[1] + c[:, None] * steps[2]
    points = points - points.mean(axis=0)
    square = np.einsum("ij,ij->i", points, points)
    own = np.einsum("ij,ij->i", steps, steps)
    along = points @ steps.T
    best = float(own.max())
    reach = float(np.sqrt(own.max()))
    for start in range(0, len(points), _BLOCK):
        part = slice(start, start + _BLOCK)
        distance2 = square[part, None] + square[None, start:] - 2 * points[part] @ points[start:].T
        floor = max(0.0, np.sqrt(max(best, distance2.max())) - reach)
        i, j = np.nonzero(distance2 >= floor**2)
        extra = 2 * np.abs(along[part][i] - along[start:][j]) + own
        best = max(best, float(np.max(distance2[i, j] + extra.max(axis=1), initial=0.0)))
    return float(np.sqrt(best))


def _line_ends(mask: BoolArray) -> BoolArray:
    """Voxels that are first or last of the mask on their line along all three axes."""
    ends = mask.copy()
    for axis in range(3):
        before = np.logical_or.accumulate(mask, axis=axis)
        behind = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
        shifted = [np.zeros_like(mask), np.zeros_like(mask)]
        head = [slice(None)] * 3
        tail = [slice(None)] * 3
        head[axis], tail[axis] = slice(None, -1), slice(1, None)
        shifted[0][tuple(tail)] = before[tuple(head)]
        shifted[1][tuple(head)] = behind[tuple(tail)]
        ends &= ~(shifted[0] & shifted[1])
    return ends
