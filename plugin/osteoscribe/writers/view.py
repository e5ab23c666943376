"""A CT slice as a view on a picture: bone window, true proportions, and the lines drawn on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from osteoscribe.core.geometry import FloatArray, Grid
from osteoscribe.writers.lettering import font

WINDOW_CENTRE_HU, WINDOW_WIDTH_HU = 400.0, 1800.0
"""Bone window."""

OUTLINE = (255, 190, 40)
AXIS = (70, 220, 255)
PAPER = (242, 245, 248)
SMOOTHING = 3
"""Lines are drawn this many times larger and scaled down, for smooth edges."""

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Letters at the four edges of a view: patient directions (PS3.3 C.7.6.1.1.1)."""

    left: str
    right: str
    top: str
    bottom: str


def edges_of(grid: Grid) -> Edges:
    """Orientation letters of the slices of a grid.

    Examples
    --------
    >>> import numpy as np
    >>> axial = Grid(
    ...     shape=(1, 4, 4), origins_lps_mm=np.zeros((1, 3)), row_step_lps_mm=np.array([0, 0.7, 0]),
    ...     column_step_lps_mm=np.array([0.7, 0, 0]), slice_step_lps_mm=np.array([0, 0, 1.0]),
    ... )
    >>> edges_of(axial)
    Edges(left='R', right='L', top='A', bottom='P')
    """
    right, bottom = grid.column_step_lps_mm, grid.row_step_lps_mm
    return Edges(left=_letters(-right), right=_letters(right), top=_letters(-bottom), bottom=_letters(bottom))


def _letters(direction: FloatArray) -> str:
    """Directions of a vector, the strongest first; a slant under about 15 degrees is not named."""
    unit = direction / np.linalg.norm(direction)
    named = [(abs(part), "LPH"[i] if part > 0 else "RAF"[i]) for i, part in enumerate(unit)]
    return "".join(letter for part, letter in sorted(named, reverse=True) if part > 0.26)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A window of a slice on the picture.

    Parameters
    ----------
    centre_rc
        Row and column index at the centre of the view, 0.0 = centre of the first pixel.
    pixels_per_mm
        Scale, the same in both directions.
    spacing_mm
        (between rows, between columns) of the slice.
    size_px
        (width, height) of the view.
    """

    centre_rc: tuple[float, float]
    pixels_per_mm: float
    spacing_mm: tuple[float, float]
    size_px: tuple[int, int]

    def to_view(self, points_rc: npt.ArrayLike) -> Points:
        """(x, y) on the view, 0.0 = outer corner, of (row, column) indices."""
        row_scale, column_scale = (self.pixels_per_mm * spacing for spacing in self.spacing_mm)
        width, height = self.size_px
        return [
            (
                (column - self.centre_rc[1]) * column_scale + width / 2,
                (row - self.centre_rc[0]) * row_scale + height / 2,
            )
            for row, column in np.asarray(points_rc, dtype=np.float64)
        ]

    def picture(self, slice_hu: FloatArray) -> Image.Image:
        """The slice in the bone window; black outside of it."""
        row_scale, column_scale = (self.pixels_per_mm * spacing for spacing in self.spacing_mm)
        width, height = self.size_px
        lowest = WINDOW_CENTRE_HU - WINDOW_WIDTH_HU / 2
        # Counted from the lower end of the window, so that the fill outside the slice (0) is black. Pillow
        # counts from the corner of the first pixel, hence the half.
        above = Image.fromarray((np.clip(slice_hu, lowest, None) - lowest).astype(np.float32))
        mapping = (
            1 / column_scale,
            0.0,
            self.centre_rc[1] + 0.5 - width / 2 / column_scale,
            0.0,
            1 / row_scale,
            self.centre_rc[0] + 0.5 - height / 2 / row_scale,
        )
        drawn = above.transform(
            self.size_px, Image.Transform.AFFINE, mapping, resample=Image.Resampling.BICUBIC
        )
        grey = np.clip(np.asarray(drawn) / WINDOW_WIDTH_HU, 0.0, 1.0) * 255
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line on a view: its points, colour, width in pixels, and whether it is closed."""

    points: Points
    colour: tuple[int, int, int]
    width_px: float
    closed: bool = False


def draw_lines(picture: Image.Image, lines: Sequence[Line]) -> None:
    """Draw smooth lines on a thin dark rim, on the picture itself."""
    if not lines:
        return
    every = np.array([point for line in lines for point in line.points])
    room = max(line.width_px for line in lines) + 4
    left, top = (int(value) for value in np.clip(every.min(axis=0) - room, 0, None))
    right, bottom = (int(value) for value in np.minimum(every.max(axis=0) + room + 1, picture.size))
    if left >= right or top >= bottom:
        return
    size = (right - left, bottom - top)
    layer = Image.new("RGBA", (size[0] * SMOOTHING, size[1] * SMOOTHING), (0, 0, 0, 0))
    pen = ImageDraw.Draw(layer)
    paths = [
        [((x - left) * SMOOTHING, (y - top) * SMOOTHING) for x, y in line.points]
        + [((x - left) * SMOOTHING, (y - top) * SMOOTHING) for x, y in line.points[: 2 * line.closed]]
        for line in lines
    ]
    for path, line in zip(paths, lines, strict=True):
        pen.line(path, fill=(0, 0, 0, 150), width=round((line.width_px + 2) * SMOOTHING), joint="curve")
    for path, line in zip(paths, lines, strict=True):
        pen.line(path, fill=(*line.colour, 255), width=round(line.width_px * SMOOTHING), joint="curve")
    smooth = layer.resize(size, Image.Resampling.LANCZOS)
    picture.paste(smooth, (left, top), mask=smooth)


def axis_line(ends: Points) -> list[Points]:
    """A diameter with a short tick across each end."""
    (x0, y0), (x1, y1) = ends
    length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-9)
    across = ((y0 - y1) / length * 7, (x1 - x0) / length * 7)
    ticks = [[(x - across[0], y - across[1]), (x + across[0], y + across[1])] for x, y in ends]
    return [ends, *ticks]


def draw_frame(picture: Image.Image, edges: Edges, pixels_per_mm: float, size_px: int) -> None:
    """Orientation letters and a scale bar, on the picture itself."""
    pen = ImageDraw.Draw(picture)
    width, height = picture.size
    letters = font(size_px, bold=True)
    for text, x, y, anchor in (
        (edges.left, 12, height / 2, "lm"),
        (edges.right, width - 12, height / 2, "rm"),
        (edges.top, width / 2, 10, "ma"),
        (edges.bottom, width / 2, height - 10, "md"),
    ):
        pen.text((x, y), text, font=letters, anchor=anchor, fill=PAPER, stroke_width=2, stroke_fill=(0, 0, 0))
    bar_mm = next((mm for mm in (50, 20, 10, 5) if mm * pixels_per_mm <= width * 0.35), 5)
    bar = bar_mm * pixels_per_mm
    x, y = width - 18 - bar, height - 20
    for rim, ink in ((2, (0, 0, 0)), (0, PAPER)):
        pen.rectangle((x - rim, y - 3 - rim, x + bar + rim, y + rim), fill=ink)
    pen.text(
        (x + bar, y - 8),
        f"{bar_mm} mm",
        font=font(size_px - 4, bold=True),
        anchor="rd",
        fill=PAPER,
        stroke_width=2,
        stroke_fill=(0, 0, 0),
    )
