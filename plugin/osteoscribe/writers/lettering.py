"""Text on a picture: one font that comes with the installation, so every machine draws the same."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from io import BytesIO

from PIL import ImageFont

Font = ImageFont.FreeTypeFont

REPLACEMENT = "\u25a1"
"""Stands for a character that the font has no shape for."""
WEIGHTS = {False: "Regular", True: "Semibold"}


@cache
def font(size_px: int, *, bold: bool = False) -> Font:
    """Source Sans Pro (SIL Open Font Licence): Latin, Greek, Cyrillic.

    Parameters
    ----------
    size_px
        Height in pixels.
    """
    place = files("font_source_sans_pro") / "files" / f"SourceSansPro-{WEIGHTS[bold]}.ttf"
    return ImageFont.truetype(BytesIO(place.read_bytes()), size_px, layout_engine=ImageFont.Layout.BASIC)


@cache
def _has_shape(character: str) -> bool:
    shape = font(32).getmask(character)
    return character.isspace() or (shape.size, bytes(shape)) != _no_shape()


@cache
def _no_shape() -> tuple[tuple[int, int], bytes]:
    shape = font(32).getmask("\uffff")
    return shape.size, bytes(shape)


def drawable(text: str) -> str:
    """The text with a box for each character that the font cannot draw, on one line.

    Examples
    --------
    >>> drawable("Größe λ Ж 骨")
    'Größe λ Ж □'
    """
    return "".join(c if _has_shape(c) else REPLACEMENT for c in " ".join(text.split()))


def wrap(text: str, typeface: Font, width_px: float) -> list[str]:
    """Lines of whole words that fit; a word too long for a line is broken.

    Parameters
    ----------
    width_px
        Room for one line.

    Returns
    -------
    list[str]
        At least one line.
    """
    lines: list[str] = []
    line = ""
    for word in drawable(text).split(" "):
        longer = f"{line} {word}" if line else word
        if typeface.getlength(longer) <= width_px:
            line = longer
            continue
        if line:
            lines.append(line)
        while typeface.getlength(word) > width_px and len(word) > 1:
            fits = next(
                (n for n in range(len(word) - 1, 1, -1) if typeface.getlength(word[:n]) <= width_px), 1
            )
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line]


def shorten(text: str, typeface: Font, width_px: float) -> str:
    """The text on one line, cut with an ellipsis where it does not fit."""
    line = drawable(text)
    if typeface.getlength(line) <= width_px:
        return line
    while line and typeface.getlength(line + "…") > width_px:
        line = line[:-1]
    return line.rstrip() + "…"
