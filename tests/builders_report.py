"""Reports and the small CT series they are about, built in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from osteoscribe.core.answers import Answer, Density, Growth, Morphology, Provenance
from osteoscribe.core.codes import LEFT, SITES, Code
from osteoscribe.core.facts import FactSheet, RuleFacts, StatedFact
from osteoscribe.core.geometry import Grid
from osteoscribe.core.intensity import IntensityReference
from osteoscribe.core.marks import Caliper, InstanceRef, MaskShape, PatientContours, PointMark, RoiMark
from osteoscribe.core.phrase import Phrase
from osteoscribe.core.prior import Comparison
from osteoscribe.core.region import Outline, Placement, Region, RegionKind
from osteoscribe.core.report import Finding, Ignored, Lesion, Predecessor, Problem, Report
from osteoscribe.core.rules.decision import Decision
from osteoscribe.core.series import Acquisition
from osteoscribe.core.size import Doubt, NotMeasurable, Size
from osteoscribe.core.units import CubicMillimetre, Hounsfield, Millimetre, round_half_up
from osteoscribe.writers.document import EvidenceRef, encode
from osteoscribe.writers.uids import derived_uid, tracking_uid

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
SHA256 = "5f" * 32
PHRASE = "5 mm sclerotic focus, likely bone island, no further imaging recommended"
ROWS = COLUMNS = 64
SPACING_MM = 0.7


def ct_series(slices: int = 3, *, study: str = "a", **elements: Any) -> tuple[Dataset, ...]:
    """A small axial CT series; `elements` are set on each instance, None removes one."""
    return tuple(_ct_instance(k, study, elements) for k in range(slices))


def _ct_instance(k: int, study: str, elements: dict[str, Any]) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = derived_uid("test ct", study, str(k))
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.AccessionNumber = "A123"
    ds.Modality = "CT"
    ds.Manufacturer = "Phantom"
    ds.ManufacturerModelName = "Numerical"
    ds.ReferringPhysicianName = "Referrer^Test"
    ds.StudyDescription = "CT pelvis"
    ds.PatientName = "Phantom^Test"
    ds.PatientID = "P1"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.PatientAge = "056Y"
    ds.SliceThickness = "0.7"
    ds.KVP = "120"
    ds.BodyPartExamined = "PELVIS"
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = derived_uid("test study", study)
    ds.SeriesInstanceUID = derived_uid("test series", study)
    ds.FrameOfReferenceUID = derived_uid("test frame", study)
    ds.PositionReferenceIndicator = ""
    ds.StudyID = "S1"
    ds.SeriesNumber = 3
    ds.AcquisitionNumber = 1
    ds.InstanceNumber = k + 1
    ds.ImagePositionPatient = [0, 0, round(SPACING_MM * k, 3)]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [SPACING_MM, SPACING_MM]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    pixels = np.full((ROWS, COLUMNS), 1064, dtype="<i2")
    pixels[26:34, 36:44] = 2000
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def save_series(series: Iterable[Dataset], folder: Path) -> Path:
    """Write the series as Part 10 files ``*.dcm``."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, ds in enumerate(series):
        (folder / f"{k:03}.dcm").write_bytes(encode(ds))
    return folder


def evidence_for(series: Sequence[Dataset], *marks: InstanceRef) -> tuple[EvidenceRef, ...]:
    """Evidence of all instances of a series, and of mark objects in a series of their own."""
    study = str(series[0].StudyInstanceUID)
    images = tuple(
        EvidenceRef(
            sop_class_uid=str(ds.SOPClassUID),
            sop_instance_uid=str(ds.SOPInstanceUID),
            series_instance_uid=str(ds.SeriesInstanceUID),
            study_instance_uid=study,
        )
        for ds in series
    )
    return images + tuple(
        EvidenceRef(
            sop_class_uid=ref.sop_class_uid,
            sop_instance_uid=ref.sop_instance_uid,
            series_instance_uid=derived_uid("test mark series", ref.sop_instance_uid),
            study_instance_uid=study,
        )
        for ref in marks
    )


def grid_for(series: Sequence[Dataset]) -> Grid:
    """The grid of the small series."""
    origins = [[0.0, 0.0, SPACING_MM * k] for k in range(len(series))]
    return Grid(
        shape=(len(series), ROWS, COLUMNS),
        origins_lps_mm=np.array(origins),
        row_step_lps_mm=np.array([0.0, SPACING_MM, 0.0]),
        column_step_lps_mm=np.array([SPACING_MM, 0.0, 0.0]),
        slice_step_lps_mm=np.array([0.0, 0.0, SPACING_MM]),
        frame_of_reference_uid=series[0].get("FrameOfReferenceUID"),
    )


def image_of(series: Sequence[Dataset], k: int = 1) -> InstanceRef:
    """The image of slice `k`; of a multi-frame series its frame."""
    if series[0].SOPClassUID == ENHANCED_CT:
        return InstanceRef(
            sop_class_uid=ENHANCED_CT, sop_instance_uid=str(series[0].SOPInstanceUID), frame_number=k + 1
        )
    ds = series[k]
    return InstanceRef(sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID))


OUTLINE_RC = np.array([[27.0, 37.0], [27.0, 42.5], [30.25, 43.75], [33.0, 42.0], [33.0, 37.0]])


def mark_for(
    series: Sequence[Dataset],
    *,
    kind: str = "rtstruct",
    item: str | None = None,
    site: Code | None = SITES["ilium"],
    side: Code | None = LEFT,
    observer: str | None = "Reader^Test",
    k: int = 1,
    label: str = "BI typical",
) -> RoiMark:
    """A mark of the kind ``rtstruct``, ``seg``, ``caliper`` or ``point``."""
    image = image_of(series, k)
    shape: Any = PatientContours(contours_lps_mm=(np.zeros((3, 3)),), images=(None,))
    sop_class, usual_item, dialect = RTSTRUCT, "ROI 4", "RTSTRUCT"
    if kind == "seg":
        shape = MaskShape(grid=grid_for(series), mask=np.zeros((1, ROWS, COLUMNS)), images=(image,))
        sop_class, usual_item, dialect = SEGMENTATION, "segment 2", "SEG binary"
    elif kind == "caliper":
        shape = Caliper(image=image, long_axis_px=np.array([[37.0, 30.0], [44.0, 30.0]]))
        sop_class, usual_item, dialect = "1.2.840.10008.5.1.4.1.1.88.33", "group 1", "SR TID 1500"
    elif kind == "point":
        shape = PointMark(image=image, point_px=np.array([40.5, 30.5]))
        sop_class, usual_item, dialect = "1.2.840.10008.5.1.4.1.1.88.33", "group 1", "SR TID 1500"
    return RoiMark(
        tracking_uid=None,
        label=label,
        shape=shape,
        source=InstanceRef(sop_class_uid=sop_class, sop_instance_uid=derived_uid("test mark", kind)),
        item=item or usual_item,
        dialect=dialect,
        frame_of_reference_uid=series[0].get("FrameOfReferenceUID"),
        observer_name=observer,
        finding_site=site,
        laterality=side,
    )


def placement_for(series: Sequence[Dataset], kind: str, k: int = 1) -> Placement:
    """A region on slice `k` with the usual outline; a caliper's two lines; nothing for a point."""
    grid = grid_for(series)
    mask = np.ones((1, 7, 7), dtype=bool)
    outlines: tuple[Outline, ...] = (Outline(k=k, points_rc=OUTLINE_RC),)
    region_kind = RegionKind.CONTOUR if kind == "rtstruct" else RegionKind.MASK
    if kind == "caliper":
        region_kind, mask = RegionKind.CALIPER, np.zeros((0, 0, 0), dtype=bool)
        outlines = (
            Outline(k=k, points_rc=np.array([[29.5, 36.5], [29.5, 43.5]])),
            Outline(k=k, points_rc=np.array([[27.0, 40.0], [32.0, 40.0]])),
        )
    elif kind == "point":
        region_kind, mask = RegionKind.POINT, np.zeros((0, 0, 0), dtype=bool)
        outlines = (Outline(k=k, points_rc=np.array([[30.0, 40.0]])),)
    region = Region(kind=region_kind, grid=grid, offset=(k, 27, 37), mask=mask, outlines=outlines)
    return Placement(measured=region, on_ct=region, remarks=())


def size_of(long_axis_mm: float = 5.1512345, *, flat: bool = False) -> Size:
    """A size; `flat` has no volume."""
    return Size(
        long_axis_mm=Millimetre(long_axis_mm),
        short_axis_mm=Millimetre(4.4498765),
        maximum_3d_diameter_mm=None if flat else Millimetre(long_axis_mm + 0.3),
        volume_mm3=None if flat else CubicMillimetre(66.5432109),
        mesh_volume_mm3=None if flat else CubicMillimetre(64.2),
        whole_mm=round_half_up(long_axis_mm),
        k=1,
        endpoints_lps_mm=np.array([[25.9, 21.0, 0.7], [30.5, 21.0, 0.7]]),
        short_endpoints_lps_mm=None,
        method="vertex to vertex of the contour",
        uncertainty_mm=Millimetre(0.7),
        doubts=(Doubt.BORDERLINE,) if 5.0 <= long_axis_mm < 6.0 else (),
    )


INTENSITY = IntensityReference(
    mean_hu=Hounsfield(1009.8012),
    standard_deviation_hu=Hounsfield(141.2996),
    minimum_hu=Hounsfield(-12.0),
    maximum_hu=Hounsfield(1301.5),
    median_hu=Hounsfield(1011.0),
    voxel_count=194,
    remarks=(),
)


def facts_of(size: Size | NotMeasurable, **answers: Any) -> FactSheet:
    """Facts with a few answers; the rest unknown."""
    given = {"density": Density.SCLEROTIC, "morphology": Morphology.TYPICAL, "symptoms": Answer.NO, **answers}
    whole = size.whole_mm if isinstance(size, Size) else None
    facts = RuleFacts(size=whole, **given)
    names = [name for name in facts.__dataclass_fields__ if name != "size"]
    stated = [
        StatedFact(
            name="size",
            value="not measurable" if whole is None else str(whole),
            provenance=Provenance.MEASUREMENT,
        )
    ]
    for name in names:
        provenance = Provenance.ROI_LABEL if name in given else Provenance.NOT_RECORDED
        stated.append(
            StatedFact(name=name, value=getattr(facts, name).value, provenance=provenance, where="")
        )
    return FactSheet(facts=facts, stated=tuple(stated))


def decision_of(rule_id: str = "L1-C", scope: str = "lesion") -> Decision:
    """A decision of the usual table."""
    return Decision(
        rule_id=rule_id,
        conditional=rule_id.endswith("-C"),
        analogue="SSR Bone-RADS 1 (analogue)",
        scope=scope,
        unknown=("malignancy_history",),
        sources=("Chang CY et al. Skeletal Radiol 2022;51:1743, doi 10.1007/s00256-022-04022-8",),
        why="Sclerotic, 5 mm or less, not atypical.",
        table_id="incidental-sclerotic-lesion",
        table_version="2026.1",
        table_sha256=SHA256,
    )


def finding_for(
    series: Sequence[Dataset],
    *,
    number: int = 1,
    kind: str = "rtstruct",
    size: Size | NotMeasurable | None = None,
    phrase: str = PHRASE,
    recommendation: str = "none",
    rule_id: str = "L1-C",
    scope: str = "lesion",
    k: int = 1,
    comparison: Comparison | None = None,
    answers: dict[str, Any] | None = None,
    **mark: Any,
) -> Finding:
    """A finding of one lesion."""
    placement = placement_for(series, kind, k)
    roi = mark_for(series, kind=kind, k=k, **mark)
    if size is None:
        size = (
            NotMeasurable(code="size.point", reason="a point has no size") if kind == "point" else size_of()
        )
        if kind == "caliper":
            size = size_of(flat=True)
    has_area = kind in ("rtstruct", "seg")
    lesion = Lesion(
        name=f"Lesion {number}",
        mark=roi,
        tracking_uid=tracking_uid(roi),
        placement=placement,
        size=size,
        image=image_of(series, k),
        image_label=f"series 3, image {k + 1}",
        outline=placement.on_ct.outlines[0] if placement.on_ct.outlines else None,
        intensity=INTENSITY if has_area else None,
        comparison=comparison,
    )
    return Finding(
        lesion=lesion,
        facts=facts_of(size, **(answers or {})),
        decision=decision_of(rule_id, scope),
        phrase=Phrase(text=phrase, recommendation=recommendation, conditional=rule_id.endswith("-C")),
    )


def report_for(
    series: Sequence[Dataset],
    findings: Sequence[Finding],
    *,
    problems: Sequence[Problem] = (),
    ignored: Sequence[Ignored] = (),
    revision: int = 1,
    predecessor: Predecessor | None = None,
    accepted_at: datetime = datetime(2026, 1, 2, 11, 30, 5, 250000, tzinfo=timezone(timedelta(hours=1))),
) -> Report:
    """A report of the findings."""
    return Report(
        study_instance_uid=str(series[0].StudyInstanceUID),
        series_instance_uid=str(series[0].SeriesInstanceUID),
        acquisition=Acquisition(
            slice_thickness_mm=0.7, kvp_kv=120.0, convolution_kernel="B70f", contrast=None
        ),
        findings=tuple(findings),
        problems=tuple(problems),
        ignored=tuple(ignored),
        software_version="0.1.0",
        accepted_at=accepted_at,
        table_id="incidental-sclerotic-lesion",
        table_version="2026.1",
        table_sha256=SHA256,
        revision=revision,
        predecessor=predecessor,
    )


GROWN = Comparison(
    prior_tracking_uid="1.2.3",
    prior_date=date(2024, 1, 2),
    prior_long_axis_mm=Millimetre(5.0),
    difference_mm=Millimetre(0.15),
    growth=Growth.STABLE_24,
    comparable=True,
)
