"""How long measuring a mark takes, and what is found, beside pyradiomics, MIRP, SimpleITK and numpy.

Balls of 5 to 30 mm, pixels 0.7 mm, slices 1 mm. Others are given the crop of the mark; SimpleITK also the
whole volume, as it is mostly used.
"""

from __future__ import annotations

import json
import selectors
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from osteoscribe.core.intensity import reference
from osteoscribe.core.region import Region
from osteoscribe.core.size import Size, measure_size
from osteoscribe.core.voxels import CtBox
from tests.benchmarks.machine import PEERS, peer
from tests.benchmarks.marked_series import PIXEL_MM, SIDE, STEP_MM, Lesion, lesions
from tests.benchmarks.page import Goal
from tests.benchmarks.rounds import medians
from tests.core.phantoms import axial_grid, region_of

Way = Callable[[Region, CtBox], object]
Values = dict[str, float]
TOUCH = "touch each voxel"
DIAMETERS_MM = (5.0, 10.0, 20.0, 30.0)
PEER_LIMIT_S = {"pyradiomics": 20.0, "MIRP": 8.0}
"""Seconds in which a peer measures as many marks as it can, in each round."""
START_S = 60.0
EQUAL = 1e-6
"""Values of tools that differ by less, as a part of the value, are equal."""


@dataclass(frozen=True)
class Mark:
    """A ball, on the crop that holds it with a margin."""

    region: Region
    box: CtBox

    @staticmethod
    def of(mask: npt.NDArray[np.bool_], hu: npt.NDArray[np.float64]) -> Mark:
        used = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        k, r, c = (slice(int(one[0]), int(one[-1]) + 1) for one in used)
        region = region_of(
            mask[k, r, c], axial_grid(mask.shape, PIXEL_MM, STEP_MM), (k.start, r.start, c.start)
        )
        return Mark(region, CtBox(offset=region.offset, voxels_hu=np.ascontiguousarray(hu[k, r, c])))

    def padded(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
        """Mask and HU with two voxels around, as pyradiomics and MIRP need them."""
        return np.pad(self.region.mask, 2), np.pad(self.box.voxels_hu, 2)


def ball(diameter_mm: float) -> Mark:
    half = np.ceil(diameter_mm / 2 / np.array([STEP_MM, PIXEL_MM, PIXEL_MM])).astype(int)
    z, y, x = (
        np.arange(-n, n + 1) * step for n, step in zip(half, (STEP_MM, PIXEL_MM, PIXEL_MM), strict=True)
    )
    mask = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 <= (diameter_mm / 2) ** 2
    return Mark.of(mask, np.random.default_rng(1).normal(600, 200, mask.shape))


def touch(region: Region, box: CtBox) -> object:
    return float(box.voxels_hu[region.mask].sum())


def size_alone(region: Region, box: CtBox) -> object:
    return measure_size(region)


def hu_alone(region: Region, box: CtBox) -> object:
    return reference(region, box)


def ours(region: Region, box: CtBox) -> Values:
    size, hu = measure_size(region), reference(region, box)
    assert isinstance(size, Size)
    assert hu is not None
    assert size.volume_mm3 is not None
    assert size.mesh_volume_mm3 is not None
    assert size.maximum_3d_diameter_mm is not None
    assert hu.percentile_10_hu is not None
    assert hu.percentile_90_hu is not None
    return {
        "volume of the mesh": size.mesh_volume_mm3,
        "volume of the voxels": size.volume_mm3,
        "3D diameter": size.maximum_3d_diameter_mm,
        "mean": hu.mean_hu,
        "variance": hu.standard_deviation_hu**2,
        "minimum": hu.minimum_hu,
        "maximum": hu.maximum_hu,
        "median": hu.median_hu,
        "10th percentile": hu.percentile_10_hu,
        "90th percentile": hu.percentile_90_hu,
    }


def numpy_statistics(region: Region, box: CtBox) -> Values:
    values = box.voxels_hu[region.mask]
    tenth, median, ninetieth = np.percentile(values, (10, 50, 90)).tolist()
    return {
        "volume of the voxels": len(values) * PIXEL_MM * PIXEL_MM * STEP_MM,
        "mean": float(values.mean()),
        "variance": float(values.var()),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "median": median,
        "10th percentile": tenth,
        "90th percentile": ninetieth,
    }


def simpleitk(region: Region, box: CtBox, feret: bool = False) -> Values:
    label, image = (
        SimpleITK.GetImageFromArray(array) for array in (region.mask.astype(np.uint8), box.voxels_hu)
    )
    return _by_simpleitk(label, image, [1], feret)[0]


def _by_simpleitk(
    label: SimpleITK.Image, image: SimpleITK.Image, labels: Sequence[int], feret: bool = False
) -> list[Values]:
    for one in (label, image):
        one.SetSpacing((PIXEL_MM, PIXEL_MM, STEP_MM))
    found = SimpleITK.LabelIntensityStatisticsImageFilter()
    found.SetComputeFeretDiameter(feret)
    found.Execute(label, image)
    return [
        {
            "volume of the voxels": found.GetPhysicalSize(number),
            "mean": found.GetMean(number),
            # ITK divides by n - 1
            "variance": found.GetVariance(number) * (1 - 1 / found.GetNumberOfPixels(number)),
            "minimum": found.GetMinimum(number),
            "maximum": found.GetMaximum(number),
        }
        for number in labels
    ]


WAYS: dict[str, Way] = {
    TOUCH: touch,
    "our HU": hu_alone,
    "our size": size_alone,
    "numpy statistics": numpy_statistics,
    "SimpleITK shape and intensity": simpleitk,
    "SimpleITK with Feret": partial(simpleitk, feret=True),
}


@dataclass
class Volume:
    """A CT of full size, and balls in it."""

    hu: npt.NDArray[np.int16]
    lesions: list[Lesion]

    @staticmethod
    def of(slices: int, count: int) -> Volume:
        noise = np.random.default_rng(1).integers(-200, 900, (slices, SIDE, SIDE), dtype=np.int16)
        return Volume(hu=noise, lesions=lesions(count, slices))

    def mark(self, lesion: Lesion) -> Mark:
        start, inside = lesion.mask(0)
        return Mark.of(inside, self.hu[start : start + len(inside)].astype(np.float64))

    def labels(self, count: int) -> npt.NDArray[np.uint8]:
        labels = np.zeros(self.hu.shape, dtype=np.uint8)
        for number, lesion in enumerate(self.lesions[:count], start=1):
            start, inside = lesion.mask(0)
            labels[start : start + len(inside)][inside] = number
        return labels


class Tool:
    """pyradiomics or MIRP in a process of its own, measuring when it is told to."""

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        python = peer(name)
        self.why_not = "" if python else f"not compared (--{name.lower()} PYTHON)"
        if python is not None:
            script = Path(__file__).with_name("other_tool.py")
            self._process = subprocess.Popen(
                [python, script, "marks", name.lower(), file],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def measure(self, count: int) -> dict[str, Any] | None:
        """Seconds, how many marks were done, and their values; None where it says nothing in time."""
        if self.why_not:
            return None
        limit_s = PEER_LIMIT_S[self.name]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{count} {limit_s}\n")
            self._process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                line = self._process.stdout.readline() if selector.select(START_S + 4 * limit_s) else ""
            answer: dict[str, Any] = json.loads(line)
        except (OSError, ValueError):
            self.why_not = "does not run here"
            self.end()
            return None
        return answer

    def end(self) -> None:
        if peer(self.name):
            self._process.kill()
            self._process.wait()


def by_diameter(short: bool) -> dict[str, Any]:
    balls = {}
    for diameter_mm in DIAMETERS_MM:
        mark = ball(diameter_mm)
        ways = {name: partial(way, mark.region, mark.box) for name, way in WAYS.items()}
        balls[f"{diameter_mm:g}"] = {
            "voxels": int(mark.region.mask.sum()),
            "seconds": medians(
                ways, 3 if short else 9, clock=time.process_time, at_least_s=0.002 if short else 0.02
            ),
        }
    return balls


def _write(marks: Sequence[Mark], file: Path) -> None:
    arrays: dict[str, Any] = {"spacing": np.array([(PIXEL_MM, STEP_MM)] * len(marks))}
    for number, mark in enumerate(marks):
        arrays[f"mask{number}"], arrays[f"hu{number}"] = mark.padded()
    np.savez(file, **arrays)


def beside_peers(short: bool) -> dict[str, Any]:
    """Milliseconds a mark of each way with 1, 10 and 100 marks, in turn; how far values lie apart."""
    counts = (1, 4) if short else (1, 10, 100)
    volume = Volume.of(100 if short else 500, max(counts))
    marks = [volume.mark(lesion) for lesion in volume.lesions]
    apart: dict[str, Values] = {}
    times: dict[int, dict[str, list[float]]] = {count: {} for count in counts}
    with tempfile.TemporaryDirectory() as folder:
        _write(marks, Path(folder) / "marks.npz")
        tools = [Tool(name, Path(folder) / "marks.npz") for name in PEERS]
        image = SimpleITK.GetImageFromArray(volume.hu)
        labelled = {count: SimpleITK.GetImageFromArray(volume.labels(count)) for count in counts}
        rounds = 1 if short else 5
        for number in range(rounds + 1):
            for count in counts:
                label, labels = labelled[count], list(range(1, count + 1))
                ways: dict[str, Callable[[], list[Values]]] = {
                    "ours": lambda count=count: [ours(one.region, one.box) for one in marks[:count]],
                    "numpy on the crop, statistics alone": lambda count=count: [
                        numpy_statistics(one.region, one.box) for one in marks[:count]
                    ],
                    "SimpleITK on the crop": lambda count=count: [
                        simpleitk(one.region, one.box) for one in marks[:count]
                    ],
                    "SimpleITK, whole volume": lambda label=label, labels=labels: _by_simpleitk(
                        label, image, labels
                    ),
                }
                expected: list[Values] = []
                for name, way in ways.items():
                    began = time.perf_counter()
                    found = way()
                    if number:  # the first warms up
                        times[count].setdefault(name, []).append((time.perf_counter() - began) / count)
                    expected = expected or found
                    _compare(apart.setdefault(name, {}), expected, found)
                for tool in tools:
                    # MIRP is slow: one round, of as many marks as it manages
                    if (number != 1 and tool.name == "MIRP") or (answer := tool.measure(count)) is None:
                        continue
                    if number:
                        times[count].setdefault(tool.name, []).append(answer["seconds"] / answer["done"])
                    _compare(apart.setdefault(tool.name, {}), expected, answer["values"])
        for tool in tools:
            tool.end()
    return {
        "slices": len(volume.hu),
        "rounds": rounds,
        "seconds": {
            str(count): {name: statistics.median(taken) for name, taken in found.items()}
            for count, found in times.items()
        },
        "apart": {name: found for name, found in apart.items() if name != "ours"},
        "absent": {tool.name: tool.why_not for tool in tools if tool.why_not},
    }


def _compare(apart: Values, expected: Sequence[Values], found: Sequence[Values]) -> None:
    """Note the largest difference of each value, as a part of it."""
    for one, other in zip(expected, found, strict=False):
        for name, value in other.items():
            difference = abs(value - one[name]) / max(abs(one[name]), 1.0)
            apart[name] = max(apart.get(name, 0.0), difference)


def run(short: bool) -> dict[str, Any]:
    return {"balls": by_diameter(short), "peers": beside_peers(short)}


def tables(result: dict[str, Any]) -> str:
    peers = result["peers"]
    lines = ["| way | " + " | ".join(f"{count} marks" for count in peers["seconds"]) + " |"]
    lines.append("|---" * (len(peers["seconds"]) + 1) + "|")
    names = list(dict.fromkeys(name for taken in peers["seconds"].values() for name in taken))
    for name in names:
        cells = []
        for taken in peers["seconds"].values():
            if name in taken:
                cells.append(f"{1e3 * taken[name]:.2f} ms, {taken[name] / taken['ours']:.1f} x")
            else:
                cells.append("not measured")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        f"| {name} | {why} |" + " |" * (len(peers["seconds"]) - 1) for name, why in peers["absent"].items()
    ]
    apart = ["| value | " + " | ".join(peers["apart"]) + " |", "|---" * (len(peers["apart"]) + 1) + "|"]
    values = dict.fromkeys(value for found in peers["apart"].values() for value in found)
    for value in values:
        cells = [f"{found[value]:.0e}" if value in found else "" for found in peers["apart"].values()]
        apart.append(f"| {value} | " + " | ".join(cells) + " |")
    balls = ["| ball, mm | voxels | " + " | ".join(WAYS) + " |", "|---|---|" + "---|" * len(WAYS)]
    for diameter, one in result["balls"].items():
        unit = one["seconds"][TOUCH]
        cells = [f"{1e3 * taken:.3f} ms, {taken / unit:.0f} x" for taken in one["seconds"].values()]
        balls.append(f"| {diameter} | {one['voxels']} | " + " | ".join(cells) + " |")
    return "\n".join(
        [
            "Wall clock for a mark of 5 to 30 mm, all its values, and multiples of ours; a volume of "
            f"{peers['slices']} slices; medians of {peers['rounds']} rounds. pyradiomics: all of shape and "
            "first order; MIRP: morphology and statistics, in one round, of as many marks as it measures in "
            "8 s.\n",
            *lines,
            "\nLargest difference from ours over all marks, as a part of the value (SimpleITK's variance "
            "times (n - 1)/n, MIRP's volumes scaled from cubes of 1 mm):\n",
            *apart,
            "\nProcessor time for a ball centred on a voxel, the worst case for diameters, and multiples of "
            "touching each of its voxels once:\n",
            *balls,
        ]
    )


def goals(result: dict[str, Any]) -> list[Goal]:
    balls = [one["seconds"] for one in result["balls"].values()]
    ratios = [one["our HU"] / one[TOUCH] for one in balls]
    by_numpy = [one["numpy statistics"] / one["our HU"] for one in balls]
    beside, apart = result["peers"]["seconds"], result["peers"]["apart"]
    slower = [
        taken[name] / taken["ours"]
        for taken in beside.values()
        for name in taken
        if name in (*PEERS, "SimpleITK, whole volume")
    ]
    absent = ", ".join(result["peers"]["absent"])
    without = f"; without {absent}" if absent else ""
    furthest = max(value for found in apart.values() for value in found.values())
    return [
        Goal(
            number="4",
            goal="1, 10, 100 marks measured faster than by pyradiomics, MIRP, SimpleITK on the whole volume",
            measured=f"they take {min(slower):.1f} to {max(slower):.0f} x{without}",
            met=None if absent else min(slower) > 1,
        ),
        Goal(
            number="4",
            goal="statistics of 5 to 30 mm faster than numpy's on the crop",
            measured=f"numpy takes {min(by_numpy):.1f} to {max(by_numpy):.0f} x",
            met=min(by_numpy) > 1,
        ),
        Goal(
            number="4",
            goal=f"values equal to those of all of them, within {EQUAL:.0e}, by the conventions below",
            measured=f"at most {furthest:.0e} apart{without}",
            met=None if absent else furthest <= EQUAL,
        ),
        Goal(
            number="4",
            goal="statistics within 10 x of touching each voxel once",
            measured=f"{min(ratios):.1f} to {max(ratios):.1f} x",
            met=max(ratios) <= 10,
        ),
    ]
