"""How well the long axis of a mask is measured: ours, two naive conventions, pyradiomics and MIRP in one run.

python -m tests.benchmarks.diameters [--count N] [--pyradiomics PYTHON] [--mirp PYTHON] [--pictures FOLDER]

PYTHON is the interpreter of an environment in which that tool is installed. The tables go to standard output
as Markdown (docs/measurement.md holds a copy), the pictures to FOLDER; both need matplotlib.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from osteoscribe.core.polygon import convex_hull, longest, rasterise, row_ends
from osteoscribe.core.size import Size, measure_size
from tests.benchmarks.pictures import draw_conventions, draw_errors, draw_slices
from tests.core.phantoms import Phantom, axial_grid, random_phantom, region_of

CLASSES_PX = ((4, 6), (6, 10), (10, 20), (20, 45), (45, 100))
SLICES_MM = ((0.5, 1), (1, 2), (2, 3), (3, 5))
MIRP_COUNT = 200


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def random_phantoms(count: int, *, sphere: bool, seed: int) -> list[Phantom]:
    rng = np.random.default_rng(seed)
    found: list[Phantom] = []
    while len(found) < count:
        phantom = random_phantom(rng, sphere=sphere)
        if phantom is not None and phantom.in_plane_mm >= 4 * phantom.pixel_mm:
            found.append(phantom)
    return found


def ours(phantom: Phantom) -> float:
    size = measure_size(phantom.region)
    return size.long_axis_mm if isinstance(size, Size) else float("nan")


def between_centres(phantom: Phantom) -> float:
    return _naive(phantom, np.zeros((1, 2)))


def between_edges(phantom: Phantom) -> float:
    return _naive(phantom, np.array([(r, c) for r in (-0.5, 0.5) for c in (-0.5, 0.5)]))


def _naive(phantom: Phantom, around: np.ndarray) -> float:
    lengths = []
    for plane in phantom.region.mask[phantom.region.mask.any(axis=(1, 2))]:
        points = (row_ends(plane)[:, None] + around).reshape(-1, 2)
        pair = longest(convex_hull(points))[0]
        lengths.append(np.hypot(*(pair[1] - pair[0])) * phantom.pixel_mm)
    return float(max(lengths))


def elsewhere(tool: str, python: str, phantoms: list[Phantom]) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "masks.npz"
        masks = {f"mask{i}": phantom.region.mask for i, phantom in enumerate(phantoms)}
        spacing = [(phantom.pixel_mm, phantom.region.grid.slice_spacing_mm) for phantom in phantoms]
        np.savez(path, spacing=np.array(spacing), **masks)
        script = Path(__file__).with_name("other_tool.py")
        done = subprocess.run(
            [python, script, "diameters", tool, path], capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def errors_px(phantoms: list[Phantom], found: list[float]) -> np.ndarray:
    return np.array([(mm - p.in_plane_mm) / p.pixel_mm for p, mm in zip(phantoms, found, strict=False)])


def accuracy(phantoms: list[Phantom], tools: dict[str, list[float]]) -> dict[str, list[tuple[float, float]]]:
    """Mean and 95 % of the absolute error in pixels, for each tool and class; then over all."""
    _say("| diameter, pixels | " + " | ".join(tools) + " |\n|---" + "|---" * len(tools) + "|")
    across = np.array([p.in_plane_mm / p.pixel_mm for p in phantoms])
    table: dict[str, list[tuple[float, float]]] = {tool: [] for tool in tools}
    for low, high in (*CLASSES_PX, (4, 1000)):
        cells = []
        for tool, found in tools.items():
            errors = errors_px(phantoms, found)
            errors = errors[(across[: len(errors)] >= low) & (across[: len(errors)] < high)]
            table[tool].append((float(np.mean(errors)), float(np.percentile(np.abs(errors), 95))))
            cells.append("{:+.2f}; {:.2f}".format(*table[tool][-1]))
        _say((f"| {low} to {high} | " if high < 1000 else "| all | ") + " | ".join(cells) + " |")
    _say("")
    return table


def by_slices(phantoms: list[Phantom]) -> np.ndarray:
    """Error in mm against the full diameter of the shape, by slice step."""
    _say("| slice step, mm | mean, mm | 5th percentile, mm | within the uncertainty |\n|---|---|---|---|")
    rows = []
    for phantom in phantoms:
        size = measure_size(phantom.region)
        if isinstance(size, Size) and size.uncertainty_mm is not None:
            error = size.long_axis_mm - phantom.full_mm
            rows.append((phantom.region.grid.slice_spacing_mm, error, size.uncertainty_mm))
    table = np.array(rows)
    for low, high in SLICES_MM:
        _, error, uncertainty = table[(table[:, 0] >= low) & (table[:, 0] < high)].T
        held = np.mean(np.abs(error) <= uncertainty)
        _say(f"| {low} to {high} | {error.mean():+.2f} | {np.percentile(error, 5):+.2f} | {held:.0%} |")
    _say("")
    return table


def other_shapes(count: int) -> None:
    """Shapes with corners, on one slice: what no round model can know."""
    shapes = {
        "square": np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], dtype=float),
        "2:1 rectangle": np.array([(2, 1), (-2, 1), (-2, -1), (2, -1)], dtype=float),
        "triangle": np.array([(1, 0), (-0.5, 0.87), (-0.5, -0.87)]),
        "half ring": _half_ring(),
    }
    tools: dict[str, Callable[[Phantom], float]] = {
        "ours": ours,
        "centres": between_centres,
        "edges": between_edges,
    }
    _say("| shape, 6 to 30 pixels | " + " | ".join(tools) + " |\n|---|---|---|---|")
    rng = np.random.default_rng(5)
    for name, corners in shapes.items():
        phantoms = [_flat(corners, float(rng.uniform(6, 30)), rng) for _ in range(count)]
        cells = [errors_px(phantoms, [measure(p) for p in phantoms]) for measure in tools.values()]
        texts = [f"{e.mean():+.2f}; {np.percentile(np.abs(e), 95):.2f}" for e in cells]
        _say(f"| {name} | " + " | ".join(texts) + " |")
    _say("")


def _half_ring() -> np.ndarray:
    turn = np.linspace(0, np.pi, 90)
    arc = np.column_stack([np.cos(turn), np.sin(turn)])
    return np.concatenate([arc, 0.6 * arc[::-1]])


def _flat(corners: np.ndarray, across_px: float, rng: np.random.Generator) -> Phantom:
    pair = longest(convex_hull(corners))[0]
    turn = rng.uniform(0, 2 * np.pi)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = corners @ matrix * across_px / np.hypot(*(pair[1] - pair[0])) + 40 + rng.uniform(-0.5, 0.5, 2)
    mask = rasterise([points], rows=80, columns=80)[None]
    return Phantom(
        region=region_of(mask, axial_grid((1, 80, 80), 1.0, 1.0)),
        in_plane_mm=across_px,
        full_mm=across_px,
        volume_mm3=0.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--pyradiomics", metavar="PYTHON")
    parser.add_argument("--mirp", metavar="PYTHON")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    tables, full = {}, {}
    for name, seed in (("spheres", 1), ("ellipsoids", 2)):
        phantoms = random_phantoms(args.count, sphere=name == "spheres", seed=seed)
        tools = {
            "ours": [ours(p) for p in phantoms],
            "centre to centre": [between_centres(p) for p in phantoms],
            "edge to edge": [between_edges(p) for p in phantoms],
        }
        if args.pyradiomics:
            tools["pyradiomics"] = elsewhere("pyradiomics", args.pyradiomics, phantoms)
        if args.mirp:
            tools["MIRP"] = elsewhere("mirp", args.mirp, phantoms[:MIRP_COUNT])
        _say(f"{len(phantoms)} {name}: mean error; 95 % of absolute errors, in pixels\n")
        tables[name] = accuracy(phantoms, tools)
        _say(f"{name}: error against the full diameter of the shape\n")
        full[name] = by_slices(phantoms)
    other_shapes(args.count // 3)
    if args.pictures:
        draw_errors(tables, CLASSES_PX, args.pictures / "diameter-error.png")
        draw_slices(full, args.pictures / "slice-error.png")
        draw_conventions(args.pictures / "diameter-of-a-mask.png")


if __name__ == "__main__":
    main()
