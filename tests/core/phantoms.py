"""Analytic ellipsoids, ideally rasterised: a voxel is inside where its centre is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteoscribe.core.geometry import FloatArray, Grid
from osteoscribe.core.region import Region, RegionKind

FAR_MM = np.array([37.0, -112.0, 840.0])


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A rasterised ellipsoid and the truth about it."""

    region: Region
    in_plane_mm: float
    """Longest in-plane diameter of the true shape in the planes of its slices."""
    full_mm: float
    """Longest diameter of the true shape."""
    volume_mm3: float

    @property
    def pixel_mm(self) -> float:
        return self.region.grid.row_spacing_mm


def axial_grid(shape: tuple[int, int, int], pixel_mm: float, step_mm: float) -> Grid:
    k = np.arange(shape[0])[:, None]
    return Grid(
        shape=shape,
        origins_lps_mm=FAR_MM + k * np.array([0.0, 0.0, step_mm]),
        row_step_lps_mm=np.array([0.0, pixel_mm, 0.0]),
        column_step_lps_mm=np.array([pixel_mm, 0.0, 0.0]),
        slice_step_lps_mm=np.array([0.0, 0.0, step_mm]),
        frame_of_reference_uid="1.2.3.9",
    )


def region_of(mask: npt.ArrayLike, grid: Grid, offset: tuple[int, int, int] = (0, 0, 0)) -> Region:
    return Region(
        kind=RegionKind.MASK, grid=grid, offset=offset, mask=np.asarray(mask, dtype=bool), outlines=()
    )


def ellipsoid(
    semi_axes_mm: npt.ArrayLike,
    *,
    pixel_mm: float,
    step_mm: float,
    rng: np.random.Generator,
) -> Phantom | None:
    """At a random place and orientation; None where no voxel centre lies inside."""
    axes = np.asarray(semi_axes_mm, dtype=np.float64)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    inverse = turn @ np.diag(axes**-2.0) @ turn.T
    reach = np.sqrt(np.diag(turn @ np.diag(axes**2.0) @ turn.T))
    spacing = np.array([pixel_mm, pixel_mm, step_mm])
    counts = np.ceil(2 * reach / spacing).astype(int) + 3
    centre = spacing * (counts - 1) / 2 + spacing * rng.uniform(-0.5, 0.5, 3)
    x, y, z = (np.arange(n) * s - c for n, s, c in zip(counts, spacing, centre, strict=True))
    planes = z[np.abs(z) < reach[2]]
    if not len(planes):
        return None
    points = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)[..., ::-1]
    mask = np.einsum("...i,ij,...j->...", points, inverse, points) <= 1
    if not mask.any():
        return None
    grid = axial_grid((int(counts[2]), int(counts[1]), int(counts[0])), pixel_mm, step_mm)
    return Phantom(
        region=region_of(mask, grid),
        in_plane_mm=max(_cross_section(inverse, float(plane)) for plane in planes),
        full_mm=2 * float(axes.max()),
        volume_mm3=4 / 3 * np.pi * float(np.prod(axes)),
    )


def _cross_section(inverse: FloatArray, z: float) -> float:
    """Longest diameter of the ellipse that the plane at height z cuts out."""
    flat, tilt = inverse[:2, :2], inverse[:2, 2]
    level = 1 - z**2 * (inverse[2, 2] - tilt @ np.linalg.solve(flat, tilt))
    return float(2 * np.sqrt(level / np.linalg.eigvalsh(flat)[0])) if level > 0 else 0.0


def random_phantom(rng: np.random.Generator, *, sphere: bool) -> Phantom | None:
    """2 to 30 mm, pixels 0.3 to 1.0 mm, slices 0.5 to 5 mm; ellipsoids down to half as broad as long."""
    semi = float(np.exp(rng.uniform(np.log(2), np.log(30)))) / 2
    shape = np.ones(3) if sphere else np.array([1, *rng.uniform(0.5, 1, 2)])
    return ellipsoid(
        semi * shape, pixel_mm=float(rng.uniform(0.3, 1.0)), step_mm=float(rng.uniform(0.5, 5.0)), rng=rng
    )
