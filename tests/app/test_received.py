"""A report is read back for people, and drawn on its CT."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from osteoscribe.app.draw import picture_of
from osteoscribe.app.pipeline import Outcome
from osteoscribe.app.received import is_measurement_report, lesions_of
from osteoscribe.bootstrap.files import process_paths
from osteoscribe.core import codes
from osteoscribe.store.files import read_bytes, scan
from tests.conftest import PROJECT

SAMPLE = PROJECT / "dicom_samples" / "pelvis"
TRUTH = json.loads((SAMPLE.parent / "truth.json").read_text())["pelvis"]


def paths(mark: str) -> list[Path]:
    return [SAMPLE / "ct", SAMPLE / "marks" / mark]


@pytest.fixture(scope="module")
def several() -> Outcome:
    return process_paths(paths("rtstruct.dcm"))


def test_the_report_says_what_was_found(several: Outcome) -> None:
    written = several.written[0]
    ds = pydicom.dcmread(BytesIO(written.objects[0].encoded))
    assert is_measurement_report(ds)
    lesions = lesions_of(ds)
    assert [one.name for one in lesions] == ["Lesion 1", "Lesion 2", "Lesion 3", "Lesion 4"]
    for read, finding in zip(lesions, written.report.findings, strict=True):
        assert read.phrase == finding.phrase.text
        assert read.recommendation == finding.phrase.recommendation
        assert finding.lesion.intensity is not None
        assert read.value(codes.MEAN_HU) == pytest.approx(finding.lesion.intensity.mean_hu, abs=0.001)
    for read, name in zip(lesions, "ABCD", strict=True):
        true_mm = TRUTH["islands"][name]["longest_in_plane_diameter_mm"]
        assert read.value(codes.LONG_AXIS) == pytest.approx(true_mm, abs=0.03)


def test_the_text_companion_is_no_measurement_report(several: Outcome) -> None:
    assert not is_measurement_report(pydicom.dcmread(BytesIO(several.written[0].objects[1].encoded)))


def test_the_outline_is_drawn_around_the_bright_island() -> None:
    outcome = process_paths(paths("seg.dcm"))
    instances = scan(paths("seg.dcm")).instances
    picture = np.asarray(picture_of(outcome.written[0].report, instances, read_bytes)).astype(int)
    close = picture[78:998, 28:948]
    inside, beside = close[430:490, 430:490].mean(), close[430:490, 300:360].mean()
    assert inside > beside + 60


def test_four_lesions_make_a_sheet_of_four(several: Outcome) -> None:
    picture = picture_of(several.written[0].report, scan(paths("rtstruct.dcm")).instances, read_bytes)
    assert picture.width == 1600
    assert picture.height > 1200
