"""The marks on the samples, each in the form of one kind of viewer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import highdicom as hd
import numpy as np
from phantom import Island, Scan
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    RTStructureSetStorage,
)

DETACHED_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
"""Retired class that RT Referenced Study Sequence still names (PS3.3 C.8.8.5)."""
CONTOUR_POINTS = 36
SCT, DCM, UCUM, LN = "SCT", "DCM", "UCUM", "LN"


@dataclass(frozen=True)
class Mark:
    """One ROI: the island it lies on and what the radiologist typed."""

    island: Island
    label: str


# ------------------------------------------------------------------------------------------- geometry


def outline_mm(island: Island, z: float) -> list[tuple[float, float]]:
    """Corners (x, y) of a polygon on the island's true edge in the plane at `z`; empty where not cut."""
    section = island.section(z)
    if section is None:
        return []
    centre, first, second = section
    angles = [2 * math.pi * i / CONTOUR_POINTS for i in range(CONTOUR_POINTS)]
    points = [centre + math.cos(a) * first + math.sin(a) * second for a in angles]
    return [(float(x), float(y)) for x, y in points]


def key_slice(island: Island, scan: Scan) -> int:
    """The slice on which the island is largest."""
    sections = [island.section(scan.slice_z_mm(k)) for k in range(scan.slices)]
    areas = [0.0 if s is None else abs(float(s[1][0] * s[2][1] - s[1][1] * s[2][0])) for s in sections]
    return int(np.argmax(areas))


def to_pixels(points: Sequence[tuple[float, float]], scan: Scan) -> list[tuple[float, float]]:
    """(column, row), 0.0 = outer corner of the first pixel (PS3.3 C.18.6.1.1)."""
    x0, y0, _ = scan.origin_mm
    return [((x - x0) / scan.pixel_mm + 0.5, (y - y0) / scan.pixel_mm + 0.5) for x, y in points]


def axes_mm(island: Island, z: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Ends of the longest diameter of the section at `z`, and of the one perpendicular to it."""
    section = island.section(z)
    assert section is not None
    centre, first, second = section
    if np.hypot(*first) < np.hypot(*second):
        first, second = second, first
    ends = [[centre - axis, centre + axis] for axis in (first, second)]
    return tuple([(float(p[0]), float(p[1])) for p in pair] for pair in ends)  # type: ignore[return-value]


def mask(island: Island, scan: Scan) -> np.ndarray:
    """(slices, rows, columns) bool: voxels whose centre lies inside the island."""
    x = scan.origin_mm[0] + scan.pixel_mm * np.arange(scan.columns)[None, :]
    y = scan.origin_mm[1] + scan.pixel_mm * np.arange(scan.rows)[:, None]
    planes = [island.distance(x, y, scan.slice_z_mm(k)) < 0 for k in range(scan.slices)]
    return np.stack(planes)


# ------------------------------------------------------------------------------------------------ SEG


def segmentation(
    marks: Sequence[Mark], scan: Scan, images: Sequence[Dataset], uids: Sequence[str], equipment: Dataset
) -> Dataset:
    """A binary SEG with one segment for each mark, by highdicom."""
    series_uid, instance_uid, dimension_uid, *tracking = uids
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=mark.label,
            segmented_property_category=Code("49755003", SCT, "Morphologically abnormal structure"),
            segmented_property_type=Code("52988006", SCT, "Lesion"),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            tracking_uid=uid,
            tracking_id=f"Lesion {number}",
        )
        for number, (mark, uid) in enumerate(zip(marks, tracking, strict=True), 1)
    ]
    pixels = np.stack([mask(mark.island, scan) for mark in marks], axis=-1)
    seg = hd.seg.Segmentation(
        source_images=list(images),
        pixel_array=pixels.astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=series_uid,
        series_number=301,
        sop_instance_uid=instance_uid,
        instance_number=1,
        manufacturer=equipment.Manufacturer,
        manufacturer_model_name=equipment.ManufacturerModelName,
        software_versions=equipment.SoftwareVersions,
        device_serial_number=equipment.DeviceSerialNumber,
        content_description="Lesion marks",
        content_creator_name="READER^SYNTHETIC",
        series_description="Lesion marks",
    )
    # highdicom draws this UID at random; the samples are the same at every run.
    for sequence in (seg.DimensionOrganizationSequence, seg.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = dimension_uid
    if "ContributingEquipmentSequence" in seg:
        del seg.ContributingEquipmentSequence
    return seg


# ------------------------------------------------------------------------------------------- RTSTRUCT


def structure_set(
    marks: Sequence[Mark],
    body: Sequence[tuple[float, float]],
    scan: Scan,
    images: Sequence[Dataset],
    ds: Dataset,
) -> Dataset:
    """An RTSTRUCT of closed planar contours; the body outline comes first, as planning systems have it."""
    ds.SOPClassUID, ds.Modality = RTStructureSetStorage, "RTSTRUCT"
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "LESIONS", ds.SeriesDate, ds.SeriesTime
    ds.ApprovalStatus, ds.OperatorsName = "UNAPPROVED", "READER^SYNTHETIC"
    del ds.ContentDate, ds.ContentTime
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = images[0].FrameOfReferenceUID, ""
    ds.ReferencedFrameOfReferenceSequence = [_referenced_frame(images)]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []

    def add(name: str, kind: str, colour: list[int], contours: list[Dataset]) -> None:
        number = len(ds.StructureSetROISequence) + 1
        roi, drawn, observed = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ReferencedFrameOfReferenceUID = number, images[0].FrameOfReferenceUID
        roi.ROIName, roi.ROIGenerationAlgorithm = name, "MANUAL"
        drawn.ROIDisplayColor, drawn.ContourSequence, drawn.ReferencedROINumber = colour, contours, number
        observed.ObservationNumber, observed.ReferencedROINumber = number, number
        observed.RTROIInterpretedType, observed.ROIInterpreter = kind, "READER^SYNTHETIC"
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
        ds.RTROIObservationsSequence.append(observed)

    add("BODY", "EXTERNAL", [0, 255, 0], [_contour(body, scan, k, images[k]) for k in range(scan.slices)])
    for mark in marks:
        cuts = [(k, outline_mm(mark.island, scan.slice_z_mm(k))) for k in range(scan.slices)]
        add(
            mark.label,
            "",
            [255, 200, 0],
            [_contour(points, scan, k, images[k]) for k, points in cuts if points],
        )
    return ds


def _contour(points: Sequence[tuple[float, float]], scan: Scan, k: int, image: Dataset) -> Dataset:
    contour = Dataset()
    contour.ContourImageSequence = [_reference(image)]
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
    z = scan.slice_z_mm(k)
    contour.ContourData = [f"{value:.3f}" for x, y in points for value in (x, y, z)]
    return contour


def _referenced_frame(images: Sequence[Dataset]) -> Dataset:
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ContourImageSequence = [_reference(image) for image in images]
    study.ReferencedSOPClassUID = DETACHED_STUDY_MANAGEMENT
    study.ReferencedSOPInstanceUID = images[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = images[0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return item


# ------------------------------------------------------------------------------------------------- SR


def standard_report(
    marks: Sequence[Mark], scan: Scan, images: Sequence[Dataset], tracking: Sequence[str], ds: Dataset
) -> Dataset:
    """TID 1500 with a TID 1410 group for each mark: its outline as image region on the key slice."""
    groups = []
    for mark, uid in zip(marks, tracking, strict=True):
        k = key_slice(mark.island, scan)
        outline = to_pixels(outline_mm(mark.island, scan.slice_z_mm(k)), scan)
        long_mm, short_mm = (math.dist(*ends) for ends in axes_mm(mark.island, scan.slice_z_mm(k)))
        items = [
            *_tracking(mark.label, uid),
            _code("CONTAINS", ("121071", DCM, "Finding"), ("52988006", SCT, "Lesion")),
            _region("CONTAINS", ("111030", DCM, "Image Region"), outline, images[k]),
            _number(("103339001", SCT, "Long Axis"), long_mm, ("mm", UCUM, "millimeter")),
            _number(("103340004", SCT, "Short Axis"), short_mm, ("mm", UCUM, "millimeter")),
        ]
        groups.append(_container("CONTAINS", ("125007", DCM, "Measurement Group"), items, "1410"))
    ds.SOPClassUID = ComprehensiveSRStorage
    return _report(ds, groups, images, "READER^SYNTHETIC", "en")


def ohif_report(
    calipers: Sequence[Mark],
    drawings: Sequence[Mark],
    scan: Scan,
    images: Sequence[Dataset],
    tracking: Sequence[str],
    ds: Dataset,
) -> Dataset:
    """As OHIF saves it: geometry under the number, the tool as tracking identifier, the label as a code."""
    uids = iter(tracking)
    groups = []
    for mark in calipers:
        k = key_slice(mark.island, scan)
        names = (("103339001", SCT, "Long Axis"), ("103340004", SCT, "Short Axis"))
        numbers = [
            _number(name, math.dist(*ends), ("mm", UCUM, "millimeter"), to_pixels(ends, scan), images[k])
            for name, ends in zip(names, axes_mm(mark.island, scan.slice_z_mm(k)), strict=True)
        ]
        groups.append(_ohif_group("Bidirectional", mark.label, next(uids), numbers))
    for mark in drawings:
        k = key_slice(mark.island, scan)
        outline = outline_mm(mark.island, scan.slice_z_mm(k))
        closed = [*outline, outline[0]]
        length = sum(math.dist(a, b) for a, b in pairwise(closed))
        doubled = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(closed))
        mm, mm2 = ("mm", UCUM, "millimeter"), ("mm2", UCUM, "SquareMilliMeter")
        numbers = [
            _number(("131191004", SCT, "Perimeter"), length, mm, to_pixels(closed, scan), images[k]),
            _number(("42798000", SCT, "Area"), abs(doubled) / 2, mm2),
        ]
        groups.append(_ohif_group("PlanarFreehandROI", mark.label, next(uids), numbers))
    ds.SOPClassUID = EnhancedSRStorage
    return _report(ds, groups, images, "unknown^unknown", "en-US")


def _ohif_group(tool: str, label: str, uid: str, numbers: Sequence[Dataset]) -> Dataset:
    finding = ("CORNERSTONEFREETEXT", "CORNERSTONEJS", label)
    items = [
        *_tracking(f"Cornerstone3DTools@^0.1.0:{tool}", uid),
        _code("CONTAINS", ("121071", DCM, "Finding"), finding),
        *numbers,
    ]
    return _container("CONTAINS", ("125007", DCM, "Measurement Group"), items, "1501")


def _report(
    ds: Dataset, groups: Sequence[Dataset], images: Sequence[Dataset], observer: str, language: str
) -> Dataset:
    used = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for group in groups
        for item in _walk(group)
        if item.ValueType == "IMAGE"
    }
    ds.Modality, ds.ReferencedPerformedProcedureStepSequence = "SR", []
    ds.CompletionFlag, ds.VerificationFlag, ds.PerformedProcedureCodeSequence = "COMPLETE", "UNVERIFIED", []
    evidence, series = Dataset(), Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedSOPSequence = [_reference(i) for i in images if i.SOPInstanceUID in used]
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = images[0].StudyInstanceUID, [series]
    ds.CurrentRequestedProcedureEvidenceSequence = [evidence]
    root = _container(
        None,
        ("126000", DCM, "Imaging Measurement Report"),
        [
            _code("HAS CONCEPT MOD", ("121049", DCM, "Language of Content Item and Descendants"),
                  (language, "RFC5646", "English")),
            _code("HAS OBS CONTEXT", ("121005", DCM, "Observer Type"), ("121006", DCM, "Person")),
            _person("HAS OBS CONTEXT", ("121008", DCM, "Person Observer Name"), observer),
            _code("HAS CONCEPT MOD", ("121058", DCM, "Procedure reported"),
                  ("25045-6", LN, "CT unspecified body region")),
            _container("CONTAINS", ("126010", DCM, "Imaging Measurements"), groups),
        ],
        "1500",
    )  # fmt: skip
    ds.update(root)
    return ds


def _walk(item: Dataset) -> list[Dataset]:
    return [item, *(deeper for child in item.get("ContentSequence", []) for deeper in _walk(child))]


_Coded = tuple[str, str, str]


def _coded(code: _Coded) -> list[Dataset]:
    item = Dataset()
    value, item.CodingSchemeDesignator, item.CodeMeaning = code
    if len(value) > 16:
        item.LongCodeValue = value
    else:
        item.CodeValue = value
    return [item]


def _item(relationship: str | None, kind: str, name: _Coded | None) -> Dataset:
    item = Dataset()
    if relationship:
        item.RelationshipType = relationship
    item.ValueType = kind
    if name:
        item.ConceptNameCodeSequence = _coded(name)
    return item


def _container(
    relationship: str | None, name: _Coded, children: Sequence[Dataset], template: str | None = None
) -> Dataset:
    item = _item(relationship, "CONTAINER", name)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        declared = Dataset()
        declared.MappingResource, declared.TemplateIdentifier = "DCMR", template
        item.ContentTemplateSequence = [declared]
    item.ContentSequence = list(children)
    return item


def _code(relationship: str, name: _Coded, value: _Coded) -> Dataset:
    item = _item(relationship, "CODE", name)
    item.ConceptCodeSequence = _coded(value)
    return item


def _person(relationship: str, name: _Coded, value: str) -> Dataset:
    item = _item(relationship, "PNAME", name)
    item.PersonName = value
    return item


def _tracking(identifier: str, uid: str) -> list[Dataset]:
    text = _item("HAS OBS CONTEXT", "TEXT", ("112039", DCM, "Tracking Identifier"))
    text.TextValue = identifier
    unique = _item("HAS OBS CONTEXT", "UIDREF", ("112040", DCM, "Tracking Unique Identifier"))
    unique.UID = uid
    return [text, unique]


def _number(
    name: _Coded,
    value: float,
    unit: _Coded,
    points_px: Sequence[tuple[float, float]] = (),
    image: Dataset | None = None,
) -> Dataset:
    item = _item("CONTAINS", "NUM", name)
    measured = Dataset()
    measured.MeasurementUnitsCodeSequence = _coded(unit)
    measured.NumericValue = f"{value:.4f}"
    item.MeasuredValueSequence = [measured]
    if image is not None:
        item.ContentSequence = [_region("INFERRED FROM", None, points_px, image)]
    return item


def _region(
    relationship: str, name: _Coded | None, points_px: Sequence[tuple[float, float]], image: Dataset
) -> Dataset:
    item = _item(relationship, "SCOORD", name)
    item.GraphicType = "POLYLINE"
    closed = [*points_px, points_px[0]] if len(points_px) > 2 and points_px[0] != points_px[-1] else points_px
    item.GraphicData = [round(value, 4) for point in closed for value in point]
    picture = _item("SELECTED FROM", "IMAGE", None)
    picture.ReferencedSOPSequence = [_reference(image)]
    item.ContentSequence = [picture]
    return item
