"""Whole data sets of mark objects: lenient where harmless, bounded where hostile."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from osteoscribe.errors import InputError
from osteoscribe.readers.frame_groups import (
    PER_FRAME,
    EncodedFrames,
    FrameGroups,
    frame_groups,
    groups_of,
)
from osteoscribe.readers.headers import read_dataset, read_header
from osteoscribe.store.files import read_bytes, scan
from tests.builders_marks import item, reference, seg, seg_frame, segment
from tests.readers.ct_objects import BIG, DEFLATED, EXPLICIT, IMPLICIT, encode, identified, refused

SEG, RTSTRUCT = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.481.3"


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    if vr in (b"OB", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_the_data_set_is_the_same_in_each_encoding(syntax: str) -> None:
    ds = identified(SEG)
    ds.ContentLabel, ds.Rows = "LESIONS", 77
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = 1, "Lesion 1"
    ds.SegmentSequence = Sequence([item])
    again = read_dataset(encode(ds, syntax), transfer_syntax_uid=syntax)
    assert again.Rows == 77
    assert again.SegmentSequence[0].SegmentLabel == "Lesion 1"
    assert again.file_meta.TransferSyntaxUID == syntax


@pytest.mark.shared
def test_real_marks_are_parsed_as_pydicom_does(shared_data: Path) -> None:
    folders = [
        shared_data / name for name in ("sr-writers", "highdicom-small", "rtstruct-writers", "gsps-imagej")
    ]
    marks = [i for i in scan(folders).instances if i.header.modality in ("SR", "SEG", "RTSTRUCT", "PR")]
    assert len(marks) > 15
    for mark in marks:
        encoded = read_bytes(mark.blob, 0, mark.blob.length)
        ours = read_dataset(encoded, transfer_syntax_uid=mark.header.transfer_syntax_uid)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = pydicom.dcmread(mark.blob.segment)
            if PER_FRAME in theirs:
                _compare_frames(ours.pop(PER_FRAME), theirs[PER_FRAME])
                del theirs[PER_FRAME]
            pairs = list(zip(ours.iterall(), theirs.iterall(), strict=True))
            for mine, other in pairs:
                assert mine.tag == other.tag
                if mine.VR != "SQ" and mine.keyword != "ContourData":
                    assert mine.value == other.value, (mark.blob.segment, mine.keyword)
                elif mine.keyword == "ContourData":
                    assert mine.value == [float(number) for number in other.value]


def _compare_frames(ours: DataElement, theirs: DataElement) -> None:
    mine = [_plain(one) for one in frame_groups(ours.value)]
    assert mine == [_plain(groups_of(one)) for one in theirs.value]


def _plain(groups: FrameGroups) -> tuple[object, object]:
    return ({name: dict(group) for name, group in groups.values.items()}, groups.images)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
@pytest.mark.parametrize("undefined", [False, True])
def test_groups_of_frames_are_those_that_pydicom_reads(syntax: str, undefined: bool) -> None:
    frames = [seg_frame(2.5 * k, number=k % 2 + 1, image=k + 1) for k in range(5)]
    frames[1].PlaneOrientationSequence = [item(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])]
    frames[2].DerivationImageSequence[0].SourceImageSequence.append(
        reference(7, sop_class_uid="1.2.840.10008.5.1.4.1.1.2.1", ReferencedFrameNumber=[3, 4])
    )
    frames[3].PlanePositionSequence = [item(), item(ImagePositionPatient=[1, 2, 3])]
    frames[4].PixelMeasuresSequence = []
    ds = seg(np.ones((5, 3, 3), np.uint8), frames, [segment(1), segment(2)])
    expected = [_plain(groups_of(one)) for one in frames]
    for element in ds.iterall():
        if element.VR == "SQ" and undefined:
            element.is_undefined_length = True
            for one in element.value:
                one.is_undefined_length_sequence_item = True
    again = read_dataset(encode(ds, syntax), transfer_syntax_uid=syntax)
    encoded = again[PER_FRAME].value
    assert isinstance(encoded, EncodedFrames)
    assert [_plain(one) for one in frame_groups(encoded)] == expected
    assert again.SegmentSequence[1].SegmentNumber == 2
    assert again.PixelData == ds.PixelData


@pytest.mark.parametrize("undefined", [False, True])
def test_an_item_laid_out_like_the_last_gives_what_a_walk_of_it_gives_whatever_byte_is_wrong(
    undefined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [seg_frame(2.5 * k, number=k % 2 + 1, image=k + 1) for k in range(3)]
    ds = seg(np.ones((3, 3, 3), np.uint8), frames, [segment(1), segment(2)])
    for one in ds.iterall() if undefined else ():
        one.is_undefined_length = one.VR == "SQ"
        for within in one.value if one.VR == "SQ" else ():
            within.is_undefined_length_sequence_item = True
    frames_of_ds = read_dataset(encode(ds), transfer_syntax_uid=EXPLICIT)[PER_FRAME].value
    begin = len(frames_of_ds.element) // 3

    def outcome(element_: bytes) -> object:
        found: list[object] = []
        try:
            for one in frame_groups(replace(frames_of_ds, element=element_)):
                found.append(_plain(one))
        except InputError as error:
            found.append((error.code, error.message))
        return found

    damaged = [
        frames_of_ds.element[:at] + bytes([value]) + frames_of_ds.element[at + 1 :]
        for at in range(begin, len(frames_of_ds.element), 3)
        for value in (0, 0x31, frames_of_ds.element[at] ^ 4, 0xFF)
    ]
    damaged += [frames_of_ds.element[:-cut] for cut in range(1, 80, 7)]
    recognised = [outcome(one) for one in damaged]
    monkeypatch.setattr("osteoscribe.readers.frame_groups.LAYOUTS", 0)
    assert recognised == [outcome(one) for one in damaged]
    assert len({str(one) for one in recognised}) > 100


@pytest.mark.slow
def test_too_many_elements_in_frames_are_refused() -> None:
    ds = seg(np.ones((1, 3, 3), np.uint8), [seg_frame(0.0)], [segment(1)])
    ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence = [item()] * 160_000
    encoded = read_dataset(encode(ds, EXPLICIT), transfer_syntax_uid=EXPLICIT)[PER_FRAME].value
    with refused("instance.too-many-elements"):
        list(frame_groups(encoded))


def test_contour_data_is_a_list_of_floats() -> None:
    ds, roi, contour = identified(RTSTRUCT), Dataset(), Dataset()
    contour.ContourData = [1.5, 2, -3.25]
    roi.ContourSequence = Sequence([contour])
    ds.ROIContourSequence = Sequence([roi])
    again = read_dataset(encode(ds), transfer_syntax_uid=EXPLICIT)
    assert again.ROIContourSequence[0].ContourSequence[0].ContourData == [1.5, 2.0, -3.25]


def test_text_without_a_character_set_is_utf8_where_it_can_be() -> None:
    for text, encoding in (("Läsion 骨", "utf-8"), ("Läsion", "latin-1")):
        value = text.encode(encoding)
        value += b" " * (len(value) % 2)
        ds = read_dataset(
            element(0x00700080, b"CS", b"X ") + element(0x00700081, b"LO", value),
            transfer_syntax_uid=EXPLICIT,
        )
        assert ds.ContentDescription == text


@pytest.mark.parametrize("sets", [("ISO_IR 100", "ISO_IR 192"), ("ISO_IR 192", "ISO_IR 192")])
def test_sequences_of_the_same_bytes_say_what_their_own_character_set_says(sets: tuple[str, str]) -> None:
    ds = Dataset()
    ds.SegmentSequence = [Dataset() for _ in sets]
    said = ["\u00c3\u00a4" if one == "ISO_IR 100" else "\u00e4" for one in sets]
    for one, character_set, text in zip(ds.SegmentSequence, sets, said, strict=True):
        one.SpecificCharacterSet = character_set
        one.SegmentedPropertyTypeCodeSequence = [item(CodeMeaning=text)]
    encoded = encode(ds)
    assert encoded.count(b"\xc3\xa4") == 2
    read = read_dataset(encoded, transfer_syntax_uid=EXPLICIT)
    assert [one.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for one in read.SegmentSequence] == said


def test_values_that_cannot_be_converted_are_absent_and_nothing_is_said(
    recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    encoded = element(0x00100010, b"PN", b"SECRET^NAME" + b"\xff" * 3)
    encoded += element(0x00180050, b"DS", b"SECRET")
    encoded += element(0x00280010, b"US", b"abc")
    encoded += element(0x00280030, b"DS", b"0.5\\0.5 ")
    with caplog.at_level(logging.DEBUG):
        ds = read_dataset(encoded, transfer_syntax_uid=EXPLICIT)
        assert list(ds.PixelSpacing) == [0.5, 0.5]
        assert "Rows" not in ds
    assert "SECRET" not in caplog.text
    assert not recwarn.list


def nested(depth: int, *, undefined: bool) -> bytes:
    inner = b""
    for _ in range(depth):
        if undefined:
            begin = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
            begin += struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
            inner = begin + inner + struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
        else:
            inner = element(0x0040A730, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner)
    return inner


@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_nested_a_thousand_deep_are_refused(undefined: bool) -> None:
    with refused("instance.nested-too-deep"):
        read_dataset(nested(1000, undefined=undefined), transfer_syntax_uid=EXPLICIT)
    ds = read_dataset(nested(60, undefined=undefined), transfer_syntax_uid=EXPLICIT)
    assert len(list(ds.iterall())) == 60


def test_nesting_in_a_header_that_nobody_enters_is_passed_over() -> None:
    encoded = encode(identified())
    assert read_header(encoded + nested(500, undefined=False), transfer_syntax_uid=EXPLICIT)
    with refused("instance.nested-too-deep"):
        read_header(encoded + nested(500, undefined=True), transfer_syntax_uid=EXPLICIT)


@pytest.mark.slow
def test_a_deflate_bomb_is_refused() -> None:
    bomb = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    zeros = b"\0" * (1 << 20)
    start = element(0x00080008, b"UT", b"")[:8] + struct.pack("<L", 1 << 30)
    encoded = bomb.compress(start) + b"".join(bomb.compress(zeros) for _ in range(300)) + bomb.flush()
    assert len(encoded) < 400_000
    with refused("instance.too-large"):
        read_dataset(encoded, transfer_syntax_uid=DEFLATED)
    with refused("instance.too-large"):
        read_header(encoded, transfer_syntax_uid=DEFLATED)


def test_damaged_deflate_is_refused() -> None:
    encoded = encode(identified(), DEFLATED)
    for damaged in (encoded[:-5], b"\xff" + encoded, b""):
        with refused("instance.bad-deflate"):
            read_dataset(damaged, transfer_syntax_uid=DEFLATED)
        with refused("instance.bad-deflate"):
            read_header(damaged, transfer_syntax_uid=DEFLATED)


def test_absurd_lengths_are_refused_before_room_is_made() -> None:
    for value in (
        struct.pack("<HH2sHL", 0x0008, 0x0008, b"UT", 0, 0xFFFFFFF0),
        struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0x7FFFFFF0),
        struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 0xFFFE),
    ):
        with refused("instance.truncated"):
            read_dataset(value + b"12345678", transfer_syntax_uid=EXPLICIT)


def test_too_many_values_or_items_are_refused() -> None:
    numbers = b"\\1" * 8_000_002
    contour = struct.pack("<HHL", 0x3006, 0x0050, len(numbers)) + numbers
    with refused("instance.too-many-elements"):
        read_dataset(contour, transfer_syntax_uid=IMPLICIT)
    bulk = element(0x00420011, b"OB", bytes(16_000_002))
    values = struct.pack("<HHL", 0x0028, 0x1101, 16_000_002) + bytes(16_000_002)
    assert len(read_dataset(bulk, transfer_syntax_uid=EXPLICIT).EncapsulatedDocument) == 16_000_002
    with refused("instance.too-many-elements"):
        read_dataset(values, transfer_syntax_uid=IMPLICIT)
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 150_001
    with refused("instance.too-many-elements"):
        read_dataset(element(0x0040A730, b"SQ", items), transfer_syntax_uid=EXPLICIT)


def test_too_many_frames_or_elements_of_a_header_are_refused() -> None:
    encoded = encode(identified())
    frames = element(0x52009230, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 20_001)
    with refused("instance.too-many-elements"):
        read_header(encoded + frames, transfer_syntax_uid=EXPLICIT)
    elements = element(0x00091001, b"CS", b"") * 1_000_001
    with refused("instance.too-many-elements"):
        read_header(encoded + elements, transfer_syntax_uid=EXPLICIT)


def test_an_object_over_the_limit_is_refused() -> None:
    encoded = encode(identified())
    assert read_dataset(encoded, transfer_syntax_uid=EXPLICIT, max_bytes=len(encoded))
    with refused("instance.too-large"):
        read_dataset(encoded, transfer_syntax_uid=EXPLICIT, max_bytes=len(encoded) - 1)
