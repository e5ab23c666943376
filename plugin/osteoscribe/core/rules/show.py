"""A rule table in words, for clinicians."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Formatter

from osteoscribe.core.rules.boxes import Box, overlap
from osteoscribe.core.rules.decide import citation_line
from osteoscribe.core.rules.reach import Reach
from osteoscribe.core.rules.table import Case, Rule, RuleTable
from osteoscribe.core.rules.words import in_words

OFF_BY_DEFAULT = ("site", "laterality")
"""Values that a sentence names only where the site's settings say so; the print leaves them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRow:
    """One row in words.

    Parameters
    ----------
    conditions
        Any of them may hold.
    phrase
        With ``{d}`` for the size; what depends on the facts stands in brackets.
    conditional_on
        What stands in front of the phrase as a condition where it is not recorded.
    listed
        What is listed after the phrase where it is not recorded.
    combinations
        How many combinations of inputs reach the row.
    """

    id: str
    conditions: tuple[str, ...]
    phrase: str
    adds: tuple[str, ...]
    recommendations: tuple[str, ...]
    analogue: tuple[str, ...]
    scope: str
    urgency: int | None
    conditional_on: tuple[str, ...]
    listed: tuple[str, ...]
    sources: tuple[str, ...]
    why: str
    combinations: int


def shown_rows(table: RuleTable, reaches: Sequence[Reach]) -> tuple[ShownRow, ...]:
    """All rows in words, in the table's order.

    Parameters
    ----------
    reaches
        As `osteoscribe.core.rules.check.check` gives them.
    """
    return tuple(_shown(table, found) for found in reaches)


def _shown(table: RuleTable, found: Reach) -> ShownRow:
    rule = found.rule
    return ShownRow(
        id=rule.id,
        conditions=tuple(in_words(table, (box,)) for box in rule.when),
        phrase=_template_in_words(table, rule.phrase, found.boxes),
        adds=tuple(_case_in_words(table, case, rule) for case in rule.add),
        recommendations=tuple(_case_in_words(table, case, rule) for case in rule.recommend),
        analogue=tuple(_case_in_words(table, case, rule) for case in rule.analogue),
        scope=rule.scope.value,
        urgency=rule.urgency,
        conditional_on=_short_names(table, rule.conditional_on),
        listed=_short_names(table, rule.listed),
        sources=tuple(citation_line(table, citation) for citation in rule.cite),
        why=rule.why,
        combinations=found.combinations,
    )


def _case_in_words(table: RuleTable, case: Case, rule: Rule) -> str:
    """A text with its condition, where it has one that the row's own does not say."""
    if case.when == rule.when or table.space in case.when:
        return case.text
    return f"{case.text} ({in_words(table, case.when)})"


def _short_names(table: RuleTable, names: Iterable[str]) -> tuple[str, ...]:
    clauses = (clause for clause in table.clauses if clause.column in set(names))
    return tuple(dict.fromkeys(clause.short for clause in clauses))


def _template_in_words(table: RuleTable, template: str, boxes: tuple[Box, ...]) -> str:
    parts = []
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(literal)
        if name == "whole_mm":
            parts.append("{d}")
        elif name == "prior_date":
            parts.append("{date}")
        elif name:
            parts.append(_fragment_in_words(table, name, boxes))
    return "".join(parts)


def _fragment_in_words(table: RuleTable, name: str, boxes: tuple[Box, ...]) -> str:
    """The texts that a fragment can have here: ``sclerotic`` or ``[sclerotic / mixed]``."""
    fragment = table.fragment(name)
    texts = []
    for case in fragment.cases:
        reached = overlap(boxes, case.when)
        if reached and not set(case.given) & set(OFF_BY_DEFAULT):
            texts.append(_template_in_words(table, case.text, reached))
    kept = [text for text in dict.fromkeys(texts) if text]
    if not kept:
        return ""
    optional = "" in texts
    if len(kept) == 1 and not optional:
        return kept[0]
    return f"[{(' + ' if fragment.every else ' / ').join(kept)}]"
