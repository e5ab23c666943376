"""Segmentations: each segment is a mask on its own grid, wherever its frames are."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from osteoscribe.core.marks import MaskShape, RoiMark, UnreadableMark
from osteoscribe.errors import InputError
from osteoscribe.readers.datasets import read_dataset
from osteoscribe.readers.frames import DEFLATED_IMAGE_FRAME
from osteoscribe.readers.seg import read
from tests.builders_marks import (
    FRAME_OF_REFERENCE,
    SERIES,
    coded,
    image_uid,
    item,
    seg,
    seg_frame,
    segment,
)
from tests.examples import many
from tests.readers.ct_objects import EXPLICIT, encode


def only(ds: Dataset) -> RoiMark:
    (mark,) = read(ds)
    assert isinstance(mark, RoiMark), mark
    return mark


def mask_of(mark: object) -> MaskShape:
    assert isinstance(mark, RoiMark), mark
    assert isinstance(mark.shape, MaskShape)
    return mark.shape


def voxels(mark: object) -> set[tuple[float, int, int]]:
    """(z, row, column) of each set voxel from its place in the patient; the builder has 0.5 by 0.75 mm."""
    shape = mask_of(mark)
    placed = shape.grid.to_patient(np.argwhere(shape.mask))
    return {(round(z, 3), round(y / 0.5), round(x / 0.75)) for x, y, z in placed.tolist()}


def expected(z: float, pixels: np.ndarray) -> set[tuple[float, int, int]]:
    return {(z, int(r), int(c)) for r, c in np.argwhere(pixels)}


def stack(*frames: np.ndarray) -> np.ndarray:
    return np.stack(frames).astype(np.uint8)


SQUARE = np.pad(np.ones((2, 3), dtype=np.uint8), ((1, 2), (1, 1)))
EMPTY = np.zeros_like(SQUARE)


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=11), elements=st.integers(0, 1))
)
@settings(max_examples=many(60))
def test_frames_packed_without_padding_come_out_bit_for_bit(pixels: np.ndarray) -> None:
    pixels[0, 0, 0] = 1
    ds = seg(pixels, [seg_frame(float(k)) for k in range(len(pixels))], [segment(1)])
    assert voxels(only(ds)) == set().union(*(expected(float(k), frame) for k, frame in enumerate(pixels)))


@given(st.data())
@settings(max_examples=many(60))
def test_frames_of_whole_words_are_read_as_all_others_are(data: st.DataObject) -> None:
    frames, rows, words = (data.draw(st.integers(1, most)) for most in (6, 5, 3))
    pixels = np.zeros((frames, rows, 64 * words), dtype=np.uint8)
    for _ in range(data.draw(st.integers(1, 12))):
        pixels[tuple(data.draw(st.integers(0, size - 1)) for size in pixels.shape)] = 1
    z_mm = [float(data.draw(st.integers(0, 3))) for _ in range(frames)]
    numbers = [data.draw(st.integers(1, 2)) for _ in range(frames)]
    places = [seg_frame(z, number=n) for z, n in zip(z_mm, numbers, strict=True)]
    encoded = encode(seg(pixels, places, [segment(1), segment(2)]))
    ds = read_dataset(encoded, transfer_syntax_uid=EXPLICIT)
    wider = np.pad(pixels, ((0, 0), (0, 0), (0, 3)))  # unpacked frame by frame
    other = read(seg(wider, places, [segment(1), segment(2)]))
    for number, (mark, same) in enumerate(zip(read(ds), other, strict=True), start=1):
        if isinstance(same, UnreadableMark):
            assert isinstance(mark, UnreadableMark)
            assert mark.code == same.code == "roi.empty"
            continue
        shown = (expected(z, pixels[k]) for k, z in enumerate(z_mm) if numbers[k] == number)
        assert voxels(mark) == voxels(same) == set().union(*shown)
        assert np.array_equal(mask_of(mark).mask, mask_of(same).mask)


def test_a_segment_says_who_where_and_what() -> None:
    described = segment(
        1,
        "LWS Insel",
        TrackingUID="1.2.3.55",
        AnatomicRegionSequence=[
            coded("T-12710", "SRT", "Femur"),
        ],
    )
    described.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [coded("G-A101", "SRT", "Left")]
    ds = seg(stack(SQUARE), [seg_frame(7.0, image=2)], [described], ContentCreatorName="Reader^One")
    mark = only(ds)
    assert (mark.label, mark.item, mark.dialect) == ("LWS Insel", "segment 1", "SEG binary")
    assert mark.tracking_uid == "1.2.3.55"
    assert mark.finding_site is not None and mark.finding_site.scheme == "SCT"
    assert mark.laterality is not None and mark.laterality.value == "7771000"
    assert [code.value for code in mark.property_codes] == ["49755003", "52988006"]
    assert [image.sop_instance_uid for image in mark.referenced_images] == [image_uid(2)]
    assert mark.referenced_series_uid == SERIES
    assert mark.frame_of_reference_uid == FRAME_OF_REFERENCE
    assert mark.observer_name == "Reader^One"


def test_overlapping_segments_keep_their_own_pixels() -> None:
    pixels = stack(SQUARE, np.roll(SQUARE, 1, axis=1))
    first, second = read(seg(pixels, [seg_frame(0, 1), seg_frame(0, 2)], [segment(1), segment(2)]))
    assert voxels(first) == expected(0.0, pixels[0])
    assert voxels(second) == expected(0.0, pixels[1])


def test_frames_of_one_plane_are_combined() -> None:
    ds = seg(stack(SQUARE, np.roll(SQUARE, 1, axis=0)), [seg_frame(0), seg_frame(0)], [segment(1)])
    shape = mask_of(only(ds))
    assert shape.mask.shape[0] == 1
    assert shape.mask.sum() == 9


def test_planes_are_stacked_along_the_normal_whatever_the_frame_order() -> None:
    frames = [seg_frame(6.0, image=3), seg_frame(2.0, image=1), seg_frame(4.0, image=2)]
    shape = mask_of(only(seg(stack(SQUARE, SQUARE, SQUARE), frames, [segment(1)])))
    assert shape.grid.origins_lps_mm[:, 2].tolist() == [2.0, 4.0, 6.0]
    assert [i.sop_instance_uid for i in shape.images if i] == [image_uid(n) for n in (1, 2, 3)]
    assert (shape.grid.row_spacing_mm, shape.grid.column_spacing_mm) == (0.5, 0.75)


def test_the_step_is_that_of_the_planes_not_the_thickness() -> None:
    frames = [seg_frame(z) for z in (0.0, 1.25, 2.5)]
    shape = mask_of(only(seg(stack(SQUARE, SQUARE, SQUARE), frames, [segment(1)], step=None)))
    assert shape.grid.slice_spacing_mm == pytest.approx(1.25)


def test_a_step_stated_by_the_writer_holds_where_empty_frames_were_left_out() -> None:
    shape = mask_of(
        only(seg(stack(SQUARE, SQUARE), [seg_frame(0.0), seg_frame(6.0)], [segment(1)], step=2.0))
    )
    assert shape.grid.slice_spacing_mm == pytest.approx(2.0)


def test_a_single_plane_takes_the_stated_step_before_the_thickness() -> None:
    assert mask_of(only(seg(stack(SQUARE), [seg_frame(0.0)], [segment(1)]))).grid.slice_spacing_mm == 2.0
    ds = seg(stack(SQUARE), [seg_frame(0.0)], [segment(1)], step=None)
    assert mask_of(only(ds)).grid.slice_spacing_mm == 3.0


def test_segment_identification_in_the_shared_groups_is_found() -> None:
    ds = seg(stack(SQUARE), [seg_frame(0.0, None)], [segment(4)])
    ds.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence = [item(ReferencedSegmentNumber=4)]
    assert only(ds).item == "segment 4"


def test_a_fractional_segment_counts_from_half_of_its_maximum() -> None:
    pixels = np.array([[[0, 49, 50], [51, 100, 1]]], dtype=np.uint8)
    mark = only(seg(pixels, [seg_frame(0.0)], [segment(1)], kind="FRACTIONAL", MaximumFractionalValue=100))
    assert voxels(mark) == {(0.0, 0, 2), (0.0, 1, 0), (0.0, 1, 1)}
    assert mark.dialect == "SEG fractional"
    assert any("half" in remark for remark in mark.remarks)


def test_a_label_map_gives_a_mark_for_each_label_but_the_background() -> None:
    pixels = np.array([[[0, 1, 1], [2, 2, 0]], [[0, 0, 0], [2, 0, 0]]], dtype=np.uint8)
    frames = [seg_frame(0.0, None), seg_frame(2.0, None)]
    ds = seg(pixels, frames, [segment(0, "Background"), segment(1), segment(2)], kind="LABELMAP")
    first, second = read(ds)
    assert voxels(first) == expected(0.0, pixels[0] == 1)
    assert voxels(second) == expected(0.0, pixels[0] == 2) | expected(2.0, pixels[1] == 2)


def test_segments_counted_from_0_are_told_apart() -> None:
    pixels = stack(SQUARE, np.roll(SQUARE, 1, axis=1))
    first, second = read(seg(pixels, [seg_frame(0, 0), seg_frame(0, 1)], [segment(0), segment(1)]))
    assert (voxels(first), voxels(second)) == (expected(0.0, pixels[0]), expected(0.0, pixels[1]))


def test_the_plane_of_a_single_frame_may_stand_at_the_top_level() -> None:
    ds = seg(stack(SQUARE), [item()], [segment(1)], ImagePositionPatient=[0, 0, 7], PixelSpacing=[0.5, 0.75])
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    del ds.SharedFunctionalGroupsSequence
    assert voxels(only(ds)) == expected(7.0, SQUARE)


def test_an_oblique_flipped_grid_keeps_its_directions() -> None:
    orientation = [0, -0.6, 0.8, -1, 0, 0]
    ds = seg(stack(SQUARE), [seg_frame(7.0)], [segment(1)], orientation=orientation)
    shape = mask_of(only(ds))
    placed = shape.grid.to_patient(np.argwhere(shape.mask))
    r, c = np.argwhere(SQUARE).T
    wanted = np.outer(c * 0.75, orientation[:3]) + np.outer(r * 0.5, orientation[3:]) + [0, 0, 7]
    assert np.allclose(placed, wanted)


def test_a_mask_is_cut_to_what_it_touches() -> None:
    pixels = np.zeros((1, 400, 500), dtype=np.uint8)
    pixels[0, 300:303, 450:452] = 1
    assert mask_of(only(seg(pixels, [seg_frame(0.0)], [segment(1)]))).mask.shape == (1, 3, 2)


def test_the_background_of_a_label_map_may_be_another_label() -> None:
    pixels = np.array([[[9, 0, 0], [1, 1, 9]]], dtype=np.uint8)
    segments = [segment(0), segment(1), segment(9, "Background")]
    ds = seg(pixels, [seg_frame(0.0, None)], segments, kind="LABELMAP", PixelPaddingValue=9)
    assert [voxels(mark) for mark in read(ds)] == [expected(0.0, pixels[0] == n) for n in (0, 1)]


def test_pixels_of_an_undescribed_segment_are_stated() -> None:
    marks = read(seg(stack(SQUARE, SQUARE), [seg_frame(0.0, 1), seg_frame(2.0, 9)], [segment(1)]))
    assert isinstance(marks[0], RoiMark)
    assert isinstance(marks[1], UnreadableMark)
    assert (marks[1].code, marks[1].item) == ("seg.segment-undescribed", "segment 9")


@pytest.mark.parametrize(
    ("ds", "code"),
    [
        (seg(stack(EMPTY), [seg_frame(0.0)], [segment(1)]), "roi.empty"),
        (seg(stack(SQUARE), [seg_frame(0.0)], [segment(1), segment(1)]), "seg.number-repeated"),
        (
            seg(stack(SQUARE, SQUARE), [seg_frame(0.0), seg_frame(0.0, x=0.3)], [segment(1)]),
            "seg.planes-shifted",
        ),
    ],
)
def test_a_segment_that_cannot_be_used_says_why(ds: Dataset, code: str) -> None:
    assert {mark.code for mark in read(ds) if isinstance(mark, UnreadableMark)} == {code}


def _changed(**elements: object) -> Dataset:
    ds = seg(stack(SQUARE), [seg_frame(0.0)], [segment(1)])
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("ds", "code"),
    [
        (_changed(PixelData=b"\x00\x00"), "pixels.short"),
        (_changed(PixelData=b""), "pixels.missing"),
        (_changed(NumberOfFrames=2_000_000_000), "seg.frames-missing"),
        (_changed(Rows=65535, Columns=65535), "pixels.layout"),
        (_changed(Rows=0), "pixels.layout"),
        (_changed(SegmentationType="POLYGON"), "seg.type-unknown"),
        (_changed(SegmentSequence=[]), "seg.no-segments"),
        (_changed(PerFrameFunctionalGroupsSequence=[Dataset()]), "seg.no-plane"),
    ],
)
def test_an_object_that_cannot_be_used_says_why(ds: Dataset, code: str) -> None:
    with pytest.raises(InputError) as caught:
        read(ds)
    assert caught.value.code == code


def _bytes_of(frame: np.ndarray) -> bytes:
    return np.packbits(frame.ravel(), bitorder="little").tobytes()


def _rle(raw: bytes) -> bytes:
    literal = b"".join(
        bytes([len(part) - 1]) + part for part in (raw[i : i + 128] for i in range(0, len(raw), 128))
    )
    return b"\x01\0\0\0" + (64).to_bytes(4, "little") + bytes(56) + literal


@pytest.mark.parametrize("syntax", [RLELossless, DEFLATED_IMAGE_FRAME])
def test_compressed_one_bit_frames_are_read_exactly_or_refused(syntax: str) -> None:
    pixels = stack(SQUARE, np.roll(SQUARE, 1, axis=0))
    ds = seg(pixels, [seg_frame(0.0), seg_frame(2.0)], [segment(1)])
    ds.file_meta.TransferSyntaxUID = syntax

    def encoded(raw: bytes) -> bytes:
        if syntax == RLELossless:
            return _rle(raw)
        deflater = zlib.compressobj(wbits=-15)
        return deflater.compress(raw) + deflater.flush()

    ds.PixelData = encapsulate([encoded(_bytes_of(frame)) for frame in pixels])
    assert voxels(only(ds)) == expected(0.0, pixels[0]) | expected(2.0, pixels[1])
    # A byte for each pixel instead of a bit: the length tells, so it is refused rather than misread.
    ds.PixelData = encapsulate([encoded(frame.tobytes()) for frame in pixels])
    with pytest.raises(InputError) as caught:
        read(ds)
    assert caught.value.code == "pixels.undecodable"


@pytest.mark.shared
def test_five_encodings_of_one_real_segmentation_give_the_published_mask(shared_data: Path) -> None:
    folder = shared_data / "dcmqi-ct-liver-spine" / "seg"
    for name in ("liver", "liver_deflate", "liver_expb", "liver_j2k", "liver_rle"):
        assert int(mask_of(only(pydicom.dcmread(folder / f"{name}.dcm"))).mask.sum()) == 107098


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "voxels", "step"),
    [
        ("totalseg-ct-bones/bones.seg.dcm", [23576, 9930, 2085, 2730], 2.0),
        ("dcmqi-ct-liver-spine/seg/partial_overlaps.dcm", [9602, 11888, 10743, 6693, 4713], 1.0),
        ("dcmqi-ct-liver-spine/seg/slicer_seg.dcm", [161646], 1.0),
        ("highdicom-small/ct_16x16/seg_image_ct_binary.dcm", [638], 1.25),
        ("mini-ct-multiframe/label.seg.dcm", [322], 2.5),
    ],
)
def test_real_segmentations_have_the_published_voxel_counts(
    shared_data: Path, path: str, voxels: list[int], step: float
) -> None:
    shapes = [mask_of(mark) for mark in read(pydicom.dcmread(shared_data / path))]
    assert [int(shape.mask.sum()) for shape in shapes] == voxels
    assert {round(shape.grid.slice_spacing_mm, 6) for shape in shapes} == {step}
