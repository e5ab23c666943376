"""Which images become slices, where they lie, and what HU a box of them has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from osteoscribe.core.series import SeriesIndex
from osteoscribe.readers.ct import index_series, read_box
from tests.examples import many
from tests.readers.ct_objects import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    Memory,
    ct_slice,
    enhanced,
    pixels_of,
    refused,
)

WHOLE = (slice(None), slice(None), slice(None))


def index_of(*slices: Dataset, referenced: frozenset[str] = frozenset()) -> SeriesIndex:
    memory = Memory()
    return index_series([memory.store(ds) for ds in slices], referenced=referenced)


def reasons(index: SeriesIndex) -> dict[str, str]:
    return {ref.sop_instance_uid: reason for ref, reason in index.left_out}


def test_slices_are_sorted_along_the_normal_whatever_their_numbers() -> None:
    index = index_of(ct_slice(4, number=1), ct_slice(0, number=2), ct_slice(2, number=3))
    assert [source.instance_number for source in index.slices] == [2, 3, 1]
    assert index.grid.origins_lps_mm[:, 2].tolist() == [0, 2, 4]
    assert index.grid.slice_step_lps_mm.tolist() == [0, 0, 2]


def test_rows_and_columns_have_their_own_spacing() -> None:
    index = index_of(ct_slice(0, spacing=(0.5, 0.75)), ct_slice(2, number=2, spacing=(0.5, 0.75)))
    assert index.grid.row_step_lps_mm.tolist() == [0, 0.5, 0]
    assert index.grid.column_step_lps_mm.tolist() == [0.75, 0, 0]


def test_a_tilted_stack_keeps_its_origins_off_the_normal() -> None:
    slices = [ct_slice(2.0 * n, number=n + 1, origin=(0.0, 0.7 * n)) for n in range(4)]
    index = index_of(*slices)
    assert index.grid.origins_lps_mm[:, 1] == pytest.approx([0, 0.7, 1.4, 2.1])
    assert index.grid.slice_step_lps_mm == pytest.approx([0, 0.7, 2.0])
    assert index.grid.slice_spacing_mm == pytest.approx(2.0)


def test_missing_slices_stay_gaps_and_the_usual_step_is_the_most_common() -> None:
    index = index_of(*(ct_slice(z, number=n) for n, z in enumerate((0, 2, 4, 10, 12), start=1)))
    assert np.diff(index.grid.plane_positions_mm).tolist() == [2, 2, 6, 2]
    assert index.grid.slice_spacing_mm == 2


def test_a_single_slice_is_as_thick_as_it_says() -> None:
    assert index_of(ct_slice(7)).grid.slice_step_lps_mm.tolist() == [0, 0, 2]


def test_a_single_slice_of_unknown_thickness_is_refused() -> None:
    ds = ct_slice(7)
    del ds.SliceThickness
    with refused("ct.no-slice-thickness"):
        index_of(ds)


def test_images_that_are_no_slices_are_left_out_with_their_reason() -> None:
    localizer = ct_slice(50, number=10)
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    summary = ct_slice(51, number=11)
    del summary.ImagePositionPatient, summary.ImageOrientationPatient
    capture = ct_slice(52, number=12)
    capture.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    coronal = ct_slice(53, number=13, orientation=(1, 0, 0, 0, 0, -1))
    larger = ct_slice(54, number=14, values=np.zeros((5, 6), dtype=np.int16))
    coarse = ct_slice(55, number=15, spacing=(0.6, 0.6))
    elsewhere = ct_slice(56, number=16)
    elsewhere.FrameOfReferenceUID = "1.2.3.6"
    no_spacing = ct_slice(57, number=17)
    del no_spacing.PixelSpacing
    colour = ct_slice(58, number=18)
    colour.SamplesPerPixel = 3
    others = [localizer, summary, capture, coronal, larger, coarse, elsewhere, no_spacing, colour]
    index = index_of(*(ct_slice(2.0 * n, number=n + 1) for n in range(3)), *others)
    assert len(index.slices) == 3
    assert reasons(index) == {
        "1.2.3.4.10": "a localizer",
        "1.2.3.4.11": "no position or orientation (a summary page or a capture?)",
        "1.2.3.4.12": "not a CT image by its SOP class",
        "1.2.3.4.13": "its orientation differs from that of the series",
        "1.2.3.4.14": "5 x 6 pixels, unlike the series",
        "1.2.3.4.15": "its pixel spacing differs from that of the series",
        "1.2.3.4.16": "its frame of reference differs from that of the series",
        "1.2.3.4.17": "no pixel spacing",
        "1.2.3.4.18": "a colour picture",
    }


@pytest.mark.parametrize(
    ("code", "keyword", "value"),
    [
        ("ct.not-ct", "SOPClassUID", "1.2.840.10008.5.1.4.1.1.4"),
        ("ct.localizer", "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        ("ct.no-geometry", "ImagePositionPatient", None),
        ("ct.no-geometry", "ImageOrientationPatient", None),
        ("ct.no-pixel-spacing", "PixelSpacing", None),
        ("ct.no-pixel-spacing", "PixelSpacing", [0, 0.5]),
        ("ct.bad-geometry", "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        ("ct.bad-geometry", "ImageOrientationPatient", [0, 0, 0, 0, 1, 0]),
        ("ct.bad-geometry", "ImagePositionPatient", [0, 0, "1e300"]),
        ("ct.no-matrix", "Rows", 0),
        ("ct.no-matrix", "Rows", 65535),
        ("ct.bad-pixel-layout", "Rows", 5),
        ("ct.bad-pixel-layout", "BitsStored", 0),
        ("ct.bad-pixel-layout", "BitsStored", 17),
        ("ct.bad-pixel-layout", "BitsAllocated", 12),
        ("ct.bad-pixel-layout", "HighBit", 3),
    ],
)
def test_a_series_without_a_usable_slice_says_what_it_lacks_and_names_it(
    code: str, keyword: str, value: object
) -> None:
    slices = [ct_slice(2.0 * n, number=n + 1) for n in range(2)]
    for ds in slices:
        setattr(ds, keyword, value)
    with refused(code) as caught:
        index_of(*slices)
    assert "1.2.3.4.1" in caught.value.message


def test_no_images_and_images_of_two_series_are_refused() -> None:
    other = ct_slice(2, number=2)
    other.SeriesInstanceUID = "1.2.3.99"
    with refused("ct.no-images"):
        index_of()
    with refused("ct.several-series"):
        index_of(ct_slice(0), other)


def test_of_two_images_at_one_place_the_one_the_mark_refers_to_is_kept() -> None:
    slices = [ct_slice(0, number=1), ct_slice(2, number=2), ct_slice(2, number=3), ct_slice(4, number=4)]
    assert reasons(index_of(*slices)) == {"1.2.3.4.3": "at the same place as 1.2.3.4.2, which is used"}
    preferring = index_of(*slices, referenced=frozenset({"1.2.3.4.3"}))
    assert reasons(preferring) == {"1.2.3.4.2": "at the same place as 1.2.3.4.3, which is used"}


def test_an_instance_that_came_twice_is_one_slice() -> None:
    memory = Memory()
    twice = [memory.store(ct_slice(0, number=1), digest="a") for _ in range(2)]
    index = index_series([*twice, memory.store(ct_slice(2, number=2), digest="b")])
    assert len(index.slices) == 2
    assert [reason for _, reason in index.left_out] == ["received twice"]


def test_of_two_stacks_the_one_the_mark_refers_to_is_the_series() -> None:
    axial = [ct_slice(2.0 * n, number=n + 1) for n in range(3)]
    coronal = [
        ct_slice(0, number=n + 11, origin=(0.0, 3.0 * n), orientation=(1, 0, 0, 0, 0, -1)) for n in range(2)
    ]
    assert len(index_of(*axial, *coronal).slices) == 3
    chosen = index_of(*axial, *coronal, referenced=frozenset({"1.2.3.4.12"}))
    assert [source.instance_number for source in chosen.slices] == [11, 12]
    assert len(chosen.left_out) == 3


@settings(max_examples=many(25))
@given(st.permutations(range(6)))
def test_the_order_of_receipt_changes_nothing(order: list[int]) -> None:
    slices = [ct_slice(z, number=n) for n, z in enumerate((0, 2, 2, 5, 7, 9), start=1)]
    straight, shuffled = index_of(*slices), index_of(*(slices[i] for i in order))
    assert [s.ref for s in straight.slices] == [s.ref for s in shuffled.slices]
    assert straight.left_out == shuffled.left_out
    assert np.array_equal(straight.grid.origins_lps_mm, shuffled.grid.origins_lps_mm)


def test_frames_of_a_multi_frame_image_are_slices() -> None:
    memory = Memory()
    index = index_series([memory.store(enhanced([4, 0, 2]))])
    assert [source.ref.frame_number for source in index.slices] == [2, 3, 1]
    box = read_box(index, (slice(1, 3), slice(1, 2), slice(2, 4)), memory)
    assert box.voxels_hu.tolist() == [[[200 + 8 - 1024, 200 + 9 - 1024]], [[8 - 1024, 9 - 1024]]]


def test_frames_at_one_place_are_named_with_their_number() -> None:
    index = index_of(enhanced([0, 2, 2]))
    assert [(ref.frame_number, reason) for ref, reason in index.left_out] == [
        (3, "at the same place as 1.2.3.9 frame 2, which is used")
    ]


def test_a_localizer_among_frames_is_left_out() -> None:
    ds = enhanced([0, 2, 4])
    kind = Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    ds.PerFrameFunctionalGroupsSequence[1].CTImageFrameTypeSequence = Sequence([kind])
    index = index_of(ds)
    assert [source.ref.frame_number for source in index.slices] == [1, 3]
    assert [(ref.frame_number, reason) for ref, reason in index.left_out] == [(2, "a localizer")]


def test_parts_of_a_concatenation_join_into_one_grid() -> None:
    memory = Memory()
    parts = [enhanced([0, 2], uid="1.2.3.21"), enhanced([4, 6], uid="1.2.3.22")]
    for number, part in enumerate(parts, start=1):
        part.ConcatenationUID, part.InConcatenationNumber = "1.2.3.20", number
        part.ConcatenationFrameOffsetNumber = 2 * (number - 1)
    index = index_series([memory.store(part) for part in reversed(parts)])
    assert index.grid.origins_lps_mm[:, 2].tolist() == [0, 2, 4, 6]
    assert [(s.ref.sop_instance_uid[-2:], s.ref.frame_number) for s in index.slices] == [
        ("21", 1), ("21", 2), ("22", 1), ("22", 2),
    ]  # fmt: skip
    assert read_box(index, WHOLE, memory).voxels_hu[:, 0, 0].tolist() == [-1024, -924, -1024, -924]


def test_a_multi_frame_image_whose_frames_lie_nowhere_is_left_out() -> None:
    ds = enhanced([0, 2])
    del ds.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    with refused("ct.no-geometry"):
        index_of(ds)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_a_box_holds_the_hu_of_its_rows_and_columns(syntax: str) -> None:
    memory = Memory()
    index = index_series([memory.store(ct_slice(2.0 * n, number=n + 1), syntax) for n in range(3)])
    box = read_box(index, (slice(1, 3), slice(1, 3), slice(4, 6)), memory)
    assert box.offset == (1, 1, 4)
    assert (box.voxels_hu + 1024).tolist() == [[[214, 215], [224, 225]], [[314, 315], [324, 325]]]


def test_only_the_rows_of_the_box_are_read() -> None:
    memory = Memory()
    index = index_series([memory.store(ct_slice(2.0 * n, number=n + 1)) for n in range(3)])
    read_box(index, (slice(0, 2), slice(1, 3), slice(0, 1)), memory)
    assert memory.asked == 2 * 2 * 6 * 2  # slices x rows x columns x bytes


def test_what_lies_outside_the_grid_is_cut_off() -> None:
    memory = Memory()
    index = index_series([memory.store(ct_slice(0))])
    assert read_box(index, (slice(0, 9), slice(3, 9), slice(5, 9)), memory).voxels_hu.shape == (1, 1, 1)
    assert read_box(index, (slice(0, 0), slice(3, 2), slice(5, 9)), memory).voxels_hu.size == 0


def test_bits_above_the_value_are_overlays_not_hu() -> None:
    memory = Memory()
    values = np.array([[0x0FFF, 0xFFFF], [0xF000, 0x1800]], dtype=np.uint16)
    ds = ct_slice(0)
    pixels_of(ds, values, signed=False, bits=12)
    unsigned = read_box(index_series([memory.store(ds)]), WHOLE, memory).voxels_hu + 1024
    ds.PixelRepresentation = 1
    signed = read_box(index_series([memory.store(ds)]), WHOLE, memory).voxels_hu + 1024
    assert unsigned.tolist() == [[[4095, 4095], [0, 2048]]]
    assert signed.tolist() == [[[-1, -1], [0, -2048]]]


def test_slope_and_intercept_are_applied_per_slice() -> None:
    memory = Memory()
    slices = [ct_slice(0, number=1), ct_slice(2, number=2)]
    slices[1].RescaleSlope, slices[1].RescaleIntercept = "0.5", "-10.25"
    voxels = read_box(index_series([memory.store(ds) for ds in slices]), WHOLE, memory).voxels_hu
    assert voxels[0, 0, 0] == 100 - 1024
    assert voxels[1, 0, 1] == 201 * 0.5 - 10.25


def test_a_modality_lut_is_applied() -> None:
    memory = Memory()
    ds = ct_slice(0, values=np.array([[0, 1], [2, 3]], dtype=np.int16))
    del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
    lut = Dataset()
    lut.add_new(0x00283002, "SS", [4, 0, 16])
    lut.ModalityLUTType = "HU"
    lut.add_new(0x00283006, "OW", np.array([10, 20, 40, 80], dtype="<u2").tobytes())
    ds.ModalityLUTSequence = Sequence([lut])
    index = index_series([memory.store(ds)])
    assert read_box(index, WHOLE, memory).voxels_hu.tolist() == [[[10, 20], [40, 80]]]
    lut.ModalityLUTType = "OD"
    with refused("ct.not-hounsfield"):
        read_box(index_series([memory.store(ds)]), WHOLE, memory)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("RescaleSlope", None), ("RescaleIntercept", None), ("RescaleType", "Z_EFF"), ("RescaleSlope", 0)],
)
def test_values_that_are_no_hu_are_never_given_as_hu(keyword: str, value: object) -> None:
    memory = Memory()
    ds = ct_slice(0)
    setattr(ds, keyword, value)
    index = index_series([memory.store(ds)])
    with refused("ct.not-hounsfield") as caught:
        read_box(index, WHOLE, memory)
    assert caught.value.where == "1.2.3.4.1"


def test_the_acquisition_is_what_most_slices_say() -> None:
    slices = [ct_slice(2.0 * n, number=n + 1) for n in range(3)]
    for ds in slices:
        ds.KVP, ds.ConvolutionKernel, ds.ContrastBolusAgent = 120, "B70f", "IV"
    slices[0].KVP = 100
    acquisition = index_of(*slices).acquisition
    assert acquisition.kvp_kv == 120
    assert acquisition.convolution_kernel == "B70f"
    assert acquisition.slice_thickness_mm == 2
    assert acquisition.contrast is True
    assert index_of(ct_slice(0)).acquisition.contrast is None


def test_a_box_too_large_for_a_mark_is_refused() -> None:
    memory = Memory()
    large = np.zeros((4096, 4096), dtype=np.int16)
    instances = [memory.store(ct_slice(2.0 * n, number=n + 1, values=large)) for n in range(2)]
    with refused("ct.box-too-large"):
        read_box(index_series(instances), WHOLE, memory)
