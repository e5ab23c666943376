"""The project's layout, and what its files may not name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "config",
    "dicom_samples",
    "docs",
    "plugin",
    "pyproject.toml",
    "tests",
}
MACHINE_PATH = re.compile(
    "|".join((r"(?<![\w.$}])/(?:work|root|home|opt/venv)\b", r"/Users/", r"(?<![\w])[A-Z]:\\\\?Users"))
)
REGISTRY_HOST = re.compile(
    r"\b(?:" + "|".join((r"pypi\.", r"registry\.npm", r"deb\.debian\.", r"files\.pythonhosted"))
    + r")(?:org|js|com)"
)  # fmt: skip
NO_CATCH_ALL = {"utils", "common", "helpers", "misc"}


def tracked_files(project: Path) -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=project,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return [project / name for name in names.split("\0") if name and (project / name).is_file()]


def test_the_top_level_holds_only_what_the_design_names(project: Path) -> None:
    found = {file.relative_to(project).parts[0] for file in tracked_files(project)}
    assert found <= TOP_LEVEL


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY_HOST], ids=["machine path", "registry host"])
def test_no_file_names_a_machine(project: Path, pattern: re.Pattern[str]) -> None:
    hits = []
    for file in tracked_files(project):
        if file.suffix in {".dcm", ".png"} or file == Path(__file__):
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                hits.append(f"{file.relative_to(project)}:{number}: {line.strip()[:80]}")
    assert not hits


def test_the_patterns_find_what_they_are_for() -> None:
    assert MACHINE_PATH.search("open('/work" + "/main/x')")
    assert MACHINE_PATH.search("see /root" + "/x")
    assert not MACHINE_PATH.search("../tests/work/x, https://example.org/home")
    assert REGISTRY_HOST.search("https://pypi." + "org/simple")


def test_no_module_is_a_catch_all(project: Path) -> None:
    modules = (project / "plugin").rglob("*.py")
    assert [m.name for m in modules if m.stem.strip("_") in NO_CATCH_ALL] == []


def test_the_test_folders_mirror_the_package(project: Path) -> None:
    package = {p.name for p in (project / "plugin" / "osteoscribe").iterdir() if p.is_dir()}
    own = {"architecture", "e2e", "faults", "golden", "fakes", "benchmarks", "data", "dicom_samples"}
    folders = {p.name for p in (project / "tests").iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert folders <= package | own
