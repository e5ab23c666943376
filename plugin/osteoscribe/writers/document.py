"""What all our SR documents share: patient and study as in the CT, series, equipment, evidence, times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian

from osteoscribe.core import codes
from osteoscribe.core.report import Predecessor, Report
from osteoscribe.writers import modules, uids
from osteoscribe.writers.content import coded
from osteoscribe.writers.copying import copy_attributes, copy_patient_and_study, once, quiet
from osteoscribe.writers.encoded import Item, PydicomElements, data_set, element, item, raw_elements

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"

MANUFACTURER = "Osteoscribe project"
MODEL_NAME = "Osteoscribe"
IMPLEMENTATION_CLASS_UID = uids.derived_uid("implementation class")
IMPLEMENTATION_VERSION_NAME = "OSTEOSCRIBE"
CHARACTER_SET = "ISO_IR 192"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvidenceRef:
    """An instance that a report is based on, with the series and study it belongs to."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True, kw_only=True, eq=False)
class EvidenceSeries:
    """All instances of one series that a report is based on, at least one, each named once.

    Every document of every mark on the series cites it whole, so what is made of it is made once.
    """

    refs: tuple[EvidenceRef, ...]

    @property
    def study_instance_uid(self) -> str:
        """The study of the series."""
        return self.refs[0].study_instance_uid

    @property
    def series_instance_uid(self) -> str:
        """The series."""
        return self.refs[0].series_instance_uid

    @cached_property
    def named(self) -> Mapping[str, str]:
        """SOP class by SOP Instance UID."""
        return named_by(self.refs)

    @cached_property
    def item(self) -> Item:
        """The series as an item of the Hierarchical SOP Instance Reference Macro."""
        return _series_item(self.series_instance_uid, self.named)


Evidence = EvidenceRef | EvidenceSeries


def named_by(evidence: Iterable[Evidence]) -> dict[str, str]:
    """SOP class by SOP Instance UID, each instance once, in the order of the references."""
    named: dict[str, str] = {}
    for one in evidence:
        if isinstance(one, EvidenceSeries):
            named.update(one.named)
        else:
            named.setdefault(one.sop_instance_uid, one.sop_class_uid)
    return named


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKind:
    """What tells one of our kinds of document from another in the archive.

    Parameters
    ----------
    variant
        The form it is written in, where that is not the usual one: it has series of its own.
    names_predecessor
        Whether it carries the result, and so names the document that it replaces.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_kind: str
    series_number: int
    series_description: str
    variant: str = ""
    names_predecessor: bool = False


def new_document(
    report: Report, context: Dataset, evidence: Sequence[Evidence], kind: DocumentKind
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
    with quiet():
        _describe_document(ds, report, context)
        _cite_evidence(ds, evidence)
    if report.predecessor is not None and kind.names_predecessor:
        predecessor = hierarchy((_as_evidence(report.predecessor),))
        ds.update(raw_elements(PredecessorDocumentsSequence=[*predecessor.values()]))
    return ds


def new_object(report: Report, context: Dataset, kind: DocumentKind) -> Dataset:
    """What documents and pictures share: patient, study, series, equipment, times."""
    ds = _unicode_data_set()
    with quiet():
        ds.update(once(_patient_and_study, context))
        _identify(ds, report, kind)
        _describe_equipment(ds, report, context)
    return ds


def _unicode_data_set() -> Dataset:
    ds = Dataset(raw_elements(SpecificCharacterSet=CHARACTER_SET))
    # What is encoded already is written as it is: pydicom would decode it, and encode it again.
    ds.set_original_encoding(False, True, convert_encodings(CHARACTER_SET))
    return ds


def _patient_and_study(context: Dataset) -> PydicomElements:
    """The patient and study modules as every document has them."""
    ds = _unicode_data_set()
    with quiet():
        copy_patient_and_study(context, ds)
        return _encoded(ds)


def _encoded(ds: Dataset) -> PydicomElements:
    """The elements of a data set, each with its value as it is written."""
    written = read_dataset(BytesIO(_written(ds)), is_implicit_VR=False, is_little_endian=True)
    return {tag: written.get_item(tag) for tag in written.keys()}  # noqa: SIM118  as they are, not decoded


def _written(ds: Dataset) -> bytes:
    encoded = DicomBytesIO()
    encoded.is_implicit_VR, encoded.is_little_endian = False, True
    write_dataset(encoded, ds, parent_encoding=convert_encodings(CHARACTER_SET))
    return encoded.getvalue()


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
    elements = raw_elements(
        SOPClassUID=kind.sop_class_uid,
        SOPInstanceUID=kind.sop_instance_uid,
        SeriesInstanceUID=uids.series_uid(report, kind.series_kind, kind.variant),
        SeriesNumber=str(kind.series_number),
        SeriesDescription=kind.series_description,
        Modality="SR",
        SeriesDate=day,
        ContentDate=day,
        InstanceCreationDate=day,
        SeriesTime=time,
        ContentTime=time,
        InstanceCreationTime=time,
        TimezoneOffsetFromUTC=at.strftime("%z")[:5],
        InstanceNumber=str(report.revision),
    )
    ds.update(elements)


def _describe_equipment(ds: Dataset, report: Report, context: Dataset) -> None:
    program = {
        "Manufacturer": MANUFACTURER,
        "ManufacturerModelName": MODEL_NAME,
        "SoftwareVersions": report.software_version,
        "DeviceSerialNumber": serial_number(report),
    }
    own = item(
        **program,
        PurposeOfReferenceCodeSequence=[coded(codes.PROCESSING_EQUIPMENT)],
        DeviceUID=uids.device_uid(report),
        ContributionDateTime=report.accepted_at.strftime("%Y%m%d%H%M%S.%f%z")[:26],
        ContributionDescription=f"Rule table {report.table_id} {report.table_version}"[:1024],
    )
    scheme = item(
        CodingSchemeDesignator=codes.OSTEOSCRIBE_SCHEME,
        CodingSchemeUID=codes.OSTEOSCRIBE_SCHEME_UID,
        CodingSchemeName="Osteoscribe codes",
        CodingSchemeResponsibleOrganization=MANUFACTURER,
    )
    elements = raw_elements(
        **program,
        ContentQualification="RESEARCH",
        ContributingEquipmentSequence=[own, once(_scanner, context)],
        CodingSchemeIdentificationSequence=[scheme],
    )
    ds.update(elements)


def _scanner(context: Dataset) -> Item:
    """The machine that made the images."""
    scanner = data_set(Manufacturer="", PurposeOfReferenceCodeSequence=[coded(codes.ACQUISITION_EQUIPMENT)])
    copy_attributes(context, scanner, modules.EQUIPMENT)
    return _written(scanner)


def serial_number(report: Report) -> str:
    """What stands for the serial number of a program: the digest of its rule table, shortened."""
    return report.table_sha256[:16] or "none"


def _describe_document(ds: Dataset, report: Report, context: Dataset) -> None:
    elements = raw_elements(
        ReferencedPerformedProcedureStepSequence=[],
        PerformedProcedureCodeSequence=[],
        CompletionFlag="PARTIAL" if report.problems else "COMPLETE",
        VerificationFlag="UNVERIFIED",
        PreliminaryFlag="PRELIMINARY",
    )
    ds.update(elements)
    if report.problems:
        said = f"{len(report.problems)} of the marks could not be reported, see the problems"
        ds.update(raw_elements(CompletionFlagDescription=said[:64]))
    ds.update(once(_requests, context))


def _requests(context: Dataset) -> PydicomElements:
    """Referenced Request Sequence (PS3.3 table C.17-2), from the request the CT fulfils, if any."""
    ds = _unicode_data_set()
    copy_patient_and_study(context, ds)
    attributes = context.get("RequestAttributesSequence") or ([Dataset()] if ds.AccessionNumber else [])
    items = []
    for source in attributes:
        request = data_set(
            ReferencedStudySequence=[],
            PlacerOrderNumberImagingServiceRequest="",
            FillerOrderNumberImagingServiceRequest="",
            RequestedProcedureID="",
            RequestedProcedureDescription="",
            RequestedProcedureCodeSequence=[],
        )
        request.StudyInstanceUID = ds.StudyInstanceUID
        request.AccessionNumber = ds.AccessionNumber
        copy_attributes(context, request, ("IssuerOfAccessionNumberSequence",))
        copy_attributes(source, request, modules.REQUEST)
        items.append(request)
    made = _unicode_data_set()
    if items:
        made.ReferencedRequestSequence = items
    return _encoded(made)


def _cite_evidence(ds: Dataset, evidence: Sequence[Evidence]) -> None:
    studies = dict(hierarchy(tuple(evidence)))
    current = studies.pop(str(ds.StudyInstanceUID), None)
    if current is not None:
        ds.update(raw_elements(CurrentRequestedProcedureEvidenceSequence=[current]))
    if studies:
        ds.update(raw_elements(PertinentOtherEvidenceSequence=[*studies.values()]))


@lru_cache(maxsize=8)
def hierarchy(evidence: tuple[Evidence, ...]) -> Mapping[str, Item]:
    """Items of the Hierarchical SOP Instance Reference Macro (PS3.3 table C.17-3) by study.

    Each instance is named once, all in the order of the references.
    """
    studies: dict[str, dict[str, list[Evidence]]] = {}
    for one in evidence:
        studies.setdefault(one.study_instance_uid, {}).setdefault(one.series_instance_uid, []).append(one)
    return {
        study_uid: item(
            ReferencedSeriesSequence=[_series(uid, some) for uid, some in series.items()],
            StudyInstanceUID=study_uid,
        )
        for study_uid, series in studies.items()
    }


def _series(series_instance_uid: str, cited: Sequence[Evidence]) -> Item:
    match cited:
        case [EvidenceSeries() as whole]:
            return whole.item
        case _:
            return _series_item(series_instance_uid, named_by(cited))


def _series_item(series_instance_uid: str, named: Mapping[str, str]) -> Item:
    references = [
        _reference_class(sop_class_uid) + element("ReferencedSOPInstanceUID", sop_instance_uid)
        for sop_instance_uid, sop_class_uid in named.items()
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
    meta = item(
        FileMetaInformationVersion=b"\0\1",
        MediaStorageSOPClassUID=str(ds.SOPClassUID),
        MediaStorageSOPInstanceUID=str(ds.SOPInstanceUID),
        TransferSyntaxUID=ExplicitVRLittleEndian,
        ImplementationClassUID=IMPLEMENTATION_CLASS_UID,
        ImplementationVersionName=IMPLEMENTATION_VERSION_NAME,
    )
    length = element("FileMetaInformationGroupLength", len(meta).to_bytes(4, "little"))
    return bytes(128) + b"DICM" + length + meta + _written(ds)
