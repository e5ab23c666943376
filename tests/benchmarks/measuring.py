"""How long measuring a mark takes, beside what others measure on the same crop.

Balls of 5 to 30 mm, pixels 0.7 mm, slices 1 mm. Processor time, and multiples of touching each voxel once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import SimpleITK

from osteoscribe.core.intensity import reference
from osteoscribe.core.region import Region
from osteoscribe.core.size import measure_size
from osteoscribe.core.voxels import CtBox
from tests.benchmarks.page import Goal
from tests.benchmarks.rounds import medians
from tests.core.phantoms import axial_grid, region_of

Way = Callable[[Region, CtBox], object]
TOUCH = "touch each voxel"
DIAMETERS_MM = (5.0, 10.0, 20.0, 30.0)


def ball(diameter_mm: float) -> tuple[Region, CtBox]:
    half = np.ceil(diameter_mm / 2 / np.array([1.0, 0.7, 0.7])).astype(int)
    z, y, x = (np.arange(-n, n + 1) * step for n, step in zip(half, (1.0, 0.7, 0.7), strict=True))
    mask = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= (diameter_mm / 2) ** 2
    hu = np.random.default_rng(1).normal(600, 200, mask.shape)
    return region_of(mask, axial_grid(mask.shape, 0.7, 1.0)), CtBox(offset=(0, 0, 0), voxels_hu=hu)


def touch(region: Region, box: CtBox) -> object:
    return float(box.voxels_hu[region.mask].sum())


def size_alone(region: Region, box: CtBox) -> object:
    return measure_size(region)


def hu_alone(region: Region, box: CtBox) -> object:
    return reference(region, box)


def numpy_statistics(region: Region, box: CtBox) -> object:
    values = box.voxels_hu[region.mask]
    return (
        len(values),
        values.mean(),
        values.std(),
        values.min(),
        values.max(),
        np.percentile(values, (10, 50, 90)),
    )


def simpleitk(feret: bool) -> Way:
    def measure(region: Region, box: CtBox) -> object:
        label = SimpleITK.GetImageFromArray(region.mask.astype(np.uint8))
        label.SetSpacing((0.7, 0.7, 1.0))
        image = SimpleITK.GetImageFromArray(box.voxels_hu)
        image.SetSpacing((0.7, 0.7, 1.0))
        shape = SimpleITK.LabelIntensityStatisticsImageFilter()
        shape.SetComputeFeretDiameter(feret)
        shape.Execute(label, image)
        return shape.GetMean(1)

    return measure


WAYS: dict[str, Way] = {
    TOUCH: touch,
    "our HU": hu_alone,
    "our size": size_alone,
    "numpy statistics": numpy_statistics,
    "SimpleITK shape and intensity": simpleitk(False),
    "SimpleITK with Feret": simpleitk(True),
}


def run(short: bool) -> dict[str, Any]:
    balls = {}
    for diameter_mm in DIAMETERS_MM:
        region, box = ball(diameter_mm)
        ways = {name: partial(way, region, box) for name, way in WAYS.items()}
        balls[f"{diameter_mm:g}"] = {
            "voxels": int(region.mask.sum()),
            "seconds": medians(
                ways, 3 if short else 9, clock=time.process_time, at_least_s=0.002 if short else 0.02
            ),
        }
    return {"balls": balls}


def tables(result: dict[str, Any]) -> str:
    lines = ["| ball, mm | voxels | " + " | ".join(WAYS) + " |", "|---|---|" + "---|" * len(WAYS)]
    for diameter, one in result["balls"].items():
        unit = one["seconds"][TOUCH]
        cells = [f"{1e3 * taken:.3f} ms, {taken / unit:.0f} x" for taken in one["seconds"].values()]
        lines.append(f"| {diameter} | {one['voxels']} | " + " | ".join(cells) + " |")
    return "Processor time for one mark.\n\n" + "\n".join(lines)


def goals(result: dict[str, Any]) -> list[Goal]:
    ratios = [one["seconds"]["our HU"] / one["seconds"][TOUCH] for one in result["balls"].values()]
    return [
        Goal(
            number="4",
            goal="statistics within 10 x of touching each voxel once",
            measured=f"{min(ratios):.1f} to {max(ratios):.1f} x",
            met=max(ratios) <= 10,
        )
    ]
