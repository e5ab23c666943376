"""The import contracts hold, and each of them can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FORBIDDEN = {
    "facts reach HU": ("core/facts.py", "import osteoscribe.core.intensity"),
    "the phrase reaches the voxels": ("core/phrase.py", "import osteoscribe.core.series"),
    "rules reach HU through another module": ("core/answers.py", "import osteoscribe.core.intensity"),
    "the core reads files": ("core/size.py", "import pathlib"),
    "the core knows pydicom": ("core/marks.py", "import pydicom"),
    "a use case speaks DICOM networking": ("app/__init__.py", "import pynetdicom"),
    "a reader knows a writer": ("readers/headers.py", "import osteoscribe.writers"),
    "a face reaches the store": ("cli/__init__.py", "import osteoscribe.store"),
    "a lower layer knows a higher one": ("errors.py", "import osteoscribe.app"),
    "a module without a place": ("somewhere.py", "import osteoscribe.errors"),
}


def lint_imports(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "plugin"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_contracts_hold(project: Path) -> None:
    result = lint_imports(project)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("breach", FORBIDDEN)
def test_a_breach_is_caught(project: Path, tmp_path: Path, breach: str) -> None:
    module, line = FORBIDDEN[breach]
    shutil.copy(project / "pyproject.toml", tmp_path)
    shutil.copytree(project / "plugin", tmp_path / "plugin", ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / "plugin" / "osteoscribe" / module
    text = target.read_text() if target.exists() else ""
    target.write_text(f"{text}\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode != 0, result.stdout
