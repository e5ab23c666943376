"""What a label records, and what it never records."""

from __future__ import annotations

import string
import unicodedata
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.core.answers import (
    Answer,
    Answers,
    Density,
    Growth,
    LocationRisk,
    Morphology,
    Multiplicity,
    Provenance,
)
from osteoscribe.core.codes import Code
from osteoscribe.core.labels import LabelAnswers, LabelRules, answers_from_codes, answers_from_label, own_name

UNKNOWN = Answers()


def values(answers: Answers) -> dict[str, str]:
    """The recorded values by question."""
    found = {f.name: getattr(answers, f.name).value.value for f in fields(answers)}
    return {name: value for name, value in found.items() if value != "unknown"}


def read(label: str, rules: LabelRules) -> dict[str, str]:
    return values(answers_from_label(label, rules).answers)


BENIGN = {"density": "sclerotic", "morphology": "typical", "malignancy_history": "no", "symptoms": "no"}


@pytest.mark.parametrize(
    "label",
    [
        "BI typical, no ca, asymp",
        "bi TYPICAL no CA asymp",
        "Asymptomatisch; Knocheninsel typisch; kein Malignom",
        "îlot condensant typique, pas de cancer, asymptomatique",
        "islote óseo típico, sin cáncer, asintomático",
        "isola ossea tipica, nessun tumore, asintomatica",
        "boteiland, typisch, geen kanker, geen klachten",
        "ilhota óssea típica, sem câncer, sem dor",
        "wyspa kostna typowa, bez nowotworu, bez bólu",
    ],
)
def test_the_same_four_answers_in_every_language(label: str, rules: LabelRules) -> None:
    found = answers_from_label(label, rules)
    assert values(found.answers) == BENIGN
    assert found.unknown_tokens == ()
    assert found.conflicts == ()


def test_each_answer_names_its_token_and_comes_from_the_label(rules: LabelRules) -> None:
    symptoms = answers_from_label("BI, asymp", rules).answers.symptoms
    assert symptoms.value is Answer.NO
    assert symptoms.provenance is Provenance.ROI_LABEL
    assert symptoms.where == "token 'asymp'"


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("not typical", {"morphology": "atypical"}),
        ("atypical", {"morphology": "atypical"}),
        ("mixed lytic-sclerotic", {"density": "mixed"}),
        ("lytic", {"density": "other"}),
        ("nicht sklerotisch", {"density": "other"}),
        ("stable 2y", {"growth": "stable_24"}),
        ("stable", {"growth": "stable"}),
        ("not stable", {"growth": "up_or_new"}),
        ("no growth", {"growth": "stable"}),
        ("keine Voraufnahmen", {"growth": "no_prior"}),
        ("soft tissue mass", {"soft_tissue_mass": "yes"}),
        ("no soft tissue mass", {"soft_tissue_mass": "no"}),
        ("Hinterkantenbeteiligung", {"location_risk": "risk_canal"}),
        ("known metastasis", {"known_metastasis": "yes", "malignancy_history": "yes"}),
        ("metastasis", {"malignancy_history": "yes"}),
        ("family history of cancer", {}),
        ("BI-RADS 2", {}),
        ("Osteom Typ 2", {}),
        ("BI typ", {"density": "sclerotic", "morphology": "typical"}),
        ("kleiner Herd", {}),
        ("unveraendert", {"growth": "stable"}),
        ("GROESSER", {"growth": "up_or_new"}),
        ("Kortikalisausduennung", {"location_risk": "risk_fracture"}),
        ("no fracture or periosteal reaction", {"other_aggressive": "no"}),
    ],
)
def test_the_longest_token_goes_first(label: str, expected: dict[str, str], rules: LabelRules) -> None:
    assert read(label, rules) == expected


@pytest.mark.parametrize(
    "label",
    [
        "typical?",
        "not quite typical",
        "hardly typical",
        "possible bone island, probably typical",
        "no ca or symptoms",
        "without known priors asymptomatic",
        "V.a. typisch",
        "metastasis?",
        "rule out metastasis",
        "no mets",
        "ca unknown",
        "keine typische Knocheninsel",
        "no fracture",
        "no periosteal reaction",
    ],
)
def test_negation_and_doubt_outside_a_token_record_nothing_and_are_reported(
    label: str, rules: LabelRules
) -> None:
    found = answers_from_label(label, rules)
    assert found.answers == UNKNOWN
    assert found.unknown_tokens


def test_a_doubtful_statement_leaves_the_others_alone(rules: LabelRules) -> None:
    found = answers_from_label("BI, not quite typical, asymp", rules)
    assert values(found.answers) == {"density": "sclerotic", "symptoms": "no"}
    assert found.unknown_tokens == ("not quite typical",)


def test_an_undefined_word_is_reported_back_and_records_nothing(rules: LabelRules) -> None:
    found = answers_from_label("BI xyzzy no ca", rules)
    assert found.unknown_tokens == ("xyzzy",)
    assert values(found.answers) == {"density": "sclerotic", "malignancy_history": "no"}


@pytest.mark.parametrize(
    "label",
    [
        "",
        "   ",
        "Lesion 1",
        "lesion, 5 mm left ilium",
        "ROI-1",
        "12mm",
        "T12",
        "Rib 7",
        "Segment_2",
        "ca. 5 mm",
        "ca 12mm",
        "5b6eb4301d3175942d29985a3d0fbb00",
    ],
)
def test_ordinary_names_record_nothing_and_report_nothing(label: str, rules: LabelRules) -> None:
    assert answers_from_label(label, rules) == LabelAnswers()


def test_contradicting_tokens_leave_the_answer_unknown_and_are_listed(rules: LabelRules) -> None:
    found = answers_from_label("typical, atypical", rules)
    assert found.answers.morphology.value is Morphology.UNKNOWN
    assert [c.question for c in found.conflicts] == ["morphology"]


@pytest.mark.parametrize(
    ("label", "question", "value"),
    [
        ("stable, enlarged", "growth", Growth.UP_OR_NEW),
        ("no pain, pain", "symptoms", Answer.YES),
        ("no ca, breast ca", "malignancy_history", Answer.YES),
        ("solitary, multiple", "multiplicity", Multiplicity.MULTIPLE),
        ("no risk, canal risk", "location_risk", LocationRisk.RISK_CANAL),
        ("sclerotic, mixed", "density", Density.MIXED),
        ("known metastasis, no known metastasis", "known_metastasis", Answer.UNKNOWN),
    ],
)
def test_a_red_flag_stands_against_its_contradiction(
    label: str, question: str, value: object, rules: LabelRules
) -> None:
    found = answers_from_label(label, rules)
    assert getattr(found.answers, question).value is value
    assert question in [c.question for c in found.conflicts]


def test_prose_is_no_label(rules: LabelRules) -> None:
    found = answers_from_label("typical " * 200, rules)
    assert found.answers == UNKNOWN
    assert "too long" in found.unknown_tokens[0]


LABELS = st.text(st.sampled_from(string.printable + "äöüéóçñłß,;"), max_size=60)


@given(label=LABELS)
def test_any_text_is_read_without_error_and_every_answer_names_a_defined_token(
    label: str, rules: LabelRules
) -> None:
    texts = {f"token {token.text!r}" for token in rules.tokens.values()}
    answers = answers_from_label(label, rules).answers
    for question in values(answers):
        assert getattr(answers, question).where in texts


@given(word=st.text(string.ascii_lowercase, min_size=1, max_size=12))
def test_a_word_that_nobody_defined_never_records_a_value(word: str, rules: LabelRules) -> None:
    found = answers_from_label(word, rules)
    if (word,) not in rules.tokens:
        assert found.answers == UNKNOWN


@given(data=st.data())
def test_case_accents_and_punctuation_do_not_matter(data: st.DataObject, rules: LabelRules) -> None:
    words, token = data.draw(st.sampled_from(sorted(rules.tokens.items())))
    gap = data.draw(st.text(" _-./()!:'\"*#+", min_size=1, max_size=3))
    plain = gap.join(words)
    shown = data.draw(st.sampled_from([plain, plain.upper(), plain.title(), token.text, token.text.upper()]))
    form = data.draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
    found = answers_from_label(unicodedata.normalize(form, f"{gap}{shown}{gap}"), rules)
    assert values(found.answers) == {name: value.value for name, value in token.sets}


@given(data=st.data())
def test_the_order_of_statements_does_not_matter(data: st.DataObject, rules: LabelRules) -> None:
    texts = st.sampled_from(sorted(token.text for token in rules.tokens.values()))
    picked = data.draw(st.lists(texts, max_size=5))
    other = data.draw(st.permutations(picked))
    assert read(", ".join(picked), rules) == read("; ".join(other), rules)


def test_every_shipped_token_can_be_reached(rules: LabelRules) -> None:
    for words, token in rules.tokens.items():
        assert read(" ".join(words), rules) == {name: value.value for name, value in token.sets}


def test_a_code_records_its_answer_and_is_named(rules: LabelRules) -> None:
    codes = (
        Code(value="94222008", scheme="SCT", meaning="whatever the sender wrote"),
        Code(value="1", scheme="99XYZ", meaning="typical"),
    )
    found = answers_from_codes(codes, rules).answers
    assert values(found) == {"malignancy_history": "yes"}
    assert found.malignancy_history.provenance is Provenance.CODED_ITEM
    assert "94222008" in found.malignancy_history.where
    assert "whatever" not in found.malignancy_history.where


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("lesion left ilium", "ilium left"),
        ("BI left ilium 5 mm, no ca, asymp", "ilium left"),
        ("Ilium (left) 7mm", "ilium left"),
        ("T12 sclerotic lesion", "t12"),
        ("acetabulum BI typical", "acetabulum"),
        ("lesion 2 L5", "2 l5"),
        ("lesion 1", ""),
        ("ROI-2", ""),
        ("GTV-1", ""),
        ("left lesion", ""),
        ("BI typical, no ca", ""),
        ("", ""),
    ],
)
def test_the_readers_own_name_of_a_lesion(label: str, name: str, rules: LabelRules) -> None:
    assert own_name(label, rules) == name


YES = Code("373066001", "SCT", "Yes")
NO = Code("373067005", "SCT", "No")


def test_a_coded_item_answers_by_concept_and_value(rules: LabelRules) -> None:
    symptoms = Code("IN-SYMPTOMS", "99OSTEOSCRIBE", "whatever")
    mass = Code("IN-MASS", "99OSTEOSCRIBE", "whatever")
    density = Code("IN-DENSITY", "99OSTEOSCRIBE", "whatever")
    sclerotic = Code("SCLEROTIC", "99OSTEOSCRIBE", "whatever")
    found = answers_from_codes((), rules, ((symptoms, NO), (mass, YES), (density, sclerotic))).answers
    assert values(found) == {"symptoms": "no", "soft_tissue_mass": "yes", "density": "sclerotic"}
    assert found.symptoms.provenance is Provenance.CODED_ITEM
    assert found.symptoms.where == "Symptoms attributable to the lesion (IN-SYMPTOMS, 99OSTEOSCRIBE)"


def test_a_yes_or_no_without_a_question_of_ours_records_nothing(rules: LabelRules) -> None:
    other = Code("121073", "DCM", "Impression")
    unknown = Code("261665006", "SCT", "Unknown")
    symptoms = Code("IN-SYMPTOMS", "99OSTEOSCRIBE", "x")
    assert answers_from_codes((YES, NO), rules, ((other, YES), (symptoms, unknown))).answers == UNKNOWN


def test_coded_items_that_contradict_each_other_are_listed(rules: LabelRules) -> None:
    symptoms = Code("IN-SYMPTOMS", "99OSTEOSCRIBE", "x")
    found = answers_from_codes((), rules, ((symptoms, NO), (symptoms, YES)))
    assert found.answers.symptoms.value is Answer.YES
    assert [c.question for c in found.conflicts] == ["symptoms"]
