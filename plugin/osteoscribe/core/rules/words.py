"""Conditions in words."""

from __future__ import annotations

from osteoscribe.core.rules.boxes import Box
from osteoscribe.core.rules.table import Column, RuleTable, size_in_words


def in_words(table: RuleTable, boxes: tuple[Box, ...]) -> str:
    """A condition in words; what it does not ask for is left out."""
    if any(box == table.space for box in boxes):
        return "everything left"
    return "; or ".join(_box_in_words(table, box) for box in boxes)


def _box_in_words(table: RuleTable, box: Box) -> str:
    asked = [(column, mask) for column, mask in zip(table.columns, box, strict=True) if mask != column.full]
    return ", ".join(f"{column.label}: {values_in_words(column, mask)}" for column, mask in asked)


def values_in_words(column: Column, mask: int) -> str:
    """Some values of a column in words; neighbouring bands of the size are one range."""
    chosen = [index for index in range(len(column.values)) if mask >> index & 1]
    if column.cuts_mm:
        return " / ".join(_ranges_in_words(column, chosen))
    return " / ".join(column.words[index] for index in chosen)


def _ranges_in_words(column: Column, chosen: list[int]) -> list[str]:
    bands = len(column.cuts_mm)
    limits: list[int | None] = [*column.cuts_mm, None]
    ranges: list[list[int]] = []
    for index in chosen:
        if index < bands and ranges and ranges[-1][-1] == index - 1:
            ranges[-1].append(index)
        elif index < bands:
            ranges.append([index])
    words = [size_in_words(column.cuts_mm[run[0]], limits[run[-1] + 1]) for run in ranges]
    return words + [column.words[index] for index in chosen if index >= bands]
