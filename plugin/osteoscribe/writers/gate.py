"""The gate: what was encoded is read back and compared with the record before anything is sent.

The document is read with pydicom, the content below its root with `osteoscribe.writers.tree`; nothing is
taken from the builders but names. So a mistake in a builder, in the encoding or in the choice of the CT shows
here, and the document is not sent.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from weakref import WeakKeyDictionary

import pydicom
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.errors import InvalidDicomError

from osteoscribe.core import codes
from osteoscribe.core.report import Report
from osteoscribe.writers import modules, uids
from osteoscribe.writers.copying import copy_patient_and_study, once, quiet, tags_in
from osteoscribe.writers.document import (
    BASIC_TEXT_SR,
    Evidence,
    EvidenceSeries,
    named_by,
)
from osteoscribe.writers.gate_findings import check_findings
from osteoscribe.writers.key_image import SECONDARY_CAPTURE
from osteoscribe.writers.profiles import STANDARD, Profile
from osteoscribe.writers.sr import observers
from osteoscribe.writers.tree import (
    ContentItem,
    Elements,
    code_of,
    elements_of,
    fail,
    failure,
    items_of,
    read_content,
    text_of,
)
from osteoscribe.writers.wording import DISCLAIMER

_UNREADABLE = (
    InvalidDicomError,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    RecursionError,
    struct.error,
)
_ROOT = "ValueType ConceptNameCodeSequence ContinuityOfContent ContentTemplateSequence"
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
    evidence: Sequence[Evidence],
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
    except _UNREADABLE as error:
        # Not `from error`: its text may quote the document.
        raise failure(
            "gate.unreadable", f"the document cannot be read back ({type(error).__name__})"
        ) from None


def _check(
    ds: Dataset, report: Report, context: Dataset, evidence: Sequence[Evidence], profile: Profile
) -> None:
    kind = _kind(ds, report, profile)
    if kind == "key image":
        _check_patient_and_study(ds, report, context)
        _check_key_image(ds, report)
        return
    _check_attributes(ds, report)
    _check_patient_and_study(ds, report, context)
    root = _root(ds)
    _check_tree(root, kind)
    _check_references(ds, root, evidence)
    if kind == "report":
        check_findings(root, report, profile)
    _check_words(root, report, kind)


def _root(ds: Dataset) -> ContentItem:
    """The content tree, from its bytes."""
    items = items_of(_encoded(ds, "ContentSequence"))
    return ContentItem(
        elements={keyword: _encoded(ds, keyword) for keyword in _ROOT.split() if keyword in ds},
        children=tuple(read_content(item) for item in items),
    )


def _encoded(ds: Dataset, keyword: str) -> bytes:
    """A value of the document as it was encoded; empty where it is absent."""
    element = ds.get_item(keyword) if keyword in ds else None
    if element is None:
        return b""
    if not isinstance(element.value, bytes) or dictionary_VR(element.tag) != element.VR:
        raise ValueError(f"{keyword} is not encoded as it must be")
    return element.value


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
        if _is_empty(ds, keyword):
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


def _is_empty(ds: Dataset, keyword: str) -> bool:
    value = ds.get_item(keyword).value if keyword in ds else None
    return not (value.strip(b" \0") if isinstance(value, bytes) else value)


def _check_patient_and_study(ds: Dataset, report: Report, context: Dataset) -> None:
    if str(context.StudyInstanceUID) != report.study_instance_uid:
        fail("gate.other-study", "the CT header is of another study than the report")
    if str(context.SeriesInstanceUID) != report.series_instance_uid:
        fail("gate.other-series", "the CT header is of another series than the report")
    expected = once(_patient_and_study, context)
    for tag in sorted({*tags_in(ds, modules.COPIED), *expected}):
        found = _plain(ds[tag].value) if tag in ds else None
        if found != expected.get(tag):
            fail("gate.patient-differs", f"{keyword_for_tag(tag)} is not the CT's")


def _patient_and_study(context: Dataset) -> Mapping[int, object]:
    """What a document must say of patient and study: values by tag."""
    expected = Dataset()
    copy_patient_and_study(context, expected)
    return {tag: _plain(expected[tag].value) for tag in tags_in(expected, modules.COPIED)}


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


def _check_tree(root: ContentItem, kind: str) -> None:
    title = {
        "report": codes.IMAGING_MEASUREMENT_REPORT,
        "companion": codes.TEXT_COMPANION,
        "notice": codes.NOTICE,
    }[kind]
    if root.name != title:
        fail("gate.template", f"the root is not titled {title.value}")
    allowed = (
        {*_LEAVES, "CONTAINER"} if kind == "report" else {"TEXT", "CODE", "UIDREF", "PNAME", "CONTAINER"}
    )
    for parent, item in root.pairs:
        relationship = item.text("RelationshipType")
        legal = _RELATIONSHIPS.get((parent.value_type, relationship), ())
        if item.value_type not in allowed or item.value_type not in legal:
            fail("gate.template", f"{parent.value_type} {relationship} {item.value_type} is not allowed here")
        _check_value(item)
    if kind == "report":
        sections = [item.name for item in root.children if item.value_type == "CONTAINER"]
        wanted = [codes.IMAGE_LIBRARY, codes.IMAGING_MEASUREMENTS, codes.QUALITATIVE_EVALUATIONS]
        if sections != wanted or root.template != "1500":
            fail("gate.template", "the sections are not those of TID 1500")


def _check_value(item: ContentItem) -> None:
    if item.value_type == "CONTAINER" and item.text("ContinuityOfContent") != "SEPARATE":
        fail("gate.template", "a container is not SEPARATE")
    if item.value_type == "TEXT" and (not item.text() or "\ufffd" in item.text()):
        fail("gate.text", "a text is empty or has a replacement character")
    for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
        if keyword in item.elements:
            code_of(item.elements[keyword])


def _check_references(ds: Dataset, root: ContentItem, evidence: Sequence[Evidence]) -> None:
    whole = [one for one in evidence if isinstance(one, EvidenceSeries)]
    read_before: list[EvidenceSeries] = []
    cited: set[tuple[str, str]] = set()
    for series in _cited_series(ds):
        known = next((one for one in whole if _READ_BACK.get(one) == series), None)
        if known is None:
            cited |= _cited(series, whole)
        else:
            read_before.append(known)
    if cited != named_by(one for one in evidence if one not in read_before).items():
        fail("gate.reference", "the evidence is not what the report was made from")
    for _, item in root.pairs:
        for sop in item.references:
            uid, sop_class_uid = _named(sop)
            if (uid, sop_class_uid) not in cited and all(
                one.named.get(uid) != sop_class_uid for one in read_before
            ):
                fail("gate.reference", "an image is referred to that is not in the evidence")


_READ_BACK: WeakKeyDictionary[EvidenceSeries, bytes] = WeakKeyDictionary()
"""The bytes that were read back and found to name a whole series: the next document on it has the same."""


def _cited_series(ds: Dataset) -> Iterator[bytes]:
    """The items of the series in the evidence."""
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items_of(_encoded(ds, keyword)):
            yield from items_of(elements_of(study)["ReferencedSeriesSequence"])


def _cited(series: bytes, whole: Sequence[EvidenceSeries]) -> set[tuple[str, str]]:
    """The instances of one series, read one by one."""
    sops = items_of(elements_of(series)["ReferencedSOPSequence"])
    cited = {_named(elements_of(sop)) for sop in sops}
    _READ_BACK.update({one: series for one in whole if one.named.items() == cited})
    return cited


def _named(sop: Elements) -> tuple[str, str]:
    """Instance and class of a reference."""
    return text_of(sop["ReferencedSOPInstanceUID"]), text_of(sop["ReferencedSOPClassUID"])


def _check_words(root: ContentItem, report: Report, kind: str) -> None:
    """Every sentence, lesion, problem and source of the reference panel stands somewhere in the text."""
    words = "\n".join(item.text() for _, item in root.pairs if item.value_type == "TEXT")
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
    named = {item.text("PersonName") for _, item in root.pairs if item.value_type == "PNAME"}
    if named != set(observers(report)):
        fail("gate.observer", "the persons named are not those who marked")
