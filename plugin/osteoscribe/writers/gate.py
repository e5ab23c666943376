"""The gate: what was encoded is read back and compared with the record before anything is sent.

It reads the bytes with pydicom alone and takes nothing from the builders but names: a mistake in a builder,
in the encoding or in the choice of the CT shows here, and the document is not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from osteoscribe.core import codes
from osteoscribe.core.report import Report
from osteoscribe.writers import modules, uids
from osteoscribe.writers.copying import copy_patient_and_study, quiet
from osteoscribe.writers.document import (
    BASIC_TEXT_SR,
    REFERENCED_SOP_CLASS_UID,
    REFERENCED_SOP_INSTANCE_UID,
    EvidenceRef,
)
from osteoscribe.writers.gate_findings import check_findings
from osteoscribe.writers.key_image import SECONDARY_CAPTURE
from osteoscribe.writers.profiles import STANDARD, Profile
from osteoscribe.writers.sr import observers
from osteoscribe.writers.tree import children, code_value, fail, failure, is_coded, pairs, template
from osteoscribe.writers.wording import DISCLAIMER

_TYPE_1 = (
    "SpecificCharacterSet SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID SeriesNumber "
    "Modality InstanceNumber ContentDate ContentTime TimezoneOffsetFromUTC CompletionFlag VerificationFlag "
    "PreliminaryFlag Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions ValueType "
    "ConceptNameCodeSequence ContinuityOfContent ContentSequence CurrentRequestedProcedureEvidenceSequence "
    "ContributingEquipmentSequence CodingSchemeIdentificationSequence"
)
_TYPE_2 = "ReferencedPerformedProcedureStepSequence PerformedProcedureCodeSequence"

_LEAVES = ("TEXT", "CODE", "NUM", "UIDREF", "PNAME", "IMAGE", "SCOORD")
_RELATIONSHIPS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("CONTAINER", "CONTAINS"): (*_LEAVES, "CONTAINER"),
    ("CONTAINER", "HAS OBS CONTEXT"): ("TEXT", "CODE", "UIDREF", "PNAME"),
    ("CONTAINER", "HAS ACQ CONTEXT"): ("CODE",),
    ("CONTAINER", "HAS CONCEPT MOD"): ("TEXT", "CODE"),
    ("CODE", "HAS CONCEPT MOD"): ("CODE",),
    ("TEXT", "HAS CONCEPT MOD"): ("CODE",),
    ("NUM", "HAS CONCEPT MOD"): ("CODE",),
    ("NUM", "INFERRED FROM"): ("SCOORD",),
    ("SCOORD", "SELECTED FROM"): ("IMAGE",),
}
"""The relationships that we use, each legal in its IOD (PS3.3 A.35.3.3.1.2, A.35.13.3.1.2)."""


def check(
    encoded: bytes,
    report: Report,
    context: Dataset,
    evidence: Sequence[EvidenceRef],
    profile: Profile = STANDARD,
) -> None:
    """Check an encoded document against the record it was made from.

    Parameters
    ----------
    encoded
        A measurement report, a text companion or a notice, as a Part 10 file.
    report, context, evidence, profile
        What it was made from.

    Raises
    ------
    InputError
        ``gate.*``: the document does not say what was measured, and must not be sent.
    """
    try:
        with quiet():
            _check(pydicom.dcmread(BytesIO(encoded)), report, context, evidence, profile)
    except (InvalidDicomError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        # Not `from error`: its text may quote the document.
        raise failure(
            "gate.unreadable", f"the document cannot be read back ({type(error).__name__})"
        ) from None


def _check(
    ds: Dataset, report: Report, context: Dataset, evidence: Sequence[EvidenceRef], profile: Profile
) -> None:
    kind = _kind(ds, report, profile)
    if kind == "key image":
        _check_patient_and_study(ds, report, context)
        _check_key_image(ds, report)
        return
    _check_attributes(ds, report)
    _check_patient_and_study(ds, report, context)
    _check_tree(ds, kind)
    _check_references(ds, evidence)
    if kind == "report":
        check_findings(ds, report, profile)
    _check_words(ds, report, kind)


def _kind(ds: Dataset, report: Report, profile: Profile) -> str:
    """Which of our documents it is, by its UID."""
    expected = {
        uids.report_uid(report, profile.variant): ("report", profile.sop_class_uid),
        uids.companion_uid(report, profile.variant): ("companion", BASIC_TEXT_SR),
        uids.notice_uid(report, profile.variant): ("notice", BASIC_TEXT_SR),
        uids.key_image_uid(report, profile.variant): ("key image", SECONDARY_CAPTURE),
    }
    kind, sop_class_uid = expected.get(str(ds.SOPInstanceUID), ("", ""))
    if not kind:
        fail("gate.uid", "the SOP Instance UID is none that this report gives")
    if {str(ds.SOPClassUID), str(ds.file_meta.MediaStorageSOPClassUID)} != {sop_class_uid}:
        fail("gate.sop-class", f"found SOP class {ds.SOPClassUID}, expected {sop_class_uid}")
    if ds.file_meta.MediaStorageSOPInstanceUID != ds.SOPInstanceUID:
        fail("gate.uid", "the file meta information names another instance")
    if ds.SeriesInstanceUID != uids.series_uid(report, kind, profile.variant):
        fail("gate.uid", "the document is in another series than its kind")
    return kind


def _check_attributes(ds: Dataset, report: Report) -> None:
    for keyword in _TYPE_1.split():
        if ds.get(keyword) in (None, "", []):
            fail("gate.attribute-missing", f"{keyword} is absent or empty")
    for keyword in (*modules.TYPE_2, *_TYPE_2.split()):
        if keyword not in ds:
            fail("gate.attribute-missing", f"{keyword} is absent")
    expected = {
        "SpecificCharacterSet": "ISO_IR 192",
        "Modality": "SR",
        "VerificationFlag": "UNVERIFIED",
        "PreliminaryFlag": "PRELIMINARY",
        "CompletionFlag": "PARTIAL" if report.problems else "COMPLETE",
        "ContentDate": report.accepted_at.strftime("%Y%m%d"),
        "TimezoneOffsetFromUTC": report.accepted_at.strftime("%z")[:5],
    }
    for keyword, value in expected.items():
        if ds[keyword].value != value:
            fail("gate.attribute-differs", f"{keyword} is not {value}")


def _check_patient_and_study(ds: Dataset, report: Report, context: Dataset) -> None:
    if str(context.StudyInstanceUID) != report.study_instance_uid:
        fail("gate.other-study", "the CT header is of another study than the report")
    if str(context.SeriesInstanceUID) != report.series_instance_uid:
        fail("gate.other-series", "the CT header is of another series than the report")
    expected = Dataset()
    copy_patient_and_study(context, expected)
    for keyword in modules.COPIED:
        if _plain(ds.get(keyword)) != _plain(expected.get(keyword)):
            fail("gate.patient-differs", f"{keyword} is not the CT's")


def _check_key_image(ds: Dataset, report: Report) -> None:
    expected = {"ConversionType": "WSD", "BurnedInAnnotation": "YES", "PhotometricInterpretation": "RGB"}
    for keyword, value in expected.items():
        if ds.get(keyword) != value:
            fail("gate.attribute-differs", f"{keyword} is not {value}")
    if any(keyword in ds for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")):
        fail("gate.attribute-differs", "the key image can be measured on")
    size = ds.Rows * ds.Columns * 3
    if len(ds.PixelData) != size + size % 2:
        fail("gate.attribute-differs", "the pixels are not as many as rows and columns say")
    sources = {str(item.ReferencedSOPInstanceUID) for item in ds.SourceImageSequence}
    if sources != {finding.lesion.image.sop_instance_uid for finding in report.findings}:
        fail("gate.reference", "the source images are not those of the lesions")


def _plain(value: object) -> object:
    """A value for comparison: absent and empty are the same, text is text."""
    if value is None or value == "":
        return None
    if isinstance(value, Dataset):
        return {int(element.tag): _plain(element.value) for element in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(v) for v in value] or None
    return str(value)


def _check_tree(ds: Dataset, kind: str) -> None:
    title = {
        "report": codes.IMAGING_MEASUREMENT_REPORT,
        "companion": codes.TEXT_COMPANION,
        "notice": codes.NOTICE,
    }[kind]
    if not is_coded(ds, title):
        fail("gate.template", f"the root is not titled {title.value}")
    allowed = (
        {*_LEAVES, "CONTAINER"} if kind == "report" else {"TEXT", "CODE", "UIDREF", "PNAME", "CONTAINER"}
    )
    for parent, item in pairs(ds):
        value_type, relationship = str(item.ValueType), str(item.RelationshipType)
        if value_type not in allowed or value_type not in _RELATIONSHIPS.get(
            (str(parent.ValueType), relationship), ()
        ):
            fail("gate.template", f"{parent.ValueType} {relationship} {value_type} is not allowed here")
        if value_type == "CONTAINER" and item.ContinuityOfContent != "SEPARATE":
            fail("gate.template", "a container is not SEPARATE")
        if value_type == "TEXT" and (not item.TextValue or "\ufffd" in item.TextValue):
            fail("gate.text", "a text is empty or has a replacement character")
        for sequence in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
            for code in item.get(sequence, []):
                if not (code.get("CodeValue") or code.get("LongCodeValue")) or not code.CodeMeaning:
                    fail("gate.code", f"a code of {sequence} has no value or no meaning")
    if kind == "report":
        order = [code_value(item) for item in children(ds) if item.ValueType == "CONTAINER"]
        wanted = [codes.IMAGE_LIBRARY, codes.IMAGING_MEASUREMENTS, codes.QUALITATIVE_EVALUATIONS]
        if order != [code.value for code in wanted] or template(ds) != "1500":
            fail("gate.template", f"the sections are {order}, expected those of TID 1500")


def _check_references(ds: Dataset, evidence: Sequence[EvidenceRef]) -> None:
    cited = {
        _named(sop)
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in ds.get(keyword, [])
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }
    if cited != {(ref.sop_instance_uid, ref.sop_class_uid) for ref in evidence}:
        fail("gate.reference", "the evidence is not what the report was made from")
    for _, item in pairs(ds):
        for sop in item.get("ReferencedSOPSequence", []):
            if _named(sop) not in cited:
                fail("gate.reference", "an image is referred to that is not in the evidence")


def _named(sop: Dataset) -> tuple[str, str]:
    """Instance and class of a reference; of hundreds, so its bytes are taken as they are."""
    found = []
    for tag in (REFERENCED_SOP_INSTANCE_UID, REFERENCED_SOP_CLASS_UID):
        value = sop.get_item(tag).value
        found.append(value.rstrip(b"\0").decode("ascii") if isinstance(value, bytes) else str(value))
    return found[0], found[1]


def _check_words(ds: Dataset, report: Report, kind: str) -> None:
    """Every sentence, lesion, problem and source of the reference panel stands somewhere in the text."""
    words = "\n".join(str(item.TextValue) for _, item in pairs(ds) if item.ValueType == "TEXT")
    said = [DISCLAIMER, *(problem.code for problem in report.problems)]
    if kind == "report":
        said += [report.table_sha256, report.software_version]
    if kind != "notice":
        for finding in report.findings:
            said += [finding.phrase.text, finding.lesion.name, finding.decision.rule_id]
            if finding.lesion.serial is not None:
                said.append(finding.lesion.serial.sentence)
        if report.panel is not None:
            said += [*report.panel.purpose, *(source.text for source in report.panel.sources)]
    for text in said:
        if text not in words:
            fail("gate.phrase", "a sentence, lesion, problem or the disclaimer is not in the document")
    named = {str(item.PersonName) for _, item in pairs(ds) if item.ValueType == "PNAME"}
    if named != set(observers(report)):
        fail("gate.observer", "the persons named are not those who marked")
