"""Received bytes are hostile: every input ends as a value or a stated problem, soon and in little memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.shared
STABLE_CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*")
VALUE = re.compile(r"\d+ (marks|voxels)")
MOST_SECONDS = 5
MOST_MB = 1000

IMAGES = (
    "transfer-syntaxes-ct/*.dcm", "enhanced-ct/*.dcm", "mini-ct-multiframe/*.dcm",
    "highdicom-small/ct_small/ct*.dcm",
    "totalseg-ct-bones/ct/0267.dcm", "geometry-oddities/philips_phantom_mixed/LOC*.dcm",
)  # fmt: skip
MARKS = (
    "highdicom-small/ct_small/s*.dcm", "highdicom-small/ct_16x16/seg*.dcm", "mini-ct-multiframe/l*.seg.dcm",
    "rtstruct-writers/*/*.dcm", "sr-writers/*.dcm", "sr-writers/dwv/*.dcm", "gsps-imagej/*.pr.dcm",
    "dcmqi-ct-liver-spine/s*/*.dcm",
)  # fmt: skip


def fuzz(project: Path, files: list[Path], *options: str) -> list[dict[str, Any]]:
    """Run the fuzzer in a process of its own; its inputs with their outcomes."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.readers.fuzz", *options, *map(str, files)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "plugin")},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, f"{lines[-1:]}: {run.stderr[-2000:]}"
    assert lines[-1]["peak_mb"] < MOST_MB
    return [{**given, **result} for given, result in zip(lines[:-1:2], lines[1:-1:2], strict=True)]


def assert_stated(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["seconds"] < MOST_SECONDS, result
        for outcome in result["outcome"]:
            assert VALUE.fullmatch(outcome) or STABLE_CODE.fullmatch(outcome), result


def files_of(data: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(data.glob(pattern))]


@pytest.mark.slow
def test_each_malformed_file_ends_as_a_value_or_a_stated_problem(project: Path, shared_data: Path) -> None:
    names = json.loads((shared_data / "malformed" / "manifest.json").read_text())["files"]
    results = fuzz(project, [shared_data / "malformed" / name for name in names])
    assert len(results) == len(names) >= 120
    assert_stated(results)


@pytest.mark.slow
@pytest.mark.parametrize(("patterns", "count"), [(IMAGES, 150), (MARKS, 300)], ids=["images", "marks"])
def test_mutated_objects_end_as_a_value_or_a_stated_problem(
    project: Path, shared_data: Path, patterns: tuple[str, ...], count: int
) -> None:
    results = fuzz(project, files_of(shared_data, patterns), "--count", str(count))
    assert len(results) == count
    assert_stated(results)
    outcomes = {outcome for result in results for outcome in result["outcome"]}
    assert len(outcomes) > 10


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("patterns", "count"), [(IMAGES, 3000), (MARKS, 10_000)], ids=["images", "marks"])
def test_many_mutated_objects_end_as_a_value_or_a_stated_problem(
    project: Path, shared_data: Path, patterns: tuple[str, ...], count: int
) -> None:
    assert_stated(fuzz(project, files_of(shared_data, patterns), "--count", str(count), "--seed", "1000000"))
