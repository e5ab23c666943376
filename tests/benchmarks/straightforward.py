"""The straightforward pipeline: the same libraries as anybody would join them; compare `latency.py`.

The mark has come; then SimpleITK reads the CT series from its files, highdicom gives the segmentation as a
label map of the whole volume, SimpleITK measures shape and intensity over the whole volume, highdicom writes
the SR (TID 1500), and pynetdicom sends it over an association of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
import SimpleITK
from highdicom.seg import Segmentation
from highdicom.sr import (
    Comprehensive3DSR,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    ReferencedSegment,
    SourceImageForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

from tests.benchmarks.marked_series import Series

META = b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
HEAD = b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0" + len(META).to_bytes(4, "little") + META

HU = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
SIZES = (
    (codes.SCT.Volume, "GetPhysicalSize", codes.UCUM.CubicMillimeter),
    (Code("L0JK", "IBSIv1", "Maximum 3D Diameter"), "GetFeretDiameter", codes.UCUM.Millimeter),
)
INTENSITIES = (
    (codes.SCT.Mean, "GetMean"),
    (codes.SCT.StandardDeviation, "GetStandardDeviation"),
    (codes.SCT.Minimum, "GetMinimum"),
    (codes.SCT.Maximum, "GetMaximum"),
)


@contextmanager
def series_in_files(series: Series) -> Iterator[Path]:
    """A folder with the series as files, as a simple receiver leaves it."""
    with TemporaryDirectory() as folder:
        for number, (_, parts) in enumerate(series.slices("1000")):
            (Path(folder) / f"{number:05}.dcm").write_bytes(HEAD + b"".join(parts))
        yield Path(folder)


def report(folder: Path, marks: bytes, archive_port: int) -> None:
    """Measure the marks of one segmentation on the series of a folder, and send the SR."""
    reader = SimpleITK.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(folder))
    reader.SetFileNames(names)
    volume = reader.Execute()
    headers = [pydicom.dcmread(name, stop_before_pixels=True) for name in names]
    segmentation = Segmentation.from_dataset(pydicom.dcmread(BytesIO(HEAD + marks)))
    labels = segmentation.get_pixels_by_source_instance(
        [one.SOPInstanceUID for one in headers],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
        skip_overlap_checks=True,
    )
    mask = SimpleITK.GetImageFromArray(labels.astype(np.uint8))
    mask.CopyInformation(volume)
    measured = SimpleITK.LabelIntensityStatisticsImageFilter()
    measured.ComputeFeretDiameterOn()
    measured.Execute(mask, volume)
    groups = [
        _group(number, segmentation, labels, headers, measured)
        for number in segmentation.get_segment_numbers()
    ]
    _send(_document(headers, segmentation, groups), archive_port)


def _group(
    number: int,
    segmentation: Segmentation,
    labels: np.ndarray,
    headers: Sequence[Dataset],
    measured: SimpleITK.LabelIntensityStatisticsImageFilter,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    touched = np.flatnonzero((labels == number).any(axis=(1, 2)))
    description = segmentation.get_segment_description(number)
    values = [Measurement(name, getattr(measured, get)(number), unit) for name, get, unit in SIZES]
    for derivation, get in INTENSITIES:
        attenuation = Code("112031", "DCM", "Attenuation Coefficient")
        values.append(Measurement(attenuation, getattr(measured, get)(number), HU, derivation=derivation))
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=description.tracking_uid, identifier=description.tracking_id
        ),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_images=[
                SourceImageForSegmentation(headers[k].SOPClassUID, headers[k].SOPInstanceUID) for k in touched
            ],
        ),
        finding_type=Code("52988006", "SCT", "Lesion"),
        measurements=values,
    )


def _document(
    headers: Sequence[Dataset],
    segmentation: Segmentation,
    groups: Sequence[VolumetricROIMeasurementsAndQualitativeEvaluations],
) -> Comprehensive3DSR:
    reader = ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(name="Reader^A"),
    )
    content = MeasurementReport(
        observation_context=ObservationContext(observer_person_context=reader),
        procedure_reported=Code("77477000", "SCT", "CT"),
        imaging_measurements=groups,
    )
    return Comprehensive3DSR(
        evidence=[*headers, segmentation],
        content=content,
        series_number=100,
        series_instance_uid=pydicom.uid.generate_uid(),
        sop_instance_uid=pydicom.uid.generate_uid(),
        instance_number=1,
        manufacturer="X",
    )


def _send(document: Dataset, port: int) -> None:
    entity = AE(ae_title="STRAIGHT")
    entity.add_requested_context(document.SOPClassUID, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", port)
    assert association.is_established
    assert association.send_c_store(document).Status == 0x0000
    association.release()
