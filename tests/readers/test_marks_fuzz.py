"""Hostile marks of every dialect: whatever comes in, only marks and stated problems come out, soon.

The suite runs some hundred mutated inputs of each dialect; OSTEOSCRIBE_FUZZ sets another number
(``OSTEOSCRIBE_FUZZ=1000 pytest tests/readers/test_marks_fuzz.py`` for 10,000 and more in all).
"""

from __future__ import annotations

import copy
import gzip
import os
import random
import re
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from osteoscribe.core.marks import (
    Caliper,
    IgnoredMark,
    ImageContours,
    MaskShape,
    PatientCaliper,
    PatientContours,
    PatientEllipsoid,
    PatientPoint,
    PointMark,
    RoiMark,
    UnreadableMark,
)
from osteoscribe.errors import InputError
from osteoscribe.readers.datasets import read_dataset
from osteoscribe.readers.frames import DEFLATED_IMAGE_FRAME
from osteoscribe.readers.marks import Mark, read_marks
from tests.builders_marks import (
    AREA,
    KEY_OBJECT,
    LENGTH,
    LONG_AXIS,
    SHORT_AXIS,
    contour,
    group,
    image_item,
    item,
    mark_object,
    num,
    region,
    report,
    rtstruct,
    scoord,
    scoord3d,
    seg,
    seg_frame,
    segment,
    tracking,
)
from tests.readers.ct_objects import EXPLICIT, encode
from tests.readers.test_gsps import SQUARE, compound, graphic, note, pts, state, visage, weasis

ROUNDS = int(os.environ.get("OSTEOSCRIBE_FUZZ", "120"))
LIMIT_S = 5.0
CODE = re.compile(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*")

PIXELS = np.zeros((3, 5, 7), dtype=np.uint8)
PIXELS[:, 1:4, 2:5] = 1


def frames() -> list[Dataset]:
    return [seg_frame(0.0, 1, image=1), seg_frame(2.0, 1, image=2), seg_frame(2.0, 2, image=2)]


def encoded_seg(syntax: str) -> Dataset:
    ds = seg(PIXELS, frames(), [segment(1), segment(2)])
    ds.file_meta.TransferSyntaxUID = syntax
    packed = [np.packbits(frame.ravel(), bitorder="little").tobytes() for frame in PIXELS]
    if syntax == RLELossless:
        header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
        ds.PixelData = encapsulate([header + bytes([len(raw) - 1]) + raw for raw in packed])
    else:
        deflaters = [(zlib.compressobj(wbits=-15), raw) for raw in packed]
        ds.PixelData = encapsulate([one.compress(raw) + one.flush() for one, raw in deflaters])
    return ds


def fractional() -> Dataset:
    return seg(
        PIXELS * 200, frames(), [segment(1), segment(2)], kind="FRACTIONAL", MaximumFractionalValue=255
    )


def label_map() -> Dataset:
    places = [seg_frame(float(k), None) for k in range(3)]
    return seg(PIXELS * 2, places, [segment(2)], kind="LABELMAP")


def structure_set() -> Dataset:
    triangle = [(0.0, 0.0, 5.0), (10.0, 0.0, 5.0), (10.0, 10.0, 5.0)]
    line = contour(triangle[:2], "OPEN_PLANAR")
    return rtstruct(
        ("GTV", [contour(triangle, image=1)]), ("line", [line]), ("point", [contour(triangle[:1])])
    )


def shape_first() -> Dataset:
    by_reference = item(RelationshipType="SELECTED FROM", ReferencedContentItemIdentifier=[1, 1])
    triangle = [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 1.0]
    return report(
        group(*tracking("Lesion 1"), region("POLYLINE", triangle)),
        group(region("ELLIPSE", [0, 5, 20, 5, 10, 2, 10, 8]), region("POLYLINE", triangle, by_reference)),
        group(scoord3d("POLYGON", [0, 0, 5, 4, 0, 5, 4, 4, 5, 0, 0, 5])),
        group(scoord3d("ELLIPSOID", [-4, 0, 5, 4, 0, 5, 0, -3, 5, 0, 3, 5, 0, 0, 3, 0, 0, 7])),
        context=[image_item(3)],
    )


def under_numbers() -> Dataset:
    tool = tracking("Cornerstone3DTools@^0.1.0:Bidirectional")
    return report(
        group(
            *tool,
            num(LONG_AXIS, scoord("POLYLINE", [0, 0, 9, 9])),
            num(SHORT_AXIS, scoord("POLYLINE", [0, 9, 3, 5])),
        ),
        group(num(AREA, scoord("CIRCLE", [5, 5, 8, 9]))),
        group(
            num(LENGTH, scoord("POLYLINE", [0, 0, 9, 9])),
            num(("111010", "DCM", "Center"), scoord("POINT", [1, 1])),
        ),
    )


def presentation_state() -> Dataset:
    area = item(DisplayedAreaTopLeftHandCorner=[1, 1], DisplayedAreaBottomRightHandCorner=[64, 48])
    ds = state(
        graphic("POLYLINE", [*SQUARE, SQUARE[0]]),
        graphic("INTERPOLATED", [*SQUARE, SQUARE[0]], "DISPLAY", GraphicGroupID=3),
        graphic("ELLIPSE", [(0, 5), (20, 5), (10, 2), (10, 8)]),
        notes=[note("island", (3, 3)), note("other", (30, 30), GraphicGroupID=3)],
        DisplayedAreaSelectionSequence=[area],
        ImageRotation=90,
        ImageHorizontalFlip="Y",
    )
    ds.GraphicAnnotationSequence[0].CompoundGraphicSequence = [compound("RECTANGLE", [SQUARE[0], SQUARE[2]])]
    return ds


DIALECTS: dict[str, Callable[[], Dataset]] = {
    "SEG binary": lambda: seg(PIXELS, frames(), [segment(1), segment(2)]),
    "SEG RLE": lambda: encoded_seg(RLELossless),
    "SEG deflated frames": lambda: encoded_seg(DEFLATED_IMAGE_FRAME),
    "SEG fractional": fractional,
    "SEG label map": label_map,
    "RTSTRUCT": structure_set,
    "SR shape first": shape_first,
    "SR under numbers": under_numbers,
    "presentation state": presentation_state,
    "Weasis": lambda: weasis(
        f"<polygon>{pts(*SQUARE)}</polygon><threePointsCircle>{pts(*SQUARE[:3])}</threePointsCircle>"
    ),
    "Visage": lambda: visage(1.5, listed=[3, 1, 2]),
    "key objects": lambda: mark_object(KEY_OBJECT),
}

HOSTILE: tuple[object, ...] = (
    *(None, "", "x" * 70000, "../../etc/passwd", "\\", "1\\2\\3", "-1", "nan", "1e400"),
    *(0, -1, 65535, 2**31 - 1, float("nan"), float("inf"), 1e308, -1e-308),
    *(b"", b"\x00" * 7, b"\xff" * 64, [], [1, 2], [float("nan")] * 6, ["a", "b"], [1.0] * 999),
)


def holders(ds: Dataset) -> Iterator[Dataset]:
    yield ds
    for element in ds:
        if element.VR == "SQ":
            for one in element.value:
                yield from holders(one)


def mutate(ds: Dataset, chance: random.Random) -> None:
    """Change one element somewhere: drop it, empty it, lie about it, double or nest what it holds."""
    filled = [one for one in holders(ds) if len(one)]
    if not filled:
        return
    holder = chance.choice(filled)
    element = chance.choice(list(holder))
    kind = chance.randrange(6)
    if kind == 0:
        del holder[element.tag]
    elif kind == 1:
        vr = chance.choice(["LO", "OB", "FD", "US", "SQ", element.VR])
        element_value = [] if vr == "SQ" else chance.choice(HOSTILE)
        holder[element.tag] = _raw(element.tag, vr, element_value)
    elif element.VR == "SQ" and len(element.value):
        if kind == 2:
            element.value = Sequence(list(element.value) * chance.choice([2, 50]))
        elif kind == 3:
            element.value = Sequence(chance.sample(list(element.value), len(element.value)))
        else:
            nested = element.value[0]
            for _ in range(chance.choice([3, 60])):
                nested = item(**{str(element.keyword): [nested]}) if element.keyword else nested
            element.value = Sequence([*element.value, nested])
    else:
        holder[element.tag] = _raw(element.tag, element.VR, chance.choice(HOSTILE))


def _raw(tag: object, vr: str, value: object) -> DataElement:
    element = DataElement(tag, vr, None if vr != "SQ" else [])
    if vr != "SQ":
        element._value = value  # as a writer would that checks nothing
    return element


def checked(read: Callable[[], tuple[Mark, ...]]) -> set[str]:
    """What kinds of outcome there were; an `InputError` counts by its code."""
    started = time.monotonic()
    try:
        marks = read()
    except InputError as error:
        # The readers themselves must meet what the standard forbids; the net below them stays unused.
        assert CODE.fullmatch(error.code) and error.message and error.code != "mark.damaged"
        return {error.code}
    finally:
        assert time.monotonic() - started < LIMIT_S
    for mark in marks:
        assert isinstance(mark, RoiMark | UnreadableMark | IgnoredMark)
        if isinstance(mark, UnreadableMark):
            assert CODE.fullmatch(mark.code) and mark.message
        elif isinstance(mark, RoiMark):
            assert_sound(mark)
    return {getattr(mark, "code", type(mark).__name__) for mark in marks}


def assert_sound(mark: RoiMark) -> None:
    shape = mark.shape
    arrays: list[np.ndarray] = []
    match shape:
        case PatientContours():
            arrays = list(shape.contours_lps_mm)
            assert len(arrays) == len(shape.images) > 0
            assert all(len(points) >= 3 and points.shape[1] == 3 for points in arrays)
        case ImageContours():
            arrays = list(shape.contours_px)
            assert len(arrays) == len(shape.images) > 0
            assert all(len(points) >= 3 and points.shape[1] == 2 for points in arrays)
        case Caliper():
            arrays = [shape.long_axis_px] + ([] if shape.short_axis_px is None else [shape.short_axis_px])
            assert all(points.shape == (2, 2) for points in arrays)
        case PatientCaliper():
            arrays = [shape.long_axis_lps_mm]
            assert arrays[0].shape == (2, 3)
        case PointMark():
            arrays = [shape.point_px]
            assert arrays[0].shape == (2,)
        case PatientPoint():
            arrays = [shape.point_lps_mm]
            assert arrays[0].shape == (3,)
        case PatientEllipsoid():
            arrays = [shape.axes_lps_mm]
        case MaskShape():
            arrays = [shape.grid.origins_lps_mm]
            assert shape.mask.any() and shape.mask.shape == shape.grid.shape
            assert len(shape.images) == len(arrays[0]) == len(shape.mask)
            assert shape.grid.slice_spacing_mm > 0
    assert all(np.isfinite(points).all() for points in arrays)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_unchanged_object_is_read(dialect: str) -> None:
    marks = read_marks(DIALECTS[dialect]())
    wanted = IgnoredMark if dialect == "key objects" else RoiMark
    assert marks and all(isinstance(mark, wanted) for mark in marks)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_lying_elements_end_as_marks_or_problems(dialect: str) -> None:
    whole = DIALECTS[dialect]()
    outcomes: set[str] = set()
    for seed in range(ROUNDS):
        chance = random.Random(f"{dialect} {seed}")
        ds = copy.deepcopy(whole)
        for _ in range(chance.choice([1, 1, 2, 5])):
            mutate(ds, chance)
        outcomes |= checked(lambda: read_marks(ds))  # noqa: B023
    assert len(outcomes) > 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_damaged_bytes_end_as_marks_or_problems(dialect: str) -> None:
    ds = DIALECTS[dialect]()
    syntax = str(ds.file_meta.TransferSyntaxUID)
    whole = encode(ds, EXPLICIT)
    outcomes: set[str] = set()
    for seed in range(ROUNDS):
        chance = random.Random(f"{dialect} {seed}")
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 3, 20])):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 255, chance.randrange(256)])
        if chance.random() < 0.3:
            del damaged[chance.randrange(len(damaged)) :]
        outcomes |= checked(lambda: read_marks(read_dataset(bytes(damaged), transfer_syntax_uid=syntax)))  # noqa: B023
    assert len(outcomes) > 1


def test_an_absurd_size_allocates_nothing() -> None:
    ds = seg(PIXELS, frames(), [segment(1), segment(2)])
    for rows, columns, number in ((8192, 8192, 3), (65535, 65535, 1), (5, 7, 2**31 - 1), (8000, 8000, 10**6)):
        ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, number
        tracemalloc.start()
        try:
            with pytest.raises(InputError):
                read_marks(ds)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.slow
def test_a_large_report_takes_time_in_proportion() -> None:
    one = group(*tracking("x"), region("POLYLINE", [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 1.0]))
    wide = report(*[copy.deepcopy(one) for _ in range(2000)])
    started = time.monotonic()
    assert len(read_marks(wide)) == 2000
    assert time.monotonic() - started < LIMIT_S


def test_a_damaged_viewer_model_ends_as_marks_or_problems() -> None:
    xml = (
        f"<presentation><graphics><polygon>{pts(*SQUARE)}</polygon><ellipse>{pts(*SQUARE, *SQUARE)}</ellipse>"
        f"<threePointsCircle>{pts(*SQUARE[:3])}</threePointsCircle></graphics></presentation>"
    ).encode()
    outcomes: set[str] = set()
    for seed in range(ROUNDS):
        chance = random.Random(f"model {seed}")
        damaged = bytearray(xml)
        for _ in range(chance.choice([1, 2, 4])):
            damaged[chance.randrange(len(damaged))] = chance.choice(b"0123456789.-e<>&\"'/\x00\xff")
        ds = weasis("", packed=gzip.compress(bytes(damaged), mtime=0))
        outcomes |= checked(lambda: read_marks(ds))  # noqa: B023
    assert {"gsps.private-model", "RoiMark"} <= outcomes


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["segments", "annotations", "regions", "rois"])
def test_many_parts_take_time_in_proportion(parts: str) -> None:
    """Numbers of parts that a hostile object of some megabytes can hold, and that no loop may square."""
    many = 3000
    if parts == "segments":
        ds = seg(PIXELS[:1], [seg_frame(0.0, 1)], [segment(1)] * many)
    elif parts == "annotations":
        line = graphic("POLYLINE", [(0, 0), (3, 4)])
        ds = state(*[line] * many, notes=[note("x", (1, 1))] * many)
    elif parts == "regions":
        alone = region("POLYLINE", [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 1.0], item())
        ds = report(group(image_item(1), *[copy.deepcopy(alone) for _ in range(many)]))
    else:
        ds = rtstruct(*[("a", [contour([(0.0, 0.0, 5.0), (9.0, 0.0, 5.0), (9.0, 9.0, 5.0)])])] * many)
    checked(lambda: read_marks(ds))
