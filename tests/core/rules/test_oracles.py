# ruff: noqa: E501 (phrases stand as they are printed)
"""The cases that were written by hand from the specification, one by one."""

from __future__ import annotations

from datetime import date

import pytest

from osteoscribe.core.answers import (
    Age,
    Answer,
    Density,
    Growth,
    Largest,
    LocationRisk,
    Morphology,
    Multiplicity,
)
from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.phrase import Phrase, PhraseValues, word
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.core.units import WholeMillimetre
from tests.core.rules.benign import benign

YES, NO, UNKNOWN = Answer.YES, Answer.NO, Answer.UNKNOWN
MULTIPLE = Multiplicity.MULTIPLE


def said(table: RuleTable, facts: RuleFacts, values: PhraseValues | None = None) -> Phrase:
    return word(table, decide(table, facts), facts, values or PhraseValues())


ORACLES = [
    (benign(4.4), "L1", "4 mm"),
    (benign(4.49), "L1", "4 mm"),
    (benign(4.5), "L1", "5 mm"),
    (benign(5), "L1", "5 mm"),
    (benign(5.49), "L1", "5 mm"),
    (benign(5.5), "L4", "6 mm"),
    (benign(5.5, morphology=Morphology.UNKNOWN), "U1", "6 mm"),
    (benign(5.5, morphology=Morphology.ATYPICAL), "F1", "6 mm"),
    (benign(5, malignancy_history=YES), "K1", "5 mm"),
    (benign(4, malignancy_history=YES), "K1", "4 mm"),
    (benign(6, malignancy_history=YES), "K2", "6 mm"),
    (benign(5, malignancy_history=UNKNOWN), "L1-C", "5 mm"),
    (benign(3, symptoms=YES), "E2", "3 mm"),
    (benign(3, soft_tissue_mass=YES), "E1", "3 mm"),
    (benign(3, cortical_destruction=YES), "E1", "3 mm"),
    (benign(3, other_aggressive=YES), "E1", "3 mm"),
    (benign(5, growth=Growth.UP_OR_NEW), "E3", "5 mm"),
    (benign(5, location_risk=LocationRisk.SITE_ONLY), "L1", "5 mm"),
    (benign(5, location_risk=LocationRisk.RISK_CANAL), "E4", "5 mm"),
    (benign(5, location_risk=LocationRisk.RISK_FRACTURE), "E4", "5 mm"),
    (benign(3, multiplicity=MULTIPLE, largest=Largest.UNDER_5), "M1", "under 5 mm"),
    (benign(4, multiplicity=MULTIPLE, largest=Largest.UNDER_5), "M1", "under 5 mm"),
    (benign(3, multiplicity=MULTIPLE, largest=Largest.FROM_5), "M2", "3 mm"),
    (benign(5, multiplicity=MULTIPLE, largest=Largest.FROM_5), "M2", "5 mm"),
    (benign(3, multiplicity=MULTIPLE, largest=Largest.FROM_5, malignancy_history=YES), "M3", "3 mm"),
    (benign(5, multiplicity=MULTIPLE, largest=Largest.FROM_5, malignancy_history=YES), "M3", "5 mm"),
    (benign(25), "F1", "25 mm"),
    (benign(25, morphology=Morphology.UNKNOWN), "U2", "25 mm"),
    (benign(25, morphology=Morphology.ATYPICAL), "E5", "25 mm"),
    (benign(12, morphology=Morphology.ATYPICAL, growth=Growth.STABLE_24), "L3", "12 mm"),
    (benign(5, density=Density.MIXED, morphology=Morphology.ATYPICAL), "F1", "5 mm"),
    (benign(4, density=Density.MIXED, morphology=Morphology.ATYPICAL), "L2", "4 mm"),
    (benign(5, age=Age.CHILD), "X2", "under 18"),
    (benign(5, density=Density.OTHER), "X3", "not recorded as sclerotic"),
    (benign(5, density=Density.UNKNOWN), "X3", "not recorded as sclerotic"),
    (benign(None), "X4", "not measurable"),
    (benign(5, known_metastasis=YES), "X1", "5 mm"),
    (benign(9.49), "L4", "9 mm"),
    (benign(20.49), "L4", "20 mm"),
    (benign(20.5), "F1", "21 mm"),
]


@pytest.mark.parametrize(("facts", "rule", "part"), ORACLES)
def test_oracle(table: RuleTable, facts: RuleFacts, rule: str, part: str) -> None:
    assert decide(table, facts).rule_id == rule
    assert part in said(table, facts).text


PHRASES = [
    (benign(5), "5 mm sclerotic focus, likely bone island, no further imaging recommended"),
    (
        benign(5, malignancy_history=UNKNOWN, symptoms=UNKNOWN),
        "If no history of malignancy, no attributable symptoms (not recorded): 5 mm sclerotic focus, likely "
        "bone island, no further imaging recommended. Otherwise this suggestion does not apply.",
    ),
    (benign(7, known_metastasis=YES), "Known metastasis, 7 mm; measurements shown for reference only."),
    (benign(None, known_metastasis=YES), "Known metastasis; measurements shown for reference only."),
    (
        benign(3, soft_tissue_mass=YES),
        "3 mm sclerotic lesion with soft-tissue mass; further evaluation recommended.",
    ),
    (
        benign(3, soft_tissue_mass=YES, cortical_destruction=YES, other_aggressive=YES),
        "3 mm sclerotic lesion with soft-tissue mass, cortical destruction and pathologic fracture or "
        "aggressive periosteal reaction; further evaluation recommended.",
    ),
    (
        benign(None, density=Density.UNKNOWN, soft_tissue_mass=YES, age=Age.UNKNOWN, symptoms=UNKNOWN),
        "Bone lesion with soft-tissue mass; further evaluation recommended. Not recorded: symptoms, age.",
    ),
    (
        benign(8, density=Density.OTHER, symptoms=YES),
        "8 mm bone lesion with attributable symptoms; further evaluation recommended regardless of size.",
    ),
    (
        benign(5, growth=Growth.UP_OR_NEW),
        "5 mm sclerotic lesion, new or enlarged; further evaluation recommended.",
    ),
    (
        benign(5, growth=Growth.UP_OR_NEW, malignancy_history=YES),
        "5 mm sclerotic lesion, new or enlarged; further evaluation recommended; metastasis to be excluded.",
    ),
    (
        benign(5, location_risk=LocationRisk.RISK_CANAL),
        "5 mm sclerotic lesion at a site with canal risk; further evaluation recommended.",
    ),
    (
        benign(5, location_risk=LocationRisk.RISK_FRACTURE),
        "5 mm sclerotic lesion at a site with fracture risk; further evaluation recommended.",
    ),
    (benign(5, age=Age.CHILD), "Patient under 18: no suggestion."),
    (benign(5, density=Density.OTHER), "Lesion not recorded as sclerotic: no suggestion."),
    (benign(None), "Size not measurable: no suggestion."),
    (
        benign(25, density=Density.MIXED, morphology=Morphology.ATYPICAL),
        "25 mm mixed lesion without typical bone-island morphology; further evaluation recommended.",
    ),
    (
        benign(25, morphology=Morphology.ATYPICAL),
        "25 mm sclerotic lesion without typical bone-island morphology; further evaluation recommended.",
    ),
    (
        benign(8, multiplicity=MULTIPLE, largest=Largest.FROM_5, malignancy_history=YES),
        "Multiple sclerotic foci, largest 8 mm, known malignancy; metastatic disease to be excluded.",
    ),
    (
        benign(25, morphology=Morphology.UNKNOWN),
        "25 mm sclerotic lesion, morphology not recorded; at least follow-up imaging, and MRI/referral if not "
        "typical of a bone island.",
    ),
    (
        benign(4, multiplicity=MULTIPLE, largest=Largest.UNDER_5),
        "Multiple sclerotic foci, all under 5 mm, likely bone islands, no further imaging recommended.",
    ),
    (
        benign(8, multiplicity=MULTIPLE, largest=Largest.FROM_5),
        "Multiple sclerotic foci, largest 8 mm; correlate with prior imaging and clinical findings, consider "
        "evaluation for a systemic condition.",
    ),
    (
        benign(3, multiplicity=MULTIPLE),
        "If no larger lesion (not recorded): Multiple sclerotic foci, largest 3 mm; correlate with prior imaging "
        "and clinical findings, consider evaluation for a systemic condition. Otherwise this suggestion does not "
        "apply.",
    ),
    (
        benign(5, malignancy_history=YES),
        "5 mm sclerotic focus in a patient with known malignancy; unlikely to be clinically significant, "
        "correlate with prior/other imaging and clinical findings.",
    ),
    (
        benign(6, malignancy_history=YES),
        "6 mm sclerotic lesion, indeterminate in a patient with known malignancy; correlate with prior imaging.",
    ),
    (
        benign(6, malignancy_history=YES, density=Density.MIXED),
        "6 mm mixed lesion, indeterminate in a patient with known malignancy; correlate with prior imaging.",
    ),
    (benign(9), "9 mm sclerotic focus with typical bone-island morphology, no further imaging recommended."),
    (
        benign(10),
        "10 mm sclerotic focus with typical bone-island morphology, no further imaging recommended; larger than "
        "the usual <10 mm.",
    ),
    (
        benign(12, morphology=Morphology.ATYPICAL, growth=Growth.STABLE_24),
        "12 mm sclerotic focus, unchanged for at least 24 months, no further imaging recommended.",
    ),
    (
        benign(5, morphology=Morphology.ATYPICAL),
        "5 mm sclerotic focus, non-specific and too small to characterise, no further imaging suggested on size; "
        "radiologist to confirm.",
    ),
    (
        benign(8, morphology=Morphology.UNKNOWN),
        "8 mm sclerotic focus, morphology not recorded: if typical of a bone island, no further imaging; if not, "
        "follow-up at 6, 12, 24 months.",
    ),
    (
        benign(8, morphology=Morphology.ATYPICAL),
        "8 mm sclerotic lesion, indeterminate; follow-up imaging at 6, 12 and 24 months suggested.",
    ),
    (
        benign(25),
        "25 mm sclerotic lesion, indeterminate; follow-up imaging at 6, 12 and 24 months suggested; giant bone "
        "island favoured.",
    ),
    (
        RuleFacts(size=WholeMillimetre(5), density=Density.SCLEROTIC),
        "If no history of malignancy, no attributable symptoms, solitary, no growth, no aggressive features, no "
        "site risk, adult, typical morphology (not recorded): 5 mm sclerotic focus, likely bone island, no "
        "further imaging recommended. Otherwise this suggestion does not apply.",
    ),
    (
        benign(5, malignancy_history=YES, known_metastasis=UNKNOWN),
        "If not a known metastasis (not recorded): 5 mm sclerotic focus in a patient with known malignancy; "
        "unlikely to be clinically significant, correlate with prior/other imaging and clinical findings. "
        "Otherwise this suggestion does not apply.",
    ),
]


@pytest.mark.parametrize(("facts", "text"), PHRASES)
def test_phrase_character_for_character(table: RuleTable, facts: RuleFacts, text: str) -> None:
    assert said(table, facts).text == text


def test_a_prior_date_is_named(table: RuleTable) -> None:
    phrase = said(table, benign(5, growth=Growth.UP_OR_NEW), PhraseValues(prior_date=date(2024, 3, 1)))
    assert phrase.text == (
        "5 mm sclerotic lesion, new or enlarged since 2024-03-01; further evaluation recommended."
    )


def test_a_row_for_the_examination_names_the_largest_lesion(table: RuleTable) -> None:
    facts = benign(3, multiplicity=MULTIPLE, largest=Largest.FROM_5)
    assert "largest 9 mm" in said(table, facts, PhraseValues(whole_mm=WholeMillimetre(9))).text


def test_a_row_for_the_lesion_names_its_own_size(table: RuleTable) -> None:
    assert said(table, benign(3), PhraseValues(whole_mm=WholeMillimetre(9))).text.startswith("3 mm ")


def test_site_and_side_stand_in_the_sentence_where_they_are_given(table: RuleTable) -> None:
    phrase = said(table, benign(5), PhraseValues(site="ilium", laterality="left"))
    assert (
        phrase.text
        == "5 mm sclerotic focus in the left ilium, likely bone island, no further imaging recommended"
    )


def test_braces_in_a_site_are_no_placeholders(table: RuleTable) -> None:
    assert "in the {ilium}, likely" in said(table, benign(5), PhraseValues(site="{ilium}")).text


def test_a_borderline_size_adds_a_remark_and_changes_nothing_else(table: RuleTable) -> None:
    plain, remarked = (
        said(table, benign(5)),
        said(table, benign(5), PhraseValues(largest_unrounded_borderline=True)),
    )
    assert remarked.remark.startswith("Borderline size")
    assert (plain.text, plain.recommendation, plain.remark) == (remarked.text, remarked.recommendation, "")


ANALOGUES = [
    (benign(5), "SSR Bone-RADS 1 (analogue)"),
    (benign(3, symptoms=YES), "SSR Bone-RADS 4 (analogue)"),
    (benign(5, growth=Growth.UP_OR_NEW), "SSR Bone-RADS 2 (analogue)"),
    (benign(5, growth=Growth.UP_OR_NEW, malignancy_history=YES), "SSR Bone-RADS 4 (analogue)"),
    (benign(6, malignancy_history=YES), "SSR Bone-RADS 2 (analogue), 3 if another modality is already done"),
    (benign(5, age=Age.CHILD), ""),
]


@pytest.mark.parametrize(("facts", "analogue"), ANALOGUES)
def test_analogue(table: RuleTable, facts: RuleFacts, analogue: str) -> None:
    assert decide(table, facts).analogue == analogue


def test_the_decision_names_papers_with_doi_and_the_table_with_its_hash(table: RuleTable) -> None:
    decision = decide(table, benign(25))
    assert decision.sources[0] == (
        "Chang CY et al. Skeletal Radiol 2022;51:1743, doi 10.1007/s00256-022-04022-8 "
        "(category 3, follow-up at 6, 12, 24 months)"
    )
    assert (decision.table_id, decision.table_version) == ("incidental-sclerotic-lesion", "2026.1")
    assert len(decision.table_sha256) == 64


def test_inputs_not_recorded_are_named_in_the_fixed_order(table: RuleTable) -> None:
    decision = decide(table, RuleFacts(size=WholeMillimetre(5), density=Density.SCLEROTIC))
    assert decision.unknown == (
        "malignancy_history",
        "known_metastasis",
        "symptoms",
        "multiplicity",
        "growth",
        "soft_tissue_mass",
        "cortical_destruction",
        "other_aggressive",
        "location_risk",
        "age",
        "morphology",
    )
