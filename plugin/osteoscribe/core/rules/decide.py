"""The decision: the first row of the table that holds."""

from __future__ import annotations

from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.rules.boxes import Box
from osteoscribe.core.rules.decision import Decision
from osteoscribe.core.rules.table import Case, Citation, Clause, Rule, RuleTable, cell, holds

NOT_RECORDED = "unknown"
"""The value of an input that nobody recorded."""


def decide(table: RuleTable, facts: RuleFacts) -> Decision:
    """The first row of `table` that holds for `facts`.

    Parameters
    ----------
    table
        A table that `osteoscribe.core.rules.check.check` has passed, so that a row always holds.
    facts
        The inputs; what is not recorded is ``unknown``.

    Returns
    -------
    Decision
        With ``-C`` after the row's id where an input that the row rests on is not recorded.
    """
    here = cell(table, facts)
    rule = next(rule for rule in table.rules if holds(here, rule.when))
    unknown = tuple(clause.column for clause in unrecorded(table, rule, here))
    conditional = any(column in rule.conditional_on for column in unknown)
    return Decision(
        rule_id=f"{rule.id}-C" if conditional else rule.id,
        conditional=conditional,
        analogue=first_text(rule.analogue, here),
        scope=rule.scope.value,
        unknown=unknown,
        sources=tuple(citation_line(table, citation) for citation in rule.cite),
        why=rule.why,
        table_id=table.id,
        table_version=table.version,
        table_sha256=table.sha256,
    )


def unrecorded(table: RuleTable, rule: Rule, here: Box) -> tuple[Clause, ...]:
    """The inputs that a row rests on and that are not recorded, in the table's order."""
    asked = (*rule.conditional_on, *rule.listed, *rule.said)
    return tuple(
        clause
        for clause in table.clauses
        if clause.column in asked and _is_unknown(table, clause.column, here) and holds(here, clause.when)
    )


def _is_unknown(table: RuleTable, name: str, here: Box) -> bool:
    position = table.position(name)
    return here[position] == table.columns[position].mask(NOT_RECORDED)


def first_text(cases: tuple[Case, ...], here: Box) -> str:
    """The text of the first case that holds, or an empty string."""
    return next((case.text for case in cases if holds(here, case.when)), "")


def citation_line(table: RuleTable, citation: Citation) -> str:
    """A citation as one line with its DOI or PMID."""
    source = table.source(citation.source)
    number = f", doi {source.doi}" if source.doi else f", PMID {source.pmid}" if source.pmid else ""
    return f"{source.reference}{number} ({citation.at})"
