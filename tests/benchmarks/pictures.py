"""The pictures of docs/measurement.md."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from osteoscribe.core import diameter
from osteoscribe.core.polygon import convex_hull, longest, row_ends

COLOURS = {
    "ours": "tab:green",
    "centre to centre": "tab:blue",
    "edge to edge": "tab:red",
    "pyradiomics": "tab:purple",
    "MIRP": "tab:orange",
}


def draw_errors(
    tables: dict[str, dict[str, list[tuple[float, float]]]],
    classes_px: tuple[tuple[int, int], ...],
    path: Path,
) -> None:
    """Mean error (line) and 95 % of absolute errors (dashes) by diameter."""
    figure, axes = plt.subplots(1, len(tables), figsize=(9, 3.6), sharey=True)
    middles = [np.sqrt(low * high) for low, high in classes_px]
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        for tool, cells in table.items():
            mean, most = np.array(cells[: len(classes_px)]).T
            (line,) = ax.plot(middles, mean, "o-", ms=3, label=tool, color=COLOURS.get(tool))
            ax.plot(middles, most, "--", lw=0.9, color=line.get_color())
        ax.axhspan(-0.1, 0.1, color="0.9", zorder=0)
        ax.axhline(0.6, color="0.6", lw=0.8, ls=":")
        ax.set(title=name, xscale="log", xlabel="true longest in-plane diameter, pixels")
        ax.set_xticks([5, 10, 20, 50], ["5", "10", "20", "50"])
        ax.set_xticks([], minor=True)
    axes[0].set_ylabel("error, pixels\n(line: mean; dashes: 95 % of |error|)")
    axes[1].legend(fontsize=7, loc="lower right", ncol=3, bbox_to_anchor=(1, 0.0))
    axes[0].set_ylim(-1.2, 1.7)
    _save(figure, path)


def draw_slices(full: dict[str, np.ndarray], path: Path) -> None:
    """Error against the full diameter by slice step."""
    figure, axes = plt.subplots(1, len(full), figsize=(9, 3.2), sharey=True)
    for ax, (name, table) in zip(axes, full.items(), strict=True):
        ax.plot(table[:, 0], table[:, 1], ".", ms=2.5, color="tab:green")
        ax.axhline(0, color="0.6", lw=0.8)
        ax.set(title=name, xlabel="slice step, mm", ylim=(-10, 1.5))
    axes[0].set_ylabel("long axis - full diameter, mm")
    _save(figure, path)


def draw_conventions(path: Path) -> None:
    """A lesion of 5 mm on 0.7 mm pixels: the two naive lengths, and ours."""
    centre, radius = np.array([4.28, 4.13]), 2.5 / 0.7
    r, c = np.mgrid[:9, :9]
    mask = (r - centre[0]) ** 2 + (c - centre[1]) ** 2 <= radius**2
    corners = np.array([(a, b) for a in (-0.5, 0.5) for b in (-0.5, 0.5)])
    _, found = diameter.of_masks(mask[None], np.eye(2))
    naive = [
        longest(convex_hull(row_ends(mask)))[0],
        longest(convex_hull((row_ends(mask)[:, None] + corners).reshape(-1, 2)))[0],
    ]
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.3))
    titles = ("centre to centre", "edge to edge", "ours")
    for ax, title, ends in zip(axes, titles, [*naive, np.array(found.long_ends)], strict=True):
        _pixels(ax, mask, centre, radius)
        length = float(np.hypot(*(ends[1] - ends[0]))) * 0.7
        ax.plot(ends[:, 1], ends[:, 0], "o-", ms=3, color=COLOURS[title])
        ax.set_title(f"{title}: {length:.2f} mm", fontsize=10)
    _moment_ellipse(axes[2], mask)
    _save(figure, path)


def _pixels(ax: Axes, mask: np.ndarray, centre: np.ndarray, radius: float) -> None:
    ax.imshow(np.where(mask, 0.75, 1.0), cmap="gray", vmin=0, vmax=1)
    ax.set_xticks(np.arange(-0.5, 9), [])
    ax.set_yticks(np.arange(-0.5, 9), [])
    ax.grid(color="0.9", lw=0.5)
    inside = np.argwhere(mask)
    ax.plot(inside[:, 1], inside[:, 0], ".", ms=2, color="0.3")
    turn = np.linspace(0, 2 * np.pi, 200)
    ax.plot(centre[1] + radius * np.cos(turn), centre[0] + radius * np.sin(turn), "k-", lw=1)
    ax.tick_params(length=0)


def _moment_ellipse(ax: Axes, mask: np.ndarray) -> None:
    """The ellipse with the moments of the mask."""
    points = np.argwhere(mask)
    values, vectors = np.linalg.eigh(np.cov(points.T, bias=True))
    turn = np.linspace(0, 2 * np.pi, 200)
    ring = (
        points.mean(axis=0)
        + (2 * np.sqrt(values) * np.column_stack([np.cos(turn), np.sin(turn)])) @ vectors.T
    )
    ax.plot(ring[:, 1], ring[:, 0], "--", lw=1, color="tab:green")


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)
