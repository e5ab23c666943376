"""The proof that a worse input never makes the advice less urgent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from osteoscribe.core.rules.boxes import Box
from osteoscribe.core.rules.plain import refuse
from osteoscribe.core.rules.reach import Reach
from osteoscribe.core.rules.table import Column, RuleTable
from osteoscribe.core.rules.words import in_words, values_in_words


def check_urgency(table: RuleTable, reaches: Sequence[Reach]) -> None:
    """Prove that no step of one input along its column's `worsening` lowers the urgency.

    Parameters
    ----------
    reaches
        What reaches each row. Rows without an urgency make no suggestion and are left out.

    Raises
    ------
    SetupError
        ``rules.less-urgent``: names the two rows, and a combination where it happens.

    Notes
    -----
    Exact: two combinations that differ in one input lie in two boxes that have all other columns in common.
    """
    ranked = [
        (found.rule, found.rule.urgency, found.boxes) for found in reaches if found.rule.urgency is not None
    ]
    for (rule, urgency, boxes), (other, lower, others) in product(ranked, ranked):
        for box, worse in product(boxes, others) if lower < urgency else ():
            position = _only_difference(box, worse)
            if position is None:
                continue
            column = table.columns[position]
            step = _worsening_step(column, box[position], worse[position])
            if step is not None:
                rest = tuple(a & b for a, b in zip(box, worse, strict=True))
                here = (*rest[:position], table.space[position], *rest[position + 1 :])
                before, after = (values_in_words(column, mask) for mask in step)
                raise refuse(
                    "less-urgent",
                    f"row {rule.id}",
                    f"{column.label} from {before} to {after} leads to row {other.id}, which is less urgent, "
                    f"where {in_words(table, (here,))}",
                )


def _only_difference(a: Box, b: Box) -> int | None:
    """The one column in which two boxes have no value in common, or None where that are more."""
    apart = None
    for position, (x, y) in enumerate(zip(a, b, strict=True)):
        if not x & y:
            if apart is not None:
                return None
            apart = position
    return apart


def _worsening_step(column: Column, mask: int, worse: int) -> tuple[int, int] | None:
    """Masks of a value in `mask` and of a worse one in `worse`, or None where there is none."""
    steps = [column.mask(value) for value in column.worsening]
    first = next((i for i, step in enumerate(steps) if step & mask), None)
    if first is None:
        return None
    last = next((step for step in reversed(steps[first + 1 :]) if step & worse), None)
    return None if last is None else (steps[first], last)
