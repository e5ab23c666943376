"""Presentation states: every graphic in image pixels, 0.0 at the outer corner of the first pixel."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from osteoscribe.core.marks import Caliper, IgnoredMark, ImageContours, PointMark, RoiMark, UnreadableMark
from osteoscribe.core.polygon import rasterise
from osteoscribe.readers.gsps import read
from osteoscribe.readers.marks import read_marks
from osteoscribe.readers.viewer_models import MAX_XML
from tests.builders_marks import GSPS, KEY_OBJECT, SERIES, image_uid, item, mark_object, reference

SQUARE = [(2.0, 2.0), (6.0, 2.0), (6.0, 5.0), (2.0, 5.0)]


def graphic(kind: str, points: Sequence[Sequence[float]], units: str = "PIXEL", **more: object) -> Dataset:
    return item(
        GraphicAnnotationUnits=units,
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(points),
        GraphicData=[float(x) for point in points for x in point],
        GraphicType=kind,
        **more,
    )


def note(words: str, anchor: Sequence[float], **more: object) -> Dataset:
    return item(
        UnformattedTextValue=words, AnchorPoint=list(anchor), AnchorPointAnnotationUnits="PIXEL", **more
    )


def compound(kind: str, points: Sequence[Sequence[float]], **more: object) -> Dataset:
    return item(
        CompoundGraphicInstanceID=1,
        CompoundGraphicUnits="PIXEL",
        CompoundGraphicType=kind,
        GraphicData=[float(x) for point in points for x in point],
        **more,
    )


def state(
    *graphics: Dataset, images: Sequence[int] = (1,), notes: Sequence[Dataset] = (), **more: object
) -> Dataset:
    annotation = item(ReferencedImageSequence=[reference(n) for n in images], GraphicLayer="MEASURE")
    if graphics:
        annotation.GraphicObjectSequence = list(graphics)
    if notes:
        annotation.TextObjectSequence = list(notes)
    return mark_object(
        GSPS,
        ReferencedSeriesSequence=[
            item(SeriesInstanceUID=SERIES, ReferencedImageSequence=[reference(n) for n in (1, 2, 3)])
        ],
        GraphicAnnotationSequence=[annotation],
        **more,
    )


def only(ds: Dataset) -> RoiMark:
    (mark,) = read(ds)
    assert isinstance(mark, RoiMark), mark
    return mark


def outline(ds: Dataset) -> np.ndarray:
    shape = only(ds).shape
    assert isinstance(shape, ImageContours)
    return shape.contours_px[0]


def refused(ds: Dataset) -> str:
    (mark,) = read(ds)
    assert isinstance(mark, UnreadableMark), mark
    return mark.code


def test_a_closed_polyline_is_an_outline_on_its_image() -> None:
    mark = only(state(graphic("POLYLINE", [*SQUARE, SQUARE[0]]), images=[2]))
    assert isinstance(mark.shape, ImageContours)
    assert mark.shape.contours_px[0].tolist() == [list(point) for point in SQUARE]
    assert mark.shape.images[0].sop_instance_uid == image_uid(2)
    assert mark.referenced_series_uid == SERIES


def test_a_rectangle_left_open_is_closed() -> None:
    assert len(outline(state(graphic("POLYLINE", SQUARE)))) == 4


def test_a_filled_polyline_is_an_outline() -> None:
    assert len(outline(state(graphic("POLYLINE", [(0, 0), (4, 0), (1, 3)], GraphicFilled="Y")))) == 3


def test_two_points_are_a_length_and_one_a_point() -> None:
    assert isinstance(only(state(graphic("POLYLINE", [(0, 0), (3, 4)]))).shape, Caliper)
    assert isinstance(only(state(graphic("POINT", [(3, 4)]))).shape, PointMark)


def test_circle_and_ellipse_have_their_axes() -> None:
    circle = outline(state(graphic("CIRCLE", [(10, 10), (13, 14)])))
    assert np.linalg.norm(circle - [10, 10], axis=1) == pytest.approx(np.full(len(circle), 5.0))
    ellipse = outline(state(graphic("ELLIPSE", [(0, 5), (20, 5), (10, 2), (10, 8)])))
    assert np.ptp(ellipse, axis=0) == pytest.approx([20.0, 6.0])


def test_an_interpolated_curve_passes_through_its_points() -> None:
    turn = np.linspace(0, 2 * math.pi, 12, endpoint=False)
    points = np.column_stack([20 + 8 * np.cos(turn), 20 + 8 * np.sin(turn)])
    curve = outline(state(graphic("INTERPOLATED", [*points.tolist(), points[0].tolist()])))
    assert min(np.linalg.norm(curve - points[3], axis=1)) < 1e-4
    assert np.linalg.norm(curve - [20, 20], axis=1) == pytest.approx(np.full(len(curve), 8.0), abs=0.01)


@given(
    st.sampled_from([0, 90, 180, 270]),
    st.booleans(),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(2, 60), st.integers(2, 60)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_display_units_are_fractions_of_what_is_shown(
    rotation: int, flip: bool, first: tuple[int, int], extent: tuple[int, int], at: tuple[float, float]
) -> None:
    low, high = np.array(first) - 1.0, np.array(first) - 1.0 + extent
    in_image = low + np.array(at) * (high - low)
    # The way a display goes: centre the area, turn it clockwise, mirror it, look where the point is.
    offset = in_image - (low + high) / 2
    size = np.array(extent, dtype=float)
    for _ in range(rotation // 90):
        offset, size = np.array([-offset[1], offset[0]]), size[::-1]
    if flip:
        offset = offset * [-1, 1]
    shown = offset / size + 0.5
    area = item(
        DisplayedAreaTopLeftHandCorner=[int(x) + 1 for x in low],
        DisplayedAreaBottomRightHandCorner=[int(x) for x in high],
        ReferencedImageSequence=[reference(1)],
    )
    ds = state(
        graphic("POINT", [shown.tolist()], "DISPLAY"),
        ImageRotation=rotation,
        ImageHorizontalFlip="Y" if flip else "N",
        DisplayedAreaSelectionSequence=[area],
    )
    shape = only(ds).shape
    assert isinstance(shape, PointMark)
    assert shape.point_px == pytest.approx(in_image, abs=1e-3)


def test_pixel_units_do_not_care_for_rotation() -> None:
    shape = only(state(graphic("POINT", [(3, 4)]), ImageRotation=90, ImageHorizontalFlip="Y")).shape
    assert isinstance(shape, PointMark) and shape.point_px.tolist() == [3, 4]


def test_texts_go_to_their_group_else_to_the_nearest_graphic() -> None:
    far = graphic("POLYLINE", [(90, 90), (95, 95)])
    near = graphic("POLYLINE", [(0, 0), (3, 4)], GraphicGroupID=7)
    notes = [note("10 mm sclerotic", (91, 92)), note("island", (91, 92), GraphicGroupID=7)]
    first, second = read(state(near, far, notes=notes))
    assert (first.label, second.label) == ("island", "10 mm sclerotic")


def test_a_compound_graphic_counts_once() -> None:
    ruler = compound("RULER", [(0, 0), (3, 4)])
    simple = graphic("POLYLINE", [(0, 0), (3, 4)], CompoundGraphicInstanceID=1)
    both = state(simple)
    both.GraphicAnnotationSequence[0].CompoundGraphicSequence = [ruler]
    assert len(read(both)) == 1
    alone = state()
    alone.GraphicAnnotationSequence[0].CompoundGraphicSequence = [ruler]
    assert isinstance(only(alone).shape, Caliper)


@pytest.mark.parametrize(("kind", "area"), [("RECTANGLE", 12.0), ("ELLIPSE", 3 * math.pi)])
def test_boxed_compound_graphics_have_their_area(kind: str, area: float) -> None:
    ds = state()
    ds.GraphicAnnotationSequence[0].CompoundGraphicSequence = [compound(kind, [SQUARE[0], SQUARE[2]])]
    x, y = outline(ds).T
    assert abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2 == pytest.approx(area, rel=1e-3)


def test_an_arrow_is_listed_and_not_measured() -> None:
    ds = state()
    ds.GraphicAnnotationSequence[0].CompoundGraphicSequence = [compound("ARROW", [(0, 0), (3, 4)])]
    (mark,) = read(ds)
    assert isinstance(mark, IgnoredMark)


@pytest.mark.parametrize(
    ("ds", "code"),
    [
        (state(graphic("POLYLINE", [(0, 0), (4, 0), (1, 3)])), "roi.open-contour"),
        (state(graphic("POLYLINE", [(0, 0), (0, 0)])), "roi.no-area"),
        (state(graphic("POLYLINE", [(0, 0), (3, 4)]), images=[1, 2]), "roi.ambiguous-image"),
        (state(graphic("POLYLINE", [(0, 0), (3, 4)]), images=[]), "roi.ambiguous-image"),
        (state(graphic("POLYLINE", [(0, 0), (3, 4)], "MATRIX")), "gsps.units"),
        (state(graphic("POLYLINE", [(0, 0), (3, 4)], "DISPLAY")), "gsps.no-displayed-area"),
        (state(graphic("BEZIER", [(0, 0), (3, 4)])), "roi.unsupported-shape"),
        (state(graphic("CIRCLE", [(0, 0), (3, 4), (1, 1)])), "roi.coordinates-invalid"),
        (state(item(GraphicType="POLYLINE", GraphicAnnotationUnits="PIXEL")), "roi.no-geometry"),
        (state(graphic("POINT", [(float("inf"), 1)])), "roi.coordinates-invalid"),
    ],
)
def test_a_graphic_that_cannot_be_used_says_why(ds: Dataset, code: str) -> None:
    assert refused(ds) == code


def test_a_state_without_graphics_is_no_mark() -> None:
    (mark,) = read(mark_object(GSPS))
    assert isinstance(mark, IgnoredMark)


def test_an_overlay_bitmap_is_stated() -> None:
    ds = mark_object(GSPS)
    ds.add_new((0x6000, 0x3000), "OW", b"\0\0")
    assert refused(ds) == "roi.overlay-bitmap"


def test_a_key_object_selection_is_no_mark() -> None:
    (mark,) = read_marks(mark_object(KEY_OBJECT))
    assert isinstance(mark, IgnoredMark)


def weasis(graphics: str, *, packed: bytes | None = None) -> Dataset:
    ds = mark_object(
        GSPS,
        ReferencedSeriesSequence=[item(SeriesInstanceUID=SERIES, ReferencedImageSequence=[reference(1)])],
    )
    block = ds.private_block(0x7107, "weasis/model/xml/2.5", create=True)
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?><presentation><graphics>{graphics}</graphics></presentation>'
    )
    block.add_new(0x01, "OB", gzip.compress(xml.encode()) if packed is None else packed)
    return ds


def pts(*points: tuple[float, float]) -> str:
    return "<pts>" + "".join(f'<pt x="{x}" y="{y}"/>' for x, y in points) + "</pts>"


def test_the_weasis_model_is_read_where_standard_graphics_are_absent() -> None:
    handles = [(2, 2), (6, 2), (6, 5), (2, 5), (4, 2), (6, 3.5), (4, 5), (2, 3.5)]
    ds = weasis(
        f"<polygon>{pts((0, 0), (4, 0), (1, 3))}</polygon><line>{pts((0, 0), (3, 4))}</line>"
        f"<rectangle>{pts(*handles)}</rectangle><ellipse>{pts(*handles)}</ellipse>"
        f"<threePointsCircle>{pts((1, 0), (0, 1), (-1, 0))}</threePointsCircle>"
        f"<annotation>{pts((1, 1))}</annotation><angle>{pts((0, 0), (1, 1), (2, 0))}</angle>"
        f"<ellipse>{pts((0, 0), (4, 0), (1, 3), (2, 2))}</ellipse>"
    )
    marks = read(ds)
    shapes = [mark.shape for mark in marks if isinstance(mark, RoiMark)]
    kinds = [ImageContours, Caliper, ImageContours, ImageContours, ImageContours]
    assert [type(shape) for shape in shapes] == kinds
    assert [mark.code for mark in marks if isinstance(mark, UnreadableMark)] == ["roi.unsupported-shape"] * 2
    rectangle = shapes[2]
    assert isinstance(rectangle, ImageContours)
    assert np.ptp(rectangle.contours_px[0], axis=0).tolist() == [4.0, 3.0]
    assert marks[0].dialect == "presentation state (Weasis model)"


@pytest.mark.parametrize(
    "packed",
    [
        b"not gzip",
        gzip.compress(b"<a>" * 10),
        gzip.compress(b'<!DOCTYPE a [<!ENTITY b "c">]><presentation><graphics>&b;</graphics></presentation>'),
        gzip.compress("<presentation/>".encode("utf-16")),
        gzip.compress(b" " * (MAX_XML + 1)),
        gzip.compress(b"<presentation/>")[:-4],
    ],
)
def test_a_hostile_private_model_is_refused(packed: bytes) -> None:
    assert refused(weasis("", packed=packed)) == "gsps.private-model"


def visage(z: float, *, listed: Sequence[int] | None = None) -> Dataset:
    xml = f"""<annotations version="1.0.0.0"><ellipse><coordinate_system><origin>10 20 {z}</origin>
    <axis_x>1 0 0</axis_x><axis_y>0 1 0</axis_y></coordinate_system><label>island</label>
    <geometry><radius_x>4</radius_x><radius_y>3</radius_y></geometry></ellipse></annotations>"""
    ds = mark_object(
        GSPS,
        ReferencedSeriesSequence=[
            item(SeriesInstanceUID=SERIES, ReferencedImageSequence=[reference(n) for n in (1, 2, 3)])
        ],
    )
    block = (
        ds.ReferencedSeriesSequence[0].ReferencedImageSequence[0].private_block(0x71, "Visage", create=True)
    )
    block.add_new(0x62, "OB", len(xml).to_bytes(4, "big") + zlib.compress(xml.encode()))
    if listed is not None:
        block.add_new(0x66, "SQ", [item(ReferencedSOPInstanceUID=image_uid(n)) for n in listed])
    return ds


@pytest.mark.parametrize(("listed", "image"), [(None, 2), ([3, 1, 2], 1)])
def test_a_visage_ellipse_lies_on_the_slice_of_its_own_order(listed: list[int] | None, image: int) -> None:
    mark = only(visage(1.5, listed=listed))
    assert isinstance(mark.shape, ImageContours)
    assert mark.shape.images[0].sop_instance_uid == image_uid(image)
    assert np.ptp(mark.shape.contours_px[0], axis=0) == pytest.approx([8.0, 6.0])
    assert mark.label == "island"


@pytest.mark.parametrize("z", [-1.5, 3.5, 1e300])
def test_a_visage_slice_that_is_not_there_is_refused(z: float) -> None:
    assert refused(visage(z)) == "roi.no-image-reference"


@pytest.mark.shared
@pytest.mark.parametrize("case", ["real01", "real02", "real03"])
def test_imagej_finds_the_same_pixels(shared_data: Path, case: str) -> None:
    folder = shared_data / "gsps-imagej"
    expected = json.loads((folder / "expected.json").read_text())["cases"][case]["accept"]
    mark = only(pydicom.dcmread(folder / f"{case}.pr.dcm"))
    assert isinstance(mark.shape, ImageContours)
    image = pydicom.dcmread(folder / f"{case}.dcm")
    assert mark.shape.images[0].sop_instance_uid == image.SOPInstanceUID
    drawn = mark.shape.contours_px[0][:, ::-1] - 0.5
    inside = image.pixel_array[rasterise([drawn], rows=image.Rows, columns=image.Columns)]
    found = {"area_px": inside.size, "mean": inside.mean(), "sd": inside.std()}
    assert all(low <= found[key] <= high for key, (low, high) in expected.items()), found
    assert "ImageJ" in mark.label
