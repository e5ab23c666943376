"""The samples are what their table says, and can be made again."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

from osteoscribe.core.labels import answers_from_label, parse_label_rules
from tests.conftest import PROJECT, Program

FOLDER = PROJECT / "dicom_samples"
TRUTH: dict[str, Any] = json.loads((FOLDER / "truth.json").read_text())
ISLANDS = [(sample, name) for sample, content in TRUTH.items() for name in content["islands"]]
MARKS = [f"{sample}/marks/{name}" for sample, content in TRUTH.items() for name in content["marks"]]
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.dcm"))


def volume(sample: str) -> tuple[np.ndarray[Any, Any], Dataset]:
    """HU (slices, rows, columns), and the first image."""
    images = [pydicom.dcmread(path) for path in sorted((FOLDER / sample / "ct").glob("*.dcm"))]
    planes = [image.pixel_array * image.RescaleSlope + image.RescaleIntercept for image in images]
    return np.stack(planes).astype(float), images[0]


@cache
def positions(sample: str) -> tuple[np.ndarray[Any, Any], ...]:
    """x, y, z in mm of every voxel, from the headers."""
    voxels, first = volume(sample)
    spacing, step = float(first.PixelSpacing[0]), float(first.SpacingBetweenSlices)
    x0, y0, z0 = (float(value) for value in first.ImagePositionPatient)
    k, r, c = np.indices(voxels.shape)
    return x0 + spacing * c, y0 + spacing * r, z0 + step * k, voxels


@pytest.mark.parametrize(("sample", "name"), ISLANDS)
def test_an_island_lies_where_the_table_says(sample: str, name: str) -> None:
    island = TRUTH[sample]["islands"][name]
    x, y, z, voxels = positions(sample)
    centre, reach = island["centre_lps_mm"], island["longest_diameter_mm"] / 2 + 1.5
    thickness = TRUTH[sample]["slice_thickness_mm"]
    near = (np.hypot(x - centre[0], y - centre[1]) < reach) & (np.abs(z - centre[2]) < reach + thickness / 2)
    weight = np.clip(voxels[near] - 420.0, 0.0, None)
    found = [float((axis[near] * weight).sum() / weight.sum()) for axis in (x, y, z)]
    np.testing.assert_allclose(found[:2], centre[:2], atol=0.15)
    assert abs(found[2] - centre[2]) < 0.1 + 0.3 * thickness


def test_density_is_true_where_no_edge_is_near() -> None:
    x, y, z, voxels = positions("pelvis")
    island = TRUTH["pelvis"]["islands"]["D"]
    cx, cy, cz = island["centre_lps_mm"]
    inside = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < 4.0**2
    assert abs(voxels[inside].mean() - island["hu"]) < 3.0
    assert 10.0 < voxels[inside].std() < 25.0


def test_thick_slices_lower_the_density_of_a_small_island() -> None:
    thin, thick = mean_within_2_mm("pelvis", "A"), mean_within_2_mm("pelvis-thick", "E")
    assert thick + 150.0 < thin < 1190.0


def mean_within_2_mm(sample: str, name: str) -> float:
    island = TRUTH[sample]["islands"][name]
    x, y, _, voxels = positions(sample)
    cx, cy, _ = island["centre_lps_mm"]
    k = island["key_image"] - 1
    return float(voxels[k][np.hypot(x[k] - cx, y[k] - cy) < 2.0].mean())


def test_contours_have_the_true_diameter() -> None:
    ds = pydicom.dcmread(FOLDER / "pelvis" / "marks" / "rtstruct.dcm")
    names = [mark["island"] for mark in TRUTH["pelvis"]["marks"]["rtstruct.dcm"]]
    for name, drawn in zip(names, ds.ROIContourSequence[1:], strict=True):
        longest = 0.0
        for contour in drawn.ContourSequence:
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            longest = max(longest, float(np.linalg.norm(points[:, None] - points[None], axis=-1).max()))
        assert abs(longest - TRUTH["pelvis"]["islands"][name]["longest_in_plane_diameter_mm"]) < 0.03


def test_the_segment_has_the_true_volume() -> None:
    ds = pydicom.dcmread(FOLDER / "pelvis" / "marks" / "seg.dcm")
    voxels = int(ds.pixel_array.sum())
    assert abs(voxels * 0.7 * 0.7 * 1.25 / TRUTH["pelvis"]["islands"]["A"]["volume_mm3"] - 1) < 0.1


@pytest.mark.parametrize("file", MARKS)
def test_every_word_of_a_label_is_understood(file: str) -> None:
    sample, _, name = file.split("/")
    rules = parse_label_rules(tomllib.loads((PROJECT / "config" / "labels.toml").read_text()))
    for mark in TRUTH[sample]["marks"][name]:
        assert answers_from_label(mark["label"], rules).unknown_tokens == ()


def test_the_table_for_people_agrees_with_the_truth() -> None:
    rows = [line for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("| ")]
    for sample, name in ISLANDS:
        island = TRUTH[sample]["islands"][name]
        (row,) = (line for line in rows if line.startswith(f"| {name} |"))
        axes = " x ".join(f"{axis:.1f}" for axis in island["axes_mm"])
        expected = [
            island["where"],
            axes,
            f"{island['longest_in_plane_diameter_mm']:.2f}",
            f"{island['volume_mm3']:.1f}",
            f"{island['hu']:.0f}",
            f"{sample} {island['key_image']}",
        ]
        assert [cell.strip() for cell in row.strip("|").split("|")][1:] == expected


def test_the_samples_are_small_lossless_and_clearly_synthetic() -> None:
    assert sum((FOLDER / file).stat().st_size for file in FILES) < 3_000_000
    for file in FILES:
        ds = pydicom.dcmread(FOLDER / file, stop_before_pixels=True)
        assert str(ds.PatientName).startswith("SYNTHETIC^")
        if ds.Modality == "CT":
            assert ds.file_meta.TransferSyntaxUID == JPEGLSLossless


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_second_run_makes_the_same_samples(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "generate.py", "--out", tmp_path], check=True, timeout=580)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.dcm")) == FILES
    assert json.loads((tmp_path / "truth.json").read_text()) == TRUTH
    for file in FILES:
        assert _content(tmp_path / file) == _content(FOLDER / file), file


def _content(path: Path) -> tuple[Dataset, Dataset, bytes]:
    """All elements, with the pixels decoded: another version of the codec may pack them differently."""
    ds = pydicom.dcmread(path)
    pixels = ds.pixel_array.tobytes() if "PixelData" in ds else b""
    if ds.file_meta.TransferSyntaxUID.is_compressed:
        del ds.PixelData
        del ds.file_meta.FileMetaInformationGroupLength
    return ds.file_meta, ds, pixels


@pytest.mark.parametrize("file", ["pelvis/ct/001.dcm", "pelvis-thick/ct/007.dcm", *MARKS])
def test_dciodvfy_finds_no_error(program: Program, file: str) -> None:
    result = subprocess.run(
        [program("dciodvfy"), "-new", FOLDER / file], capture_output=True, text=True, check=False
    )
    assert [line for line in result.stderr.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("sample", TRUTH)
def test_dcentvfy_finds_one_patient_and_study(program: Program, sample: str) -> None:
    files = sorted((FOLDER / sample).rglob("*.dcm"))
    result = subprocess.run([program("dcentvfy"), *files], capture_output=True, text=True, check=False)
    assert "Error" not in result.stdout + result.stderr
