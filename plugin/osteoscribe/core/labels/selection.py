"""`select`: which ROIs are lesion marks."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from osteoscribe.core.codes import Code
from osteoscribe.core.labels.rules import NO_POLICY, Default, LabelRules, SitePolicy, Verdict
from osteoscribe.core.labels.words import first_within, words_of
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


def select(
    mark: RoiMark | UnreadableMark,
    rules: LabelRules,
    policy: SitePolicy = NO_POLICY,
    label_patterns: Sequence[str] = (),
) -> Selection:
    """Whether an ROI is a lesion mark.

    The first of these that says something decides: `label_patterns`, the site policy, the ROI's label (a
    lesion's name before a name of anatomy), its codes (a lesion's before anatomy's), its RT ROI
    interpreted type, the default of its dialect. A person's label goes before codes and types because
    programs fill those in by themselves (an RTSTRUCT of ARIA has ``ORGAN`` on a GTV).

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
    return (
        _by_label(mark.label, rules)
        or _by_codes(codes, rules)
        or _by_type(interpreted_type, rules)
        or _by_default(mark.label, mark.dialect, rules)
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


def _by_label(label: str, rules: LabelRules) -> Selection | None:
    words = words_of(label)
    pattern = first_within(rules.mark_labels, words)
    if pattern:
        return Selected(why=f"its label has {pattern.text!r}, which names a lesion")
    pattern = first_within(rules.not_mark_labels, words)
    if pattern:
        return LeftOut(
            reason=f"its label has {pattern.text!r}, which names anatomy, a device or a planning volume"
        )
    return None


def _by_codes(codes: Sequence[Code], rules: LabelRules) -> Selection | None:
    verdicts = [(code, rule.verdict if (rule := rules.rule_for(code)) else None) for code in codes]
    for wanted in (Verdict.MARK, Verdict.NOT_MARK):
        for code, verdict in verdicts:
            if verdict is wanted:
                return _selection(verdict, f"it is coded as {_named(code, rules)}")
    # An unspecific category such as Tissue beside a type that nobody listed: a kind of tissue, so anatomy.
    unspecific = [code for code, verdict in verdicts if verdict is Verdict.UNSPECIFIC]
    if unspecific and any(verdict is None for _, verdict in verdicts):
        return LeftOut(reason=f"it is coded as a kind of {_named(unspecific[0], rules)}, not as a lesion")
    return None


def _named(code: Code, rules: LabelRules) -> str:
    rule = rules.rule_for(code)
    return f"{rule.meaning if rule else 'unknown'} ({rule.value if rule else '?'}, {code.scheme})"


def _by_type(interpreted_type: str, rules: LabelRules) -> Selection | None:
    name = interpreted_type.strip().upper()
    verdict = rules.interpreted_types.get(name)
    if verdict is None or verdict is Verdict.UNSPECIFIC:
        return None
    return _selection(verdict, f"its RT ROI interpreted type is {name}")


def _selection(verdict: Verdict, clue: str) -> Selection:
    if verdict is Verdict.MARK:
        return Selected(why=f"{clue}, which is a lesion")
    return LeftOut(reason=f"{clue}, which is no lesion mark")


def _by_default(label: str, dialect: str, rules: LabelRules) -> Selection:
    default = rules.default_for(dialect)
    if default is Default.MARK:
        return Selected(why="a mark of this kind is a lesion mark unless its label or code says otherwise")
    words = words_of(label)
    if default is Default.GENERIC_NAMES and (not words or first_within(rules.generic_labels, words)):
        return Selected(why="it has no name, code or type of its own: taken as a mark that somebody drew")
    return LeftOut(
        reason="neither its label nor a code or type says that it is a lesion mark; if it is one, name it so"
        " (for example 'lesion'), or add its name to config/labels.toml"
    )
