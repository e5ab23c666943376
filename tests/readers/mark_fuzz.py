"""Hostile marks of every dialect: objects made here, with lying elements or with damaged bytes.

    python -m tests.readers.mark_fuzz --count 10000 DIALECT...

feeds so many of each dialect to the readers and prints a row of a table for each: what came out, how many
different problems, the slowest input, and the peak memory of this process and its decoders.
"""

from __future__ import annotations

import argparse
import copy
import random
import re
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import compress
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

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
from tests.readers.fuzz import peak_of_all_mb
from tests.readers.test_gsps import SQUARE, compound, graphic, note, pts, state, visage, weasis

Read = Callable[[], tuple[Mark, ...]]
OfSeed = Callable[[int], Read]
Way = Callable[[str], OfSeed]

LIMIT_S = 5.0
LIMIT_MB = 1000
CODE = re.compile(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*")

PIXELS = np.zeros((3, 5, 7), dtype=np.uint8)
PIXELS[:, 1:4, 2:5] = 1


def frames() -> list[Dataset]:
    return [seg_frame(0.0, 1, image=1), seg_frame(2.0, 1, image=2), seg_frame(2.0, 2, image=2)]


def encoded_seg(syntax: str) -> Dataset:
    ds = seg(PIXELS, frames(), [segment(1), segment(2)])
    ds.file_meta.TransferSyntaxUID = UID(syntax)
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


def compressed_seg(syntax: str) -> Dataset:
    """A fractional segmentation in a code stream; its encoder takes no frames as small as the others."""
    pixels = np.zeros((3, 64, 48), dtype=np.uint8)
    pixels[:, 20:40, 10:30] = 200
    ds = seg(pixels, frames(), [segment(1), segment(2)], kind="FRACTIONAL", MaximumFractionalValue=255)
    compress(ds, syntax)
    return ds


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
    "SEG JPEG 2000": lambda: compressed_seg(JPEG2000Lossless),
    "SEG JPEG-LS": lambda: compressed_seg(JPEGLSLossless),
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


def _raw(tag: BaseTag, vr: str, value: object) -> DataElement:
    element = DataElement(tag, vr, None if vr != "SQ" else [])
    if vr != "SQ":
        element._value = value  # as a writer would that checks nothing
    return element


def lying(dialect: str) -> OfSeed:
    """Give, for a seed, the reading of an object of this dialect in which some elements lie."""
    whole = DIALECTS[dialect]()

    def of_seed(seed: int) -> Read:
        chance = random.Random(f"{dialect} {seed}")
        ds = copy.deepcopy(whole)
        for _ in range(chance.choice([1, 1, 2, 5])):
            mutate(ds, chance)
        return lambda: read_marks(ds)

    return of_seed


def damaged(dialect: str) -> OfSeed:
    """Give, for a seed, the reading of an object with some bytes changed or missing."""
    ds = DIALECTS[dialect]()
    syntax = str(ds.file_meta.TransferSyntaxUID)
    whole = encode(ds, EXPLICIT)

    def of_seed(seed: int) -> Read:
        chance = random.Random(f"{dialect} {seed}")
        out = bytearray(whole)
        for _ in range(chance.choice([1, 3, 20])):
            out[chance.randrange(len(out))] = chance.choice([0, 255, chance.randrange(256)])
        if chance.random() < 0.3:
            del out[chance.randrange(len(out)) :]
        return lambda: read_marks(read_dataset(bytes(out), transfer_syntax_uid=syntax))

    return of_seed


def checked(read: Read) -> set[str]:
    """What kinds of outcome there were; an `InputError` counts by its code."""
    started = time.process_time()
    try:
        marks = read()
    except InputError as error:
        # The readers themselves must meet what the standard forbids; the net below them stays unused.
        assert CODE.fullmatch(error.code) and error.message and error.code != "mark.damaged"
        return {error.code}
    finally:
        assert time.process_time() - started < LIMIT_S
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


def row_of(dialect: str, count: int) -> str:
    """One row of the table: half of the inputs with lying elements, half with damaged bytes."""
    came, codes, slowest = Counter[str](), set[str](), 0.0
    for way in (lying(dialect), damaged(dialect)):
        for seed in range(count // 2):
            read = way(seed)
            started = time.monotonic()
            outcome = checked(read)
            slowest = max(slowest, time.monotonic() - started)
            problems = outcome - {"RoiMark", "IgnoredMark"}
            codes |= problems
            came["marks" if "RoiMark" in outcome else "problems" if problems else "left out"] += 1
    peak_mb = peak_of_all_mb()
    assert peak_mb < LIMIT_MB
    cells = (dialect, sum(came.values()), came["marks"], came["problems"], came["left out"], len(codes))
    return f"| {' | '.join(map(str, cells))} | {slowest:.2f} | {peak_mb} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dialects", nargs="*", metavar="DIALECT", help=", ".join(DIALECTS))
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    for dialect in arguments.dialects or DIALECTS:
        sys.stdout.write(row_of(dialect, arguments.count) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
