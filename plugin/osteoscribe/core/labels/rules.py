"""`LabelRules` and `SitePolicy`: what ``config/labels.toml`` says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from functools import cached_property
from types import MappingProxyType
from typing import Any

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
from osteoscribe.core.labels.words import AnyOf, WordPattern, Words

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


CodeKey = tuple[str, str]
"""Coding scheme designator and code value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRule:
    """Which question a coded item answers: its concept asks, its value answers.

    Parameters
    ----------
    answers
        Code of a value to the answer; a value that is not here records nothing.
    """

    meaning: str
    question: str
    answers: Mapping[CodeKey, Enum]


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


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """Everything that ``config/labels.toml`` says.

    Parameters
    ----------
    mark_labels, not_mark_labels, bone_labels, generic_labels
        Patterns of names of lesions, of organs and devices, of bones, and of ROIs that nobody named.
    evaluations
        Concept of a coded item to what its values record; those of our own reports are always among them.
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
    codes: Mapping[CodeKey, CodeRule]
    code_families: tuple[CodeRule, ...]
    evaluations: Mapping[CodeKey, EvaluationRule]
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
        return self.generic.within(piece) or self.anatomy.within(piece)

    @cached_property
    def longest(self) -> int:
        """Most words of a token, of a word of doubt or of a neutral one."""
        return max((len(known) for known in (*self.tokens, *self.doubt, *self.neutral)), default=1)

    @cached_property
    def anatomy(self) -> AnyOf:
        """Names of bones, organs and devices."""
        return AnyOf((*self.bone_labels, *self.not_mark_labels))

    @cached_property
    def generic(self) -> AnyOf:
        """Names of ROIs that nobody named."""
        return AnyOf(self.generic_labels)

    @cached_property
    def lesion(self) -> AnyOf:
        """Names of lesions."""
        return AnyOf(self.mark_labels)


def answers_of(sets: Settings, provenance: Provenance, where: str) -> Answers:
    """Answers with the values set, all from one place."""
    stated: dict[str, Any] = {
        name: Stated(value=value, provenance=provenance, where=where) for name, value in sets
    }
    return Answers(**stated)
