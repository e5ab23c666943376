"""The measurement report: Comprehensive 3D SR, TID 1500 (PS3.16), outlines as 2D SCOORD on the CT slices."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from pydicom import Dataset

from osteoscribe.core import codes
from osteoscribe.core.answers import Density
from osteoscribe.core.codes import Code
from osteoscribe.core.reference import panel_lines
from osteoscribe.core.region import Outline, RegionKind, area_mm2
from osteoscribe.core.report import Finding, Lesion, Report
from osteoscribe.core.size import NotMeasurable, Size
from osteoscribe.writers import content, uids, wording
from osteoscribe.writers.copying import quiet
from osteoscribe.writers.document import (
    MANUFACTURER,
    MODEL_NAME,
    DocumentKind,
    Evidence,
    new_document,
    serial_number,
)
from osteoscribe.writers.encoded import Item
from osteoscribe.writers.profiles import STANDARD, Profile

SERIES_NUMBER = 9801
SERIES_DESCRIPTION = "Bone lesion SR"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
_SEGMENT = re.compile(r"segment (\d+)")


def build_sr(
    report: Report, context: Dataset, evidence: Sequence[Evidence], profile: Profile = STANDARD
) -> Dataset:
    """The measurement report of one CT series.

    Parameters
    ----------
    report
        What it says; at least one finding (a report of problems only is told by a notice).
    context
        Header of one CT instance of the series: patient and study are copied whole from it.
    evidence
        All CT instances of the series, and the objects the marks came from.
    profile
        The form for the destination.

    Returns
    -------
    Dataset
        Complete but for its file meta information, which `document.encode` adds.

    Raises
    ------
    ValueError
        Where `report` has no finding.

    References
    ----------
    PS3.16 TID 1500, 1410, 1411, 1501; PS3.3 A.35.13
    """
    if not report.findings:
        raise ValueError("a report without findings is told by a notice, not by a measurement report")
    kind = DocumentKind(
        sop_class_uid=profile.sop_class_uid,
        sop_instance_uid=uids.report_uid(report, profile.variant),
        series_kind="report",
        series_number=SERIES_NUMBER + profile.series_offset,
        series_description=SERIES_DESCRIPTION,
        variant=profile.variant,
        names_predecessor=True,
    )
    ds = new_document(report, context, evidence, kind)
    with quiet():
        procedure = _procedure_reported(ds)
    children = [
        *observation_context(report, observers(report) if has_one_observer(report) else ()),
        procedure,
        content.text(profile.phrase_code, wording.summary(report), language=wording.language(report)),
        _image_library(report),
        _imaging_measurements(report, profile),
        _qualitative_evaluations(report),
    ]
    ds.update(content.root(codes.IMAGING_MEASUREMENT_REPORT, children, template="1500"))
    return ds


def observer_of(lesion: Lesion) -> str:
    """The person who marked a lesion, or an empty string."""
    return content.clean_name(lesion.mark.observer_name or "")


def observers(report: Report) -> tuple[str, ...]:
    """The persons who marked, each once."""
    names = (observer_of(finding.lesion) for finding in report.findings)
    return tuple(dict.fromkeys(name for name in names if name))


def has_one_observer(report: Report) -> bool:
    """Whether one and the same person made every mark."""
    names = {observer_of(finding.lesion) for finding in report.findings}
    return len(names) == 1 and names != {""}


def site_of(lesion: Lesion) -> Code:
    """Where a lesion is; bone where nothing better is recorded."""
    site = lesion.mark.finding_site
    return (content.clean_code(site) if site else None) or codes.BONE


def side_of(lesion: Lesion) -> Code | None:
    """On which side a lesion is, or None."""
    side = lesion.mark.laterality
    return content.clean_code(side) if side else None


def observation_context(report: Report, persons: Sequence[str]) -> list[Item]:
    """Language, the persons who marked, and this device (TID 1204, 1002, 1003, 1004)."""
    relationship = content.HAS_OBS_CONTEXT
    items = [content.code(codes.LANGUAGE, codes.ENGLISH, relationship=content.HAS_CONCEPT_MOD)]
    for name in persons:
        items += _person(name)
    items.append(content.code(codes.OBSERVER_TYPE, codes.DEVICE, relationship=relationship))
    device = uids.device_uid(report)
    items.append(content.uid_reference(codes.DEVICE_OBSERVER_UID, device, relationship=relationship))
    for name_code, value in (
        (codes.DEVICE_OBSERVER_NAME, MODEL_NAME),
        (codes.DEVICE_OBSERVER_MANUFACTURER, MANUFACTURER),
        (codes.DEVICE_OBSERVER_MODEL_NAME, MODEL_NAME),
        (codes.DEVICE_OBSERVER_SERIAL_NUMBER, serial_number(report)),
    ):
        items.append(content.text(name_code, value, relationship=relationship))
    return items


def _person(name: str) -> list[Item]:
    kind = content.code(codes.OBSERVER_TYPE, codes.PERSON, relationship=content.HAS_OBS_CONTEXT)
    return [kind, content.person_name(codes.PERSON_OBSERVER_NAME, name)]


def _procedure_reported(ds: Dataset) -> Item:
    """The first procedure that the CT names, else CT without body region; TID 1500 has room for one."""
    stated = (
        content.clean_code(Code(*(str(item.get(keyword) or "") for keyword in _CODE)))
        for item in ds.get("ProcedureCodeSequence") or []
        if item.get("CodeMeaning")
    )
    procedure = next(filter(None, stated), codes.CT_UNSPECIFIED_BODY_REGION)
    return content.code(codes.PROCEDURE_REPORTED, procedure, relationship=content.HAS_CONCEPT_MOD)


def _image_library(report: Report) -> Item:
    """Only the slices that carry a region: a library of all slices buries the result."""
    images = dict.fromkeys(finding.lesion.image for finding in report.findings)
    modality = content.code(codes.MODALITY, codes.COMPUTED_TOMOGRAPHY, relationship=content.HAS_ACQ_CONTEXT)
    group = content.container(codes.IMAGE_LIBRARY_GROUP, [modality, *(content.image(ref) for ref in images)])
    return content.container(codes.IMAGE_LIBRARY, [group])


def _imaging_measurements(report: Report, profile: Profile) -> Item:
    items = _algorithm(report)
    # The template has room for one person over all; several stand with their own lesions.
    is_person_told = has_one_observer(report)
    for finding in report.findings:
        observer = "" if is_person_told else observer_of(finding.lesion)
        tool = _tool(finding.lesion) if profile.tools else ""
        prefix = f"{profile.tools}:{tool}:" if tool else ""
        identity = _identity(finding, prefix + finding.lesion.name)
        planar = [*identity, *(_person(observer) if observer else ())]
        items += _groups(finding, profile, planar, report)
    return content.container(codes.IMAGING_MEASUREMENTS, items)


def _algorithm(report: Report) -> list[Item]:
    """TID 4019, once for the whole report."""
    table = f"rule table {report.table_id} {report.table_version}, SHA-256 {report.table_sha256}"
    return [
        content.text(name, value, relationship=content.HAS_CONCEPT_MOD)
        for name, value in (
            (codes.ALGORITHM_NAME, MODEL_NAME),
            (codes.ALGORITHM_VERSION, report.software_version),
            (codes.ALGORITHM_MANUFACTURER, MANUFACTURER),
            (codes.ALGORITHM_PARAMETERS, table),
            (codes.ALGORITHM_PARAMETERS, "HU for reference only, no rule uses it"),
        )
    ]


def _groups(finding: Finding, profile: Profile, identity: list[Item], report: Report) -> list[Item]:
    """The group of a lesion, and for a mark from a SEG a second one that refers to the segment.

    HU and volume stand in one of them, never in both: viewers add groups of the same tracking UID together.
    """
    lesion = finding.lesion
    segment = segment_number(lesion)
    volume = [*_volume(lesion), *_intensity(lesion)]
    planar = [
        *identity,
        *(_area(lesion) if profile.tools else ()),
        *_axes(lesion),
        *([] if segment is not None and volume else volume),
        *_evaluations(finding, profile),
        *_region(lesion),
    ]
    template = "1410" if has_image_region(lesion) else "1501"
    groups = [content.container(codes.MEASUREMENT_GROUP, planar, template=template)]
    if segment is not None and volume:
        source = lesion.mark.source
        items = [
            *_identity(finding, lesion.name),
            *volume,
            content.image(source, name=codes.REFERENCED_SEGMENT, segment=segment),
            content.uid_reference(codes.SOURCE_SERIES_FOR_SEGMENTATION, report.series_instance_uid),
        ]
        groups.append(content.container(codes.MEASUREMENT_GROUP, items, template="1411"))
    return groups


def segment_number(lesion: Lesion) -> int | None:
    """The segment of a mark from a SEG, else None."""
    match = _SEGMENT.fullmatch(lesion.mark.item)
    is_segment = lesion.mark.source.sop_class_uid == SEGMENTATION and match is not None
    return int(match[1]) if is_segment and match else None


def _identity(finding: Finding, identifier: str) -> list[Item]:
    lesion = finding.lesion
    is_sclerotic = finding.facts.facts.density is Density.SCLEROTIC
    side = side_of(lesion)
    sides = (
        (content.code(codes.LATERALITY, side, relationship=content.HAS_CONCEPT_MOD),)
        if side is not None
        else ()
    )
    return [
        content.text(codes.TRACKING_IDENTIFIER, identifier, relationship=content.HAS_OBS_CONTEXT),
        content.uid_reference(
            codes.TRACKING_UNIQUE_IDENTIFIER, lesion.tracking_uid, relationship=content.HAS_OBS_CONTEXT
        ),
        content.code(codes.FINDING_CATEGORY, codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE),
        content.code(codes.FINDING, codes.SCLEROTIC_LESION if is_sclerotic else codes.LESION),
        content.code(codes.FINDING_SITE, site_of(lesion), sides, relationship=content.HAS_CONCEPT_MOD),
    ]


def _tool(lesion: Lesion) -> str:
    """The tool of OHIF's that draws such a mark, or an empty string."""
    if has_closed_outline(lesion):
        return "PlanarFreehandROI"
    return ("", "Length", "Bidirectional")[min(len(_caliper_lines(lesion)), 2)]


def _area(lesion: Lesion) -> list[Item]:
    """The area of the outline, and the outline as what it is inferred from (TID 300).

    OHIF edits a region only where the first number of its group carries it, and takes that number as area.
    """
    if lesion.outline is None or not has_closed_outline(lesion):
        return []
    points = image_coordinates(lesion.outline, closed=True)
    drawn = content.coordinates(None, "POLYLINE", points, lesion.image, relationship=content.INFERRED_FROM)
    area = content.decimal_string(area_mm2(lesion.outline, lesion.placement.on_ct.grid))
    return [content.number(codes.AREA, area, codes.SQUARE_MILLIMETRE, [drawn])]


def _axes(lesion: Lesion) -> list[Item]:
    size = lesion.size
    if isinstance(size, NotMeasurable):
        return []
    lines = _caliper_lines(lesion)
    long_axis = content.decimal_string(size.long_axis_mm, whole=size.whole_mm)
    items = [content.number(codes.LONG_AXIS, long_axis, codes.MILLIMETRE, lines[:1])]
    if size.short_axis_mm is not None:
        short_axis = content.decimal_string(size.short_axis_mm)
        items.append(content.number(codes.SHORT_AXIS, short_axis, codes.MILLIMETRE, lines[1:2]))
    return items


def _caliper_lines(lesion: Lesion) -> list[Item]:
    """The drawn lengths, as what the axes are inferred from (TID 300)."""
    region = lesion.placement.on_ct
    if region.kind is not RegionKind.CALIPER or lesion.outline is None:
        return []
    return [
        content.coordinates(
            None,
            "POLYLINE",
            image_coordinates(line, closed=False),
            lesion.image,
            relationship=content.INFERRED_FROM,
        )
        for line in region.outlines
        if line.k == lesion.outline.k
    ]


def image_coordinates(outline: Outline, *, closed: bool) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """An outline as PS3.3 C.18.6.1.1 counts: (column, row), 0.0 = outer corner of the first pixel.

    Returns
    -------
    ndarray
        (n, 2), the first point repeated at the end where `closed`.
    """
    points = np.asarray(outline.points_rc, dtype=np.float64)[:, ::-1] + 0.5
    return np.vstack([points, points[:1]]) if closed else points


def _volume(lesion: Lesion) -> list[Item]:
    size = lesion.size
    if not isinstance(size, Size) or size.volume_mm3 is None:
        return []
    method = content.code(
        codes.MEASUREMENT_METHOD, codes.SUM_OF_SEGMENTED_VOXELS, relationship=content.HAS_CONCEPT_MOD
    )
    volume = content.decimal_string(size.volume_mm3)
    return [content.number(codes.VOLUME, volume, codes.CUBIC_MILLIMETRE, [method])]


def _intensity(lesion: Lesion) -> list[Item]:
    """HU, then the longest 3D diameter and the count: OHIF shows the first five values of a lesion."""
    items = []
    intensity, size = lesion.intensity, lesion.size
    if intensity is not None:
        items = [
            content.number(name, content.decimal_string(value), codes.HOUNSFIELD_UNIT)
            for name, value in (
                (codes.MEAN_HU, intensity.mean_hu),
                (codes.STANDARD_DEVIATION_HU, intensity.standard_deviation_hu),
                (codes.MINIMUM_HU, intensity.minimum_hu),
                (codes.MAXIMUM_HU, intensity.maximum_hu),
                (codes.MEDIAN_HU, intensity.median_hu),
            )
        ]
    if isinstance(size, Size) and size.maximum_3d_diameter_mm is not None:
        diameter = content.decimal_string(size.maximum_3d_diameter_mm)
        items.append(content.number(codes.MAXIMUM_3D_DIAMETER, diameter, codes.MILLIMETRE))
    if intensity is not None or isinstance(size, NotMeasurable):
        # A mark without size and HU still has a number to state: how many voxels it holds.
        count = voxel_count(lesion)
        items.append(content.number(codes.VOXEL_COUNT, str(count), codes.NO_UNITS))
    return items


def voxel_count(lesion: Lesion) -> int:
    """Voxels of the CT inside the mark."""
    if lesion.intensity is not None:
        return lesion.intensity.voxel_count
    return int(np.count_nonzero(lesion.placement.on_ct.mask))


def _evaluations(finding: Finding, profile: Profile) -> list[Item]:
    """Category, size band, every input of the rule (unknown ones too), sentence and recommendation."""
    facts = finding.facts.facts
    items = [
        content.code(codes.MANAGEMENT_CATEGORY, codes.management_category(finding.decision.rule_id)),
        content.code(codes.SIZE_BAND, codes.size_band(facts.size)),
    ]
    for field, (name, values) in codes.INPUTS.items():
        items.append(content.code(name, values[getattr(facts, field).value]))
    said = finding.phrase
    for name, words in (
        (profile.phrase_code, said.text),
        (profile.recommendation_code, said.recommendation),
        (codes.COMMENT, said.remark),
    ):
        if words:
            items.append(content.text(name, words, language=said.language))
    return items


def has_image_region(lesion: Lesion) -> bool:
    """Whether a lesion has an outline or a point of its own; a caliper's lines stand at its axes."""
    return lesion.outline is not None and lesion.placement.on_ct.kind is not RegionKind.CALIPER


def has_closed_outline(lesion: Lesion) -> bool:
    """Whether the region of a lesion has an area."""
    return has_image_region(lesion) and lesion.placement.on_ct.kind is not RegionKind.POINT


def _region(lesion: Lesion) -> list[Item]:
    if lesion.outline is None or not has_image_region(lesion):
        return []
    is_point = lesion.placement.on_ct.kind is RegionKind.POINT
    points = image_coordinates(lesion.outline, closed=not is_point)
    graphic_type = "POINT" if is_point else "POLYLINE"
    return [content.coordinates(codes.IMAGE_REGION, graphic_type, points, lesion.image)]


def reference_items(report: Report) -> list[Item]:
    """What is shown of known metastases for reference only: earlier measurements, and the panel."""
    courses = [(f.lesion, f.lesion.serial) for f in report.findings if f.lesion.serial is not None]
    items = [content.text(codes.SERIAL, wording.serial(lesion, course)) for lesion, course in courses]
    if report.panel is not None:
        items.append(content.text(codes.REFERENCE_PANEL, "\n".join(panel_lines(report.panel))))
    return items


def _qualitative_evaluations(report: Report) -> Item:
    categories = dict.fromkeys(finding.decision.rule_id for finding in report.findings)
    items = [content.code(codes.MANAGEMENT_CATEGORY, codes.management_category(rule)) for rule in categories]
    items += [content.text(codes.WHY, wording.why(finding, report)) for finding in report.findings]
    items += reference_items(report)
    items += [content.text(codes.PROBLEM, wording.problem_line(problem)) for problem in report.problems]
    if report.ignored:
        left_out = "\n".join(wording.ignored_line(ignored) for ignored in report.ignored)
        items.append(content.text(codes.LEFT_OUT, left_out))
    items += [content.text(codes.COMMENT, note) for note in (wording.READER_ERROR, wording.DISCLAIMER)]
    return content.container(codes.QUALITATIVE_EVALUATIONS, items)
