"""Circles of known size drawn on real series with tilted, missing, doubled slices and localizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from osteoscribe.app.pipeline import Outcome
from osteoscribe.app.practice import Practice
from osteoscribe.core.report import Finding
from osteoscribe.core.size import Size
from tests.builders_marks import contour, group, rtstruct, scoord
from tests.builders_marks import item as dataset
from tests.builders_marks import reference as image_reference
from tests.builders_marks import report as sr
from tests.scene import on, process

pytestmark = pytest.mark.shared

MIDDLE_RC = (251.0, 262.0)
RADIUS_PX = 20.3
CORNERS = 720
TURNS = 2 * np.pi * np.arange(CORNERS) / CORNERS
AREA_PX = CORNERS / 2 * RADIUS_PX**2 * math.sin(2 * math.pi / CORNERS)
OTHER_HU = 100


def series(shared_data: Path, folder: str, pattern: str) -> list[Dataset]:
    return [
        pydicom.dcmread(path) for path in sorted((shared_data / "geometry-oddities" / folder).glob(pattern))
    ]


def circle(ct: Dataset) -> np.ndarray:
    """(n, 3) LPS mm of a circle in the plane of an image."""
    column, row = np.split(np.array(ct.ImageOrientationPatient, dtype=float), 2)
    r = (MIDDLE_RC[0] + RADIUS_PX * np.sin(TURNS)) * float(ct.PixelSpacing[0])
    c = (MIDDLE_RC[1] + RADIUS_PX * np.cos(TURNS)) * float(ct.PixelSpacing[1])
    return np.array(ct.ImagePositionPatient, dtype=float) + r[:, None] * row + c[:, None] * column


def inside_hu(ct: Dataset) -> np.ndarray:
    """HU of the pixels whose centre lies in the circle, straight from the image."""
    r, c = np.mgrid[: ct.Rows, : ct.Columns]
    inside = (r - MIDDLE_RC[0]) ** 2 + (c - MIDDLE_RC[1]) ** 2 < RADIUS_PX**2
    return ct.pixel_array[inside] * float(ct.RescaleSlope) + float(ct.RescaleIntercept)


def drawn(ct: Sequence[Dataset], numbers: Sequence[int], *, named: bool = True) -> Dataset:
    """A structure set with a circle on each of these images, counted from 1, naming them or not."""
    contours = [contour(circle(ct[n - 1]).tolist(), image=n if named else None) for n in numbers]
    return on(ct, rtstruct(("lesion", contours)))


def finding(outcome: Outcome) -> Finding:
    assert [problem.message for problem in outcome.all_problems] == []
    (one,) = (one for written in outcome.written for one in written.report.findings)
    return one


def problem(outcome: Outcome) -> tuple[str, str]:
    (one,) = outcome.all_problems
    assert not any(written.report.findings for written in outcome.written)
    return one.code, one.message


@pytest.mark.parametrize(
    ("folder", "pattern", "step_mm"),
    [("gantry_tilt_siemens", "*.dcm", 4.851), ("philips_phantom_mixed", "I2*.dcm", 2.371)],
)
def test_on_a_tilted_series_size_and_hu_are_those_of_the_tilted_planes(
    shared_data: Path, practice: Practice, folder: str, pattern: str, step_mm: float
) -> None:
    ct = series(shared_data, folder, pattern)
    found = finding(process(practice, *ct, drawn(ct, [2, 3, 4]))).lesion
    spacing = float(ct[0].PixelSpacing[0])
    values = np.concatenate([inside_hu(one) for one in ct[1:4]])
    assert isinstance(found.size, Size)
    assert found.size.long_axis_mm == pytest.approx(2 * RADIUS_PX * spacing, abs=0.001)
    assert found.size.short_axis_mm == pytest.approx(2 * RADIUS_PX * spacing, abs=0.001)
    assert found.size.volume_mm3 == pytest.approx(len(values) * spacing**2 * step_mm, rel=2e-4)
    assert found.size.volume_mm3 == pytest.approx(3 * AREA_PX * spacing**2 * step_mm, rel=0.01)
    assert found.intensity is not None
    assert found.intensity.voxel_count == len(values)
    assert found.intensity.mean_hu == pytest.approx(values.mean(), abs=1e-6)


def test_a_mark_over_a_missing_slice_is_a_problem_that_says_between_which(
    shared_data: Path, practice: Practice
) -> None:
    ct = series(shared_data, "missing_slice_ge", "*.dcm")
    code, message = problem(process(practice, *ct, drawn(ct, [2, 3, 4])))
    assert code == "roi.missing-slices"
    assert "28.11 to 38.11 mm" in message
    found = finding(process(practice, *ct, drawn(ct, [1, 2, 3]))).lesion.size
    assert isinstance(found, Size)
    spacing = float(ct[0].PixelSpacing[0])
    assert found.volume_mm3 == pytest.approx(3 * len(inside_hu(ct[0])) * spacing**2 * 5.0, rel=2e-4)


def test_localizers_and_summary_pages_are_listed_and_the_slices_measured(
    shared_data: Path, practice: Practice
) -> None:
    ct = series(shared_data, "philips_phantom_mixed", "I2*.dcm")
    others = series(shared_data, "philips_phantom_mixed", "[LS]*.dcm")
    for other in others:
        other.SeriesInstanceUID = ct[0].SeriesInstanceUID
    outcome = process(practice, *ct, *others, drawn(ct, [2, 3]))
    assert isinstance(finding(outcome).lesion.size, Size)
    listed = {one.source.sop_instance_uid for one in outcome.ignored}
    assert {other.SOPInstanceUID for other in others} <= listed


def doubled(ct: Sequence[Dataset], *, alike: bool = False) -> list[Dataset]:
    """The series with a second image at the place of its third; the last one of the list."""
    other = deepcopy(ct[2])
    other.SOPInstanceUID, other.InstanceNumber = f"{ct[2].SOPInstanceUID}.9", 99
    if not alike:
        other.PixelData = (other.pixel_array + OTHER_HU).astype(np.uint16).tobytes()
    return [*ct, other]


@pytest.fixture
def tilted(shared_data: Path) -> list[Dataset]:
    return series(shared_data, "philips_phantom_mixed", "I2*.dcm")


def test_a_mark_at_a_place_with_two_different_images_is_a_problem_that_names_both(
    practice: Practice, tilted: list[Dataset]
) -> None:
    ct = doubled(tilted)
    code, message = problem(process(practice, *ct, drawn(ct, [2, 3, 4], named=False)))
    assert code == "roi.double-slices"
    assert ct[2].SOPInstanceUID in message
    assert ct[-1].SOPInstanceUID in message


@pytest.mark.parametrize(("third", "more_hu"), [(3, 0), (7, OTHER_HU)])
def test_of_two_images_at_one_place_the_one_that_the_mark_names_is_measured(
    practice: Practice, tilted: list[Dataset], third: int, more_hu: int
) -> None:
    ct = doubled(tilted)
    lesion = finding(process(practice, *ct, drawn(ct, [2, third, 4]))).lesion
    values = np.concatenate([inside_hu(ct[1]), inside_hu(ct[2]) + more_hu, inside_hu(ct[3])])
    assert lesion.intensity is not None
    assert lesion.intensity.mean_hu == pytest.approx(values.mean(), abs=1e-6)
    assert any("1 other images lie at the place" in remark for remark in lesion.mark.remarks)


def test_two_images_of_the_same_values_at_one_place_do_not_matter(
    practice: Practice, tilted: list[Dataset]
) -> None:
    ct = doubled(tilted, alike=True)
    lesion = finding(process(practice, *ct, drawn(ct, [2, 3, 4], named=False))).lesion
    assert lesion.intensity is not None


def test_a_mark_beside_the_doubled_slice_is_measured(practice: Practice, tilted: list[Dataset]) -> None:
    ct = doubled(tilted)
    finding(process(practice, *ct, drawn(ct, [1, 2], named=False)))
    finding(process(practice, *ct, drawn(ct, [4, 5], named=False)))


def test_two_marks_that_name_one_each_are_never_measured_on_the_wrong_image(
    practice: Practice, tilted: list[Dataset]
) -> None:
    ct = doubled(tilted)
    other = rtstruct(("lesion", [contour(circle(ct[2]).tolist(), image=7)]))
    outcome = process(practice, *ct, drawn(ct, [3]), on(ct, other, 2))
    assert [one.code for one in outcome.all_problems] == ["roi.double-slices"]
    (measured,) = (one for written in outcome.written for one in written.report.findings)
    assert measured.lesion.intensity is not None
    assert measured.lesion.intensity.mean_hu == pytest.approx(inside_hu(ct[2]).mean(), abs=1e-6)


def test_a_length_on_an_image_that_is_not_used_is_a_problem(
    practice: Practice, tilted: list[Dataset]
) -> None:
    ct = doubled(tilted)
    ends = [200.5, 200.5, 240.5, 200.5]
    lengths = []
    for number, uid in ((3, 1), (7, 2)):
        image = dataset(RelationshipType="SELECTED FROM", ValueType="IMAGE")
        image.ReferencedSOPSequence = [image_reference(number)]
        lengths.append(on(ct, sr(group(scoord("POLYLINE", ends, image=image))), uid))
    outcome = process(practice, *ct, *lengths)
    codes = [one.code for one in outcome.all_problems]
    assert codes == ["roi.image-not-in-series"]


def test_a_length_has_no_hu_and_says_so(practice: Practice, tilted: list[Dataset]) -> None:
    image = dataset(RelationshipType="SELECTED FROM", ValueType="IMAGE")
    image.ReferencedSOPSequence = [image_reference(3)]
    length = sr(group(scoord("POLYLINE", [200.5, 200.5, 240.5, 200.5], image=image)))
    lesion = finding(process(practice, *tilted, on(tilted, length))).lesion
    assert isinstance(lesion.size, Size)
    assert lesion.size.long_axis_mm == pytest.approx(40 * float(tilted[0].PixelSpacing[1]), abs=1e-6)
    assert lesion.intensity is None
    assert "No HU: a length has no area." in lesion.mark.remarks
