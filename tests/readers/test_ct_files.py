"""Real CT files: what each encoding, geometry and multi-frame image decodes to."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from osteoscribe.core.series import SeriesIndex
from osteoscribe.errors import InputError
from osteoscribe.readers.ct import CT_SOP_CLASSES, READABLE_TRANSFER_SYNTAXES, index_series, read_box
from osteoscribe.readers.headers import StoredInstance
from osteoscribe.store.files import read_bytes, scan

pytestmark = pytest.mark.shared
WHOLE = (slice(None), slice(None), slice(None))
TWELVE_BIT_LOSSY = {"1.2.840.10008.1.2.4.51"}
BY_JPEG12 = {"1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"}


def series_of(*paths: Path) -> list[list[StoredInstance]]:
    """CT instances by series, the one with most first."""
    series: dict[str, list[StoredInstance]] = {}
    for instance in scan(paths).instances:
        if instance.header.modality == "CT":
            series.setdefault(instance.header.series_instance_uid, []).append(instance)
    return sorted(series.values(), key=len, reverse=True)


def index_of(*paths: Path) -> SeriesIndex:
    return index_series(series_of(*paths)[0])


def expected(folder: Path) -> Any:
    return json.loads((folder / "expected.json").read_text())


def test_each_encoding_of_one_slice_gives_its_expected_hu(shared_data: Path) -> None:
    folder = shared_data / "transfer-syntaxes-ct"
    decoded = set()
    for name, values in expected(folder)["files"].items():
        voxels = read_box(index_of(folder / name), WHOLE, read_bytes).voxels_hu
        decoded.add(values["transfer_syntax"])
        if "rescaled_min" not in values:
            continue  # the retired ones, below
        # decoders of lossy JPEG may differ by one stored value (ISO 10918-2)
        one = values["rescale_slope"] if values["transfer_syntax"] in TWELVE_BIT_LOSSY else 0
        assert voxels.min() == pytest.approx(values["rescaled_min"], abs=1e-6 + 1.1 * one), name
        assert voxels.max() == pytest.approx(values["rescaled_max"], abs=1e-6 + 1.1 * one), name
        assert voxels.mean() == pytest.approx(values["rescaled_mean"], abs=1e-4 + 0.05 * one), name
        assert voxels.std() == pytest.approx(values["rescaled_sd"], abs=1e-4 + 0.05 * one), name
    assert decoded == set(READABLE_TRANSFER_SYNTAXES)


def test_the_retired_progressive_encodings_hold_the_same_picture(shared_data: Path) -> None:
    folder = shared_data / "transfer-syntaxes-ct"
    extended, selection, progression = (
        read_box(index_of(next(folder.glob(f"*.4.{kind}.dcm"))), WHOLE, read_bytes).voxels_hu
        for kind in ("51", "53", "55")
    )
    assert np.array_equal(extended, selection)
    assert np.array_equal(extended, progression)


def test_lossy_encodings_differ_little_from_the_original(shared_data: Path) -> None:
    folder = shared_data / "transfer-syntaxes-ct"
    original = read_box(index_of(folder / "original.dcm"), WHOLE, read_bytes).voxels_hu
    for kind, most in (("50", 32.2), ("51", 5.0), ("81", 1.0), ("91", 5.0)):
        lossy = read_box(index_of(next(folder.glob(f"*.4.{kind}.dcm"))), WHOLE, read_bytes).voxels_hu
        difference = np.abs(lossy - original)[original > -1500]
        assert np.median(difference) <= most, kind


def test_a_box_is_the_same_cut_of_every_lossless_encoding(shared_data: Path) -> None:
    folder = shared_data / "transfer-syntaxes-ct"
    box = (slice(0, 1), slice(200, 260), slice(250, 280))
    original = read_box(index_of(folder / "original.dcm"), WHOLE, read_bytes).voxels_hu
    lossless = [n for n, values in expected(folder)["files"].items() if values["identical_to_reference"]]
    assert len(lossless) > 8
    for name in lossless:
        cut = read_box(index_of(folder / name), box, read_bytes)
        assert cut.offset == (0, 200, 250)
        assert np.array_equal(cut.voxels_hu, original[box]), name


def test_enhanced_ct_takes_its_planes_and_rescale_from_the_functional_groups(shared_data: Path) -> None:
    folder = shared_data / "enhanced-ct"
    answer = expected(folder)
    for name, values in answer["files"].items():
        index = index_of(folder / name)
        by_number = {source.ref.frame_number: k for k, source in enumerate(index.slices)}
        for number, frame in enumerate(answer["frames"], start=1):
            k = by_number[number]
            assert index.grid.origins_lps_mm[k].tolist() == frame["position"]
            assert (index.slices[k].slope, index.slices[k].intercept) == tuple(frame["rescale"][:2])
        assert index.grid.column_step_lps_mm == pytest.approx([-0.388672, 0, 0])
        assert index.grid.row_step_lps_mm == pytest.approx([0, 0.388672, 0])
        assert index.acquisition.slice_thickness_mm == 10
        voxels = read_box(index, WHOLE, read_bytes).voxels_hu
        one = 1 if values["transfer_syntax"] in TWELVE_BIT_LOSSY else 0
        assert voxels.min() == values["rescaled_min"] - 1024, name
        assert voxels.max() == values["rescaled_max"] - 1024, name
        assert voxels.mean() == pytest.approx(values["rescaled_mean"] - 1024, abs=1e-4 + 0.05 * one), name


def test_frames_of_compressed_multi_frame_images_are_told_apart(shared_data: Path) -> None:
    folder = shared_data / "enhanced-ct"
    native = read_box(index_of(folder / "CT0012.explicit_little_endian.dcm"), WHOLE, read_bytes).voxels_hu
    assert not np.array_equal(native[0], native[1])
    for kind in ("rle", "jpeg_ls"):
        index = index_of(next(folder.glob(f"*{kind}*.dcm")))
        for k in (1, 0):
            frame = read_box(index, (slice(k, k + 1), slice(None), slice(None)), read_bytes).voxels_hu
            assert np.array_equal(frame[0], native[k])


def test_single_and_multi_frame_images_of_one_scan_are_alike(shared_data: Path) -> None:
    folder = shared_data / "mini-ct-multiframe"
    many, one = index_of(folder / "single-frame"), index_of(folder / "enhanced_multiframe.dcm")
    assert many.grid.origins_lps_mm == pytest.approx(one.grid.origins_lps_mm)
    assert many.grid.row_step_lps_mm == pytest.approx(one.grid.row_step_lps_mm)
    geometry = expected(folder)["cases"]["label"]["segments"]["1"]["geometry"]
    assert one.grid.shape == tuple(reversed(geometry["size"]))
    assert one.grid.origins_lps_mm[0] == pytest.approx(geometry["origin_mm"], abs=1e-4)
    voxels = [read_box(index, WHOLE, read_bytes).voxels_hu for index in (many, one)]
    assert np.array_equal(*voxels)


def test_odd_geometry_is_represented_as_it_is(shared_data: Path) -> None:
    folder = shared_data / "geometry-oddities"
    for case, groups in expected(folder)["cases"].items():
        stack = groups[0]
        index = index_of(folder / case)
        grid = index.grid
        names = [Path(source.blob.segment).name for source in index.slices]
        assert names in (stack["order_along_normal"], stack["order_along_normal"][::-1]), case
        steps = np.diff(grid.plane_positions_mm)
        assert steps == pytest.approx(stack["slice_step_along_normal_mm"], abs=0.02), case
        cosine = grid.slice_spacing_mm / np.linalg.norm(grid.slice_step_lps_mm)
        shear = np.degrees(np.arccos(min(1.0, cosine)))
        assert shear == pytest.approx(stack["angle_between_stack_direction_and_normal_deg"], abs=0.05), case
        assert index.acquisition.slice_thickness_mm == stack["slice_thickness"], case


def test_localizers_and_summary_pages_do_not_enter_the_volume(shared_data: Path) -> None:
    folder = shared_data / "geometry-oddities" / "philips_phantom_mixed"
    instances = scan([folder]).instances
    tilted = series_of(folder)[0]
    assert len(index_series(tilted).slices) == 6
    # as a sender that puts everything into one series would send them
    series_instance_uid = tilted[0].header.series_instance_uid
    mixed = [replace(i, header=replace(i.header, series_instance_uid=series_instance_uid)) for i in instances]
    index = index_series(mixed)
    assert len(index.slices) == 6
    assert len(index.left_out) == 3
    assert sorted(reason for _, reason in index.left_out) == [
        "a localizer", "not a CT image by its SOP class", "not a CT image by its SOP class",
    ]  # fmt: skip


def test_a_thickness_unlike_the_step_and_a_far_slice_are_kept_apart(shared_data: Path) -> None:
    overlapping = index_of(shared_data / "totalseg-ct-bones" / "ct")
    assert overlapping.acquisition.slice_thickness_mm == 3
    assert overlapping.grid.slice_spacing_mm == pytest.approx(2)
    uneven = index_of(shared_data / "highdicom-small" / "ct_16x16" / "ct")
    answer = expected(shared_data / "highdicom-small")
    assert uneven.grid.origins_lps_mm[:, 2] == pytest.approx(answer["ct_slice_z"], abs=0.005)
    assert uneven.grid.slice_spacing_mm == pytest.approx(1.25, abs=0.01)


@pytest.mark.slow
def test_pixels_of_every_real_ct_are_those_of_pydicom(shared_data: Path) -> None:
    compared = 0
    for instance in scan([shared_data]).instances:
        header = instance.header
        if header.sop_class_uid not in CT_SOP_CLASSES or header.transfer_syntax_uid in BY_JPEG12:
            continue
        thick = replace(instance, header=replace(header, slice_thickness_mm=header.slice_thickness_mm or 1.0))
        try:
            index = index_series([thick])
        except InputError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = pydicom.dcmread(instance.blob.segment, force=True).pixel_array
        frames = stored.reshape(-1, *index.grid.shape[1:])
        voxels = read_box(index, WHOLE, read_bytes).voxels_hu
        for source, ours in zip(index.slices, voxels, strict=True):
            theirs = frames[(source.ref.frame_number or 1) - 1] * source.slope + source.intercept
            assert np.array_equal(ours, theirs), instance.blob.segment
        compared += 1
    assert compared > 300


def test_the_documented_transfer_syntaxes_are_those_that_decode(project: Path) -> None:
    page = (project / "docs" / "ct.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (1\.2\.840[\d.]+) ", page, re.MULTILINE)) == set(READABLE_TRANSFER_SYNTAXES)
