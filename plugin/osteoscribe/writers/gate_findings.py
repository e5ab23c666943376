"""The gate's look at the lesions: numbers, units, codes, sides, slices, outlines and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

from osteoscribe.core import codes
from osteoscribe.core.answers import Density
from osteoscribe.core.codes import Code
from osteoscribe.core.region import Outline, RegionKind
from osteoscribe.core.report import Finding, Lesion, Report
from osteoscribe.core.size import Size
from osteoscribe.writers.profiles import Profile
from osteoscribe.writers.sr import has_closed_outline, side_of, site_of
from osteoscribe.writers.tree import ContentItem, children, fail, failure, only, text_of

GEOMETRY_TOLERANCE_MM = 0.01
NUMBER_TOLERANCE = 0.0006
"""Half of the third decimal, and the arithmetic of reading it."""


def check_findings(root: ContentItem, report: Report, profile: Profile) -> None:
    """Compare every lesion with its groups; raises as `osteoscribe.writers.gate.check` does."""
    groups = children(only(root, codes.IMAGING_MEASUREMENTS), codes.MEASUREMENT_GROUP)
    if len({finding.lesion.tracking_uid for finding in report.findings}) != len(report.findings):
        fail("gate.tracking", "two lesions have the same tracking UID")
    of_lesion: dict[str, list[ContentItem]] = {}
    for group in groups:
        of_lesion.setdefault(only(group, codes.TRACKING_UNIQUE_IDENTIFIER).text("UID"), []).append(group)
        only(group, codes.TRACKING_IDENTIFIER)
    if list(of_lesion) != [finding.lesion.tracking_uid for finding in report.findings]:
        fail("gate.tracking", f"{len(of_lesion)} lesions are written, {len(report.findings)} were found")
    for finding in report.findings:
        own = of_lesion[finding.lesion.tracking_uid]
        for group in own:
            _check_identity(group, finding)
        _check_numbers(own, finding.lesion, profile)
        _check_evaluations(own[0], finding, profile)
        _check_geometry(own[0], finding.lesion)
        _check_segment(own, finding.lesion)


def _check_identity(group: ContentItem, finding: Finding) -> None:
    side = side_of(finding.lesion)
    is_sclerotic = finding.facts.facts.density is Density.SCLEROTIC
    found = only(group, codes.FINDING)
    if found.code != (codes.SCLEROTIC_LESION if is_sclerotic else codes.LESION):
        fail("gate.code", "the finding is not the recorded one")
    site = only(group, codes.FINDING_SITE)
    if site.code != site_of(finding.lesion):
        fail("gate.site", "the site is not the recorded one")
    sides = children(site, codes.LATERALITY)
    if side is None:
        if sides:
            fail("gate.side", "a side is written, none is recorded")
    elif len(sides) != 1 or sides[0].code != side:
        fail("gate.side", "the side is not the recorded one")


def _expected_numbers(lesion: Lesion) -> dict[str, tuple[float, Code]]:
    """Concept value to number and unit, from the record."""
    numbers: dict[str, tuple[float | None, Code]] = {}
    size, hu = lesion.size, lesion.intensity
    if isinstance(size, Size):
        numbers[codes.LONG_AXIS.value] = (size.long_axis_mm, codes.MILLIMETRE)
        numbers[codes.SHORT_AXIS.value] = (size.short_axis_mm, codes.MILLIMETRE)
        numbers[codes.MAXIMUM_3D_DIAMETER.value] = (size.maximum_3d_diameter_mm, codes.MILLIMETRE)
        numbers[codes.VOLUME.value] = (size.volume_mm3, codes.CUBIC_MILLIMETRE)
    if hu is not None:
        numbers[codes.MEAN_HU.value] = (hu.mean_hu, codes.HOUNSFIELD_UNIT)
        numbers[codes.STANDARD_DEVIATION_HU.value] = (hu.standard_deviation_hu, codes.HOUNSFIELD_UNIT)
        numbers[codes.MINIMUM_HU.value] = (hu.minimum_hu, codes.HOUNSFIELD_UNIT)
        numbers[codes.MAXIMUM_HU.value] = (hu.maximum_hu, codes.HOUNSFIELD_UNIT)
        numbers[codes.MEDIAN_HU.value] = (hu.median_hu, codes.HOUNSFIELD_UNIT)
        numbers[codes.VOXEL_COUNT.value] = (hu.voxel_count, codes.NO_UNITS)
    elif not isinstance(size, Size):
        numbers[codes.VOXEL_COUNT.value] = (int(lesion.placement.on_ct.mask.sum()), codes.NO_UNITS)
    return {name: (value, unit) for name, (value, unit) in numbers.items() if value is not None}


def _expected_area(item: ContentItem, lesion: Lesion) -> tuple[float, Code]:
    """The area inside the recorded outline, which must be what the written one is inferred from."""
    drawn = [child for child in item.children if child.value_type == "SCOORD"]
    outline, grid = lesion.outline, lesion.placement.on_ct.grid
    if outline is None or len(drawn) != 1:
        raise failure("gate.geometry", "an area is not inferred from the recorded outline")
    _check_line(drawn[0], outline, lesion, closed=True)
    points = np.asarray(outline.points_rc, dtype=np.float64)
    corners = grid.to_patient(np.hstack([np.full((len(points), 1), float(outline.k)), points]))
    fan = corners[1:] - corners[0]
    return float(np.linalg.norm(np.cross(fan[:-1], fan[1:]).sum(axis=0))) / 2, codes.SQUARE_MILLIMETRE


def _check_numbers(groups: Sequence[ContentItem], lesion: Lesion, profile: Profile) -> None:
    expected = _expected_numbers(lesion)
    items = [item for group in groups for item in group.children if item.value_type == "NUM"]
    if profile.tools and has_closed_outline(lesion):
        expected[codes.AREA.value] = _expected_area(only(groups[0], codes.AREA), lesion)
    if sorted(_concept(item) for item in items) != sorted(expected):
        fail("gate.number", f"{len(items)} numbers are written, {len(expected)} were measured")
    for item in items:
        concept = _concept(item)
        value, unit = expected[concept]
        number, written_unit = item.number
        if written_unit != unit:
            fail("gate.unit", f"the unit of {concept} is not {unit.value}")
        shown = Decimal(number)
        if not abs(shown - Decimal(value)) <= NUMBER_TOLERANCE:
            fail("gate.number", f"{concept} is written as {shown}, measured as {value}")
        if concept == codes.LONG_AXIS.value and isinstance(lesion.size, Size):
            whole = int(shown.quantize(Decimal(1), rounding=ROUND_HALF_UP))
            if whole != lesion.size.whole_mm:
                fail(
                    "gate.number",
                    f"the long axis reads as {whole} mm, the rule saw {lesion.size.whole_mm} mm",
                )


def _concept(item: ContentItem) -> str:
    return "" if item.name is None else item.name.value


def _check_evaluations(group: ContentItem, finding: Finding, profile: Profile) -> None:
    facts = finding.facts.facts
    category = codes.management_category(finding.decision.rule_id)
    if only(group, codes.MANAGEMENT_CATEGORY).code != category:
        fail("gate.code", "the category is not the decided one")
    if only(group, codes.SIZE_BAND).code != codes.size_band(facts.size):
        fail("gate.code", "the size band is not that of the size")
    for field, (name, values) in codes.INPUTS.items():
        if only(group, name).code != values[getattr(facts, field).value]:
            fail("gate.code", f"the input {field} is not the one the rule saw")
    if only(group, profile.phrase_code).text() != finding.phrase.text:
        fail("gate.phrase", "the phrase is not the decided one")
    remarks = [item.text() for item in children(group, codes.COMMENT)]
    if remarks != [finding.phrase.remark] * bool(finding.phrase.remark):
        fail("gate.phrase", "the remark beside the phrase is not the decided one")
    advice = [item.text() for item in children(group, profile.recommendation_code)]
    if advice != [finding.phrase.recommendation] * bool(finding.phrase.recommendation):
        fail("gate.phrase", "the recommendation is not the decided one")


def _check_geometry(group: ContentItem, lesion: Lesion) -> None:
    region = lesion.placement.on_ct
    if region.kind is RegionKind.CALIPER:
        if lesion.outline is not None:
            axes = [only(group, codes.LONG_AXIS), *children(group, codes.SHORT_AXIS)]
            lines = [line for line in region.outlines if line.k == lesion.outline.k]
            for axis, line in zip(axes, lines, strict=False):
                (drawn,) = [item for item in axis.children if item.value_type == "SCOORD"]
                _check_line(drawn, line, lesion, closed=False)
        return
    regions = children(group, codes.IMAGE_REGION)
    if len(regions) != (lesion.outline is not None) or group.template != ("1410" if regions else "1501"):
        fail(
            "gate.template", "a lesion with an outline has TID 1410 and one region, another TID 1501 and none"
        )
    if lesion.outline is not None:
        _check_line(regions[0], lesion.outline, lesion, closed=region.kind is not RegionKind.POINT)


def _check_line(item: ContentItem, outline: Outline, lesion: Lesion, *, closed: bool) -> None:
    """Compare a line with the record in patient space, back through the grid."""
    expected = "POINT" if lesion.placement.on_ct.kind is RegionKind.POINT else "POLYLINE"
    if item.text("GraphicType") != expected:
        fail("gate.geometry", f"a line is not written as {expected}")
    points = item.points_px
    if closed:
        if not np.array_equal(points[0], points[-1]):
            fail("gate.geometry", "the outline is not closed")
        points = points[:-1]
    recorded = np.asarray(outline.points_rc, dtype=np.float64)
    if points.shape != recorded.shape:
        fail("gate.geometry", f"{len(points)} points are written, {len(recorded)} are recorded")
    in_pixels = np.concatenate([points[:, ::-1] - 0.5, recorded])
    index = np.insert(in_pixels, 0, outline.k, axis=1)
    written_mm, recorded_mm = np.split(lesion.placement.on_ct.grid.to_patient(index), 2)
    distance_mm = float(np.max(np.linalg.norm(written_mm - recorded_mm, axis=1)))
    if not distance_mm <= GEOMETRY_TOLERANCE_MM:
        fail("gate.geometry", f"the outline lies {distance_mm:.3f} mm from the recorded one")
    _check_image(item, lesion)


def _check_image(item: ContentItem, lesion: Lesion) -> None:
    (image,) = item.children
    (sop,) = image.references
    frame = sop.get("ReferencedFrameNumber")
    found = (text_of(sop["ReferencedSOPInstanceUID"]), None if frame is None else int(text_of(frame)))
    if found != (lesion.image.sop_instance_uid, lesion.image.frame_number):
        fail("gate.slice", "the outline is on another image than the recorded one")


def _check_segment(groups: Sequence[ContentItem], lesion: Lesion) -> None:
    for group in groups[1:]:
        (sop,) = only(group, codes.REFERENCED_SEGMENT).references
        number = int.from_bytes(sop["ReferencedSegmentNumber"], "little")
        found = (text_of(sop["ReferencedSOPInstanceUID"]), f"segment {number}")
        if found != (lesion.mark.source.sop_instance_uid, lesion.mark.item):
            fail("gate.reference", "another segment is referred to than the mark")
