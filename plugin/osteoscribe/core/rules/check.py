"""The proof at every load: every combination meets a row, and nothing is idle, unknown or missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from enum import Enum
from typing import get_type_hints

from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.rules.boxes import Box, cut_all, overlap
from osteoscribe.core.rules.decide import NOT_RECORDED
from osteoscribe.core.rules.plain import refuse
from osteoscribe.core.rules.reach import Reach, check_values, reach
from osteoscribe.core.rules.table import SIZE, Case, Fragment, RuleTable, Scope
from osteoscribe.core.rules.templates import names_in
from osteoscribe.core.rules.urgency import check_urgency
from osteoscribe.core.rules.words import in_words

VALUES = ("whole_mm", "prior_date", "site", "laterality")
"""What a sentence may name beside its fragments: values of `PhraseValues`."""
ALWAYS_GIVEN = ("whole_mm",)
"""Of these, the ones that need no ``given``: where there is a size."""


def check(table: RuleTable) -> tuple[Reach, ...]:
    """Prove a table; what reaches each row, in the table's order.

    Raises
    ------
    SetupError
        The table is refused; the code says why (``rules.gap``, ``rules.dead-row``...), the message where.
    """
    _check_columns(table)
    _check_names(table)
    reaches = reach(table)
    for found in reaches:
        _check_row(table, found)
    _check_clauses(table, reaches)
    _check_fragments(table, reaches)
    _check_cuts(table)
    check_urgency(table, reaches)
    return reaches


def _check_columns(table: RuleTable) -> None:
    """Every field of `RuleFacts` is a column and the other way round, with the same values."""
    hints = get_type_hints(RuleFacts)
    names = [field.name for field in fields(RuleFacts)]
    for column in table.columns:
        if column.name not in names:
            raise refuse(
                "unknown-column", f"column {column.name}", f"the rules can see only {', '.join(names)}"
            )
        if column.name == SIZE:
            expected: tuple[str, ...] = ("not_measurable",)
            found = column.also
        else:
            kind = hints[column.name]
            expected = tuple(str(member.value) for member in kind) if issubclass(kind, Enum) else ()
            found = column.values
        if set(found) != set(expected):
            raise refuse(
                "column-values",
                f"column {column.name}",
                f"values are {found}, expected {', '.join(expected)}",
            )
    missing = [name for name in names if name not in {column.name for column in table.columns}]
    if missing:
        raise refuse("missing-column", "table", f"there is no column {missing[0]!r}")


def _check_names(table: RuleTable) -> None:
    ids = [rule.id for rule in table.rules]
    double = next((name for name in ids if ids.count(name) > 1), None)
    if double is not None:
        raise refuse("double-row", f"row {double}", "the id stands twice")
    declared = {source.key for source in table.sources}
    used = {citation.source for rule in table.rules for citation in rule.cite}
    used |= {citation.source for citation in table.cite}
    for rule in table.rules:
        if not rule.cite:
            raise refuse("no-source", f"row {rule.id}", "a row cites at least one source")
    if used - declared:
        raise refuse("unknown-source", "table", f"source {min(used - declared)!r} is cited but not declared")
    if declared - used:
        raise refuse("unused-source", "table", f"source {min(declared - used)!r} is declared but never cited")


def _check_row(table: RuleTable, found: Reach) -> None:
    rule, where = found.rule, f"row {found.rule.id}"
    clauses = {clause.column: clause for clause in table.clauses}
    asked = (*rule.conditional_on, *rule.listed, *rule.said)
    if len(set(asked)) < len(asked):
        raise refuse("idle-condition", where, "an input stands in two of conditional_on, listed and said")
    for name in asked:
        if name not in clauses:
            raise refuse("unknown-clause", where, f"there is no clause for {name!r}")
        if not overlap(overlap(found.boxes, (_unknown_box(table, name),)), clauses[name].when):
            raise refuse("idle-condition", where, f"{name!r} is always known where this row is reached")
    _check_template(table, rule.phrase, where, found.boxes)
    _check_cases(table, rule.add, found.boxes, where, total=False)
    for cases in (rule.recommend, *((rule.analogue,) if rule.analogue else ())):
        _check_cases(table, cases, found.boxes, where, total=True)
        for case in cases:
            if names_in(case.text, where) or case.given:
                raise refuse(
                    "unknown-placeholder", where, f"{case.text!r} stands as it is, without placeholders"
                )
    if rule.scope is Scope.EXAMINATION and "site" in names_in(rule.phrase, where):
        raise refuse("unknown-placeholder", where, "a phrase for the whole examination names no site")


def _check_cases(
    table: RuleTable, cases: tuple[Case, ...], boxes: tuple[Box, ...], where: str, *, total: bool
) -> None:
    """Each case can hold, and with `total` one always does."""
    left = boxes
    for case in cases:
        taken = overlap(left, case.when)
        if not taken:
            raise refuse("dead-case", where, f"{case.text!r} never holds here")
        for box in case.when:
            check_values(table, where, box, left, sizes=False)
        _check_template(table, case.text, where, taken, given=case.given)
        if total and not case.given:
            left = cut_all(left, case.when)
    if total and left:
        raise refuse("case-gap", where, f"no text for {in_words(table, left[:1])}")


def _check_template(
    table: RuleTable, text: str, where: str, boxes: tuple[Box, ...], *, given: tuple[str, ...] = ()
) -> None:
    known = {fragment.name for fragment in table.fragments}
    for name in (*names_in(text, where), *given):
        if name not in known and name not in VALUES:
            raise refuse(
                "unknown-placeholder",
                where,
                f"{{{name}}} is neither a fragment nor one of {', '.join(VALUES)}",
            )
        if name in VALUES and name not in ALWAYS_GIVEN and name not in given:
            raise refuse("unknown-placeholder", where, f"{{{name}}} may be absent: name it in 'given'")
        if name == "whole_mm" and overlap(boxes, (_unmeasured(table),)):
            raise refuse("unknown-placeholder", where, "{whole_mm} in a text that is reached without a size")


def _check_clauses(table: RuleTable, reaches: Iterable[Reach]) -> None:
    used = {
        name
        for found in reaches
        for name in (*found.rule.conditional_on, *found.rule.listed, *found.rule.said)
    }
    columns = {column.name for column in table.columns}
    for clause in table.clauses:
        where = f"clause {clause.column}"
        if clause.column not in columns:
            raise refuse("unknown-column", where, "there is no such column")
        if clause.column not in used:
            raise refuse("unused-clause", where, "no row asks for it")
        if clause.said_by and clause.said_by not in {other.column for other in table.clauses}:
            raise refuse("unknown-clause", where, f"said_by names {clause.said_by!r}, which has no clause")


def _check_fragments(table: RuleTable, reaches: tuple[Reach, ...]) -> None:
    """Every fragment is used, and has a text for every combination that reaches it."""
    reached: dict[str, tuple[Box, ...]] = {fragment.name: () for fragment in table.fragments}
    for found in reaches:
        for text in (found.rule.phrase, *(case.text for case in found.rule.add)):
            for name in names_in(text, f"row {found.rule.id}"):
                if name in reached:
                    reached[name] += found.boxes
    for fragment in reversed(table.fragments):
        where = f"fragment {fragment.name}"
        boxes = reached.pop(fragment.name)
        if not boxes:
            raise refuse("unused-fragment", where, "no phrase uses it, or only a fragment above it")
        _check_cases(table, fragment.cases, boxes, where, total=not fragment.every)
        _check_every(table, fragment, boxes, where)
        for case in fragment.cases:
            for name in names_in(case.text, where):
                if name in reached:
                    reached[name] += overlap(boxes, case.when)
                elif name not in VALUES:
                    raise refuse(
                        "unknown-placeholder", where, f"{{{name}}} must be declared above this fragment"
                    )


def _check_every(table: RuleTable, fragment: Fragment, boxes: tuple[Box, ...], where: str) -> None:
    if fragment.every:
        left = cut_all(boxes, tuple(box for case in fragment.cases for box in case.when))
        if left:
            raise refuse("case-gap", where, f"no text for {in_words(table, left[:1])}")


def _check_cuts(table: RuleTable) -> None:
    """A cut that separates nothing is an error: it suggests a limit that the table does not have."""
    column = table.columns[table.position(SIZE)]
    position = table.position(SIZE)
    texts = [case for fragment in table.fragments for case in fragment.cases]
    for rule in table.rules:
        texts += [*rule.add, *rule.recommend, *rule.analogue]
    masks = {box[position] for rule in table.rules for box in rule.when}
    masks |= {box[position] for case in texts for box in case.when}
    for index, cut in enumerate(column.cuts_mm[1:], start=1):
        if all((mask >> index) & 1 == (mask >> (index - 1)) & 1 for mask in masks):
            raise refuse("idle-cut", "column size", f"the cut at {cut} mm separates nothing")


def _unknown_box(table: RuleTable, name: str) -> Box:
    box = list(table.space)
    position = table.position(name)
    column = table.columns[position]
    box[position] = column.mask(NOT_RECORDED) if NOT_RECORDED in column.values else 0
    return tuple(box)


def _unmeasured(table: RuleTable) -> Box:
    box = list(table.space)
    position = table.position(SIZE)
    column = table.columns[position]
    box[position] = column.mask(column.also[0])
    return tuple(box)
