"""What the program's table says over the whole input space, in the axes of the reference."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from osteoscribe.core.rules.boxes import Box
from osteoscribe.core.rules.table import RuleTable
from tests.core.rules import reference


def indices(table: RuleTable, box: Box) -> tuple[list[int], ...]:
    """The cells of a box: for each axis of the reference its indices."""
    masks = {column.name: (column, mask) for column, mask in zip(table.columns, box, strict=True)}
    found = []
    for name, values in reference.AXES.items():
        column, mask = masks[name]
        found.append([i for i, value in enumerate(values) if mask & column.mask(value)])
    return tuple(found)


def rows(table: RuleTable) -> reference.Rows:
    """The row of every combination; 255 where none holds."""
    cells = np.full(reference.SHAPE, 255, dtype=np.uint8)
    for index, rule in reversed(list(enumerate(table.rules))):
        for box in rule.when:
            cells[np.ix_(*indices(table, box))] = index
    return cells


def inside(table: RuleTable, boxes: Iterable[Box]) -> reference.Bools:
    """Where a combination lies in any of some boxes."""
    cells = np.zeros(reference.SHAPE, dtype=np.bool_)
    for box in boxes:
        cells[np.ix_(*indices(table, box))] = True
    return cells
