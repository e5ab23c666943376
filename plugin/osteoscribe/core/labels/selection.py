"""`select`: which ROIs are lesion marks."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from osteoscribe.core.codes import Code
from osteoscribe.core.labels.rules import NO_POLICY, Default, LabelRules, SitePolicy, Verdict
from osteoscribe.core.labels.words import Words, first_within, words_of
from osteoscribe.core.marks import RoiMark, UnreadableMark


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The ROI is a lesion mark. ``why`` names the clue, in words without the label's own text."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The ROI is no lesion mark. ``reason`` says why and, where it may be meant as one, what to do."""

    reason: str


Selection = Selected | LeftOut

NAME_IT = "if it is one, name it so (for example 'lesion'), or add its name to config/labels.toml"
"""What to do about an ROI that may be meant as a mark."""


def select(
    mark: RoiMark | UnreadableMark,
    rules: LabelRules,
    policy: SitePolicy = NO_POLICY,
    label_patterns: Sequence[str] = (),
) -> Selection:
    """Whether an ROI is a lesion mark.

    `label_patterns` decide alone where there are any; then the site policy; then whatever says that the
    ROI is a lesion (its label, its codes, its RT ROI interpreted type), so that no mark is lost to a clue
    that a program filled in (an RTSTRUCT of ARIA has ``ORGAN`` on a GTV); then whatever says that it is
    none, in the same order; then the default of its dialect. The name of a bone is the bone itself on a
    segment or contour, and the place of a lesion on a measurement that a person made.

    Parameters
    ----------
    mark
        The ROI as read.
    rules
        What ``config/labels.toml`` says.
    policy
        The site policy for the calling AE.
    label_patterns
        Patterns as of ``process --label``, as in file names, case ignored, on the whole label; ``*`` takes
        every ROI. Where there are any, they alone decide.

    Returns
    -------
    Selection
        `Selected` or `LeftOut`. It never says what the lesion is: an ROI taken by pattern or policy keeps
        an unknown density until label, code or policy records one.
    """
    if label_patterns:
        return _by_patterns(mark.label, label_patterns)
    if policy.all_rois_are_marks:
        return Selected(why=f"site policy of calling AE {policy.calling_ae}: every ROI is a mark")
    codes, interpreted_type = _clues(mark)
    words = words_of(mark.label)
    return (
        _lesion_by_label(words, rules)
        or _lesion_by_code(codes, rules)
        or _lesion_by_type(interpreted_type, rules)
        or _none_by_label(words, mark.dialect, rules)
        or _none_by_code(codes, rules)
        or _none_by_type(interpreted_type, rules)
        or _by_default(words, mark.dialect, rules)
    )


def _clues(mark: RoiMark | UnreadableMark) -> tuple[tuple[Code, ...], str]:
    if isinstance(mark, UnreadableMark):
        return (), ""
    return mark.property_codes, mark.interpreted_type


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip().casefold())


def _by_patterns(label: str, patterns: Sequence[str]) -> Selection:
    name = _folded(label)
    for pattern in patterns:
        if name == _folded(pattern) or fnmatchcase(name, _folded(pattern)):
            return Selected(why=f"its label is asked for by the pattern {pattern!r}")
    return LeftOut(reason="its label is not among those asked for: " + ", ".join(repr(p) for p in patterns))


def _lesion_by_label(words: Words, rules: LabelRules) -> Selected | None:
    pattern = first_within(rules.mark_labels, words)
    return Selected(why=f"its label has {pattern.text!r}, which names a lesion") if pattern else None


def _lesion_by_code(codes: Sequence[Code], rules: LabelRules) -> Selected | None:
    lesion = _with_verdict(Verdict.MARK, codes, rules)
    return Selected(why=f"it is coded as {lesion}") if lesion else None


def _lesion_by_type(interpreted_type: str, rules: LabelRules) -> Selected | None:
    name = interpreted_type.strip().upper()
    if rules.interpreted_types.get(name) is not Verdict.MARK:
        return None
    return Selected(why=f"its RT ROI interpreted type is {name}")


def _none_by_label(words: Words, dialect: str, rules: LabelRules) -> LeftOut | None:
    pattern = first_within(rules.not_mark_labels, words)
    if pattern:
        return LeftOut(
            reason=f"its label has {pattern.text!r}, which names an organ, a device or a planning volume"
        )
    pattern = first_within(rules.bone_labels, words)
    if pattern and rules.default_for(dialect) is not Default.MARK:
        return LeftOut(reason=f"its label has {pattern.text!r}, which names a bone; {NAME_IT}")
    return None


def _none_by_code(codes: Sequence[Code], rules: LabelRules) -> LeftOut | None:
    anatomy = _with_verdict(Verdict.NOT_MARK, codes, rules)
    if anatomy:
        return LeftOut(reason=f"it is coded as {anatomy}, which is no lesion mark")
    # An unspecific category such as Tissue beside a type that nobody listed: a kind of tissue, so anatomy.
    unspecific = _with_verdict(Verdict.UNSPECIFIC, codes, rules)
    if unspecific and any(_verdict(code, rules) is None for code in codes):
        return LeftOut(reason=f"it is coded as a kind of {unspecific}, not as a lesion")
    return None


def _none_by_type(interpreted_type: str, rules: LabelRules) -> LeftOut | None:
    name = interpreted_type.strip().upper()
    if rules.interpreted_types.get(name) is not Verdict.NOT_MARK:
        return None
    return LeftOut(reason=f"its RT ROI interpreted type is {name}, which is no lesion mark")


def _verdict(code: Code, rules: LabelRules) -> Verdict | None:
    rule = rules.rule_for(code)
    return rule.verdict if rule else None


def _with_verdict(verdict: Verdict, codes: Sequence[Code], rules: LabelRules) -> str:
    """The first code of this verdict, as our list names it, or an empty text."""
    for code in codes:
        rule = rules.rule_for(code)
        if rule and rule.verdict is verdict:
            return f"{rule.meaning} ({rule.value}, {rule.scheme})"
    return ""


def _by_default(words: Words, dialect: str, rules: LabelRules) -> Selection:
    default = rules.default_for(dialect)
    if default is Default.MARK:
        return Selected(why="a mark of this kind is a lesion mark unless its label or code says otherwise")
    if default is Default.GENERIC_NAMES and (not words or rules.generic.within(words)):
        return Selected(why="it has no name, code or type of its own: taken as a mark that somebody drew")
    return LeftOut(reason=f"neither its label nor a code or type says that it is a lesion mark; {NAME_IT}")
