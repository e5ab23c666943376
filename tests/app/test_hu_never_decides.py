"""Law 1 end to end: every voxel replaced at random, size, decision and phrase stay the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from osteoscribe.app.pipeline import Outcome
from osteoscribe.app.practice import Practice
from osteoscribe.app.summary import summarise_report
from tests.shelf import Shelf, shelf_of

MARKS = ("seg", "rtstruct", "sr-standard", "sr-ohif")


def decided(outcome: Outcome) -> str:
    """All that may depend on the mark alone, as text."""
    reports: list[dict[str, Any]] = [summarise_report(written.report) for written in outcome.written]
    for report in reports:
        for finding in report["findings"]:
            del finding["intensity"]
    return json.dumps(reports, sort_keys=True)


def intensities(outcome: Outcome) -> list[object]:
    return [f["intensity"] for w in outcome.written for f in summarise_report(w.report)["findings"]]


def with_random_voxels(paths: list[Path], seed: int) -> Shelf:
    shelf = Shelf()
    random = np.random.default_rng(seed)
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.decompress(generate_instance_uid=False)
        ds["PixelData"].VR = "OW"
        ds.PixelData = random.integers(0, 4096, ds.Rows * ds.Columns, dtype=np.uint16).tobytes()
        shelf.add_dataset(ds)
    return shelf


@pytest.mark.parametrize("mark", MARKS)
def test_random_voxels_leave_size_decision_and_phrase_byte_identical(
    mark: str, project: Path, practice: Practice
) -> None:
    ct = sorted((project / "dicom_samples/pelvis/ct").glob("*.dcm"))
    mark_file = project / f"dicom_samples/pelvis/marks/{mark}.dcm"
    real = shelf_of([*ct, mark_file]).process(practice)
    scrambled = with_random_voxels(ct, seed=len(mark))
    scrambled.add_file(mark_file)
    random = scrambled.process(practice)
    assert decided(random) == decided(real)
    assert any(intensities(real))
    assert intensities(random) != intensities(real)
