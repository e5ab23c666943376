"""Structured reports: geometry at group level or under the numbers, whatever viewer wrote it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from osteoscribe.core.geometry import Grid
from osteoscribe.core.marks import (
    Caliper,
    IgnoredMark,
    ImageContours,
    PatientCaliper,
    PatientContours,
    PatientEllipsoid,
    PatientPoint,
    PointMark,
    RoiMark,
    UnreadableMark,
)
from osteoscribe.errors import InputError
from osteoscribe.readers.outlines import FLATTENING_PX
from osteoscribe.readers.sr import read
from tests.builders_marks import (
    AREA,
    COMPREHENSIVE_3D_SR,
    ENHANCED_CT,
    FRAME_OF_REFERENCE,
    LENGTH,
    LONG_AXIS,
    SERIES,
    SHORT_AXIS,
    coded,
    content,
    group,
    image_item,
    image_uid,
    item,
    mark_object,
    num,
    reference,
    region,
    report,
    scoord,
    scoord3d,
    tracking,
)

TRIANGLE = [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 1.0]
OPEN_TRIANGLE = TRIANGLE[:6]


def only(*children: Dataset) -> RoiMark:
    (mark,) = read(report(group(*children)))
    assert isinstance(mark, RoiMark), mark
    return mark


def refused(*children: Dataset) -> str:
    (mark,) = read(report(group(*children)))
    assert isinstance(mark, UnreadableMark), mark
    return mark.code


def test_a_region_at_group_level_is_a_contour_on_its_image() -> None:
    mark = only(*tracking("Lesion 1"), region("POLYLINE", TRIANGLE))
    assert isinstance(mark.shape, ImageContours)
    assert mark.shape.contours_px[0].tolist() == [[1.0, 1.0], [5.0, 1.0], [5.0, 4.0]]
    assert mark.shape.images[0].sop_instance_uid == image_uid(1)
    assert (mark.label, mark.item, mark.dialect) == ("Lesion 1", "group 1", "SR TID 1500")
    assert (mark.tracking_uid, mark.referenced_series_uid) == ("1.2.3.7", SERIES)


def test_geometry_under_the_first_number_is_found_once() -> None:
    drawn = scoord("POLYLINE", TRIANGLE)
    again = scoord("POLYLINE", TRIANGLE)
    mark = only(
        *tracking("Cornerstone3DTools@^0.1.0:PlanarFreehandROI"), num(AREA, drawn), num(LENGTH, again)
    )
    assert isinstance(mark.shape, ImageContours)
    assert len(mark.shape.contours_px) == 1
    assert (mark.label, mark.dialect) == ("", "SR TID 1500 (OHIF)")


def test_the_region_is_preferred_to_lengths_under_numbers() -> None:
    line = scoord("POLYLINE", [0, 0, 9, 9])
    mark = only(num(LONG_AXIS, line), region("POLYLINE", TRIANGLE))
    assert isinstance(mark.shape, ImageContours)


def test_control_points_and_label_places_are_not_the_mark() -> None:
    control = scoord("MULTIPOINT", [1, 1, 2, 2], concept=("ControlPoints", "99CS3D", "Control Points"))
    label = content(
        "TEXT",
        ("125309", "DCM", "Short label"),
        [scoord("POINT", [9, 9], concept=("122438", "DCM", "Reference Points"))],
        TextValue="island",
    )
    mark = only(num(AREA, scoord("POLYLINE", TRIANGLE), control), label)
    assert isinstance(mark.shape, ImageContours)
    assert mark.label == "island"


@given(
    centre=st.tuples(*[st.floats(0, 512)] * 2),
    radii=st.tuples(*[st.floats(0.5, 150)] * 2),
    turn=st.floats(0, math.pi),
)
def test_an_ellipse_is_flattened_within_the_stated_error(
    centre: tuple[float, float], radii: tuple[float, float], turn: float
) -> None:
    a = np.array([math.cos(turn), math.sin(turn)]) * max(radii)
    b = np.array([-math.sin(turn), math.cos(turn)]) * min(radii)
    middle = np.array(centre)
    ends = np.concatenate([middle - a, middle + a, middle - b, middle + b])
    shape = only(region("ELLIPSE", ends.tolist())).shape
    assert isinstance(shape, ImageContours)
    points = shape.contours_px[0]
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1) if len(points) < 400 else None
    if distances is not None:
        assert distances.max() == pytest.approx(2 * max(radii), abs=1e-3)
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    perimeter = 2 * math.pi * max(radii)
    assert math.pi * radii[0] * radii[1] - area <= perimeter * FLATTENING_PX + 1e-3


def test_a_circle_has_its_centre_and_radius() -> None:
    shape = only(region("CIRCLE", [10.0, 20.0, 13.0, 24.0])).shape
    assert isinstance(shape, ImageContours)
    radii = np.linalg.norm(shape.contours_px[0] - [10.0, 20.0], axis=1)
    assert radii == pytest.approx(np.full(len(radii), 5.0), abs=1e-6)


def test_long_and_short_axis_go_by_name_not_by_order() -> None:
    short, long = scoord("POLYLINE", [0, 0, 30, 0]), scoord("POLYLINE", [0, 0, 0, 20])
    mark = only(num(SHORT_AXIS, short), num(LONG_AXIS, long))
    assert isinstance(mark.shape, Caliper)
    assert mark.shape.long_axis_px.tolist() == [[0, 0], [0, 20]]
    assert mark.shape.short_axis_px is not None and mark.shape.short_axis_px.tolist() == [[0, 0], [30, 0]]


def test_a_length_is_a_caliper_and_a_probe_a_point() -> None:
    mark = only(num(LENGTH, scoord("POLYLINE", [1, 2, 3, 4])))
    assert isinstance(mark.shape, Caliper) and mark.shape.short_axis_px is None
    point = only(num(("111010", "DCM", "Center"), scoord("POINT", [1, 2]), value=None))
    assert isinstance(point.shape, PointMark)
    assert point.shape.point_px.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("graphic_type", "data", "shape"),
    [
        ("POLYGON", [0, 0, 5, 4, 0, 5, 4, 4, 5, 0, 0, 5], PatientContours),
        ("POLYLINE", [0, 0, 5, 4, 0, 5, 4, 4, 5, 0, 0, 5], PatientContours),
        ("POLYLINE", [0, 0, 5, 4, 0, 5], PatientCaliper),
        ("ELLIPSE", [-2, 0, 5, 2, 0, 5, 0, -1, 5, 0, 1, 5], PatientContours),
        ("POINT", [1, 2, 3], PatientPoint),
    ],
)
def test_patient_space_graphics_are_read(graphic_type: str, data: list[float], shape: type) -> None:
    mark = only(scoord3d(graphic_type, data))
    assert isinstance(mark.shape, shape)
    assert mark.frame_of_reference_uid == FRAME_OF_REFERENCE


@pytest.mark.parametrize(
    ("children", "code"),
    [
        ([], "roi.no-geometry"),
        ([num(AREA)], "roi.no-geometry"),
        ([region("POLYLINE", [1, 2, 3])], "roi.coordinates-invalid"),
        ([region("POLYLINE", [1, 2, 3, float("nan")])], "roi.coordinates-invalid"),
        ([region("POLYLINE", [1, 2, 3, 1e30])], "roi.coordinates-invalid"),
        ([region("ELLIPSE", [1, 2, 3, 4])], "roi.coordinates-invalid"),
        ([region("ELLIPSE", [1, 2] * 4)], "roi.no-area"),
        ([region("BEZIER", [1, 2, 3, 4])], "roi.unsupported-shape"),
        ([region("MULTIPOINT", [1, 2, 3, 4])], "roi.ambiguous"),
        ([num(LENGTH, scoord("POLYLINE", OPEN_TRIANGLE))], "roi.open-contour"),
        ([num(LENGTH, scoord("POLYLINE", [1, 1, 1, 1]))], "roi.no-area"),
        ([region("POLYLINE", TRIANGLE, content("IMAGE"))], "roi.no-image-reference"),
        (
            [
                region(
                    "POLYLINE",
                    TRIANGLE,
                    image_item(1, sop_class_uid=ENHANCED_CT, ReferencedFrameNumber=[1, 2]),
                )
            ],
            "roi.ambiguous-image",
        ),
        ([num(LENGTH, *[scoord("POLYLINE", [0, 0, n, n]) for n in (1, 2, 3)])], "roi.ambiguous"),
    ],
)
def test_a_group_that_cannot_be_used_says_why(children: list[Dataset], code: str) -> None:
    assert refused(*children) == code


def test_a_region_saved_open_is_closed_and_says_so() -> None:
    mark = only(region("POLYLINE", OPEN_TRIANGLE))
    assert isinstance(mark.shape, ImageContours)
    assert any("closed" in remark for remark in mark.remarks)


def test_a_frame_counts_for_multi_frame_images_only() -> None:
    multi = image_item(1, sop_class_uid=ENHANCED_CT, ReferencedFrameNumber=3)
    single = image_item(1, ReferencedFrameNumber=1)
    shape = only(region("POLYLINE", TRIANGLE, multi)).shape
    assert isinstance(shape, ImageContours) and shape.images[0].frame_number == 3
    shape = only(region("POLYLINE", TRIANGLE, single)).shape
    assert isinstance(shape, ImageContours) and shape.images[0].frame_number is None


def test_an_image_named_by_reference_is_found() -> None:
    library = content("IMAGE", ReferencedSOPSequence=[reference(3)])
    by_reference = item(RelationshipType="SELECTED FROM", ReferencedContentItemIdentifier=[1, 1])
    ds = report(group(region("POLYLINE", TRIANGLE, by_reference)), context=[library])
    (mark,) = read(ds)
    assert isinstance(mark, RoiMark)
    assert mark.referenced_images[0].sop_instance_uid == image_uid(3)


def test_what_is_said_about_the_lesion_is_kept() -> None:
    site = content("CODE", ("G-C0E3", "SRT", "Finding Site"), relationship="HAS CONCEPT MOD")
    site.ConceptCodeSequence = [coded("22356005", "SCT", "Ilium")]
    side = content("CODE", ("272741003", "SCT", "Laterality"), relationship="HAS CONCEPT MOD")
    side.ConceptCodeSequence = [coded("24028007", "SCT", "Right")]
    site.ContentSequence = [side]
    finding = content("CODE", ("121071", "DCM", "Finding"))
    finding.ConceptCodeSequence = [coded("52988006", "SCT", "Lesion")]
    free = content("CODE", ("121071", "DCM", "Finding"))
    free.ConceptCodeSequence = [coded("CORNERSTONEFREETEXT", "CST4", "Insel im Becken")]
    observer = content("PNAME", ("121008", "DCM", "Person Observer Name"), PersonName="Reader^One")
    ds = report(group(*tracking("x"), site, finding, free, region("POLYLINE", TRIANGLE)), context=[observer])
    (mark,) = read(ds)
    assert isinstance(mark, RoiMark)
    assert mark.label == "Insel im Becken"
    assert mark.finding_site is not None and mark.finding_site.value == "22356005"
    assert mark.laterality is not None and mark.laterality.value == "24028007"
    assert [code.value for code in mark.property_codes] == ["52988006"]
    assert mark.observer_name == "Reader^One"


def test_a_site_in_free_text_is_a_label_and_no_code() -> None:
    site = content("CODE", ("G-C0E3", "SRT", "Finding Site"), relationship="HAS CONCEPT MOD")
    site.ConceptCodeSequence = [coded("CORNERSTONEFREETEXT", "CST4", "Os ilium")]
    mark = only(*tracking("Cornerstone3DTools@^0.1.0:Length"), site, region("POLYLINE", TRIANGLE))
    assert (mark.label, mark.finding_site) == ("Os ilium", None)


def test_an_unset_observer_is_nobody() -> None:
    observer = content("PNAME", ("121008", "DCM", "Person Observer Name"), PersonName="unknown^unknown")
    (mark,) = read(report(group(region("POLYLINE", TRIANGLE)), context=[observer]))
    assert isinstance(mark, RoiMark) and mark.observer_name is None


def test_a_group_that_only_points_to_a_segment_is_left_to_the_segmentation() -> None:
    segment = content(
        "IMAGE",
        ("121191", "DCM", "Referenced Segment"),
        ReferencedSOPSequence=[
            reference(9, sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4", ReferencedSegmentNumber=2)
        ],
    )
    (mark,) = read(report(group(segment)))
    assert isinstance(mark, IgnoredMark)
    assert "segment 2" in mark.reason and image_uid(9) in mark.reason


def test_regions_that_name_themselves_are_marks_of_their_own() -> None:
    first, second = region("POLYLINE", TRIANGLE), region("POLYLINE", TRIANGLE)
    for drawn, name in ((first, "island"), (second, "other")):
        drawn.ContentSequence = [*drawn.ContentSequence, *tracking(name)]
    labels = [(mark.item, mark.label) for mark in read(report(group(first, second)))]
    assert labels == [("group 1, region 1", "island"), ("group 1, region 2", "other")]


def test_a_report_of_another_form_gives_a_mark_for_each_measurement() -> None:
    lesion = content("CONTAINER", ("111059", "DCM", "Single Image Finding"), [region("POLYLINE", TRIANGLE)])
    ds = mark_object(
        COMPREHENSIVE_3D_SR,
        ValueType="CONTAINER",
        ContentSequence=[lesion, num(LENGTH, scoord("POLYLINE", [0, 0, 3, 4])), region("POINT", [1, 2])],
    )
    marks = read(ds)
    shapes = [type(mark.shape) for mark in marks if isinstance(mark, RoiMark)]
    assert shapes == [ImageContours, Caliper, PointMark]
    assert {mark.dialect for mark in marks} == {"SR"}


def test_a_circle_without_a_plane_gives_its_diameter() -> None:
    mark = only(scoord3d("CIRCLE", [10, 10, 5, 13, 14, 5]))
    assert isinstance(mark.shape, PatientCaliper)
    assert mark.shape.long_axis_lps_mm.tolist() == [[7, 6, 5], [13, 14, 5]]
    assert mark.remarks


def test_an_ellipsoid_is_cut_by_the_slices() -> None:
    shape = only(scoord3d("ELLIPSOID", [-4, 0, 5, 4, 0, 5, 0, -3, 5, 0, 3, 5, 0, 0, 3, 0, 0, 7])).shape
    assert isinstance(shape, PatientEllipsoid)
    origins = np.array([(-20.0, -20.0, z) for z in (2.0, 4.0, 5.0, 9.0)])
    grid = Grid(
        shape=(4, 40, 40),
        origins_lps_mm=origins,
        row_step_lps_mm=np.array([0.0, 1.0, 0.0]),
        column_step_lps_mm=np.array([1.0, 0.0, 0.0]),
        slice_step_lps_mm=np.array([0.0, 0.0, 1.0]),
    )
    off, middle = shape.on_slices(grid).contours_lps_mm
    assert np.ptp(middle, axis=0) == pytest.approx([8, 6, 0], abs=1e-3)
    assert np.ptp(off, axis=0) == pytest.approx([8 * math.sqrt(0.75), 6 * math.sqrt(0.75), 0], abs=1e-3)
    assert off[:, 2] == pytest.approx(np.full(len(off), 4.0))


@given(st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.floats(-0.9, 0.9))
def test_every_point_of_a_cut_lies_on_plane_and_ellipsoid(entries: list[float], at: float) -> None:
    turn, _ = np.linalg.qr(np.array(entries).reshape(3, 3) + 2 * np.eye(3))
    half = turn * np.array([5.0, 3.0, 2.0])
    axes = np.stack([(-half[:, n], half[:, n]) for n in range(3)])
    height = at * float(np.linalg.norm(half[2]))
    grid = Grid(
        shape=(1, 9, 9),
        origins_lps_mm=np.array([(0.0, 0.0, height)]),
        row_step_lps_mm=np.array([0.0, 1.0, 0.0]),
        column_step_lps_mm=np.array([1.0, 0.0, 0.0]),
        slice_step_lps_mm=np.array([0.0, 0.0, 1.0]),
    )
    (cut,) = PatientEllipsoid(axes_lps_mm=axes).on_slices(grid).contours_lps_mm
    assert np.allclose(cut[:, 2], height, atol=1e-9)
    assert np.allclose(((cut @ turn / [5, 3, 2]) ** 2).sum(axis=1), 1)


def test_an_angle_has_no_size() -> None:
    angle = num(("1483009", "SCT", "Angle"))
    assert refused(region("POLYLINE", OPEN_TRIANGLE), angle) == "roi.unsupported-shape"


def test_an_arrow_has_no_size() -> None:
    arrow = num(("111010", "DCM", "Center"), scoord("POLYLINE", [0, 0, 9, 9]))
    assert refused(*tracking("Cornerstone3DTools@^0.1.0:ArrowAnnotate"), arrow) == "roi.unsupported-shape"


def test_a_rectangle_is_no_angle() -> None:
    tool = tracking("Cornerstone3DTools@^0.1.0:RectangleROI")
    assert isinstance(only(*tool, region("POLYLINE", OPEN_TRIANGLE)).shape, ImageContours)


def osirix(title: str, description: str) -> Dataset:
    return mark_object(
        "1.2.840.10008.5.1.4.1.1.88.11",
        ConceptNameCodeSequence=[coded("1", "99HUG", title)],
        SeriesDescription=description,
        EncapsulatedDocument=b"\x04\x0bstreamtyped",
    )


def test_osirix_rois_are_refused_with_advice_and_its_other_archives_ignored() -> None:
    with pytest.raises(InputError) as caught:
        read(osirix("ROI Annotations", "OsiriX ROI SR"))
    assert caught.value.code == "sr.osirix-roi"
    assert "RT Structure Set" in caught.value.message
    (mark,) = read(osirix("Window State", "OsiriX WindowsState SR"))
    assert isinstance(mark, IgnoredMark)


def test_a_measurement_of_whole_images_is_no_mark_but_a_lost_drawing_is_one() -> None:
    source = content("IMAGE", ("260753009", "SCT", "Source"), ReferencedSOPSequence=[reference(1)])
    (mark,) = read(report(group(*tracking("Agatston"), source, num(("112058", "DCM", "Calcium score")))))
    assert isinstance(mark, IgnoredMark)
    assert refused(*tracking("Cornerstone3DTools@^0.1.0:PlanarFreehandROI"), source) == "roi.no-geometry"


def test_a_report_without_coordinates_is_no_mark() -> None:
    ds = mark_object(COMPREHENSIVE_3D_SR, ValueType="CONTAINER", ContentSequence=[content("TEXT")])
    (mark,) = read(ds)
    assert isinstance(mark, IgnoredMark)


def test_a_tree_deeper_than_any_report_is_refused() -> None:
    ds = content("CONTAINER")
    for _ in range(60):
        ds = content("CONTAINER", children=[ds])
    with pytest.raises(InputError) as caught:
        read(report(ds))
    assert caught.value.code == "sr.too-large"


@pytest.mark.shared
def test_cornerstone_tools_shapes_are_those_that_the_file_says(shared_data: Path) -> None:
    marks = read(pydicom.dcmread(shared_data / "sr-writers" / "cornerstonetools_dcmjs_tid1500.dcm"))
    shapes = [mark.shape for mark in marks if isinstance(mark, RoiMark)]
    kinds = [PointMark, ImageContours, Caliper, Caliper, Caliper, ImageContours]
    assert [type(shape) for shape in shapes] == kinds
    assert marks[0].label == "ExampleText"
    long = shapes[2]
    assert isinstance(long, Caliper) and long.short_axis_px is not None
    assert long.long_axis_px.tolist() == [[71.5, 329.0], [139.5, 397.0]]


@pytest.mark.shared
def test_regions_of_an_old_dwv_report_are_marks_of_their_own(shared_data: Path) -> None:
    marks = read(pydicom.dcmread(shared_data / "sr-writers" / "dwv" / "dwv034_basictext_roi.dcm"))
    assert [isinstance(mark, RoiMark) for mark in marks] == [True] * 3


@pytest.mark.shared
def test_dwv_circles_have_the_known_area(shared_data: Path) -> None:
    expected = json.loads((shared_data / "sr-writers" / "expected.json").read_text())
    path = "sr-writers/dwv/tid1500_circle.dcm"
    areas = [
        i["value"] for i in expected["files"][path]["items"] if i.get("concept", [0, 0, ""])[2] == "Area"
    ]
    for mark, area_cm2 in zip(read(pydicom.dcmread(shared_data / path)), areas, strict=True):
        assert isinstance(mark, RoiMark) and isinstance(mark.shape, ImageContours)
        x, y = mark.shape.contours_px[0].T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert area / 100 == pytest.approx(area_cm2, rel=1e-3)
