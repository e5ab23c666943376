"""Which ROIs are lesion marks, and what their labels and codes record.

The rules are data (``config/labels.toml``), read by `parse_label_rules`.
"""

from osteoscribe.core.labels.grammar import LabelAnswers, answers_from_codes, answers_from_label, own_name
from osteoscribe.core.labels.malignancy import MalignancyCodes, parse_malignancy_codes
from osteoscribe.core.labels.merge import merge_answers, shared_answers
from osteoscribe.core.labels.parse import parse_label_rules
from osteoscribe.core.labels.rules import NO_POLICY, LabelRules, SitePolicy
from osteoscribe.core.labels.selection import LeftOut, Selected, Selection, select

__all__ = [
    "NO_POLICY",
    "LabelAnswers",
    "LabelRules",
    "LeftOut",
    "MalignancyCodes",
    "Selected",
    "Selection",
    "SitePolicy",
    "answers_from_codes",
    "answers_from_label",
    "merge_answers",
    "own_name",
    "parse_label_rules",
    "parse_malignancy_codes",
    "select",
    "shared_answers",
]
