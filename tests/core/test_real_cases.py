"""Sizes and HU of real cases, against the published and independently computed intervals."""

from __future__ import annotations

from pathlib import Path

import pytest

from osteoscribe.core.intensity import reference
from osteoscribe.core.marks import RoiMark
from osteoscribe.core.placement import place
from osteoscribe.core.size import Size, measure_size
from osteoscribe.errors import InputError
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


@pytest.mark.parametrize("roi", ["Spinal-Cord", "Lung-Left", "Lung-Right"])
def test_a_mark_on_slices_that_are_not_there_is_refused(shared_data: Path, roi: str) -> None:
    root = shared_data / "lung1-001-aria"
    mark = rtstruct_mark(root / "rtstruct.dcm", roi)
    with pytest.raises(InputError) as caught:
        place(mark, load_ct(root / "ct")[0])
    assert caught.value.code == "roi.missing-slices"
