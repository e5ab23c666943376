"""A synthetic piece of pelvis and its CT scan: the physics of the samples, no DICOM.

Patient coordinates are LPS mm: x to the left, y to the back, z to the head. The anatomy is made of signed
distances (negative inside); a scan samples it finer than its voxels, weights the planes by the slice
sensitivity profile, blurs in-plane by the point spread and adds correlated noise.

Only + - * / and square roots of float64 are used, in a fixed order, so that every machine gets the same
numbers: exponentials, FFTs and library reductions may differ in the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

AIR, FAT, MUSCLE, SKIN, BOWEL, GAS, VESSEL, DISC = -1000.0, -102.0, 56.0, 30.0, 34.0, -880.0, 44.0, 82.0
CORTEX, TRABECULAE = 1330.0, 205.0

IN_PLANE_SAMPLES = 2
"""Samples along each side of a voxel; edges between them are softened by one sample."""


@dataclass(frozen=True)
class Island:
    """A dense ellipsoid in the bone: centre, semi-axes along `axes` (rows, orthonormal), and its density."""

    name: str
    where: str
    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float]
    hu: float
    axes: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def distance(self, x: Array, y: Array, z: float) -> Array:
        """Signed distance in mm, exact for a sphere, close to the surface for an ellipsoid."""
        dx, dy, dz = x - self.centre_mm[0], y - self.centre_mm[1], z - self.centre_mm[2]
        near, far = _zero(dx + dy), _zero(dx + dy)
        for (ax, ay, az), semi in zip(self.axes, self.semi_axes_mm, strict=True):
            u = (dx * ax + dy * ay + dz * az) / semi
            near += u * u
            far += (u / semi) * (u / semi)
        k0, k1 = np.sqrt(near), np.sqrt(far)
        return np.asarray(k0 * (k0 - 1.0) / np.maximum(k1, 1e-9))

    def section(self, z: float) -> tuple[Array, Array, Array] | None:
        """Centre and two conjugate semi-axes (x, y) of the ellipse cut out by the plane at `z`, or None.

        A point of the section is ``centre + cos(t) * first + sin(t) * second``.
        """
        rows = np.array(self.axes) / np.array(self.semi_axes_mm)[:, None]
        form = rows.T @ rows
        block, cross = form[:2, :2], form[:2, 2]
        dz = z - self.centre_mm[2]
        shift = -np.linalg.solve(block, cross) * dz
        rest = 1.0 - (form[2, 2] - cross @ np.linalg.solve(block, cross)) * dz * dz
        if rest <= 0:
            return None
        values, vectors = np.linalg.eigh(block)
        semi = np.sqrt(rest / values)
        return np.array(self.centre_mm[:2]) + shift, vectors[:, 0] * semi[0], vectors[:, 1] * semi[1]


@dataclass(frozen=True)
class Scan:
    """How the phantom is scanned. ``origin_mm`` is the centre of the first voxel of the lowest slice."""

    slices: int
    rows: int
    columns: int
    pixel_mm: float
    step_mm: float
    thickness_mm: float
    plane_mm: float
    origin_mm: tuple[float, float, float]
    psf_fwhm_mm: float
    noise_hu: float
    seed: int

    def slice_z_mm(self, k: int) -> float:
        """Height of slice `k` in mm."""
        return self.origin_mm[2] + k * self.step_mm


@dataclass(frozen=True)
class Anatomy:
    """What tells one phantom patient from another."""

    flare: float
    cortex_mm: float
    seed: int
    islands: tuple[Island, ...]


def acquire(anatomy: Anatomy, scan: Scan) -> npt.NDArray[np.int16]:
    """The CT of the phantom.

    Returns
    -------
    NDArray[int16]
        (slices, rows, columns) HU, lowest slice first.
    """
    half = scan.thickness_mm / 2 + scan.thickness_mm / 4
    totals = [np.zeros((scan.rows, scan.columns)) for _ in range(scan.slices)]
    weights = [0.0] * scan.slices
    texture = _Texture(anatomy.seed)
    x, y = _sample_positions(scan)
    count = int((scan.slice_z_mm(scan.slices - 1) - scan.origin_mm[2] + 2 * half) / scan.plane_mm)
    for number in range(count):
        z = scan.origin_mm[2] - half + (number + 0.5) * scan.plane_mm
        plane = None
        for k in range(scan.slices):
            weight = _slice_sensitivity(z - scan.slice_z_mm(k), scan.thickness_mm)
            if weight > 0:
                plane = _plane(anatomy, scan, texture, x, y, z) if plane is None else plane
                totals[k] += weight * plane
                weights[k] += weight
    noise = _noise(scan)
    slices = [total / weight + next(noise) for total, weight in zip(totals, weights, strict=True)]
    return np.clip(np.rint(np.stack(slices)), -1024, 3071).astype(np.int16)


def _slice_sensitivity(dz: float, thickness_mm: float) -> float:
    """Trapezoid that is one slice thickness wide at half height, flat over half of it."""
    distance = abs(dz) / thickness_mm
    return min(1.0, max(0.0, (0.75 - distance) / 0.5))


def _sample_positions(scan: Scan) -> tuple[Array, Array]:
    step = scan.pixel_mm / IN_PLANE_SAMPLES
    first = step / 2 - scan.pixel_mm / 2
    x = scan.origin_mm[0] + first + step * np.arange(scan.columns * IN_PLANE_SAMPLES)
    y = scan.origin_mm[1] + first + step * np.arange(scan.rows * IN_PLANE_SAMPLES)
    return x[None, :], y[:, None]


def _plane(anatomy: Anatomy, scan: Scan, texture: _Texture, x: Array, y: Array, z: float) -> Array:
    """One infinitely thin plane as the scanner sees it: sampled, blurred, averaged over its pixels."""
    fine = _tissue(anatomy, texture, x, y, z, edge_mm=scan.pixel_mm / IN_PLANE_SAMPLES)
    kernel = _bell(scan.psf_fwhm_mm * IN_PLANE_SAMPLES / scan.pixel_mm)
    fine = _blur(_blur(fine, kernel, 0), kernel, 1)
    total = np.zeros((scan.rows, scan.columns))
    for i in range(IN_PLANE_SAMPLES):
        for j in range(IN_PLANE_SAMPLES):
            total += fine[i::IN_PLANE_SAMPLES, j::IN_PLANE_SAMPLES]
    return np.asarray(total / IN_PLANE_SAMPLES**2)


# ---------------------------------------------------------------------------------------------- anatomy


def _tissue(anatomy: Anatomy, texture: _Texture, x: Array, y: Array, z: float, edge_mm: float) -> Array:
    """HU of the plane at `z`."""
    hu = np.full(np.broadcast_shapes(x.shape, y.shape), AIR)

    def lay(distance: Array, value: Array | float) -> None:
        hu[...] += np.clip(0.5 - distance / edge_mm, 0.0, 1.0) * (value - hu)

    body = _ellipse(x, y, (0.0, -40.0), (196.0, 122.0))
    lay(body, SKIN)
    lay(body + 1.6, FAT + 9.0 * texture.at(x, y, z, 7.0))
    ilium, sacrum = _ilium(anatomy, x, y, z), _sacrum(x, y, z)
    for distance in _muscles(x, y, z, ilium):
        lay(distance + 1.2 * texture.at(x, y, z, 5.0), MUSCLE + 7.0 * texture.at(x, y, z, 3.0))
    for distance, value in _viscera(x, y, z):
        lay(distance, value)
    lay(np.maximum(np.maximum(-ilium, -sacrum) - 1.5, np.maximum(ilium, sacrum) - 3.2), DISC)
    for bone in (ilium, sacrum):
        thickness = anatomy.cortex_mm * (1.0 + 0.35 * texture.at(x, y, z, 9.0))
        lay(bone, CORTEX + 60.0 * texture.at(x, y, z, 4.0))
        marrow = bone + thickness
        lay(marrow, _marrow(texture, marrow, x, y, z))
    for island in anatomy.islands:
        lay(island.distance(x, y, z), island.hu)
    return hu


def _marrow(texture: _Texture, marrow: Array, x: Array, y: Array, z: float) -> Array:
    """Trabecular bone: plates and rods of about a millimetre, denser near the cortex."""
    near_cortex = np.clip(1.0 + marrow / 6.0, 0.0, 1.0)
    coarse, fine = texture.at(x, y, z, 2.6), texture.at(x + 40.0, y + 17.0, z + 9.0, 1.1)
    return np.asarray(TRABECULAE + 70.0 * near_cortex + 75.0 * coarse + 120.0 * fine)


def _ilium(anatomy: Anatomy, x: Array, y: Array, z: float) -> Array:
    """Both iliac wings: curved plates that flare outwards towards the head."""
    side = np.abs(x + 0.6)
    out = anatomy.flare * z
    chain = (
        ((41.0, 56.0), 9.5),
        ((54.0 + out / 3, 39.0), 10.5),
        ((63.0 + out / 2, 20.0), 8.0),
        ((74.0 + out, -8.0), 5.5),
        ((87.0 + out, -34.0), 6.5),
        ((93.0 + out, -52.0), 8.0),
    )
    return _chain(side, y, chain, 5.0)


def _sacrum(x: Array, y: Array, z: float) -> Array:
    """Body, alae and posterior elements of the upper sacrum, with its canal and foramina."""
    side = np.abs(x)
    shrink = 0.12 * z
    body = _ellipse(x, y, (0.0, -4.0 - 0.3 * z), (27.0 + shrink, 18.0 + shrink / 2))
    ala = _chain(side, y, (((14.0, 4.0), 14.0 + shrink), ((30.0, 13.0), 13.0), ((40.0, 24.0), 9.5)), 6.0)
    bone = _smooth_min(body, ala, 7.0)
    arch = _chain(side, y, (((25.0, 28.0), 6.0), ((12.0, 37.0), 4.5), ((0.0, 41.0), 4.5)), 4.0)
    crest = _chain(side, y, (((0.0, 40.0), 4.0), ((0.0, 52.0), 2.6)), 3.0)
    bone = _smooth_min(_smooth_min(bone, arch, 4.0), crest, 4.0)
    canal = _ellipse(x, y, (0.0, 27.5), (13.0, 6.5))
    height = (z - 30.0) / 9.0
    foramen = _ellipse(side, y, (17.5, 9.0), (5.6, 7.0)) + 5.0 * height * height
    return np.maximum(bone, -_smooth_min(canal, foramen, 2.0))


def _muscles(x: Array, y: Array, z: float, ilium: Array) -> Iterator[Array]:
    side = np.abs(x)
    behind = np.maximum(ilium - 34.0, 42.0 - side - 0.45 * (y - 40.0))
    yield np.maximum(np.maximum(behind, _ellipse(x, y, (0.0, -40.0), (178.0, 108.0))), 4.0 - y - 0.8 * side)
    yield _ellipse(side, y, (22.0, 56.0), (17.0, 11.0))
    yield np.maximum(ilium - 15.0, np.maximum(side - 90.0 - 0.3 * z, y - 0.5 * side))
    yield _ellipse(side, y, (50.0 + 0.2 * z, -36.0), (16.0, 19.0))


def _viscera(x: Array, y: Array, z: float) -> Iterator[tuple[Array, float]]:
    side = np.abs(x - 1.0)
    yield _ellipse(side, y, (27.0, -34.0 - 0.1 * z), (5.8, 5.2)), VESSEL
    yield _ellipse(side, y, (31.0, -23.0), (6.6, 5.4)), VESSEL
    for cx, cy, a, b in ((-30.0, -70.0, 19.0, 13.0), (9.0, -64.0, 15.0, 17.0), (44.0, -76.0, 17.0, 12.0)):
        loop = _ellipse(x, y, (cx + 0.2 * z, cy), (a, b))
        yield loop, MUSCLE - 8.0
        yield loop + 2.2, BOWEL
    yield np.maximum(_ellipse(x, y, (9.0 + 0.2 * z, -64.0), (15.0, 17.0)) + 3.0, y + 68.0), GAS


def _ellipse(x: Array, y: Array, centre: tuple[float, float], semi: tuple[float, float]) -> Array:
    """Close to the signed distance near the edge of an ellipse."""
    u, v = (x - centre[0]) / semi[0], (y - centre[1]) / semi[1]
    k0 = np.sqrt(u * u + v * v)
    u, v = u / semi[0], v / semi[1]
    return np.asarray(k0 * (k0 - 1.0) / np.maximum(np.sqrt(u * u + v * v), 1e-9))


def _chain(
    x: Array, y: Array, joints: Sequence[tuple[tuple[float, float], float]], smoothness: float
) -> Array:
    """Signed distance of tapered rods joined smoothly."""
    result = None
    for ((ax, ay), ra), ((bx, by), rb) in pairwise(joints):
        ux, uy = bx - ax, by - ay
        t = np.clip(((x - ax) * ux + (y - ay) * uy) / (ux * ux + uy * uy), 0.0, 1.0)
        dx, dy = x - ax - t * ux, y - ay - t * uy
        rod = np.sqrt(dx * dx + dy * dy) - (ra + t * (rb - ra))
        result = rod if result is None else _smooth_min(result, rod, smoothness)
    assert result is not None
    return np.asarray(result)


def _smooth_min(a: Array, b: Array, width: float) -> Array:
    blend = np.maximum(width - np.abs(a - b), 0.0) / width
    return np.asarray(np.minimum(a, b) - blend * blend * (width / 4))


def _zero(like: Array) -> Array:
    return np.zeros(like.shape)


class _Texture:
    """Smooth random field: trilinear interpolation of a lattice of numbers between -1 and 1, repeated."""

    SIDE = 128

    def __init__(self, seed: int) -> None:
        self._lattice = 2.0 * np.random.Generator(np.random.PCG64(seed)).random((self.SIDE,) * 3) - 1.0

    def at(self, x: Array, y: Array, z: float, spacing_mm: float) -> Array:
        i, s = self._cell(np.asarray(x), spacing_mm)
        j, t = self._cell(np.asarray(y), spacing_mm)
        k, u = self._cell(np.asarray(z), spacing_mm)
        low, high = self._lattice[int(k) % self.SIDE], self._lattice[(int(k) + 1) % self.SIDE]
        layer = low + float(u) * (high - low)
        i0, i1, j0, j1 = i % self.SIDE, (i + 1) % self.SIDE, j % self.SIDE, (j + 1) % self.SIDE
        top = layer[i0, j0] + s * (layer[i1, j0] - layer[i0, j0])
        bottom = layer[i0, j1] + s * (layer[i1, j1] - layer[i0, j1])
        return np.asarray(top + t * (bottom - top))

    @staticmethod
    def _cell(position: Array, spacing_mm: float) -> tuple[npt.NDArray[np.int64], Array]:
        scaled = position / spacing_mm
        cell = np.floor(scaled)
        part = scaled - cell
        return cell.astype(np.int64), np.asarray(part * part * (3.0 - 2.0 * part))


# ------------------------------------------------------------------------------------- blur and noise


def _bell(fwhm_samples: float) -> list[float]:
    """Weights of a bell curve of that width at half height: three box filters in a row."""
    width = fwhm_samples * 0.7
    reach = int(3 * width) + 2
    box = [max(0.0, min(1.0, width / 2 + 0.5 - abs(i))) for i in range(-reach, reach + 1)]
    kernel = box
    for _ in range(2):
        kernel = [
            sum(kernel[j] * box[i - j + reach] for j in range(len(kernel)) if 0 <= i - j + reach < len(box))
            for i in range(len(kernel))
        ]
    total = sum(kernel)
    kernel = [weight / total for weight in kernel]
    while kernel[0] < 1e-6:
        kernel = kernel[1:-1]
    return kernel


def _blur(image: Array, kernel: Sequence[float], axis: int) -> Array:
    reach = len(kernel) // 2
    size = image.shape[axis]
    padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in range(image.ndim)], mode="edge")
    total = np.zeros(image.shape)
    for i, weight in enumerate(kernel):
        total += weight * np.take(padded, range(i, i + size), axis=axis)
    return total


def _noise(scan: Scan) -> Iterator[Array]:
    """Noise of a sharp kernel, slice by slice: neighbouring pixels correlate, low frequencies are weak."""
    random = np.random.Generator(np.random.PCG64(scan.seed))
    fine, broad = _bell(1.5), _bell(5.0)
    previous = np.zeros((scan.rows, scan.columns))
    gain = None
    for _ in range(scan.slices):
        white = random.random((scan.rows, scan.columns)) + random.random((scan.rows, scan.columns)) - 1.0
        field = _blur(_blur(white, fine, 0), fine, 1) - 0.7 * _blur(_blur(white, broad, 0), broad, 1)
        mixed = field + 0.25 * previous
        previous = field
        if gain is None:
            squares = 0.0
            for value in mixed[::5, ::5].ravel().tolist():
                squares += value * value
            gain = scan.noise_hu / np.sqrt(squares / mixed[::5, ::5].size)
        yield np.asarray(gain * mixed)
