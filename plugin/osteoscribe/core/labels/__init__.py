"""Which ROIs are lesion marks, and what their labels and codes record.

The rules are data (``config/labels.toml``), read by `parse_label_rules`.
"""

from osteoscribe.core.labels.grammar import LabelAnswers, answers_from_codes, answers_from_label
from osteoscribe.core.labels.merge import merge_answers
from osteoscribe.core.labels.rules import (
    NO_POLICY,
    LabelRules,
    SitePolicy,
    parse_label_rules,
)
from osteoscribe.core.labels.selection import LeftOut, Selected, Selection, select

__all__ = [
    "NO_POLICY",
    "LabelAnswers",
    "LabelRules",
    "LeftOut",
    "Selected",
    "Selection",
    "SitePolicy",
    "answers_from_codes",
    "answers_from_label",
    "merge_answers",
    "parse_label_rules",
    "select",
]
