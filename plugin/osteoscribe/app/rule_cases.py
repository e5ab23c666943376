"""Facts of a rule from plain words: what a person types to try a rule, and stored cases of the past."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import get_type_hints

from osteoscribe.core.answers import Answers, Largest, Provenance, Stated
from osteoscribe.core.facts import FactSheet, RuleFacts, facts_from_whole
from osteoscribe.core.phrase import Phrase, PhraseValues, word
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.decision import Decision
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.core.units import round_half_up
from osteoscribe.errors import SetupError

NOT_MEASURABLE = "not_measurable"
SIZE_INPUTS = ("size_mm", "size", "lesions_mm")
WORD_INPUTS = ("prior_date", "site", "laterality", "largest_mm")
LARGEST_LENGTH_MM = 10_000
CHOICES: Mapping[str, type[Enum]] = {
    name: kind
    for name, kind in get_type_hints(RuleFacts).items()
    if isinstance(kind, type) and issubclass(kind, Enum)
}
"""The inputs that are one of some values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Facts as they were typed, with what a sentence may name beside them."""

    sheet: FactSheet
    values: PhraseValues


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a table says for a trial."""

    decision: Decision
    phrase: Phrase


def tell(table: RuleTable, trial: Trial) -> Told:
    """The decision and phrase for a trial."""
    facts = trial.sheet.facts
    decision = decide(table, facts)
    return Told(decision=decision, phrase=word(table, decision, facts, trial.values))


def trial_from(words: Mapping[str, str]) -> Trial:
    """A trial from inputs by name.

    Parameters
    ----------
    words
        Names and values as in ``docs/rules.md``. ``size_mm`` (or ``size``) is the unrounded length, or
        ``not_measurable``; ``lesions_mm`` the unrounded lengths of all lesions of the examination, with
        commas (without a size, the largest of them is asked about); ``prior_date`` as YYYY-MM-DD. What is
        not named is unknown; a size that is not named is not measurable. ``largest_mm`` is only named in
        the sentence.

    Raises
    ------
    SetupError
        ``rules.bad-input``: a name or value that is not known, or two that exclude each other.
    """
    known = (*SIZE_INPUTS, *CHOICES, *WORD_INPUTS)
    unknown = [name for name in words if name not in known]
    if unknown:
        raise _bad(f"there is no input {unknown[0]!r}; known are {', '.join(known)}")
    length = _asked_length(words)
    lesions = [round_half_up(one) for one in _lesions(words)]
    whole = None if length is None else round_half_up(length)
    if lesions and whole is not None and whole not in lesions:
        raise _bad(f"a lesion of {whole} mm is not among lesions_mm={words['lesions_mm']}")
    sheet = facts_from_whole(whole, lesions or [whole], None, _answers(words))
    if "largest" in words:
        if lesions:
            raise _bad("give lesions_mm or largest, not both")
        sheet = replace(
            sheet, facts=replace(sheet.facts, largest=Largest(_choice("largest", words["largest"])))
        )
    largest = round_half_up(_length("largest_mm", words["largest_mm"])) if "largest_mm" in words else whole
    values = PhraseValues(
        whole_mm=max(lesions, default=largest),
        prior_date=_date(words["prior_date"]) if "prior_date" in words else None,
        site=words.get("site", ""),
        laterality=words.get("laterality", ""),
        largest_unrounded_borderline=length is not None and 5 <= length < 6,
    )
    return Trial(sheet=sheet, values=values)


def _bad(message: str) -> SetupError:
    return SetupError("rules.bad-input", message)


def _asked_length(words: Mapping[str, str]) -> Decimal | None:
    """The unrounded length of the lesion that is asked about; None where it is not measurable."""
    if "size_mm" in words and "size" in words:
        raise _bad("give size_mm or size, not both")
    for name in ("size_mm", "size"):
        if name in words:
            return None if words[name] == NOT_MEASURABLE else _length(name, words[name])
    return max(_lesions(words), default=None)


def _lesions(words: Mapping[str, str]) -> list[Decimal]:
    text = words.get("lesions_mm")
    return [] if text is None else [_length("lesions_mm", part) for part in text.split(",")]


def _length(name: str, text: str) -> Decimal:
    try:
        length = Decimal(text.strip())
    except InvalidOperation:
        length = Decimal("NaN")
    if not length.is_finite() or not 0 <= length <= LARGEST_LENGTH_MM:
        raise _bad(f"{name}={text}: expected a length in mm, for example {name}=5.4")
    return length


def _answers(words: Mapping[str, str]) -> Answers:
    """What was typed, as if it stood on the review form."""
    asked = [field.name for field in fields(Answers) if field.name in words]
    stated = {
        name: Stated(value=CHOICES[name](_choice(name, words[name])), provenance=Provenance.REVIEW_FORM)
        for name in asked
    }
    return replace(Answers(), **stated)  # type: ignore[arg-type]


def _choice(name: str, value: str) -> str:
    values = [str(member.value) for member in CHOICES[name]]
    if value not in values:
        raise _bad(f"{name}={value}: expected one of {', '.join(values)}")
    return value


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise _bad(f"prior_date={text}: expected YYYY-MM-DD") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCase:
    """A stored case: its name (a key of the ledger, no patient data) and its facts."""

    name: str
    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseChange:
    """A stored case that another table would word otherwise."""

    name: str
    old: Told
    new: Told


def past_cases(lines: Sequence[str]) -> Iterator[PastCase]:
    """Stored cases from JSON lines.

    Parameters
    ----------
    lines
        Each an object of inputs as for `trial_from`, and optionally ``case``, its name. Blank lines are
        left out.

    Raises
    ------
    SetupError
        ``rules.bad-case``: names the line.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _past_case(number, line)


def _past_case(number: int, line: str) -> PastCase:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SetupError("rules.bad-case", f"line {number} is not JSON") from error
    if not isinstance(plain, dict):
        raise SetupError("rules.bad-case", f"line {number}: expected an object of inputs")
    name = str(plain.pop("case", f"line {number}"))
    try:
        return PastCase(
            name=name, trial=trial_from({key: _plain_text(value) for key, value in plain.items()})
        )
    except SetupError as error:
        raise SetupError("rules.bad-case", f"line {number}: {error.message}") from error


def case_line(name: str, facts: RuleFacts, values: PhraseValues) -> str:
    """A case as one line for `past_cases`, from which the same facts and words come back.

    Parameters
    ----------
    name
        A key under which the case is found again; no patient data.
    """
    chosen = {field: getattr(facts, field).value for field in CHOICES}
    worded = {
        "largest_mm": values.whole_mm,
        "prior_date": values.prior_date and values.prior_date.isoformat(),
        "site": values.site,
        "laterality": values.laterality,
    }
    given = {key: value for key, value in worded.items() if value}
    return json.dumps({"case": name, "size": facts.size, **chosen, **given}, ensure_ascii=False)


def _plain_text(value: object) -> str:
    """A JSON value as it would be typed; null, a size that is not measurable."""
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return NOT_MEASURABLE if value is None else str(value)


def changed_cases(old: RuleTable, new: RuleTable, cases: Sequence[PastCase]) -> tuple[CaseChange, ...]:
    """The cases of which row, phrase, recommendation, remark or analogue would change."""
    told = ((case.name, tell(old, case.trial), tell(new, case.trial)) for case in cases)
    return tuple(
        CaseChange(name=name, old=before, new=after)
        for name, before, after in told
        if (before.phrase, before.decision.rule_id, before.decision.analogue)
        != (after.phrase, after.decision.rule_id, after.decision.analogue)
    )
