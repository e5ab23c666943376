"""What all our SR documents share: patient and study as in the CT, series, equipment, evidence, times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

from pydicom import Dataset, dcmwrite
from pydicom.charset import convert_encodings
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from osteoscribe.core import codes
from osteoscribe.core.report import Predecessor, Report
from osteoscribe.writers import modules, uids
from osteoscribe.writers.content import coded
from osteoscribe.writers.copying import copy_attributes, copy_patient_and_study, quiet
from osteoscribe.writers.encoded import Item, element, item, raw_elements

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"

MANUFACTURER = "Osteoscribe project"
MODEL_NAME = "Osteoscribe"
IMPLEMENTATION_CLASS_UID = UID(uids.derived_uid("implementation class"))
IMPLEMENTATION_VERSION_NAME = "OSTEOSCRIBE"
CHARACTER_SET = "ISO_IR 192"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRef:
    """An instance that a report is based on, with the series and study it belongs to."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKind:
    """What tells one of our kinds of document from another in the archive."""

    sop_class_uid: str
    sop_instance_uid: str
    series_kind: str
    series_number: int
    series_description: str


def new_document(
    report: Report, context: Dataset, evidence: Sequence[EvidenceRef], kind: DocumentKind
) -> Dataset:
    """A document without its content.

    Parameters
    ----------
    context
        Header of one CT instance of the series: patient and study modules are copied whole from it.
    evidence
        All CT instances of the series and the objects the marks came from.

    References
    ----------
    PS3.3 A.35.13 (Comprehensive 3D SR IOD), C.17.1, C.17.2, C.7.5.2, C.12.1
    """
    ds = new_object(report, context, kind)
    ds.ReferencedPerformedProcedureStepSequence = []
    with quiet():
        _describe_document(ds, report, context)
    _cite_evidence(ds, evidence)
    if report.predecessor is not None and kind.series_kind == "report":
        predecessor = _hierarchy((_as_evidence(report.predecessor),))
        ds.update(raw_elements(PredecessorDocumentsSequence=predecessor))
    return ds


def new_object(report: Report, context: Dataset, kind: DocumentKind) -> Dataset:
    """What documents and pictures share: patient, study, series, equipment, times."""
    ds = Dataset()
    ds.SpecificCharacterSet = CHARACTER_SET
    # What is encoded already is written as it is: pydicom would decode it, and encode it again.
    ds.set_original_encoding(False, True, convert_encodings(CHARACTER_SET))
    with quiet():
        copy_patient_and_study(context, ds)
        _identify(ds, report, kind)
        _describe_equipment(ds, report, context)
    return ds


def _as_evidence(predecessor: Predecessor) -> EvidenceRef:
    return EvidenceRef(
        sop_class_uid=predecessor.sop_class_uid,
        sop_instance_uid=predecessor.sop_instance_uid,
        series_instance_uid=predecessor.series_instance_uid,
        study_instance_uid=predecessor.study_instance_uid,
    )


def _identify(ds: Dataset, report: Report, kind: DocumentKind) -> None:
    at = report.accepted_at
    day, time = at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")
    ds.SOPClassUID = kind.sop_class_uid
    ds.SOPInstanceUID = kind.sop_instance_uid
    ds.SeriesInstanceUID = uids.series_uid(report, kind.series_kind)
    ds.SeriesNumber = kind.series_number
    ds.SeriesDescription = kind.series_description
    ds.Modality = "SR"
    ds.SeriesDate = ds.ContentDate = ds.InstanceCreationDate = day
    ds.SeriesTime = ds.ContentTime = ds.InstanceCreationTime = time
    ds.TimezoneOffsetFromUTC = at.strftime("%z")[:5]
    ds.InstanceNumber = 1 if report.predecessor is None else report.predecessor.instance_number + 1


def _describe_equipment(ds: Dataset, report: Report, context: Dataset) -> None:
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = MODEL_NAME
    ds.SoftwareVersions = report.software_version
    ds.DeviceSerialNumber = serial_number(report)
    ds.ContentQualification = "RESEARCH"
    own = Dataset()
    own.update(raw_elements(PurposeOfReferenceCodeSequence=[coded(codes.PROCESSING_EQUIPMENT)]))
    own.Manufacturer = MANUFACTURER
    own.ManufacturerModelName = MODEL_NAME
    own.SoftwareVersions = report.software_version
    own.DeviceSerialNumber = serial_number(report)
    own.DeviceUID = uids.device_uid(report)
    own.ContributionDateTime = report.accepted_at.strftime("%Y%m%d%H%M%S.%f%z")[:26]
    own.ContributionDescription = f"Rule table {report.table_id} {report.table_version}"[:1024]
    scanner = Dataset()
    scanner.update(raw_elements(PurposeOfReferenceCodeSequence=[coded(codes.ACQUISITION_EQUIPMENT)]))
    copy_attributes(context, scanner, modules.EQUIPMENT)
    if "Manufacturer" not in scanner:
        scanner.Manufacturer = ""
    ds.ContributingEquipmentSequence = [own, scanner]
    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.OSTEOSCRIBE_SCHEME
    scheme.CodingSchemeUID = codes.OSTEOSCRIBE_SCHEME_UID
    scheme.CodingSchemeName = "Osteoscribe codes"
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    ds.CodingSchemeIdentificationSequence = [scheme]


def serial_number(report: Report) -> str:
    """What stands for the serial number of a program: the digest of its rule table, shortened."""
    return report.table_sha256[:16] or "none"


def _describe_document(ds: Dataset, report: Report, context: Dataset) -> None:
    ds.CompletionFlag = "PARTIAL" if report.problems else "COMPLETE"
    if report.problems:
        count = len(report.problems)
        ds.CompletionFlagDescription = f"{count} of the marks could not be reported, see the problems"[:64]
    ds.VerificationFlag = "UNVERIFIED"
    ds.PreliminaryFlag = "PRELIMINARY"
    ds.PerformedProcedureCodeSequence = []
    requests = _requests(ds, context)
    if requests:
        ds.ReferencedRequestSequence = requests


def _requests(ds: Dataset, context: Dataset) -> list[Dataset]:
    """Items of Referenced Request Sequence (PS3.3 table C.17-2) from the request the CT fulfils."""
    attributes = context.get("RequestAttributesSequence") or ([Dataset()] if ds.AccessionNumber else [])
    items = []
    for source in attributes:
        item = Dataset()
        item.StudyInstanceUID = ds.StudyInstanceUID
        item.ReferencedStudySequence = []
        item.AccessionNumber = ds.AccessionNumber
        item.PlacerOrderNumberImagingServiceRequest = ""
        item.FillerOrderNumberImagingServiceRequest = ""
        item.RequestedProcedureID = ""
        item.RequestedProcedureDescription = ""
        item.RequestedProcedureCodeSequence = []
        copy_attributes(context, item, ("IssuerOfAccessionNumberSequence",))
        copy_attributes(source, item, modules.REQUEST)
        items.append(item)
    return items


def _cite_evidence(ds: Dataset, evidence: Sequence[EvidenceRef]) -> None:
    own_study = str(ds.StudyInstanceUID)
    current = [ref for ref in evidence if ref.study_instance_uid == own_study]
    other = [ref for ref in evidence if ref.study_instance_uid != own_study]
    for keyword, refs in (
        ("CurrentRequestedProcedureEvidenceSequence", current),
        ("PertinentOtherEvidenceSequence", other),
    ):
        if refs:
            ds.update(raw_elements(**{keyword: _hierarchy(refs)}))


def _hierarchy(refs: Iterable[EvidenceRef]) -> list[Item]:
    """Hierarchical SOP Instance Reference Macro (PS3.3 table C.17-3); each instance once, in order."""
    studies: dict[str, dict[str, dict[str, str]]] = {}
    for ref in refs:
        series = studies.setdefault(ref.study_instance_uid, {}).setdefault(ref.series_instance_uid, {})
        series.setdefault(ref.sop_instance_uid, ref.sop_class_uid)
    return [
        item(
            ReferencedSeriesSequence=[
                _series(uid, tuple(sops.items())) for uid, sops in series_by_uid.items()
            ],
            StudyInstanceUID=study_uid,
        )
        for study_uid, series_by_uid in studies.items()
    ]


@lru_cache(maxsize=16)
def _series(series_instance_uid: str, sops: tuple[tuple[str, str], ...]) -> Item:
    """One series; kept, for every document of every mark on a CT series cites it whole."""
    references = [
        _reference_class(sop_class_uid) + element("ReferencedSOPInstanceUID", sop_instance_uid)
        for sop_instance_uid, sop_class_uid in sops
    ]
    return item(ReferencedSOPSequence=references, SeriesInstanceUID=series_instance_uid)


@lru_cache(maxsize=16)
def _reference_class(sop_class_uid: str) -> bytes:
    return element("ReferencedSOPClassUID", sop_class_uid)


def encode(ds: Dataset) -> bytes:
    """A document as Part 10 file, explicit little endian; the same data set gives the same bytes.

    References
    ----------
    PS3.10 section 7
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    ds.file_meta = meta
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True, little_endian=True, implicit_vr=False)
    return buffer.getvalue()
