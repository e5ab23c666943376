"""One phrase for an examination: what speaks for all lesions whose row is for the examination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from osteoscribe.core.answers import Density
from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.rules.decide import NOT_RECORDED, decide
from osteoscribe.core.rules.table import Rule, RuleTable, Scope


def examination_facts(table: RuleTable, lesions: Sequence[RuleFacts]) -> RuleFacts | None:
    """The facts that the one phrase of an examination rests on.

    Parameters
    ----------
    lesions
        The facts of all lesions of the examination.

    Returns
    -------
    RuleFacts or None
        Of the lesions whose row is for the examination, the facts of the one with the most urgent row. What
        is not recorded for any of them is not recorded here, so that the condition in front names it, and
        one mixed lesion makes them mixed, as far as the row stays the same. None where there is no such
        lesion.
    """
    members = [(facts, table.rule(decide(table, facts).rule_id)) for facts in lesions]
    members = [(facts, rule) for facts, rule in members if rule.scope is Scope.EXAMINATION]
    if not members:
        return None
    speaker, rule = max(members, key=lambda member: member[1].urgency or 0)
    for name in ("density", *rule.conditional_on):
        value = _least_reassuring(name, [facts for facts, _ in members])
        changed = speaker if value is None else replace(speaker, **{name: value})
        if _row(table, changed) == rule:
            speaker = changed
    return speaker


def _row(table: RuleTable, facts: RuleFacts) -> Rule:
    return table.rule(decide(table, facts).rule_id)


def _least_reassuring(name: str, lesions: Sequence[RuleFacts]) -> Any:
    """The value of one lesion that has to be said of all, or None where there is none."""
    values = [getattr(facts, name) for facts in lesions]
    if name == "density":
        return Density.MIXED if Density.MIXED in values else None
    return next((value for value in values if value.value == NOT_RECORDED), None)
