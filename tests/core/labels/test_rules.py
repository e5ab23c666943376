"""Reading labels.toml: what is refused, and how policies are found."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.core.answers import Answer, Density, Provenance
from osteoscribe.core.codes import Code
from osteoscribe.core.labels import LabelRules, answers_from_codes, parse_label_rules
from osteoscribe.core.labels.words import WordPattern, words_of
from osteoscribe.errors import SetupError

Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("labels.unknown-key", lambda d: d.update(tokens=[])),
        ("labels.unknown-key", lambda d: d["roi"].update(marks=[])),
        ("labels.unknown-key", lambda d: d["token"][0].update(value="x")),
        ("labels.unknown-key", lambda d: d["policy"].update(A={"attest": {}})),
        ("labels.missing-key", lambda d: d.pop("grammar")),
        ("labels.missing-key", lambda d: d["roi"]["default"].pop("*")),
        ("labels.wrong-type", lambda d: d["roi"].update(mark="lesion")),
        ("labels.wrong-type", lambda d: d.update(roi=[])),
        ("labels.wrong-type", lambda d: d["policy"].update(A={"all_rois_are_marks": "yes"})),
        ("labels.bad-pattern", lambda d: d["roi"]["mark"].append("  ")),
        ("labels.bad-pattern", lambda d: d["roi"]["mark"].append("les[ion")),
        ("labels.bad-pattern", lambda d: d["roi"]["mark"].append("*")),
        ("labels.bad-pattern", lambda d: d["roi"]["mark"].append("bone-island")),
        ("labels.bad-pattern", lambda d: d["token"][0]["words"].append("--")),
        ("labels.unknown-question", lambda d: d["token"][0].update(set={"mean_hu": "yes"})),
        ("labels.unknown-value", lambda d: d["token"][0].update(set={"density": "high"})),
        ("labels.unknown-value", lambda d: d["token"][0].update(set={"density": "unknown"})),
        ("labels.unknown-value", lambda d: d["roi"]["default"].update(SEG="maybe")),
        (
            "labels.token-twice",
            lambda d: d["token"].append({"words": ["TYPICAL"], "set": {"density": "other"}}),
        ),
        ("labels.code-twice", lambda d: d["code"].append(dict(d["code"][0]))),
        ("labels.wrong-type", lambda d: d["code"][0].update(value=7)),
        ("labels.token-twice", lambda d: d["grammar"]["doubt"].append("typical")),
        ("labels.token-twice", lambda d: d["grammar"]["neutral"].append("not")),
    ],
)
def test_what_cannot_be_meant_is_refused(code: str, change: Change, label_data: dict[str, Any]) -> None:
    data = deepcopy(label_data)
    data.setdefault("policy", {})
    change(data)
    with pytest.raises(SetupError) as refused:
        parse_label_rules(data)
    assert refused.value.code == code


EVALUATION = {
    "value": "PAIN",
    "scheme": "99SITE",
    "meaning": "Pain at the lesion",
    "question": "symptoms",
    "answers": [{"value": "373066001", "scheme": "SCT", "answer": "yes"}],
}


def test_a_site_adds_coded_items_of_its_own(label_data: dict[str, Any]) -> None:
    rules = parse_label_rules({**label_data, "evaluation": [EVALUATION]})
    item = (Code("PAIN", "99SITE", ""), Code("373066001", "SCT", ""))
    assert answers_from_codes((), rules, (item,)).answers.symptoms.value is Answer.YES


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("labels.unknown-question", {"question": "mean_hu"}),
        ("labels.unknown-value", {"answers": [{"value": "1", "scheme": "SCT", "answer": "maybe"}]}),
        ("labels.missing-key", {"answers": [{"value": "1", "scheme": "SCT"}]}),
        ("labels.code-twice", {"value": "IN-SYMPTOMS", "scheme": "99OSTEOSCRIBE"}),
        ("labels.wrong-type", {"answers": "yes"}),
    ],
)
def test_a_coded_item_that_cannot_be_meant_is_refused(
    code: str, change: dict[str, Any], label_data: dict[str, Any]
) -> None:
    with pytest.raises(SetupError) as refused:
        parse_label_rules({**label_data, "evaluation": [{**EVALUATION, **change}]})
    assert refused.value.code == code


def test_the_refusal_names_the_place_and_what_is_known(label_data: dict[str, Any]) -> None:
    data = deepcopy(label_data)
    data["token"][0]["set"] = {"density": "high"}
    with pytest.raises(SetupError, match=r"token.set.density is 'high'; expected one of 'sclerotic'"):
        parse_label_rules(data)


def test_a_policy_is_found_by_its_ae_title_then_by_the_star(label_data: dict[str, Any]) -> None:
    data = deepcopy(label_data)
    data["policy"] = {
        "BONE": {"all_rois_are_marks": True, "attested": {"symptoms": "no", "density": "sclerotic"}},
        "*": {"attested": {"age": "adult"}},
    }
    rules = parse_label_rules(data)
    bone = rules.policy_for(" BONE ")
    assert bone.all_rois_are_marks
    assert bone.answers.symptoms.value is Answer.NO
    assert bone.answers.density.value is Density.SCLEROTIC
    assert bone.answers.density.provenance is Provenance.SITE_POLICY
    assert "BONE" in bone.answers.density.where
    other = rules.policy_for("ELSEWHERE")
    assert not other.all_rois_are_marks
    assert other.answers.age.value.value == "adult"


def test_the_shipped_file_attests_nothing(rules: LabelRules) -> None:
    assert not rules.policies
    assert rules.policy_for("ANY").answers.symptoms.value is Answer.UNKNOWN


@pytest.mark.parametrize(
    ("pattern", "label", "holds"),
    [
        ("bi", "tibia", False),
        ("bi", "BI, typical", True),
        ("bone island*", "Bone-Islands left", True),
        ("bone island", "bone of island", False),
        ("t1[0-2]", "T13", False),
        ("t1[0-2]", "T12_body", True),
        ("läsion", "LASION", True),
        ("*om", "Karzinom links", True),
    ],
)
def test_patterns_match_whole_words(pattern: str, label: str, holds: bool) -> None:
    assert WordPattern(pattern).within(words_of(label)) is holds


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "set", "words", "*"]), inner, max_size=3),
    ),
    max_leaves=6,
)


PLACES = [
    ("roi",), ("roi", "mark"), ("roi", "type"), ("roi", "default"), ("roi", "default", "SEG"), ("grammar",),
    ("grammar", "doubt"), ("token",), ("token", 0), ("token", 0, "set"), ("token", 0, "words"), ("code",),
    ("code", 0), ("code", 0, "value"), ("evaluation",), ("policy",),
]  # fmt: skip


@given(place=st.sampled_from(PLACES), value=PLAIN)
def test_whatever_stands_in_the_file_is_read_or_refused(
    place: tuple[str | int, ...], value: object, label_data: dict[str, Any]
) -> None:
    changed = deepcopy(label_data)
    at: Any = changed
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    try:
        parse_label_rules(changed)
    except SetupError as refused:
        assert refused.code.startswith("labels.")
