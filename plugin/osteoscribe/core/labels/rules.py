"""`LabelRules` and `SitePolicy`: what ``config/labels.toml`` says, parsed and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, TypeVar

from osteoscribe.core.answers import (
    Age,
    Answer,
    Answers,
    Density,
    Growth,
    LocationRisk,
    Morphology,
    Multiplicity,
    Provenance,
    Stated,
)
from osteoscribe.core.codes import Code
from osteoscribe.core.labels.words import WordPattern, Words, first_within, words_of
from osteoscribe.errors import SetupError

QUESTIONS: Mapping[str, type[Enum]] = MappingProxyType(
    {
        "density": Density,
        "morphology": Morphology,
        "multiplicity": Multiplicity,
        "malignancy_history": Answer,
        "known_metastasis": Answer,
        "symptoms": Answer,
        "growth": Growth,
        "soft_tissue_mass": Answer,
        "cortical_destruction": Answer,
        "other_aggressive": Answer,
        "location_risk": LocationRisk,
        "age": Age,
    }
)
"""Each question that a label, code or policy can answer, with its values."""

E = TypeVar("E", bound=Enum)

Settings = tuple[tuple[str, Enum], ...]
"""Questions and the values set for them."""


SIZE = re.compile(r"[0-9]+(mm|cm)?")
"""A number or size in a label: expected, and no answer (the size is measured)."""


IDENTIFIER = re.compile(r"(?=.*[0-9])(?=.*[a-z])[0-9a-z]{10,}")
"""A name that a program made: long, of letters and digits mixed."""


class Verdict(Enum):
    """What a code or an ROI type says about an ROI."""

    MARK = "mark"
    """It is a lesion mark."""
    NOT_MARK = "not_mark"
    """It is anatomy, a device or a planning volume."""
    UNSPECIFIC = "unspecific"
    """It says nothing by itself: the code that viewers write when nobody chose one."""


class Default(Enum):
    """What an ROI is when neither label, code nor type says so."""

    MARK = "mark"
    """A lesion mark: somebody drew it by hand."""
    GENERIC_NAMES = "generic_names"
    """A lesion mark only where it bears a name that nobody chose, such as ``Segment 1``."""
    LEAVE_OUT = "leave_out"
    """Left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRule:
    """What one code, or a family of codes (``T-*``), says.

    Parameters
    ----------
    verdict
        Whether an ROI with this code is a lesion mark; None where the code only answers questions.
    sets
        The answers that this code records.
    """

    value: str
    scheme: str
    meaning: str
    verdict: Verdict | None = None
    sets: Settings = ()

    @property
    def is_family(self) -> bool:
        """Whether the rule is about a family of codes."""
        return "*" in self.value

    def covers(self, code: Code) -> bool:
        """Whether this rule is about the code."""
        return self.scheme == code.scheme and fnmatchcase(code.value, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What one token of the label grammar records. ``text`` is as the site wrote it."""

    text: str
    sets: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePolicy:
    """What a site attests for every mark that one calling AE sends.

    Parameters
    ----------
    calling_ae
        AE title that the policy is for; ``*`` for all others; empty for no policy.
    all_rois_are_marks
        Every ROI is a lesion mark, whatever its label and codes say.
    answers
        Attested answers, with site policy as provenance.
    """

    calling_ae: str = ""
    all_rois_are_marks: bool = False
    answers: Answers = field(default_factory=Answers)


NO_POLICY = SitePolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRules:
    """Everything that ``config/labels.toml`` says.

    Parameters
    ----------
    mark_labels, not_mark_labels, bone_labels, generic_labels
        Patterns of names of lesions, of organs and devices, of bones, and of ROIs that nobody named.
    interpreted_types
        RT ROI Interpreted Type (PS3.3 C.8.8.8.1) to its verdict.
    defaults
        First word of a dialect (``SEG``, ``SR``) to what its ROIs are by default; ``*`` for all others.
    tokens
        Words of a token to what it records.
    doubt
        Words of negation and doubt: a statement that holds one outside a token records nothing.
    neutral
        Words that are expected in a label and record nothing; ``0`` stands for any number or size.
    """

    mark_labels: tuple[WordPattern, ...]
    not_mark_labels: tuple[WordPattern, ...]
    bone_labels: tuple[WordPattern, ...]
    generic_labels: tuple[WordPattern, ...]
    codes: Mapping[tuple[str, str], CodeRule]
    code_families: tuple[CodeRule, ...]
    interpreted_types: Mapping[str, Verdict]
    defaults: Mapping[str, Default]
    tokens: Mapping[Words, Token]
    doubt: frozenset[Words]
    neutral: frozenset[Words]
    policies: Mapping[str, SitePolicy]

    def policy_for(self, calling_ae: str) -> SitePolicy:
        """Policy for a calling AE title, else the one for ``*``, else none."""
        return self.policies.get(calling_ae.strip()) or self.policies.get("*") or NO_POLICY

    def default_for(self, dialect: str) -> Default:
        """Default for the ROIs of a dialect, when nothing else says what they are."""
        kind = dialect.split(" ", 1)[0].upper()
        return self.defaults.get(kind) or self.defaults["*"]

    def rule_for(self, code: Code) -> CodeRule | None:
        """Rule for a code; one that names it exactly comes before a family."""
        exact = self.codes.get((code.scheme, code.value))
        return exact or next((rule for rule in self.code_families if rule.covers(code)), None)

    def is_neutral(self, piece: Words) -> bool:
        """Whether words record nothing and are expected: the neutral list, sizes, anatomy, generic names."""
        if tuple("0" if SIZE.fullmatch(word) else word for word in piece) in self.neutral:
            return True
        if len(piece) > 1:
            return False
        if SIZE.fullmatch(piece[0]) or IDENTIFIER.fullmatch(piece[0]):
            return True
        return first_within((*self.generic_labels, *self.anatomy_labels), piece) is not None

    @property
    def anatomy_labels(self) -> tuple[WordPattern, ...]:
        """Patterns of names of bones, organs and devices."""
        return (*self.bone_labels, *self.not_mark_labels)


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
    top = _table(data, "labels.toml", need=("roi", "grammar"), may=("code", "token", "policy"))
    roi = _table(top["roi"], "roi", need=("mark", "not_mark", "bones", "generic", "type", "default"))
    grammar = _table(top["grammar"], "grammar", need=("doubt", "neutral"))
    defaults = _enums(roi["default"], "roi.default", Default)
    if "*" not in defaults:
        raise SetupError("labels.missing-key", "roi.default needs an entry '*' for all other dialects")
    tokens = _tokens(top.get("token", ()))
    codes = [rule for row in _rows(top.get("code", ()), "code") for rule in _code_rules(row)]
    doubt = frozenset(_phrase(text, "grammar.doubt") for text in _texts(grammar["doubt"], "grammar.doubt"))
    return LabelRules(
        mark_labels=_patterns(roi["mark"], "roi.mark"),
        not_mark_labels=_patterns(roi["not_mark"], "roi.not_mark"),
        bone_labels=_patterns(roi["bones"], "roi.bones"),
        generic_labels=_patterns(roi["generic"], "roi.generic"),
        codes=_by_code(codes),
        code_families=tuple(rule for rule in codes if rule.is_family),
        interpreted_types=_enums(roi["type"], "roi.type", Verdict),
        defaults=defaults,
        tokens=tokens,
        doubt=doubt,
        neutral=_neutral(grammar["neutral"], tokens, doubt),
        policies=_policies(top.get("policy", {})),
    )


def _tokens(rows: Any) -> Mapping[Words, Token]:
    tokens: dict[Words, Token] = {}
    for row in _rows(rows, "token"):
        table = _table(row, "token", need=("words", "set"))
        sets = _settings(table["set"], "token.set")
        for text in _texts(table["words"], "token.words"):
            words = _phrase(text, "token.words")
            # Languages share words, so the same token with the same meaning may stand twice.
            if tokens.setdefault(words, Token(text=text, sets=sets)).sets != sets:
                raise SetupError(
                    "labels.token-twice", f"the token {text!r} has two meanings; keep one of them"
                )
    return MappingProxyType(tokens)


def _neutral(value: Any, tokens: Mapping[Words, Token], doubt: frozenset[Words]) -> frozenset[Words]:
    neutral = frozenset(_phrase(text, "grammar.neutral") for text in _texts(value, "grammar.neutral"))
    for words in sorted(neutral | doubt):
        if words in tokens or (words in neutral and words in doubt):
            raise SetupError(
                "labels.token-twice",
                f"{' '.join(words)!r} stands in two lists of the grammar; keep one of them",
            )
    return neutral


def _code_rules(row: Any) -> tuple[CodeRule, ...]:
    """Rules of one ``[[code]]``, whose value is one code or a list of codes."""
    table = _table(row, "code", need=("value", "scheme", "meaning"), may=("roi", "set"))
    value = table["value"]
    values = _texts(value, "code.value") if isinstance(value, list) else (_text(value, "code.value"),)
    return tuple(
        CodeRule(
            value=one,
            scheme=_text(table["scheme"], "code.scheme"),
            meaning=_text(table["meaning"], "code.meaning"),
            verdict=_enum(table["roi"], "code.roi", Verdict) if "roi" in table else None,
            sets=_settings(table.get("set", {}), "code.set"),
        )
        for one in values
    )


def _by_code(rules: Sequence[CodeRule]) -> Mapping[tuple[str, str], CodeRule]:
    found: dict[tuple[str, str], CodeRule] = {}
    for rule in rules:
        if rule.is_family:
            continue
        if (rule.scheme, rule.value) in found:
            raise SetupError("labels.code-twice", f"the code ({rule.value}, {rule.scheme}) stands twice")
        found[rule.scheme, rule.value] = rule
    return MappingProxyType(found)


def _policies(data: Any) -> Mapping[str, SitePolicy]:
    policies: dict[str, SitePolicy] = {}
    for ae, row in _table(data, "policy", may=None).items():
        where = f"policy.{ae}"
        table = _table(row, where, may=("all_rois_are_marks", "attested"))
        everything = table.get("all_rois_are_marks", False)
        if not isinstance(everything, bool):
            raise SetupError("labels.wrong-type", f"{where}.all_rois_are_marks must be true or false")
        sets = _settings(table.get("attested", {}), f"{where}.attested")
        answers = answers_of(sets, Provenance.SITE_POLICY, f"calling AE {ae}")
        policies[ae] = SitePolicy(calling_ae=ae, all_rois_are_marks=everything, answers=answers)
    return MappingProxyType(policies)


def answers_of(sets: Settings, provenance: Provenance, where: str) -> Answers:
    """Answers with the values set, all from one place."""
    stated: dict[str, Any] = {
        name: Stated(value=value, provenance=provenance, where=where) for name, value in sets
    }
    return Answers(**stated)


def _settings(value: Any, where: str) -> Settings:
    table = _table(value, where, may=None)
    for name in table:
        if name not in QUESTIONS:
            known = ", ".join(QUESTIONS)
            raise SetupError("labels.unknown-question", f"{where} sets {name!r}; the questions are: {known}")
    return tuple((name, _answer(table[name], f"{where}.{name}", QUESTIONS[name])) for name in sorted(table))


def _answer(value: Any, where: str, kind: type[Enum]) -> Enum:
    answer = _enum(value, where, kind)
    if answer.value == "unknown":
        raise SetupError("labels.unknown-value", f"{where} is 'unknown', which is the default; leave it out")
    return answer


def _enum(value: Any, where: str, kind: type[E]) -> E:
    for member in kind:
        if member.value == value:
            return member
    known = ", ".join(repr(member.value) for member in kind)
    raise SetupError("labels.unknown-value", f"{where} is {value!r}; expected one of {known}")


def _enums(value: Any, where: str, kind: type[E]) -> Mapping[str, E]:
    table = _table(value, where, may=None)
    return MappingProxyType(
        {name.upper(): _enum(item, f"{where}.{name}", kind) for name, item in table.items()}
    )


def _patterns(value: Any, where: str) -> tuple[WordPattern, ...]:
    return tuple(WordPattern(text) for text in _texts(value, where))


def _phrase(text: str, where: str) -> Words:
    words = words_of(text)
    if not words:
        raise SetupError("labels.bad-pattern", f"{where} holds {text!r}, which has no letter and no digit")
    return words


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise SetupError("labels.wrong-type", f"{where} must be a list of texts")
    return tuple(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise SetupError("labels.wrong-type", f"{where} must be a text that is not empty")
    return value


def _rows(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise SetupError("labels.wrong-type", f"{where} must be written as [[{where}]]")
    return value


def _table(
    value: Any, where: str, *, need: tuple[str, ...] = (), may: tuple[str, ...] | None = ()
) -> Mapping[str, Any]:
    """Check that the value is a table with all of `need` and, where `may` is given, nothing beyond it."""
    if not isinstance(value, Mapping):
        raise SetupError("labels.wrong-type", f"{where} must be a table")
    missing = [key for key in need if key not in value]
    if missing:
        raise SetupError("labels.missing-key", f"{where} lacks {', '.join(missing)}")
    unknown = sorted(set(value) - set(need) - set(may)) if may is not None else []
    if unknown:
        known = ", ".join(need + (may or ()))
        raise SetupError("labels.unknown-key", f"{where} has {', '.join(unknown)}; known keys are: {known}")
    return value
