"""The label grammar: answers from the short tokens that a radiologist types on a mark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from osteoscribe.core.answers import Answers, Conflict, Provenance
from osteoscribe.core.codes import Code
from osteoscribe.core.labels.merge import merge_answers
from osteoscribe.core.labels.rules import SIZE, LabelRules, Token, answers_of
from osteoscribe.core.labels.words import SEGMENT_ENDS, Words, words_of

UNITS = ("mm", "cm")
LONGEST_LABEL = 1024
"""Characters; a longer text is prose, not a label (the limit of DICOM's LT is 10,240)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAnswers:
    """What a label records.

    Parameters
    ----------
    answers
        The answers, provenance ROI label, each naming its token.
    unknown_tokens
        Words that nobody defined, in plain form, to be reported back. Free text of the reader: for the
        report only, never for logs.
    conflicts
        Tokens of the label that contradict each other.
    """

    answers: Answers = field(default_factory=Answers)
    unknown_tokens: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


def answers_from_label(label: str, rules: LabelRules) -> LabelAnswers:
    """Answers from the tokens of a label.

    Commas and semicolons part a label into statements; case, accents and all other punctuation are
    ignored. In each statement the longest token that fits is taken first, from left to right. Negation is
    part of a token (``no ca``) and never worked out: a statement that holds a word of negation or doubt
    (``not``, ``possible``, a question mark) outside a token records nothing and is reported back whole.

    Parameters
    ----------
    label
        The ROI's label as written.
    rules
        What ``config/labels.toml`` says.

    Returns
    -------
    LabelAnswers
        What nobody defined stays unknown.
    """
    if len(label) > LONGEST_LABEL:
        return LabelAnswers(unknown_tokens=(f"a text of {len(label)} characters, too long for a label",))
    stated: list[Answers] = []
    unknown: list[str] = []
    for segment in SEGMENT_ENDS.split(label):
        tokens, strange = _read(segment, rules)
        stated += [answers_of(t.sets, Provenance.ROI_LABEL, f"token {t.text!r}") for t in tokens]
        unknown += strange
    answers, conflicts = merge_answers(*stated)
    return LabelAnswers(answers=answers, unknown_tokens=tuple(dict.fromkeys(unknown)), conflicts=conflicts)


def _read(segment: str, rules: LabelRules) -> tuple[list[Token], list[str]]:
    """Tokens and unknown words of one statement."""
    words = words_of(segment)
    tokens: list[Token] = []
    unknown: list[str] = []
    run: list[str] = []
    for piece, token in _pieces(words, rules):
        if piece in rules.doubt:
            return [], [" ".join(words)]
        if token is None and not rules.is_neutral(piece):
            run += piece
            continue
        if run:
            unknown.append(" ".join(run))
            run = []
        if token:
            tokens.append(token)
    if run:
        unknown.append(" ".join(run))
    if tokens and "?" in segment:
        return [], [" ".join(words) + " ?"]
    return tokens, unknown


def _pieces(words: Words, rules: LabelRules) -> Iterator[tuple[Words, Token | None]]:
    """Words cut into tokens, words of doubt, neutral words and single other words, longest first."""
    at = 0
    while at < len(words):
        size = next(
            (
                n
                for n in range(min(rules.longest, len(words) - at), 1, -1)
                if _known(words[at : at + n], rules)
            ),
            1,
        )
        piece = words[at : at + size]
        yield piece, rules.tokens.get(piece)
        at += size


def _known(piece: Words, rules: LabelRules) -> bool:
    return piece in rules.tokens or piece in rules.doubt or rules.is_neutral(piece)


def answers_from_codes(
    codes: Sequence[Code], rules: LabelRules, evaluations: Sequence[tuple[Code, Code]] = ()
) -> LabelAnswers:
    """Answers that the codes of a mark record.

    Parameters
    ----------
    codes
        The mark's property and finding codes.
    rules
        What ``config/labels.toml`` says.
    evaluations
        The mark's coded items: concept and value of each.

    Returns
    -------
    LabelAnswers
        Provenance coded item, each naming its code as our list does; no unknown tokens.
    """
    stated = [
        answers_of(rule.sets, Provenance.CODED_ITEM, f"{rule.meaning} ({rule.value}, {rule.scheme})")
        for code in codes
        if (rule := rules.rule_for(code)) is not None and rule.sets
    ]
    for concept, value in evaluations:
        asked = rules.evaluations.get((concept.scheme, concept.value))
        answer = asked.answers.get((value.scheme, value.value)) if asked else None
        if asked and answer is not None:
            where = f"{asked.meaning} ({concept.value}, {concept.scheme})"
            stated.append(answers_of(((asked.question, answer),), Provenance.CODED_ITEM, where))
    answers, conflicts = merge_answers(*stated)
    return LabelAnswers(answers=answers, conflicts=conflicts)


def own_name(label: str, rules: LabelRules) -> str:
    """Name by which a reader tells this lesion from others, or an empty text.

    What is left of the label without tokens, sizes and words for a lesion; it counts only where one of its
    words says a place or is a word of the reader's own: ``lesion 1`` and ``ROI-2`` name nothing that holds
    in another examination.

    Parameters
    ----------
    label
        The ROI's label as written.
    rules
        What ``config/labels.toml`` says.

    Returns
    -------
    str
        Words in alphabetical order, so that ``left ilium`` is ``ilium left``. Free text: never logged.

    """
    if len(label) > LONGEST_LABEL:
        return ""
    left = [
        word
        for segment in SEGMENT_ENDS.split(label)
        for piece, token in _pieces(_without_sizes(words_of(segment)), rules)
        if token is None and piece not in rules.doubt
        for word in piece
        if not (rules.lesion.within((word,)) or rules.generic.within((word,)))
    ]
    return " ".join(sorted(left)) if any(_tells(word, rules) for word in left) else ""


def _without_sizes(words: Words) -> Words:
    """Drop sizes such as ``5 mm`` and ``5mm``, which change from one examination to the next."""
    kept: list[str] = []
    for word in words:
        if word in UNITS:
            if kept and kept[-1].isdecimal():
                kept.pop()
        elif not (SIZE.fullmatch(word) and word.endswith(UNITS)):
            kept.append(word)
    return tuple(kept)


def _tells(word: str, rules: LabelRules) -> bool:
    if rules.anatomy.within((word,)):
        return True
    return len(word) > 2 and word.isalpha() and not rules.is_neutral((word,))
