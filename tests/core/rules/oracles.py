# ruff: noqa: E501 (phrases stand as they are printed)
"""What the table must say, written by hand from the specification."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

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
    """The phrase for facts."""
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
        benign(3, cortical_destruction=YES),
        "3 mm sclerotic lesion with cortical destruction; further evaluation recommended.",
    ),
    (
        benign(3, other_aggressive=YES),
        "3 mm sclerotic lesion with pathologic fracture or aggressive periosteal reaction; further evaluation recommended.",
    ),
    (
        benign(3, soft_tissue_mass=UNKNOWN, cortical_destruction=UNKNOWN, other_aggressive=YES),
        "3 mm sclerotic lesion with pathologic fracture or aggressive periosteal reaction; further evaluation recommended. Not recorded: aggressive features.",
    ),
    (
        benign(3, soft_tissue_mass=YES, other_aggressive=UNKNOWN),
        "3 mm sclerotic lesion with soft-tissue mass; further evaluation recommended. Not recorded: aggressive features.",
    ),
    (
        benign(3, symptoms=YES, density=Density.UNKNOWN),
        "3 mm bone lesion with attributable symptoms; further evaluation recommended regardless of size.",
    ),
    (
        benign(5, symptoms=YES, density=Density.UNKNOWN),
        "5 mm bone lesion with attributable symptoms; further evaluation recommended regardless of size.",
    ),
    (
        benign(None, symptoms=YES, density=Density.MIXED),
        "Bone lesion with attributable symptoms; further evaluation recommended regardless of size.",
    ),
    (benign(3, known_metastasis=YES), "Known metastasis, 3 mm; measurements shown for reference only."),
    (benign(5, known_metastasis=YES), "Known metastasis, 5 mm; measurements shown for reference only."),
    (
        benign(5, growth=Growth.UP_OR_NEW, malignancy_history=UNKNOWN),
        "5 mm sclerotic lesion, new or enlarged; further evaluation recommended. Not recorded: history of malignancy.",
    ),
    (
        benign(20, morphology=Morphology.ATYPICAL),
        "20 mm sclerotic lesion, indeterminate; follow-up imaging at 6, 12 and 24 months suggested.",
    ),
    (
        benign(20, density=Density.MIXED, morphology=Morphology.ATYPICAL),
        "20 mm mixed lesion, indeterminate; follow-up imaging at 6, 12 and 24 months suggested.",
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

LEFT_ILIUM = PhraseValues(site="ilium", laterality="left")
SPINE = PhraseValues(site="spine")
PRIOR = PhraseValues(prior_date=date(2024, 3, 1))
NINE = PhraseValues(whole_mm=WholeMillimetre(9))
ATYPICAL, UNKNOWN_LOOK = Morphology.ATYPICAL, Morphology.UNKNOWN

WORDED = [
    (
        benign(5),
        LEFT_ILIUM,
        "5 mm sclerotic focus in the left ilium, likely bone island, no further imaging recommended",
    ),
    (
        benign(5),
        SPINE,
        "5 mm sclerotic focus in the spine, likely bone island, no further imaging recommended",
    ),
    (
        benign(5),
        PhraseValues(laterality="left"),
        "5 mm sclerotic focus, likely bone island, no further imaging recommended",
    ),
    (benign(3), NINE, "3 mm sclerotic focus, likely bone island, no further imaging recommended"),
    (
        benign(8),
        LEFT_ILIUM,
        "8 mm sclerotic focus in the left ilium with typical bone-island morphology, no further imaging recommended.",
    ),
    (
        benign(8, morphology=UNKNOWN_LOOK),
        LEFT_ILIUM,
        "8 mm sclerotic focus in the left ilium, morphology not recorded: if typical of a bone island, no further imaging; if not, follow-up at 6, 12, 24 months.",
    ),
    (
        benign(8, morphology=ATYPICAL),
        LEFT_ILIUM,
        "8 mm sclerotic lesion in the left ilium, indeterminate; follow-up imaging at 6, 12 and 24 months suggested.",
    ),
    (
        benign(4, morphology=ATYPICAL),
        LEFT_ILIUM,
        "4 mm sclerotic focus in the left ilium, non-specific and too small to characterise, no further imaging suggested on size; radiologist to confirm.",
    ),
    (
        benign(8, morphology=ATYPICAL, growth=Growth.STABLE_24),
        LEFT_ILIUM,
        "8 mm sclerotic focus in the left ilium, unchanged for at least 24 months, no further imaging recommended.",
    ),
    (
        benign(25, morphology=UNKNOWN_LOOK),
        LEFT_ILIUM,
        "25 mm sclerotic lesion in the left ilium, morphology not recorded; at least follow-up imaging, and MRI/referral if not typical of a bone island.",
    ),
    (
        benign(25, morphology=ATYPICAL),
        LEFT_ILIUM,
        "25 mm sclerotic lesion in the left ilium without typical bone-island morphology; further evaluation recommended.",
    ),
    (
        benign(5, malignancy_history=YES),
        LEFT_ILIUM,
        "5 mm sclerotic focus in the left ilium in a patient with known malignancy; unlikely to be clinically significant, correlate with prior/other imaging and clinical findings.",
    ),
    (
        benign(6, malignancy_history=YES),
        LEFT_ILIUM,
        "6 mm sclerotic lesion in the left ilium, indeterminate in a patient with known malignancy; correlate with prior imaging.",
    ),
    (
        benign(5, symptoms=YES),
        LEFT_ILIUM,
        "5 mm sclerotic lesion in the left ilium with attributable symptoms; further evaluation recommended regardless of size.",
    ),
    (
        benign(5, symptoms=YES, density=Density.MIXED),
        LEFT_ILIUM,
        "5 mm bone lesion in the left ilium with attributable symptoms; further evaluation recommended regardless of size.",
    ),
    (
        benign(None, symptoms=YES),
        LEFT_ILIUM,
        "Sclerotic lesion in the left ilium with attributable symptoms; further evaluation recommended regardless of size.",
    ),
    (
        benign(None, symptoms=YES, density=Density.OTHER),
        LEFT_ILIUM,
        "Bone lesion in the left ilium with attributable symptoms; further evaluation recommended regardless of size.",
    ),
    (
        benign(5, growth=Growth.UP_OR_NEW),
        PRIOR,
        "5 mm sclerotic lesion, new or enlarged since 2024-03-01; further evaluation recommended.",
    ),
    (
        benign(3, multiplicity=MULTIPLE, largest=Largest.FROM_5),
        NINE,
        "Multiple sclerotic foci, largest 9 mm; correlate with prior imaging and clinical findings, consider evaluation for a systemic condition.",
    ),
    (
        benign(3, multiplicity=MULTIPLE, largest=Largest.FROM_5, density=Density.MIXED, morphology=ATYPICAL),
        NINE,
        "Multiple sclerotic or mixed foci, largest 9 mm; correlate with prior imaging and clinical findings, consider evaluation for a systemic condition.",
    ),
    (
        benign(4, density=Density.MIXED, morphology=ATYPICAL, growth=Growth.STABLE_24),
        SPINE,
        "4 mm mixed focus in the spine, unchanged for at least 24 months, no further imaging recommended.",
    ),
    (
        benign(4, density=Density.MIXED, morphology=ATYPICAL),
        SPINE,
        "4 mm mixed focus in the spine, non-specific and too small to characterise, no further imaging suggested on size; radiologist to confirm.",
    ),
    (
        benign(8, density=Density.MIXED, morphology=ATYPICAL),
        SPINE,
        "8 mm mixed lesion in the spine, indeterminate; follow-up imaging at 6, 12 and 24 months suggested.",
    ),
]

NOT_RECORDED: list[tuple[dict[str, Any], str, str]] = [
    ({"malignancy_history": UNKNOWN}, "no history of malignancy", "history of malignancy"),
    (
        {"malignancy_history": UNKNOWN, "known_metastasis": UNKNOWN},
        "no history of malignancy",
        "history of malignancy",
    ),
    ({"symptoms": UNKNOWN}, "no attributable symptoms", "symptoms"),
    ({"multiplicity": Multiplicity.UNKNOWN}, "solitary", "multiplicity"),
    ({"growth": Growth.UNKNOWN}, "no growth", "growth"),
    ({"soft_tissue_mass": UNKNOWN}, "no aggressive features", "aggressive features"),
    ({"cortical_destruction": UNKNOWN}, "no aggressive features", "aggressive features"),
    ({"other_aggressive": UNKNOWN}, "no aggressive features", "aggressive features"),
    (
        {"soft_tissue_mass": UNKNOWN, "cortical_destruction": UNKNOWN},
        "no aggressive features",
        "aggressive features",
    ),
    ({"location_risk": LocationRisk.UNKNOWN}, "no site risk", "site risk"),
    ({"age": Age.UNKNOWN}, "adult", "age"),
    ({"morphology": UNKNOWN_LOOK}, "typical morphology", "morphology"),
]
"""What is not recorded, its condition before L1, and its name after an E row."""


LISTED: list[tuple[dict[str, Any], str]] = [
    *((changed, name) for changed, _, name in NOT_RECORDED),
    ({"multiplicity": MULTIPLE, "largest": Largest.UNKNOWN}, "other lesions' sizes"),
    ({"malignancy_history": YES, "known_metastasis": UNKNOWN}, "known metastasis"),
]
"""What is not recorded, and its name after an E row."""


def red_flag(changed: dict[str, Any]) -> RuleFacts:
    """A lesion of an E row of which something is not recorded."""
    flag: dict[str, Any] = {"soft_tissue_mass" if "symptoms" in changed else "symptoms": YES}
    return benign(**flag, **changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a row says beside its phrase."""

    id: str
    facts: RuleFacts
    scope: str
    urgency: int | None
    recommend: str
    analogue: str


def row(
    id: str, facts: RuleFacts, urgency: int | None, recommend: str, analogue: str, scope: str = "lesion"
) -> Row:
    """One row; `analogue` is the category's number, or a whole text."""
    text = f"SSR Bone-RADS {analogue} (analogue)" if analogue.isdigit() else analogue
    return Row(id=id, facts=facts, scope=scope, urgency=urgency, recommend=recommend, analogue=text)


SEVERAL: dict[str, Any] = {"multiplicity": MULTIPLE, "largest": Largest.FROM_5}
ROWS = [
    row("X1", benign(known_metastasis=YES), None, "none; reference panel", ""),
    row(
        "E1",
        benign(soft_tissue_mass=YES),
        5,
        "MRI; oncologic or orthopaedic referral, biopsy is their decision",
        "4",
    ),
    row("E2", benign(symptoms=YES), 4, "MRI first; biopsy or referral as indicated", "4"),
    row("E3", benign(growth=Growth.UP_OR_NEW), 4, "MRI or bone scan/PET", "2"),
    row("E3", benign(growth=Growth.UP_OR_NEW, malignancy_history=UNKNOWN), 4, "MRI or bone scan/PET", "2"),
    row("E3", benign(growth=Growth.UP_OR_NEW, malignancy_history=YES), 4, "MRI or bone scan/PET", "4"),
    row("E4", benign(location_risk=LocationRisk.RISK_CANAL), 4, "MRI", "2"),
    row("E4", benign(location_risk=LocationRisk.RISK_FRACTURE), 4, "orthopaedic opinion", "2"),
    row("X2", benign(age=Age.CHILD), None, "paediatric musculoskeletal reading", ""),
    row("X3", benign(density=Density.OTHER), None, "record the density", ""),
    row("X4", benign(None), None, "measure by hand", ""),
    row("E5", benign(25, morphology=ATYPICAL), 4, "MRI, referral", "2"),
    row(
        "M3",
        benign(**SEVERAL, malignancy_history=YES),
        3,
        "compare priors; bone scan or PET/CT as indicated",
        "n/a",
        "examination",
    ),
    row("U2", benign(25, morphology=UNKNOWN_LOOK), 3, "record the morphology", ""),
    row("M1", benign(4, multiplicity=MULTIPLE, largest=Largest.UNDER_5), 0, "none", "n/a", "examination"),
    row("M2", benign(**SEVERAL), 2, "clinician's choice", "n/a", "examination"),
    row(
        "K1", benign(malignancy_history=YES), 1, "compare; look again at the next scheduled examination", "3"
    ),
    row(
        "K2",
        benign(6, malignancy_history=YES),
        3,
        "bone scan/PET or MRI, or CT at 6, 12, 24 months",
        "SSR Bone-RADS 2 (analogue), 3 if another modality is already done",
    ),
    row("L1", benign(), 0, "none", "1"),
    row("L4", benign(6), 0, "none", "1"),
    row("L3", benign(12, morphology=ATYPICAL, growth=Growth.STABLE_24), 0, "none", "1"),
    row("L2", benign(5, morphology=ATYPICAL), 0, "reader decides", ""),
    row("U1", benign(8, morphology=UNKNOWN_LOOK), 1, "record the morphology", ""),
    row("F1", benign(25), 2, "follow-up imaging at 6, 12 and 24 months", "3"),
]
ORDER = tuple(dict.fromkeys(row.id for row in ROWS))
CITED = {
    "chang-2022": {"E1", "E2", "K1", "K2", "L4", "F1"},
    "greenspan-1991": {"L4"},
    "brien-1995": {"E3"},
    "amini": {"F1"},
    "sala-2019": {"M1"},
    "rajkumar-2014": {"M1", "M2"},
    "caers-2018": {"E1"},
}
"""Which rows rest on a paper at least."""
BORDERLINE = "Borderline size: the unrounded diameter is at least 5.0 and under 6.0 mm; two readers may differ by more than its distance from the 5 mm limit."


def failures(table: RuleTable) -> list[str]:
    """The oracles that a table does not meet; empty for the specified one."""
    failed = [f"order {table.rules}"] if tuple(rule.id for rule in table.rules) != ORDER else []
    failed += [key for key, rows in CITED.items() if not rows <= citing(table, key)]
    failed += [f"{rule}" for facts, rule, _ in ORACLES if decide(table, facts).rule_id != rule]
    failed += [text for facts, text in PHRASES if said(table, facts).text != text]
    failed += [text for facts, values, text in WORDED if said(table, facts, values).text != text]
    failed += [expected.id for expected in ROWS if row_of(table, expected.facts) != expected]
    for changed, condition, _ in NOT_RECORDED:
        if said(table, benign(**changed)).text != conditional(condition):
            failed.append(condition)
    for changed, name in LISTED:
        if said(table, red_flag(changed)).text.partition(" Not recorded: ")[2] != f"{name}.":
            failed.append(name)
    if said(table, benign(), PhraseValues(largest_unrounded_borderline=True)).remark != BORDERLINE:
        failed.append("borderline")
    return failed


def citing(table: RuleTable, key: str) -> set[str]:
    """The rows that cite a source."""
    return {rule.id for rule in table.rules for citation in rule.cite if citation.source == key}


def conditional(condition: str) -> str:
    """L1 under a condition."""
    return (
        f"If {condition} (not recorded): 5 mm sclerotic focus, likely bone island, no further imaging recommended. "
        "Otherwise this suggestion does not apply."
    )


def row_of(table: RuleTable, facts: RuleFacts) -> Row:
    """What a table says for facts, beside the phrase."""
    decision = decide(table, facts)
    rule = table.rule(decision.rule_id)
    return Row(
        id=rule.id,
        facts=facts,
        scope=decision.scope,
        urgency=rule.urgency,
        recommend=said(table, facts).recommendation,
        analogue=decision.analogue,
    )
