"""Sizes and HU of real cases, against the published and independently computed intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from osteoscribe.core.geometry import Grid
from osteoscribe.core.intensity import IntensityReference, reference
from osteoscribe.core.marks import RoiMark
from osteoscribe.core.placement import place
from osteoscribe.core.size import Size, measure_size
from osteoscribe.core.voxels import CtBox
from osteoscribe.errors import InputError
from tests.core.phantoms import axial_grid, region_of
from tests.core.real_cases import expected, load_ct, rtstruct_mark, seg_mark

pytestmark = pytest.mark.shared

RTSTRUCTS = ("ibsi-ct-phantom", "sts-ct-rtstruct", "lung1-001-aria", "lambin-radiomics-phantom-patients")


def outside(mark: RoiMark, ct: Path, accept: dict[str, tuple[float, float]]) -> dict[str, object]:
    """Values that fall out of their interval."""
    index, box = load_ct(ct)
    placement = place(mark, index)
    size = measure_size(placement.measured)
    hu = reference(placement.on_ct, box)
    assert isinstance(size, Size)
    assert hu is not None
    ours = {
        "volume_mm3": size.volume_mm3,
        "volume_mesh_mm3": size.mesh_volume_mm3,
        "max_3d_diameter_mm": size.maximum_3d_diameter_mm,
        "max_2d_axial_diameter_mm": size.long_axis_mm,
        "mean_hu": hu.mean_hu,
        "sd_hu": hu.standard_deviation_hu,
        "median_hu": hu.median_hu,
        "min_hu": hu.minimum_hu,
        "max_hu": hu.maximum_hu,
    }
    return {name: ours[name] for name, (low, high) in accept.items() if not low <= ours[name] <= high}  # type: ignore[operator]


@pytest.mark.parametrize("folder", RTSTRUCTS)
def test_contours_of_real_cases_are_measured_within_the_accepted_intervals(
    shared_data: Path, folder: str
) -> None:
    root = shared_data / folder
    for case in expected(shared_data, folder)["cases"].values():
        mark = rtstruct_mark(root / case["rtstruct"], case["roi"])
        assert outside(mark, root / case["ct"], case["accept"]) == {}


def test_segments_of_the_bone_case_are_measured_within_the_accepted_intervals(shared_data: Path) -> None:
    root = shared_data / "totalseg-ct-bones"
    for case in expected(shared_data, root.name)["cases"].values():
        for number, segment in case["segments"].items():
            mark = seg_mark(root / case["seg"], int(number))
            assert outside(mark, root / case["ct"], segment["accept"]) == {}


@pytest.mark.slow
def test_segments_of_three_writers_are_measured_within_the_accepted_intervals(shared_data: Path) -> None:
    root = shared_data / "dcmqi-ct-liver-spine"
    for case in expected(shared_data, root.name)["cases"].values():
        for name, found in case["objects"].items():
            for number, segment in found["segments"].items():
                mark = seg_mark(root / name, int(number))
                assert outside(mark, root / case["ct"], segment["accept"]) == {}, (name, number)


def test_a_segment_on_a_multi_frame_grid_is_measured_within_the_accepted_intervals(shared_data: Path) -> None:
    root = shared_data / "mini-ct-multiframe"
    case = expected(shared_data, root.name)["cases"]["label"]
    mark = seg_mark(root / case["seg"], 1)
    assert outside(mark, root / case["ct"][0], case["segments"]["1"]["accept"]) == {}


def test_a_segment_beside_a_gap_counts_its_own_slice_step(shared_data: Path) -> None:
    root = shared_data / "highdicom-small"
    want = expected(shared_data, root.name)["objects"]["seg_image_ct_binary"]["1"]
    index, box = load_ct(root / "ct_16x16" / "ct")
    placement = place(seg_mark(next(root.rglob("seg_image_ct_binary.dcm")), 1), index)
    size, hu = measure_size(placement.measured), reference(placement.on_ct, box)
    assert isinstance(size, Size)
    assert hu is not None
    assert hu.voxel_count == want["pixels"]
    assert hu.mean_hu == pytest.approx(want["mean_hu"])
    assert hu.standard_deviation_hu == pytest.approx(want["sd_hu"])
    assert size.volume_mm3 == pytest.approx(638 * 0.488281**2 * 1.25, abs=0.01)


def _nifti(path: Path) -> tuple[np.ndarray, Grid]:
    image = SimpleITK.ReadImage(str(path))
    voxels = SimpleITK.GetArrayFromImage(image)
    x, y, z = image.GetSpacing()
    grid = axial_grid(voxels.shape, 1.0, z)
    steps = {"row_step_lps_mm": np.array([0, y, 0]), "column_step_lps_mm": np.array([x, 0, 0])}
    return voxels, replace(grid, **steps)


def _within(value: float, consensus: dict[str, float]) -> bool:
    """Inside the tolerance, or equal in the digits that are printed."""
    printed = 0.5 * 10.0 ** -max(0, len(f"{consensus['value']:g}".partition(".")[2]))
    return abs(value - consensus["value"]) <= max(consensus["tolerance"], printed)


Values = dict[str, float | None]


def digital_phantom(data: Path) -> tuple[dict[str, dict[str, float]], Values]:
    """Consensus values of the IBSI digital phantom, and ours."""
    root = data / "ibsi-digital-phantom"
    mask, grid = _nifti(root / "mask.nii.gz")
    voxels, _ = _nifti(root / "phantom.nii.gz")
    region = region_of(mask > 0, grid)
    size, hu = measure_size(region), reference(region, CtBox(offset=(0, 0, 0), voxels_hu=voxels))
    assert isinstance(size, Size)
    assert hu is not None
    return expected(data, root.name)["values"], {**_shape(size), **_statistics(hu)}


def ct_phantom(data: Path) -> tuple[dict[str, dict[str, float]], Values]:
    """Consensus values of the IBSI CT phantom (configuration A: HU of -500 to 400), and ours."""
    root = data / "ibsi-ct-phantom"
    index, box = load_ct(root / "ct")
    placement = place(rtstruct_mark(root / "rtstruct.dcm", "GTV-1"), index)
    size, hu = measure_size(placement.measured), reference(placement.on_ct, box)
    assert isinstance(size, Size)
    assert hu is not None
    region = placement.on_ct
    inside = box.voxels_hu[region.box]
    segmented = replace(region, mask=region.mask & (inside >= -500) & (inside <= 400))
    after = reference(segmented, box)
    assert after is not None
    ours = {
        **_shape(size),
        "int_mask_vox_count_init_roi": hu.voxel_count,
        "int_mask_mean_int_init_roi": hu.mean_hu,
        "int_mask_min_int_init_roi": hu.minimum_hu,
        "int_mask_max_int_init_roi": hu.maximum_hu,
        **_statistics(after),
    }
    return expected(data, root.name)["ibsi1_consensus_configuration_A"], ours


PHANTOMS = {"digital phantom": digital_phantom, "CT phantom, configuration A": ct_phantom}


@pytest.mark.parametrize("phantom", PHANTOMS)
def test_the_ibsi_phantoms_give_the_consensus_values(shared_data: Path, phantom: str) -> None:
    consensus, ours = PHANTOMS[phantom](shared_data)
    assert {name for name, value in ours.items() if not _within(value or 0.0, consensus[name])} == set()
    assert len(ours) >= 10


def _shape(size: Size) -> Values:
    return {
        "morph_volume": size.mesh_volume_mm3,
        "morph_vol_approx": size.volume_mm3,
        "morph_diam": size.maximum_3d_diameter_mm,
    }


def _statistics(hu: IntensityReference) -> Values:
    return {
        "stat_mean": hu.mean_hu,
        "stat_var": hu.standard_deviation_hu**2,
        "stat_median": hu.median_hu,
        "stat_min": hu.minimum_hu,
        "stat_max": hu.maximum_hu,
        "stat_p10": hu.percentile_10_hu,
        "stat_p90": hu.percentile_90_hu,
    }


@pytest.mark.parametrize("case", ["lung1", "breast1"])
def test_volumes_and_diameters_are_those_of_pyradiomics(shared_data: Path, case: str) -> None:
    root = shared_data / "pyradiomics-cases"
    known = expected(shared_data, root.name)["cases"][case]["recomputed"][0]
    mask, grid = _nifti(next(root.glob(f"{case}_label*.nrrd")))
    size = measure_size(region_of(mask == 1, grid))
    assert isinstance(size, Size)
    assert size.volume_mm3 == pytest.approx(known["volume_voxel_mm3"], rel=1e-6)
    assert size.mesh_volume_mm3 == pytest.approx(known["volume_mesh_mm3"], rel=1e-4)
    assert size.maximum_3d_diameter_mm == pytest.approx(known["max_3d_diameter_mm"], rel=1e-4)


@pytest.mark.parametrize("roi", ["Spinal-Cord", "Lung-Left", "Lung-Right"])
def test_a_mark_on_slices_that_are_not_there_is_refused(shared_data: Path, roi: str) -> None:
    root = shared_data / "lung1-001-aria"
    mark = rtstruct_mark(root / "rtstruct.dcm", roi)
    with pytest.raises(InputError) as caught:
        place(mark, load_ct(root / "ct")[0])
    assert caught.value.code == "roi.missing-slices"
