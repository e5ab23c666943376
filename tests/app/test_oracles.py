"""Every oracle of the specification once through the whole pipeline: mark and label in, SR read back."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from osteoscribe.app.practice import Practice
from tests.builders_report import ct_series
from tests.scene import BENIGN, on, outlined, process, said

L1 = "{} mm sclerotic focus, likely bone island, no further imaging recommended"


def label(**changed: str) -> str:
    """The benign label with some of its words exchanged; an empty one leaves the answer out."""
    words = {
        "density": "BI",
        "morphology": "typical",
        "malignancy": "no ca",
        "symptoms": "asymp",
        "multiplicity": "solitary",
        "growth": "no prior",
        "aggressive": "no agg",
        "risk": "no risk",
    }
    return ", ".join(word for word in (words | changed).values() if word)


@dataclass(frozen=True)
class Oracle:
    sizes: tuple[float, ...]
    rule: str
    phrase: str = ""
    words: dict[str, str] = field(default_factory=dict)
    patient: dict[str, str] = field(default_factory=dict)


CA = {"malignancy": "ca, no known met"}
SEVERAL = {"multiplicity": ""}
MIXED = {"density": "mixed lesion", "morphology": ""}
ORACLES = [
    Oracle((4.4,), "L1", L1.format(4)),
    Oracle((4.5,), "L1", L1.format(5)),
    Oracle((5.49,), "L1", L1.format(5)),
    Oracle((5.5,), "L4", "6 mm sclerotic focus with typical"),
    Oracle((5.5,), "U1", "6 mm", {"morphology": ""}),
    Oracle((5.5,), "F1", "6 mm", {"morphology": "atypical"}),
    Oracle((5.0,), "K1", "5 mm", CA),
    Oracle((4.0,), "K1", "4 mm", CA),
    Oracle((6.0,), "K2", "6 mm", CA),
    Oracle(
        (5.0,),
        "L1-C",
        f"If no history of malignancy (not recorded): {L1.format(5)}. Otherwise this suggestion does not "
        "apply.",
        {"malignancy": ""},
    ),
    Oracle((3.0,), "E2", "3 mm", {"symptoms": "pain"}),
    Oracle((3.0,), "E1", "3 mm", {"aggressive": "soft tissue mass"}),
    Oracle((5.0,), "E3", "5 mm", {"growth": "enlarged"}),
    Oracle((5.0,), "L1", L1.format(5), {"risk": "vertebra only"}),
    Oracle((5.0,), "E4", "5 mm", {"risk": "canal risk"}),
    Oracle((3.0, 4.0), "M1", "Multiple sclerotic foci, all under 5 mm", SEVERAL),
    Oracle((3.0, 5.0), "M2", "largest 5 mm", SEVERAL),
    Oracle((3.0, 4.0), "M3", "largest 4 mm", {**SEVERAL, **CA}),
    Oracle((3.0, 5.0), "M3", "largest 5 mm", {**SEVERAL, **CA}),
    Oracle((25.0,), "F1", "25 mm"),
    Oracle((25.0,), "U2", "25 mm", {"morphology": ""}),
    Oracle((25.0,), "E5", "25 mm", {"morphology": "atypical"}),
    Oracle((12.0,), "L3", "12 mm", {"morphology": "atypical", "growth": "stable 24m"}),
    Oracle((5.0,), "F1", "5 mm mixed", MIXED),
    Oracle((4.0,), "L2", "4 mm mixed", MIXED),
    Oracle((5.0,), "X2", "Patient under 18", {}, {"PatientAge": "017Y", "PatientBirthDate": "20080501"}),
    Oracle((5.0,), "X3", "Lesion not recorded as sclerotic", {"density": "lytic lesion", "morphology": ""}),
    Oracle((5.0,), "X1", "Known metastasis, 5 mm", {"malignancy": "known metastasis"}),
]


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda one: f"{one.sizes}-{one.rule}")
def test_an_oracle_through_the_whole_pipeline(oracle: Oracle, practice: Practice) -> None:
    """The label says what is recorded, the outline how large the lesion is, the CT how old the patient is."""
    ct = ct_series(**oracle.patient)
    marks = outlined(*((label(**oracle.words), mm) for mm in oracle.sizes))
    outcome = process(practice, *ct, on(ct, marks))
    assert outcome.all_problems == ()
    (written,) = outcome.written
    assert written.quarantined == ()
    lesions = said(written)
    assert [one.rule for one in lesions] == [oracle.rule] * len(oracle.sizes)
    for one in lesions:
        assert oracle.phrase in one.phrase
        if oracle.rule in ("L1", "L1-C"):
            assert one.phrase == oracle.phrase


def test_the_benign_label_leaves_nothing_open(practice: Practice) -> None:
    ct = ct_series()
    (written,) = process(practice, *ct, on(ct, outlined((BENIGN, 5.0)))).written
    (finding,) = written.report.findings
    assert finding.decision.unknown == ()
    assert [one.phrase for one in said(written)] == [L1.format(5)]
