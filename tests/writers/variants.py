"""The matrix of cases that a report must stand: the CT as files, the report and the form it is written in."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import pydicom
from pydicom import Dataset

from osteoscribe.core.answers import Answer, Density, Morphology
from osteoscribe.core.codes import RIGHT, SITES
from osteoscribe.core.phrase import Phrase
from osteoscribe.core.report import Finding, Ignored, Predecessor, Problem, Report
from osteoscribe.writers.document import EvidenceRef, encode
from osteoscribe.writers.profiles import PROFILES, STANDARD, Profile
from tests.builders_report import (
    GROWN,
    ct_series,
    evidence_for,
    finding_for,
    mark_for,
    report_for,
    size_of,
)

PROBLEM = Problem(
    code="roi.empty", message="segment 3 holds no pixel; mark the lesion again", where="segment 3"
)
MULTIPLE = "Multiple sclerotic foci, all under 5 mm, likely bone islands, no further imaging recommended."
UNKNOWN = {"density": Density.UNKNOWN, "morphology": Morphology.UNKNOWN, "symptoms": Answer.UNKNOWN}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A CT series as received, and a report about it."""

    ct: tuple[bytes, ...]
    context: Dataset
    report: Report
    evidence: tuple[EvidenceRef, ...]
    profile: Profile = STANDARD


def _variant(
    findings: Callable[[Sequence[Dataset]], Sequence[Finding]],
    *,
    series: Sequence[Dataset] | None = None,
    without_character_set: bool = False,
    profile: Profile = STANDARD,
    **report: Any,
) -> Variant:
    series = series or ct_series()
    made = findings(series)
    files = tuple(encode(ds) for ds in series)
    if without_character_set:
        files = tuple(cut_character_set(file) for file in files)
    return Variant(
        ct=files,
        context=pydicom.dcmread(BytesIO(files[0]), stop_before_pixels=True),
        report=report_for(series, made, **report),
        evidence=evidence_for(series, *dict.fromkeys(finding.lesion.mark.source for finding in made)),
        profile=profile,
    )


def cut_character_set(file: bytes) -> bytes:
    """The file without Specific Character Set (0008,0005), its text bytes as they are."""
    start = file.index(b"\x08\x00\x05\x00CS")
    (length,) = struct.unpack_from("<H", file, start + 6)
    return file[:start] + file[start + 8 + length :]


def one(series: Sequence[Dataset]) -> list[Finding]:
    return [finding_for(series)]


def every_kind(series: Sequence[Dataset]) -> list[Finding]:
    return [
        finding_for(series, comparison=GROWN, rule_id="L3"),
        finding_for(series, number=2, kind="seg", k=2, side=RIGHT, site=SITES["rib"], rule_id="K1"),
        finding_for(series, number=3, kind="caliper", k=0, site=None, side=None, observer=None),
        finding_for(series, number=4, kind="point", rule_id="X4", recommendation="measure by hand"),
    ]


def whole_examination(series: Sequence[Dataset]) -> list[Finding]:
    return [
        finding_for(
            series,
            number=n,
            k=n - 1,
            item=f"ROI {n}",
            size=size_of(3.9 + n / 10),
            phrase=MULTIPLE,
            rule_id="M1-C",
            scope="examination",
        )
        for n in (1, 2, 3)
    ]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _request() -> Dataset:
    item = Dataset()
    item.RequestedProcedureID = "RP1"
    item.AccessionNumber = "A123"
    item.RequestedProcedureDescription = "CT Becken, Übersicht"
    item.ScheduledProcedureStepID = "SPS1"
    return item


def _ordered() -> Sequence[Dataset]:
    return ct_series(
        ProcedureCodeSequence=[_code("24866-6", "LN", "CT Pelvis"), _code("BECKEN", "99LOCAL", "CT Becken")],
        RequestAttributesSequence=[_request()],
        IssuerOfPatientID="Clinic",
        OtherPatientNames="Phantom^Second",
    )


PREDECESSOR = Predecessor(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
    sop_instance_uid="2.25.1",
    series_instance_uid="2.25.2",
    study_instance_uid=str(ct_series()[0].StudyInstanceUID),
)

NAMES: Mapping[str, tuple[str | list[str] | None, str, bool]] = {
    "latin-1": ("ISO_IR 100", "Müller^Jörg^^Dr.", False),
    "cyrillic": ("ISO_IR 144", "Люксембург^Роза", False),
    "greek": ("ISO_IR 126", "Διονυσιος^Αγαπη", False),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", False),
    "korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", False),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东", False),
    "utf-8": ("ISO_IR 192", "Buc^Jérôme=Ω^β", False),
    "undeclared latin-1": ("ISO_IR 100", "Müller^Jörg", True),
    "undeclared utf-8": ("ISO_IR 192", "Люксембург^Роза", True),
}
"""Character set of the CT, the patient's name, and whether the set is left undeclared."""


def _named(name: str) -> Variant:
    character_set, patient_name, undeclared = NAMES[name]
    text = patient_name.split("=")[-1].replace("^", " ")
    series = ct_series(
        SpecificCharacterSet=character_set,
        PatientName=patient_name,
        ReferringPhysicianName=patient_name,
        StudyDescription=f"CT {text}",
        ProcedureCodeSequence=[_code("X1", "99LOCAL", f"CT {text}")],
    )
    return _variant(one, series=series, without_character_set=undeclared)


VARIANTS: Mapping[str, Callable[[], Variant]] = {
    "one lesion": lambda: _variant(one),
    "every kind of mark": lambda: _variant(
        every_kind,
        problems=[PROBLEM],
        ignored=[
            Ignored(label="Leber µ²", source=mark_for(ct_series()).source, item="ROI 9", reason="an organ")
        ],
    ),
    "one sentence for the examination": lambda: _variant(whole_examination),
    "two readers": lambda: _variant(
        lambda s: [finding_for(s), finding_for(s, number=2, item="ROI 5", observer="Second^Reader")]
    ),
    "German sentence with a remark": lambda: _variant(
        lambda s: [
            replace(
                finding_for(s),
                phrase=Phrase(
                    text="5 mm sklerotischer Herd, wahrscheinlich Kompaktinsel, keine weitere Bildgebung",
                    recommendation="keine",
                    conditional=False,
                    remark="Die Größe liegt nahe der Grenze von 5 mm.",
                    language="de",
                ),
            )
        ]
    ),
    "no side": lambda: _variant(lambda s: [finding_for(s, side=None, site=SITES["l4 vertebra"])]),
    "unknown inputs": lambda: _variant(lambda s: [finding_for(s, answers=UNKNOWN, rule_id="X3")]),
    "no order and no procedure code": lambda: _variant(
        one,
        series=ct_series(AccessionNumber="", StudyDescription=None, StudyID="", ReferringPhysicianName=""),
    ),
    "order and procedure codes": lambda: _variant(one, series=_ordered()),
    "revision": lambda: _variant(one, revision=5, predecessor=PREDECESSOR),
    **{f"{name} name": (lambda name=name: _named(name)) for name in NAMES},  # type: ignore[misc]
    **{
        f"profile {name}": (lambda profile=profile: _variant(every_kind, profile=profile))  # type: ignore[misc]
        for name, profile in PROFILES.items()
        if profile.measurement_report and name != "standard"
    },
}
