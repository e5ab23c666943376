# ruff: noqa: E501 (phrases stand as they are printed)
"""The German words of the table."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from osteoscribe.app.rule_tables import load_table
from osteoscribe.core.answers import Answer, Density, Growth, Largest, LocationRisk, Morphology, Multiplicity
from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.phrase import PhraseValues, word
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.table import Case, RuleTable
from osteoscribe.core.rules.wording import reword
from osteoscribe.core.units import WholeMillimetre
from osteoscribe.errors import SetupError
from tests.core.rules.benign import benign
from tests.core.rules.oracles import said
from tests.core.rules.test_proof import any_facts

Plain = dict[str, Any]
YES, UNKNOWN = Answer.YES, Answer.UNKNOWN
SEVERAL: Plain = {"multiplicity": Multiplicity.MULTIPLE, "largest": Largest.FROM_5}


@pytest.fixture(scope="session")
def german(table_path: Path) -> RuleTable:
    return load_table(table_path, language="de")


@pytest.fixture(scope="session")
def plain(table_path: Path) -> Plain:
    path = table_path.parent / "phrases" / f"{table_path.stem}.de.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


PHRASES = [
    (
        benign(5),
        "5 mm großer sklerotischer Herd, am ehesten Kompaktainsel, keine weitere Bildgebung empfohlen",
    ),
    (
        benign(5, malignancy_history=UNKNOWN, symptoms=UNKNOWN),
        "Sofern keine Malignomanamnese, keine zuzuordnenden Beschwerden (nicht dokumentiert): 5 mm großer "
        "sklerotischer Herd, am ehesten Kompaktainsel, keine weitere Bildgebung empfohlen. Andernfalls gilt "
        "dieser Vorschlag nicht.",
    ),
    (
        benign(12),
        "12 mm großer sklerotischer Herd mit typischer Morphologie einer Kompaktainsel, keine weitere Bildgebung "
        "empfohlen; größer als die üblichen <10 mm.",
    ),
    (
        benign(None, density=Density.OTHER, cortical_destruction=YES, soft_tissue_mass=YES),
        "Knochenläsion mit Weichteilkomponente und kortikaler Destruktion; weitere Abklärung empfohlen.",
    ),
    (
        benign(8, location_risk=LocationRisk.RISK_CANAL, symptoms=UNKNOWN),
        "8 mm große sklerotische Läsion mit Gefährdung von Spinalkanal oder Neuroforamen; weitere Abklärung "
        "empfohlen. Nicht dokumentiert: Beschwerden.",
    ),
    (
        benign(8, **SEVERAL, malignancy_history=YES),
        "Multiple sklerotische Herde, größter Herd 8 mm, bekanntes Malignom; Metastasierung auszuschließen.",
    ),
    (
        benign(8, density=Density.MIXED, morphology=Morphology.ATYPICAL),
        "8 mm große gemischt lytisch-sklerotische Läsion, unklar; bildgebende Verlaufskontrolle nach 6, 12 und "
        "24 Monaten vorgeschlagen.",
    ),
]


@pytest.mark.parametrize(("facts", "text"), PHRASES)
def test_german_phrase(german: RuleTable, facts: RuleFacts, text: str) -> None:
    assert said(german, facts).text == text


def test_german_date(german: RuleTable) -> None:
    facts = benign(5, growth=Growth.UP_OR_NEW)
    assert said(german, facts, PhraseValues(prior_date=date(2024, 3, 1))).text == (
        "5 mm große sklerotische Läsion, neu oder größenprogredient gegenüber der Voruntersuchung vom "
        "01.03.2024; weitere Abklärung empfohlen."
    )


def test_german_site_and_side(german: RuleTable) -> None:
    phrase = said(german, benign(5), PhraseValues(site="Os ilium", laterality="links"))
    assert phrase.text.startswith(
        "5 mm großer sklerotischer Herd (Os ilium, links), am ehesten Kompaktainsel"
    )


def texts(table: RuleTable) -> list[str]:
    """All words that can be printed with a phrase."""

    def of(cases: tuple[Case, ...]) -> list[str]:
        return [case.text for case in cases]

    rows = [[r.phrase, *of(r.add), *of(r.recommend), *of(r.analogue)] for r in table.rules]
    clauses = [[clause.text, clause.short] for clause in table.clauses]
    fragments = [of(fragment.cases) for fragment in table.fragments]
    frame = [table.frame.condition, table.frame.not_recorded, table.frame.last, table.frame.borderline]
    return [text for group in (*rows, *clauses, *fragments, frame) for text in group]


def test_nothing_is_left_in_english(table: RuleTable, german: RuleTable) -> None:
    same = {a for a, b in zip(texts(table), texts(german), strict=True) if a == b}
    assert same == {"", ", {whole_mm} mm"}


def test_the_version_names_the_wording(table: RuleTable, german: RuleTable) -> None:
    assert german.version.startswith(f"{table.version}+de.")
    assert german.sha256 == table.sha256


@given(any_facts())
def test_the_language_never_changes_the_decision(
    table: RuleTable, german: RuleTable, facts: RuleFacts
) -> None:
    english, other = decide(table, facts), decide(german, facts)
    assert (english.rule_id, english.unknown, english.sources) == (
        other.rule_id,
        other.unknown,
        other.sources,
    )
    values = PhraseValues(whole_mm=WholeMillimetre(33))
    ours, theirs = (word(t, decide(t, facts), facts, values) for t in (table, german))
    assert ours.conditional is theirs.conditional is theirs.text.startswith("Sofern ")
    assert not set("{}") & set(theirs.text)
    digits = [
        [part for part in phrase.text.replace(".", " ").split() if part == "33"] for phrase in (ours, theirs)
    ]
    assert digits[0] == digits[1]


REFUSED: list[tuple[str, Callable[[Plain], object]]] = [
    ("rules.missing-key", lambda p: p["rule"].pop("L1")),
    ("rules.unknown-key", lambda p: p["rule"].update(L9={"phrase": "x", "recommend": ["x"]})),
    ("rules.missing-key", lambda p: p["clause"].pop("age")),
    ("rules.missing-key", lambda p: p["fragment"].pop("since")),
    ("rules.missing-key", lambda p: p["frame"].pop("condition")),
    (
        "rules.unknown-placeholder",
        lambda p: p["frame"].update(condition="Sofern {clauses}: {phrase} {mean_hu}"),
    ),
    ("rules.unknown-placeholder", lambda p: p["frame"].update(condition="{phrase}")),
    ("rules.wording-differs", lambda p: p["rule"]["L1"].update(phrase="Kompaktainsel")),
    ("rules.wording-differs", lambda p: p["rule"]["L1"].update(phrase="{whole_mm} mm {density}{place}")),
    ("rules.wording-differs", lambda p: p["rule"]["L4"].pop("add")),
    ("rules.wording-differs", lambda p: p["rule"]["E4"]["recommend"].pop()),
    ("rules.wording-differs", lambda p: p["rule"]["E4"].update(recommend=["MRT", ""])),
    ("rules.wording-differs", lambda p: p["fragment"].update(risk=["Spinalkanal"])),
    ("rules.wording-differs", lambda p: p["wording"].update(version="2027.1")),
    ("rules.unknown-key", lambda p: p["rule"]["L1"].update(when={})),
]


@pytest.mark.parametrize(("code", "edit"), REFUSED)
def test_a_wording_that_lacks_or_adds_something_is_refused(
    table: RuleTable, plain: Plain, code: str, edit: Callable[[Plain], object]
) -> None:
    edited = copy.deepcopy(plain)
    edit(edited)
    with pytest.raises(SetupError) as caught:
        reword(table, edited, sha256="0" * 64)
    assert caught.value.code == code


def test_no_word_names_hu_a_percentage_or_an_accuracy(table: RuleTable, german: RuleTable) -> None:
    for text in (*texts(table), *texts(german)):
        assert not re.search(
            r"\bHU\b|%|\b885\b|\b1060\b|accura|sensitiv|specific(?!ally)|Genauigkeit",
            text.replace("non-specific", ""),
        )
