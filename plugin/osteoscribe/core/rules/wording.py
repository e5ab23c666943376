"""A rule table in another language: the words are exchanged, case by case, and nothing else can be."""

from __future__ import annotations

from dataclasses import replace

from osteoscribe.core.rules.parse import frame_from
from osteoscribe.core.rules.plain import Plain, check_keys, refuse, table_at, text_at, texts_at_in_order
from osteoscribe.core.rules.table import Case, Clause, Fragment, Rule, RuleTable
from osteoscribe.core.rules.templates import names_in


def reword(table: RuleTable, plain: Plain, *, sha256: str) -> RuleTable:
    """The table with the words of another language.

    Parameters
    ----------
    plain
        As ``tomllib`` gives it: for each row, case, clause and fragment of `table` exactly one text with the
        same placeholders.
    sha256
        Of the wording's bytes; its first 12 digits become part of the table's version, so that a report
        names the wording too.

    Raises
    ------
    SetupError
        ``rules.wording-differs``, ``rules.unknown-key``, ``rules.missing-key``, ``rules.wrong-kind``.
    """
    check_keys(plain, "wording file", ("wording", "frame", "clause", "fragment", "rule"))
    head = table_at(plain["wording"], "wording")
    check_keys(head, "wording", ("language", "table", "version"))
    if (head["table"], head["version"]) != (table.id, table.version):
        raise refuse(
            "wording-differs",
            "wording",
            f"it is for {head['table']} {head['version']}, the table is {table.id} {table.version}",
        )
    language = text_at(head["language"], "wording language")
    clauses, fragments, rules = (table_at(plain[key], key) for key in ("clause", "fragment", "rule"))
    check_keys(clauses, "clause", [clause.column for clause in table.clauses])
    check_keys(fragments, "fragment", [fragment.name for fragment in table.fragments])
    check_keys(rules, "rule", [rule.id for rule in table.rules])
    return replace(
        table,
        version=f"{table.version}+{language}.{sha256[:12]}",
        language=language,
        frame=frame_from(table_at(plain["frame"], "frame")),
        clauses=tuple(
            _clause(clause, table_at(clauses[clause.column], "clause")) for clause in table.clauses
        ),
        fragments=tuple(_fragment(fragment, fragments[fragment.name]) for fragment in table.fragments),
        rules=tuple(_rule(rule, table_at(rules[rule.id], rule.id)) for rule in table.rules),
    )


def _same_placeholders(old: str, new: str, where: str) -> None:
    before, after = (sorted(names_in(text, where)) for text in (old, new))
    if before != after:
        raise refuse("wording-differs", where, f"{new!r} has placeholders {after}, the table has {before}")


def _clause(clause: Clause, plain: Plain) -> Clause:
    where = f"clause {clause.column}"
    check_keys(plain, where, ("text", "short"))
    return replace(clause, text=text_at(plain["text"], where), short=text_at(plain["short"], where))


def _fragment(fragment: Fragment, texts: object) -> Fragment:
    return replace(fragment, cases=_cases(fragment.cases, texts, f"fragment {fragment.name}"))


def _rule(rule: Rule, plain: Plain) -> Rule:
    where = f"row {rule.id}"
    check_keys(plain, where, ("phrase", "recommend"), ("add", "analogue"))
    phrase = text_at(plain["phrase"], where)
    _same_placeholders(rule.phrase, phrase, where)
    return replace(
        rule,
        phrase=phrase,
        add=_cases(rule.add, plain.get("add", []), f"{where}, add"),
        recommend=_cases(rule.recommend, plain["recommend"], f"{where}, recommend"),
        analogue=_cases(rule.analogue, plain.get("analogue", []), f"{where}, analogue"),
    )


def _cases(cases: tuple[Case, ...], value: object, where: str) -> tuple[Case, ...]:
    texts = texts_at_in_order(value, where)
    if len(texts) != len(cases):
        raise refuse("wording-differs", where, f"{len(texts)} texts, the table has {len(cases)}")
    for case, text in zip(cases, texts, strict=True):
        _same_placeholders(case.text, text, where)
        if bool(case.text) != bool(text):
            raise refuse("wording-differs", where, f"{text!r} stands for {case.text!r}")
    return tuple(replace(case, text=text) for case, text in zip(cases, texts, strict=True))
