"""Small encoded instances for the tests of the node, made of nothing but pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as DicomSequence

CT = "1.2.840.10008.5.1.4.1.1.2"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
EXPLICIT = "1.2.840.10008.1.2.1"
ROOT = "1.2.826.0.1.3680043.10.1.99"
STUDY = f"{ROOT}.1"
SERIES = f"{ROOT}.2"
FRAME = f"{ROOT}.3"


def ct_uid(number: int, series: str = SERIES) -> str:
    return f"{series}.{number}"


def ct_slice(
    number: int, *, series: str = SERIES, study: str = STUDY, patient: str = "Canary^Name"
) -> Dataset:
    ds = _base(CT, ct_uid(number, series), series, study, patient)
    ds.Modality = "CT"
    ds.FrameOfReferenceUID = FRAME
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [0, 0, number * 2]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [1, 1]
    ds.SliceThickness = 2
    ds.Rows, ds.Columns = 16, 16
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.PixelData = bytes(16 * 16 * 2)
    return ds


def mark_object(
    number: int,
    references: Sequence[str],
    *,
    series: str = SERIES,
    study: str = STUDY,
    sop_class: str = SEG,
    patient: str = "Canary^Name",
) -> Dataset:
    """An object of a mark's class that refers to CT images; its content is none of the node's business."""
    ds = _base(sop_class, f"{ROOT}.7.{number}", f"{ROOT}.6", study, patient)
    ds.Modality = "SEG"
    ds.FrameOfReferenceUID = FRAME
    item = Dataset()
    item.SeriesInstanceUID = series
    item.ReferencedInstanceSequence = DicomSequence()
    for uid in references:
        reference = Dataset()
        reference.ReferencedSOPClassUID = CT
        reference.ReferencedSOPInstanceUID = uid
        item.ReferencedInstanceSequence.append(reference)
    ds.ReferencedSeriesSequence = DicomSequence([item])
    return ds


def sr_object(sop_instance_uid: str, *, study: str = STUDY, references: Sequence[str] = ()) -> Dataset:
    ds = _base(COMPREHENSIVE_SR, sop_instance_uid, f"{ROOT}.8", study, "Canary^Name")
    ds.Modality = "SR"
    ds.CompletionFlag = "COMPLETE"
    ds.CurrentRequestedProcedureEvidenceSequence = DicomSequence()
    for uid in references:
        item, series, reference = Dataset(), Dataset(), Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, uid
        series.SeriesInstanceUID, series.ReferencedSOPSequence = SERIES, DicomSequence([reference])
        item.StudyInstanceUID, item.ReferencedSeriesSequence = study, DicomSequence([series])
        ds.CurrentRequestedProcedureEvidenceSequence.append(item)
    return ds


def encode(ds: Dataset) -> bytes:
    """The data set in Explicit VR Little Endian, without preamble and file meta group."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, ds)
    return bytes(buffer.getvalue())


def part10(ds: Dataset) -> bytes:
    """The data set as a file."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _base(sop_class: str, uid: str, series: str, study: str, patient: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid
    ds.SeriesInstanceUID, ds.StudyInstanceUID = series, study
    ds.PatientName, ds.PatientID = patient, "CANARY-ID"
    return ds
