"""The demo is the README's first command: it must work, in time, and show the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from PIL import Image

from osteoscribe.app.received import lesions_of
from osteoscribe.core import codes
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

TRUTH = json.loads((PROJECT / "dicom_samples" / "truth.json").read_text())


def run_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "osteoscribe", "demo", "--out", "out"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "plugin"), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path, float]:
    folder = tmp_path_factory.mktemp("demo")
    started = time.monotonic()
    result = run_demo(folder)
    return result, folder / "out", time.monotonic() - started


def test_it_ends_well_and_shows_both_phrases(
    demo: tuple[subprocess.CompletedProcess[str], Path, float],
) -> None:
    result, _, seconds = demo
    assert result.returncode == 0, result.stdout + result.stderr
    assert "5 mm sclerotic focus, likely bone island, no further imaging recommended" in result.stdout
    assert "If no history of malignancy" in result.stdout
    assert seconds < 90


def test_the_received_reports_hold_the_true_sizes(
    demo: tuple[subprocess.CompletedProcess[str], Path, float],
) -> None:
    _, out, _ = demo
    for sample, island, tolerance in (("pelvis", "A", 0.5), ("pelvis-thick", "E", 0.01)):
        ds = pydicom.dcmread(out / f"{sample}-sr.dcm")
        (lesion,) = lesions_of(ds)
        true_mm = TRUTH[sample]["islands"][island]["longest_in_plane_diameter_mm"]
        assert lesion.value(codes.LONG_AXIS) == pytest.approx(true_mm, abs=tolerance)
        ct = pydicom.dcmread(PROJECT / "dicom_samples" / sample / "ct" / "001.dcm")
        assert (ds.StudyInstanceUID, ds.PatientID) == (ct.StudyInstanceUID, ct.PatientID)


def test_the_pictures_are_large_enough(demo: tuple[subprocess.CompletedProcess[str], Path, float]) -> None:
    _, out, _ = demo
    for sample in TRUTH:
        with Image.open(out / f"{sample}.png") as picture:
            assert min(picture.size) >= 1024


def test_a_node_that_cannot_start_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "sitecustomize.py"
    broken.write_text("import sys\nif 'serve' in getattr(sys, 'orig_argv', []): sys.exit(3)\n")
    result = subprocess.run(
        [sys.executable, "-m", "osteoscribe", "demo", "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT / 'plugin'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 1
    assert "demo.no-node" in result.stderr
    assert "Traceback" not in result.stderr
