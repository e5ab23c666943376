"""The sentence: decision + whole millimetres + unknown answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from string import Formatter

from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.rules.boxes import Box
from osteoscribe.core.rules.decide import first_text, unrecorded
from osteoscribe.core.rules.decision import Decision
from osteoscribe.core.rules.table import Case, Clause, Frame, Rule, RuleTable, Scope, cell, holds
from osteoscribe.core.units import WholeMillimetre


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseValues:
    """What a sentence may name beside the facts. No HU.

    ``whole_mm`` is the lesion's own size, or the largest lesion's for a row of scope examination.
    ``site`` and ``laterality`` stay empty unless the site's settings want them in the sentence.
    """

    whole_mm: WholeMillimetre | None = None
    prior_date: date | None = None
    site: str = ""
    laterality: str = ""
    largest_unrounded_borderline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """The suggested sentence and recommendation.

    ``remark`` is a sentence beside it that changes nothing in it (a borderline size), or empty.
    ``language`` is that of all three, as in RFC 5646.
    """

    text: str
    recommendation: str
    conditional: bool
    remark: str = ""
    language: str = "en"


def word(table: RuleTable, decision: Decision, facts: RuleFacts, values: PhraseValues) -> Phrase:
    """The phrase of a decision.

    Parameters
    ----------
    table
        The table that `decision` was made with.
    decision
        What `osteoscribe.core.rules.decide.decide` said for `facts`.
    values
        The lesion's own size always comes from `facts`, so that text and rule agree; ``whole_mm`` is
        used by rows that speak of the whole examination.

    Returns
    -------
    Phrase
        With the condition first where something that the row rests on is not recorded, so that a display
        that cuts the text cannot drop it.

    Raises
    ------
    ValueError
        `decision` was not made with `table`.
    """
    if decision.table_sha256 != table.sha256:
        raise ValueError("the decision was made with another table")
    rule, here = table.rule(decision.rule_id), cell(table, facts)
    given = _given(table, rule, facts, values)
    body = _sentence(fill(table, rule.phrase, here, given))
    adds = [fill(table, case.text, here, given) for case in rule.add if _applies(case, here, given)]
    if adds:
        body = f"{body.removesuffix('.')}{table.frame.adds}{table.frame.adds.join(adds)}."
    clauses = unrecorded(table, rule, here)
    return Phrase(
        text=_framed(table.frame, body, rule, clauses),
        recommendation=first_text(rule.recommend, here),
        conditional=decision.conditional,
        remark=table.frame.borderline
        if values.largest_unrounded_borderline and facts.size is not None
        else "",
        language=table.language,
    )


def _given(table: RuleTable, rule: Rule, facts: RuleFacts, values: PhraseValues) -> dict[str, str]:
    """The values that are there, as text."""
    size = facts.size
    if rule.scope is Scope.EXAMINATION and size is not None and values.whole_mm is not None:
        size = max(size, values.whole_mm)
    texts = {
        "whole_mm": "" if size is None else str(size),
        "prior_date": "" if values.prior_date is None else values.prior_date.strftime(table.frame.date),
        "site": _inside(table, values.site),
        "laterality": _inside(table, values.laterality),
    }
    return {name: text for name, text in texts.items() if text}


def _applies(case: Case, here: Box, given: dict[str, str]) -> bool:
    return holds(here, case.when) and all(name in given for name in case.given)


def fill(table: RuleTable, template: str, here: Box, given: dict[str, str]) -> str:
    """A template with its values and fragments put in.

    The values are put in as they are: braces in them are no placeholders.
    """
    parts = []
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(literal)
        if name:
            parts.append(given[name] if name in given else _fragment_text(table, name, here, given))
    return "".join(parts)


def _fragment_text(table: RuleTable, name: str, here: Box, given: dict[str, str]) -> str:
    fragment = table.fragment(name)
    texts = [fill(table, case.text, here, given) for case in fragment.cases if _applies(case, here, given)]
    if not fragment.every:
        return texts[0]
    frame = table.frame
    return frame.last.join([frame.comma.join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def _framed(frame: Frame, body: str, rule: Rule, clauses: tuple[Clause, ...]) -> str:
    """The sentence with the condition in front of it, or with what is not recorded after it."""
    named = {clause.column for clause in clauses}
    heard = tuple(clause for clause in clauses if clause.said_by not in named)
    conditions = _once(clause.text for clause in heard if clause.column in rule.conditional_on)
    if conditions:
        return frame.condition.format(
            clauses=frame.comma.join(conditions), phrase=body if body.endswith(".") else f"{body}."
        )
    names = _once(clause.short for clause in heard if clause.column in rule.listed)
    return frame.not_recorded.format(phrase=body, names=frame.comma.join(names)) if names else body


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _inside(table: RuleTable, text: str) -> str:
    """A code meaning as it stands inside an English sentence: ``Left`` is left, ``T12`` stays."""
    if table.language != "en" or not text[1:2].islower():
        return text
    return text[:1].lower() + text[1:]


def _sentence(text: str) -> str:
    """A text with its first letter in upper case."""
    return text[:1].upper() + text[1:]
