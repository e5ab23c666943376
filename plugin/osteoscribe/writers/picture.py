"""The picture of a finding: the marked slice in a bone window, the lesion large beside it, and the phrase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from osteoscribe.core.geometry import FloatArray, Grid
from osteoscribe.core.report import Finding, Lesion
from osteoscribe.core.size import Doubt, NotMeasurable, Size
from osteoscribe.writers.lettering import Font, drawable, font, shorten, wrap
from osteoscribe.writers.view import (
    AXIS,
    OUTLINE,
    PAPER,
    Edges,
    Line,
    View,
    axis_line,
    draw_frame,
    draw_lines,
    edges_of,
)
from osteoscribe.writers.wording import axes_words, measurement_line, place

RESEARCH = "Research use - not for measurement"
UNVERIFIED = "Unverified suggestion of a program"

BACKGROUND, BAND, GREY, AMBER = (13, 17, 23), (24, 34, 46), (160, 172, 184), (255, 196, 70)
WIDTH_PX, MARGIN_PX = 1600, 28
LARGE_PX, SMALL_PX = 920, 596
SHEET_VIEW_PX = (758, 560)
CORNERS = 3
"""An outline has at least as many points; a drawn length has two."""
FIELD_MM, FIELD_IN_LESIONS = 44.0, 4.0
"""The close view shows this much, and at least this many lesion lengths."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """What the picture of one lesion shows.

    Parameters
    ----------
    slice_hu
        (rows, columns) HU of the whole slice.
    spacing_mm
        (between rows, between columns).
    edges
        Orientation letters.
    title, place, details, notes, phrase
        Words: the lesion's name, where it is, its measurements one a line (name, two blanks, value), what
        else is to be known of them, the suggestion.
    outline_rc
        (n, 2) row and column indices of the outline, 0.0 = centre of the first pixel, closed without
        repeating its first point; or None.
    long_axis_rc, short_axis_rc
        (2, 2) ends likewise; or None.
    """

    slice_hu: FloatArray
    spacing_mm: tuple[float, float]
    edges: Edges
    title: str
    place: str
    phrase: str
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    outline_rc: FloatArray | None = None
    long_axis_rc: FloatArray | None = None
    short_axis_rc: FloatArray | None = None


def panel_of(finding: Finding, grid: Grid, k: int, slice_hu: FloatArray) -> Panel:
    """The panel of a finding.

    Parameters
    ----------
    grid
        Grid of the CT series.
    k
        The slice that the picture shows: that of ``finding.lesion.image``.
    slice_hu
        Its (rows, columns) HU.
    """
    lesion = finding.lesion
    outline = lesion.outline
    size = lesion.size
    return Panel(
        slice_hu=slice_hu,
        spacing_mm=(grid.row_spacing_mm, grid.column_spacing_mm),
        edges=edges_of(grid),
        title=lesion.name,
        place=place(lesion),
        details=_details(lesion),
        phrase=finding.phrase.text,
        notes=_notes(finding),
        outline_rc=outline.points_rc
        if outline is not None and outline.k == k and len(outline.points_rc) >= CORNERS
        else None,
        long_axis_rc=None if isinstance(size, NotMeasurable) else _on_slice(grid, k, size.endpoints_lps_mm),
        short_axis_rc=None
        if isinstance(size, NotMeasurable) or size.short_endpoints_lps_mm is None
        else _on_slice(grid, k, size.short_endpoints_lps_mm),
    )


def _on_slice(grid: Grid, k: int, ends_lps_mm: FloatArray) -> FloatArray | None:
    """Row and column of the ends of an axis, or None where it lies on another slice."""
    ends = grid.to_plane(ends_lps_mm, k)
    if np.abs(ends[:, 0]).max() > max(grid.slice_spacing_mm / 2, 0.01):
        return None
    return np.asarray(ends[:, 1:])


def _details(lesion: Lesion) -> tuple[str, ...]:
    if isinstance(lesion.size, Size):
        name = "Length" if lesion.size.short_axis_mm is None else "Long x short axis"
        lines = [f"{name}  {axes_words(lesion.size)}"]
        if lesion.size.volume_mm3 is not None:
            lines.append(f"Volume  {lesion.size.volume_mm3:.0f} mm³")
    else:
        lines = [measurement_line(lesion)]
    if lesion.intensity is not None:
        hu = lesion.intensity
        lines.append(f"HU, reference only  {hu.mean_hu:.0f} ± {hu.standard_deviation_hu:.0f}")
    return tuple(lines)


def _notes(finding: Finding) -> tuple[str, ...]:
    lesion = finding.lesion
    doubts = lesion.size.doubts if isinstance(lesion.size, Size) else ()
    # A borderline size has its sentence already.
    words = [doubt.value for doubt in doubts if doubt is not Doubt.BORDERLINE]
    label = [f"On the mark: {lesion.mark.label}"] if lesion.mark.label else []
    remark = [finding.phrase.remark] if finding.phrase.remark else []
    return (*label, *remark, *(f"{word[:1].upper()}{word[1:]}" for word in words))


def render(panels: Sequence[Panel]) -> Image.Image:
    """One picture: a single lesion with its slice beside it, several as a sheet.

    Parameters
    ----------
    panels
        At least one, in the order of the report.

    Returns
    -------
    Image.Image
        RGB, 1600 pixels wide and at least 1024 high.

    Raises
    ------
    ValueError
        No panel.
    """
    if not panels:
        raise ValueError("a picture needs at least one panel")
    return _single(panels[0]) if len(panels) == 1 else _sheet(panels)


def _single(panel: Panel) -> Image.Image:
    words = _wrapped(panel.phrase, font(34, bold=True), WIDTH_PX - 2 * MARGIN_PX)
    top = 78
    footer = top + LARGE_PX + 18
    picture = _page(footer + 40 + 44 * len(words) + 52)
    pen = ImageDraw.Draw(picture)
    _heading(pen, (MARGIN_PX, 18), WIDTH_PX - 2 * MARGIN_PX, panel, 36)
    close = _close_view(panel, (LARGE_PX, LARGE_PX))
    picture.paste(_drawn(panel, close, width=2.6, letters=30), (MARGIN_PX, top))
    left = MARGIN_PX + LARGE_PX + 28
    picture.paste(_whole(panel, close), (left, top))
    y = top + SMALL_PX + 26
    for line in panel.details:
        name, _, value = line.partition("  ")
        if not value:
            for part in _wrapped(name, font(26), SMALL_PX):
                pen.text((left, y), part, font=font(26), fill=PAPER)
                y += 34
            continue
        pen.text((left, y), drawable(name), font=font(24), fill=GREY)
        pen.text((left + SMALL_PX, y - 2), drawable(value), font=font(28, bold=True), fill=PAPER, anchor="ra")
        y += 44
    y += 10
    for note in panel.notes:
        for part in _wrapped(note, font(23), SMALL_PX)[:4]:
            if y < top + LARGE_PX - 70:
                pen.text((left, y), part, font=font(23), fill=GREY)
            y += 30
        y += 8
    _legend(pen, (left, top + LARGE_PX - 30), panel)
    _phrase(picture, footer, words)
    return picture


def _sheet(panels: Sequence[Panel]) -> Image.Image:
    """Two lesions a row, each with its sentence; one that they share stands once, below them all."""
    width, height = SHEET_VIEW_PX
    typeface = font(25, bold=True)
    is_shared = len({panel.phrase for panel in panels}) == 1
    texts = [[] if is_shared else _wrapped(panel.phrase, typeface, width) for panel in panels]
    shared = _wrapped(panels[0].phrase, font(34, bold=True), WIDTH_PX - 2 * MARGIN_PX) if is_shared else []
    band = 40 + 44 * len(shared) if shared else 0
    rows = [range(i, min(i + 2, len(panels))) for i in range(0, len(panels), 2)]
    heights = [60 + height + 12 + 33 * max(len(texts[i]) for i in row) + 30 for row in rows]
    picture = _page(max(1024, 24 + sum(heights) + band + 56))
    pen = ImageDraw.Draw(picture)
    y = 20
    for row, row_height in zip(rows, heights, strict=True):
        for column, i in enumerate(row):
            x = MARGIN_PX + column * (width + 28)
            _heading(pen, (x, y), width, panels[i], 28, _size_of(panels[i]))
            view = _close_view(panels[i], SHEET_VIEW_PX)
            picture.paste(_drawn(panels[i], view, width=2.2, letters=24), (x, y + 52))
            for line, text in enumerate(texts[i]):
                pen.text((x, y + 52 + height + 10 + 33 * line), text, font=typeface, fill=PAPER)
        y += row_height
    if shared:
        _phrase(picture, picture.height - band - 56, shared)
    else:
        _bottom_line(pen, picture)
    return picture


def _page(height: int) -> Image.Image:
    return Image.new("RGB", (WIDTH_PX, height), BACKGROUND)


def _wrapped(text: str, typeface: Font, width: float) -> list[str]:
    return [line for part in text.splitlines() for line in wrap(part, typeface, width)]


def _size_of(panel: Panel) -> str:
    """The measurement that comes first, without its name."""
    return panel.details[0].partition("  ")[2] if panel.details else ""


def _heading(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], width: int, panel: Panel, size: int, measured: str = ""
) -> None:
    title = drawable(panel.title)
    name, where = font(size, bold=True), font(size - 8)
    pen.text(at, title, font=name, fill=OUTLINE)
    used = name.getlength(title) + 24
    if measured:
        pen.text((at[0] + used, at[1] + 3), drawable(measured), font=font(size - 4, bold=True), fill=PAPER)
        used += font(size - 4, bold=True).getlength(drawable(measured)) + 24
    room = width - used
    pen.text(
        (at[0] + width, at[1] + 6), shorten(panel.place, where, room), font=where, fill=GREY, anchor="ra"
    )


def _close_view(panel: Panel, size_px: tuple[int, int]) -> View:
    drawn = [line for line in (panel.outline_rc, panel.long_axis_rc, panel.short_axis_rc) if line is not None]
    points = np.concatenate(drawn) if drawn else np.array([np.array(panel.slice_hu.shape) / 2 - 0.5])
    lowest, highest = points.min(axis=0), points.max(axis=0)
    extent_mm = float(((highest - lowest) * panel.spacing_mm).max())
    field_mm = max(FIELD_MM, FIELD_IN_LESIONS * extent_mm)
    centre = (lowest + highest) / 2
    return View(
        centre_rc=(float(centre[0]), float(centre[1])),
        pixels_per_mm=min(size_px) / field_mm,
        spacing_mm=panel.spacing_mm,
        size_px=size_px,
    )


def _drawn(panel: Panel, view: View, *, width: float, letters: int) -> Image.Image:
    lines = []
    if panel.outline_rc is not None:
        outline = view.to_view(panel.outline_rc)
        lines.append(Line(points=outline, colour=OUTLINE, width_px=width, closed=True))
    for axis, thickness in ((panel.short_axis_rc, width * 0.6), (panel.long_axis_rc, width * 0.8)):
        if axis is not None:
            parts = axis_line(view.to_view(axis))
            lines += [Line(points=part, colour=AXIS, width_px=thickness) for part in parts]
    picture = view.picture(panel.slice_hu)
    draw_lines(picture, lines)
    draw_frame(picture, panel.edges, view.pixels_per_mm, letters)
    return picture


def _whole(panel: Panel, close: View) -> Image.Image:
    """The whole slice, with a frame around what the close view shows."""
    rows, columns = panel.slice_hu.shape
    longest_mm = max(rows * panel.spacing_mm[0], columns * panel.spacing_mm[1])
    view = View(
        centre_rc=((rows - 1) / 2, (columns - 1) / 2),
        pixels_per_mm=SMALL_PX / longest_mm,
        spacing_mm=panel.spacing_mm,
        size_px=(SMALL_PX, SMALL_PX),
    )
    half = np.array(close.size_px[::-1]) / 2 / close.pixels_per_mm / panel.spacing_mm
    low, high = np.array(close.centre_rc) - half, np.array(close.centre_rc) + half
    corners = np.array([low, (low[0], high[1]), high, (high[0], low[1])])
    picture = view.picture(panel.slice_hu)
    draw_lines(picture, [Line(points=view.to_view(corners), colour=OUTLINE, width_px=1.6, closed=True)])
    draw_frame(picture, panel.edges, view.pixels_per_mm, 24)
    return picture


def _legend(pen: ImageDraw.ImageDraw, at: tuple[int, int], panel: Panel) -> None:
    x, y = at
    entries = [("outline of the mark", OUTLINE)] if panel.outline_rc is not None else []
    if panel.long_axis_rc is not None:
        entries.append(("long and short axis" if panel.short_axis_rc is not None else "length", AXIS))
    for text, colour in entries:
        pen.line((x, y + 16, x + 34, y + 16), fill=colour, width=3)
        pen.text((x + 44, y), text, font=font(22), fill=GREY)
        x += 44 + round(font(22).getlength(text)) + 30


def _phrase(picture: Image.Image, y: int, words: Sequence[str]) -> None:
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, y, picture.width, picture.height), fill=BAND)
    pen.rectangle((0, y, picture.width, y + 3), fill=OUTLINE)
    for number, line in enumerate(words):
        pen.text((MARGIN_PX, y + 22 + 44 * number), line, font=font(34, bold=True), fill=PAPER)
    _bottom_line(pen, picture)


def _bottom_line(pen: ImageDraw.ImageDraw, picture: Image.Image) -> None:
    y = picture.height - 16
    pen.text((MARGIN_PX, y), UNVERIFIED, font=font(24), fill=GREY, anchor="ld")
    pen.text((WIDTH_PX - MARGIN_PX, y), RESEARCH, font=font(26, bold=True), fill=AMBER, anchor="rd")
