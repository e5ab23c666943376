"""The wheel carries what an installed program needs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=project,
        capture_output=True,
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_settings_rules_and_samples(project: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("config", "dicom_samples"):
        for file in (project / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert f"osteoscribe/_data/{file.relative_to(project).as_posix()}" in names


def test_the_wheel_carries_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "osteoscribe/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"osteoscribe"}


def test_an_installed_package_works_in_any_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    samples = site / "osteoscribe" / "_data" / "dicom_samples" / "pelvis-thick"
    result = subprocess.run(
        [sys.executable, "-m", "osteoscribe", "process", str(samples), "--out", "reports"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list((elsewhere / "reports").glob("sr.*.dcm"))) == 1
