"""Why the rows above the one that held did not."""

from __future__ import annotations

from dataclasses import dataclass

from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.rules.boxes import Box
from osteoscribe.core.rules.table import RuleTable, cell, holds
from osteoscribe.core.rules.words import values_in_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A row that did not hold, with a reason for each of its conditions."""

    rule_id: str
    reasons: tuple[str, ...]


def misses(table: RuleTable, facts: RuleFacts) -> tuple[Miss, ...]:
    """The rows above the one that holds for `facts`, from top to bottom, and why each did not hold."""
    here = cell(table, facts)
    passed = []
    for rule in table.rules:
        if holds(here, rule.when):
            break
        passed.append(Miss(rule_id=rule.id, reasons=tuple(_reason(table, box, here) for box in rule.when)))
    return tuple(passed)


def _reason(table: RuleTable, box: Box, here: Box) -> str:
    """What a condition asks for and the facts are not."""
    return "; ".join(
        f"{column.label}: asks for {values_in_words(column, asked)}, is {values_in_words(column, is_)}"
        for column, asked, is_ in zip(table.columns, box, here, strict=True)
        if not asked & is_
    )
