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
from osteoscribe.core.spread import longest_distance

BoolArray = npt.NDArray[np.bool_]

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
    inside, steps = _padded(mask)
    cells = inside.view(np.uint8)
    # Neighbours along each axis in turn; the bit of a corner (k, r, c) of a cell is 4k + 2r + c.
    for step, bits in zip(reversed(steps), (1, 2, 4), strict=True):
        nearer, farther = cells[:-step], cells[step:]
        cells = cells.copy()
        cells[:-step] = nearer | farther << np.uint8(bits)
    layers = cells.reshape(-1, steps[0])[:-1]
    filled = np.take(_cell_volumes(), layers).sum(axis=1)
    return float(filled @ np.asarray(layer_heights, dtype=np.float64) * pixel_area)


def _padded(mask: npt.ArrayLike) -> tuple[BoolArray, tuple[int, int, int]]:
    """The mask in a shell of voxels outside, flat, and how far a neighbour along each axis is in it.

    A neighbour beyond the end of a row is the shell before the next one, so outside as well.
    """
    shape = np.shape(mask)
    padded = np.zeros([n + 2 for n in shape], dtype=bool)
    padded[1:-1, 1:-1, 1:-1] = mask
    return padded.ravel(), ((shape[1] + 2) * (shape[2] + 2), shape[2] + 2, 1)


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
    A corner of the hull of the mesh is the centre of a voxel that has a neighbour outside along each axis,
    moved half a step towards one of these neighbours.
    """
    inside, jumps = _padded(mask)
    at = _at_corners(inside, jumps)
    k, rest = np.divmod(at, jumps[0])
    r, c = np.divmod(rest, jumps[1])
    steps = np.asarray(steps_mm, dtype=np.float64)
    before = np.asarray(positions_mm, dtype=np.float64) - steps[1] - steps[2]
    centres = before[k - 1] + np.array([r, c], dtype=np.float64).T @ steps[1:]
    corners = [
        centres[~inside[at + side * jump]] + side * step / 2
        for jump, step in zip(jumps, steps, strict=True)
        for side in (-1, 1)
    ]
    return longest_distance(np.concatenate(corners))


def _at_corners(inside: BoolArray, jumps: tuple[int, int, int]) -> npt.NDArray[np.intp]:
    """Voxels of a padded mask that have a neighbour outside along each axis."""
    corners = inside.copy()
    for jump in jumps:
        corners[jump:-jump] &= ~(inside[: -2 * jump] & inside[2 * jump :])
    return np.flatnonzero(corners)
