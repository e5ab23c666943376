"""`parse_label_rules`: what ``config/labels.toml`` says, parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any

from osteoscribe.core.answers import Provenance
from osteoscribe.core.codes import INPUTS
from osteoscribe.core.labels.plain import as_enum, as_enums, as_rows, as_table, as_text, as_texts
from osteoscribe.core.labels.rules import (
    QUESTIONS,
    CodeKey,
    CodeRule,
    Default,
    EvaluationRule,
    LabelRules,
    Settings,
    SitePolicy,
    Token,
    Verdict,
    answers_of,
)
from osteoscribe.core.labels.words import WordPattern, Words, spellings, words_of
from osteoscribe.errors import SetupError


def parse_label_rules(data: Mapping[str, Any]) -> LabelRules:
    """Label rules from the plain data of ``config/labels.toml``.

    Parameters
    ----------
    data
        The parsed TOML document.

    Returns
    -------
    LabelRules

    Raises
    ------
    SetupError
        ``labels.unknown-key``, ``labels.missing-key``, ``labels.wrong-type``, ``labels.bad-pattern``,
        ``labels.unknown-question``, ``labels.unknown-value``, ``labels.token-twice``, ``labels.code-twice``.
    """
    top = as_table(
        data, "labels.toml", need=("roi", "grammar"), may=("code", "evaluation", "token", "policy")
    )
    roi = as_table(top["roi"], "roi", need=("mark", "not_mark", "bones", "generic", "type", "default"))
    grammar = as_table(top["grammar"], "grammar", need=("doubt", "neutral"))
    defaults = as_enums(roi["default"], "roi.default", Default)
    if "*" not in defaults:
        raise SetupError("labels.missing-key", "roi.default needs an entry '*' for all other dialects")
    tokens = _tokens(top.get("token", ()))
    codes = [rule for row in as_rows(top.get("code", ()), "code") for rule in _code_rules(row)]
    doubt = _phrases(grammar["doubt"], "grammar.doubt")
    return LabelRules(
        mark_labels=_patterns(roi["mark"], "roi.mark"),
        not_mark_labels=_patterns(roi["not_mark"], "roi.not_mark"),
        bone_labels=_patterns(roi["bones"], "roi.bones"),
        generic_labels=_patterns(roi["generic"], "roi.generic"),
        codes=_by_code(codes),
        code_families=tuple(rule for rule in codes if rule.is_family),
        evaluations=_evaluations(top.get("evaluation", ())),
        interpreted_types=as_enums(roi["type"], "roi.type", Verdict),
        defaults=defaults,
        tokens=tokens,
        doubt=doubt,
        neutral=_neutral(grammar["neutral"], tokens, doubt),
        policies=_policies(top.get("policy", {})),
    )


def _tokens(rows: Any) -> Mapping[Words, Token]:
    tokens: dict[Words, Token] = {}
    for row in as_rows(rows, "token"):
        table = as_table(row, "token", need=("words", "set"))
        sets = _settings(table["set"], "token.set")
        for text in as_texts(table["words"], "token.words"):
            for words in _written(text, "token.words"):
                # Languages share words, so the same token with the same meaning may stand twice.
                if tokens.setdefault(words, Token(text=text, sets=sets)).sets != sets:
                    raise SetupError(
                        "labels.token-twice", f"the token {text!r} has two meanings; keep one of them"
                    )
    return MappingProxyType(tokens)


def _neutral(value: Any, tokens: Mapping[Words, Token], doubt: frozenset[Words]) -> frozenset[Words]:
    neutral = _phrases(value, "grammar.neutral")
    for words in sorted(neutral | doubt):
        if words in tokens or (words in neutral and words in doubt):
            raise SetupError(
                "labels.token-twice",
                f"{' '.join(words)!r} stands in two lists of the grammar; keep one of them",
            )
    return neutral


def _code_rules(row: Any) -> tuple[CodeRule, ...]:
    """Rules of one ``[[code]]``, whose value is one code or a list of codes."""
    table = as_table(row, "code", need=("value", "scheme", "meaning"), may=("roi", "set"))
    value = table["value"]
    values = as_texts(value, "code.value") if isinstance(value, list) else (as_text(value, "code.value"),)
    return tuple(
        CodeRule(
            value=one,
            scheme=as_text(table["scheme"], "code.scheme"),
            meaning=as_text(table["meaning"], "code.meaning"),
            verdict=as_enum(table["roi"], "code.roi", Verdict) if "roi" in table else None,
            sets=_settings(table.get("set", {}), "code.set"),
        )
        for one in values
    )


def _by_code(rules: Sequence[CodeRule]) -> Mapping[CodeKey, CodeRule]:
    found: dict[CodeKey, CodeRule] = {}
    for rule in rules:
        if rule.is_family:
            continue
        if (rule.scheme, rule.value) in found:
            raise SetupError("labels.code-twice", f"the code ({rule.value}, {rule.scheme}) stands twice")
        found[rule.scheme, rule.value] = rule
    return MappingProxyType(found)


def _evaluations(rows: Any) -> Mapping[CodeKey, EvaluationRule]:
    rules = {
        (concept.scheme, concept.value): EvaluationRule(
            meaning=concept.meaning,
            question=question,
            answers={
                (code.scheme, code.value): QUESTIONS[question](value)
                for value, code in values.items()
                if value != "unknown"
            },
        )
        for question, (concept, values) in INPUTS.items()
        if question in QUESTIONS
    }
    for row in as_rows(rows, "evaluation"):
        table = as_table(row, "evaluation", need=("value", "scheme", "meaning", "question", "answers"))
        key = (as_text(table["scheme"], "evaluation.scheme"), as_text(table["value"], "evaluation.value"))
        if key in rules:
            raise SetupError("labels.code-twice", f"the evaluation ({key[1]}, {key[0]}) stands twice")
        rules[key] = _evaluation(table)
    return MappingProxyType(rules)


def _evaluation(table: Mapping[str, Any]) -> EvaluationRule:
    question = as_text(table["question"], "evaluation.question")
    if question not in QUESTIONS:
        known = ", ".join(QUESTIONS)
        raise SetupError(
            "labels.unknown-question", f"evaluation.question is {question!r}; the questions are: {known}"
        )
    answers: dict[CodeKey, Enum] = {}
    for row in as_rows(table["answers"], "evaluation.answers"):
        one = as_table(row, "evaluation.answers", need=("value", "scheme", "answer"))
        key = (as_text(one["scheme"], "answers.scheme"), as_text(one["value"], "answers.value"))
        answers[key] = _answer(one["answer"], "evaluation.answers.answer", QUESTIONS[question])
    return EvaluationRule(
        meaning=as_text(table["meaning"], "evaluation.meaning"), question=question, answers=answers
    )


def _policies(data: Any) -> Mapping[str, SitePolicy]:
    policies: dict[str, SitePolicy] = {}
    for ae, row in as_table(data, "policy", may=None).items():
        where = f"policy.{ae}"
        table = as_table(row, where, may=("all_rois_are_marks", "attested"))
        everything = table.get("all_rois_are_marks", False)
        if not isinstance(everything, bool):
            raise SetupError("labels.wrong-type", f"{where}.all_rois_are_marks must be true or false")
        sets = _settings(table.get("attested", {}), f"{where}.attested")
        answers = answers_of(sets, Provenance.SITE_POLICY, f"calling AE {ae}")
        policies[ae] = SitePolicy(calling_ae=ae, all_rois_are_marks=everything, answers=answers)
    return MappingProxyType(policies)


def _settings(value: Any, where: str) -> Settings:
    table = as_table(value, where, may=None)
    for name in table:
        if name not in QUESTIONS:
            known = ", ".join(QUESTIONS)
            raise SetupError("labels.unknown-question", f"{where} sets {name!r}; the questions are: {known}")
    return tuple((name, _answer(table[name], f"{where}.{name}", QUESTIONS[name])) for name in sorted(table))


def _answer(value: Any, where: str, kind: type[Enum]) -> Enum:
    answer = as_enum(value, where, kind)
    if answer.value == "unknown":
        raise SetupError("labels.unknown-value", f"{where} is 'unknown', which is the default; leave it out")
    return answer


def _patterns(value: Any, where: str) -> tuple[WordPattern, ...]:
    return tuple(WordPattern(one) for text in as_texts(value, where) for one in spellings(text))


def _phrases(value: Any, where: str) -> frozenset[Words]:
    return frozenset(words for text in as_texts(value, where) for words in _written(text, where))


def _written(text: str, where: str) -> tuple[Words, ...]:
    """Words of a text in each of its spellings."""
    written = tuple(words_of(one) for one in spellings(text))
    if not all(written):
        raise SetupError("labels.bad-pattern", f"{where} holds {text!r}, which has no letter and no digit")
    return written
