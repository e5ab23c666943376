"""What reaches each row: each combination of inputs meets a row, and each row is met.

Rows are boxes of the space of all combinations. Each row's boxes are cut out of what the rows above left
over; what remains at the end is a gap, and a row that cuts out nothing is dead. This is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from osteoscribe.core.rules.boxes import Box, cut_all, overlap, size_of
from osteoscribe.core.rules.plain import refuse
from osteoscribe.core.rules.table import Rule, RuleTable
from osteoscribe.core.rules.words import in_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The combinations that reach one row, as boxes that do not overlap."""

    rule: Rule
    boxes: tuple[Box, ...]

    @property
    def combinations(self) -> int:
        """How many there are."""
        return size_of(self.boxes)


def reach(table: RuleTable) -> tuple[Reach, ...]:
    """What reaches each row.

    Raises
    ------
    SetupError
        ``rules.dead-row``: rows above take all that a row, or one of its conditions, asks for;
        ``rules.gap``: combinations that no row takes.
    """
    left: tuple[Box, ...] = (table.space,)
    reaches = []
    for rule in table.rules:
        taken: tuple[Box, ...] = ()
        for number, box in enumerate(rule.when, start=1):
            part = overlap(left, (box,))
            if not part:
                which = f"condition {number} of {len(rule.when)}" if len(rule.when) > 1 else "its condition"
                raise refuse(
                    "dead-row",
                    f"row {rule.id}",
                    f"{which} is never met, rows above take all of it: {in_words(table, (box,))}",
                )
            check_values(table, f"row {rule.id}", box, left)
            taken += part
            left = cut_all(left, (box,))
        reaches.append(Reach(rule=rule, boxes=taken))
    if left:
        raise refuse(
            "gap",
            "table",
            f"{size_of(left)} combinations meet no row, for example: {in_words(table, left[:1])}. "
            "Add a row for them",
        )
    return tuple(reaches)


def check_values(
    table: RuleTable, where: str, box: Box, left: tuple[Box, ...], *, sizes: bool = True
) -> None:
    """Check that each value that a condition names catches something of what is left.

    Without `sizes`, a range of sizes may reach further than what is left.

    Raises
    ------
    SetupError
        ``rules.dead-value``.
    """
    for position, column in enumerate(table.columns):
        mask = box[position]
        asked = mask != column.full and (sizes or not column.cuts_mm)
        for value in column.values if asked else ():
            bit = column.mask(value)
            if mask & bit and not overlap(left, ((*box[:position], bit, *box[position + 1 :]),)):
                raise refuse(
                    "dead-value",
                    where,
                    f"{column.label} {value!r} is named, but nothing of it is left here: leave it out",
                )
