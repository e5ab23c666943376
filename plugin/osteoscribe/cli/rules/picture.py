# ruff: noqa: E501 (SVG stands as it is)
"""The decision flow from top to bottom, as an SVG made from the table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from textwrap import wrap

from osteoscribe.core.rules.show import ShownRow
from osteoscribe.core.rules.table import RuleTable

LINE = 16
"""Height of a line of text, in px."""
PADDING = 9
GAP = 14
LEFT, LEFT_WIDTH, LEFT_LETTERS = 20, 440, 60
RIGHT, RIGHT_WIDTH, RIGHT_LETTERS = 540, 560, 72
WIDTH = RIGHT + RIGHT_WIDTH + 20
TOP = 86

COLOURS = {
    None: ("#eef0f3", "#7c8696", "no suggestion"),
    0: ("#e3f3e8", "#2c7a4b", "no further imaging, or the reader decides"),
    1: ("#f0f5d8", "#76842a", "look again, or record what is missing"),
    2: ("#fdf2d0", "#a97b0f", "follow-up, or correlate"),
    3: ("#fde5cf", "#b8601a", "further imaging"),
    4: ("#fbdcd8", "#b23a2e", "further evaluation"),
    5: ("#f6c9c6", "#8f1d1d", "further evaluation, aggressive feature"),
}
"""Fill, line and meaning of each urgency; the row's name says the same without colour."""


def picture(table: RuleTable, rows: Sequence[ShownRow]) -> str:
    """The decision flow as SVG: questions on the left, what is said on the right."""
    parts, y = [], TOP
    for index, row in enumerate(rows):
        last = index + 1 == len(rows)
        drawn, height = _row(row, y, last=last)
        parts.append(drawn)
        y += height + GAP
    legend, height = _legend(y + 4)
    y += height
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
            'role="img" font-family="Helvetica, Arial, sans-serif" font-size="12.5">',
            f"<title>{escape(table.title)}: decision flow of {escape(table.id)} {escape(table.version)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 8 4 0 8z" fill="#5b6575"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="34" font-size="19" font-weight="bold" fill="#1c2430">{escape(table.title)}</text>',
            f'<text x="{LEFT}" y="56" fill="#5b6575">{escape(table.id)} {escape(table.version)} '
            f"({escape(table.status)}). Read from top to bottom: the first row that holds wins. "
            "Attenuation (HU) is no input.</text>",
            *parts,
            legend,
            "</svg>",
            "",
        ]
    )


def _row(row: ShownRow, y: int, *, last: bool) -> tuple[str, int]:
    """One question with its answer, and its height."""
    question = _wrapped(_questions(row), LEFT_LETTERS)
    says = [row.phrase.replace("{d}", "N"), *(f"+ {add}" for add in row.adds)]
    answer = _wrapped(says, RIGHT_LETTERS)
    height = max(len(question), len(answer)) * LINE + 2 * PADDING
    fill, line, _ = COLOURS[row.urgency]
    middle = y + height / 2
    parts = [
        f'<rect x="{LEFT}" y="{y}" width="{LEFT_WIDTH}" height="{height}" rx="6" fill="#f7f9fb" stroke="#b9c2ce"/>',
        _text(question, LEFT + 12, y, height, "#1c2430"),
        f'<path d="M{LEFT + LEFT_WIDTH} {middle}H{RIGHT - 2}" stroke="#5b6575" fill="none" marker-end="url(#tip)"/>',
        f'<text x="{LEFT + LEFT_WIDTH + 36}" y="{middle - 5}" text-anchor="middle" fill="#5b6575" '
        'font-size="11">yes</text>',
        f'<rect x="{RIGHT}" y="{y}" width="{RIGHT_WIDTH}" height="{height}" rx="6" fill="{fill}" stroke="{line}"/>',
        f'<text x="{RIGHT + 27}" y="{middle + 5}" text-anchor="middle" font-weight="bold" font-size="15" '
        f'fill="{line}">{escape(row.id)}</text>',
        _text(answer, RIGHT + 56, y, height, "#1c2430"),
    ]
    if not last:
        x = LEFT + 40
        parts.append(
            f'<path d="M{x} {y + height}V{y + height + GAP - 2}" stroke="#5b6575" fill="none" '
            'marker-end="url(#tip)"/>'
            f'<text x="{x + 8}" y="{y + height + GAP - 4}" fill="#5b6575" font-size="10">no</text>'
        )
    return "\n".join(parts), height


def _questions(row: ShownRow) -> list[str]:
    return [f"or {text}" if index else text for index, text in enumerate(row.conditions)]


def _wrapped(texts: Sequence[str], letters: int) -> list[str]:
    return [line for text in texts for line in wrap(text, letters)]


def _text(lines: Sequence[str], x: int, y: int, height: int, colour: str) -> str:
    """Lines of text, centred in a box of this height."""
    top = y + (height - len(lines) * LINE) / 2 + LINE - 4
    spans = "".join(
        f'<tspan x="{x}" y="{top + index * LINE}">{escape(line)}</tspan>' for index, line in enumerate(lines)
    )
    return f'<text fill="{colour}">{spans}</text>'


def _legend(y: int) -> tuple[str, int]:
    parts = []
    for index, (fill, line, meaning) in enumerate(COLOURS.values()):
        x, row = LEFT + (index % 3) * 370, index // 3
        top = y + row * 22
        parts.append(
            f'<rect x="{x}" y="{top}" width="16" height="12" rx="2" fill="{fill}" stroke="{line}"/>'
            f'<text x="{x + 24}" y="{top + 11}" fill="#5b6575" font-size="11.5">{escape(meaning)}</text>'
        )
    return "\n".join(parts), (len(COLOURS) + 2) // 3 * 22 + 12
