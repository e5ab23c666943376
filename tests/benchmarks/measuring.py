"""How long measuring a mark takes, beside SimpleITK on the same crop.

python -m tests.benchmarks.measuring [--rounds N]

Balls of 5 to 30 mm, pixels 0.7 mm, slices 1 mm. Ways are taken in turn in each round, so that a busy machine
hurts all alike; medians of processor time in ms, and as multiples of touching each voxel of the crop once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import SimpleITK

from osteoscribe.core.intensity import reference
from osteoscribe.core.region import Region
from osteoscribe.core.size import measure_size
from osteoscribe.core.voxels import CtBox
from tests.core.phantoms import axial_grid, region_of

Way = Callable[[Region, CtBox], object]


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


def size_and_hu(region: Region, box: CtBox) -> object:
    return measure_size(region), reference(region, box)


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
    "touch each voxel": touch,
    "size": size_alone,
    "size and HU": size_and_hu,
    "SimpleITK shape and intensity": simpleitk(False),
    "SimpleITK with Feret": simpleitk(True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="How long measuring a mark takes.")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    sys.stdout.write(
        "| ball, mm | voxels | " + " | ".join(WAYS) + " |\n|---|---|" + "---|" * len(WAYS) + "\n"
    )
    for diameter_mm in (5.0, 10.0, 20.0, 30.0):
        region, box = ball(diameter_mm)
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(rounds + 1):
            for name, way in WAYS.items():
                start = time.process_time()
                way(region, box)
                times[name].append(time.process_time() - start)
        medians = [statistics.median(taken[1:]) for taken in times.values()]
        cells = [f"{1e3 * taken:.2f} ms, {taken / medians[0]:.0f} x" for taken in medians]
        sys.stdout.write(f"| {diameter_mm:g} | {region.mask.sum()} | " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    main()
