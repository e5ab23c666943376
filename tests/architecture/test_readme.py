"""The README says what is so: two commands, flags and files that exist, and no claim of accuracy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from osteoscribe.app.settings import parse_settings


@pytest.fixture(scope="module")
def readme(project: Path) -> str:
    return (project / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_are_those_of_ci_and_of_the_package(project: Path, readme: str) -> None:
    run, test = re.findall(r"```sh\n(.*?)\n```", readme, flags=re.DOTALL)
    assert run == "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/osteoscribe demo"
    commands = (project / ".ci" / "run").read_text().splitlines()
    assert test == "bash .ci/check"
    assert commands.index("bash .ci/setup") < commands.index(test)


def test_ci_requires_everything(project: Path) -> None:
    assert "export OSTEOSCRIBE_REQUIRE_ALL=1" in (project / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize("script", ["setup", "check", "run"])
def test_the_scripts_are_executable_and_parse(project: Path, script: str) -> None:
    path = project / ".ci" / script
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)


def test_every_file_that_it_names_exists(project: Path, readme: str) -> None:
    named = re.findall(r"`([\w./-]+/[\w./-]*|[A-Z]+(?:\.md)?)`", readme) + re.findall(r"\]\((.*?)\)", readme)
    files = [name for name in named if not name.startswith("demo-out") and name != "OSTEOSCRIBE"]
    assert len(files) >= 6
    assert [name for name in files if not (project / name).exists()] == []


@pytest.mark.parametrize("command", ["serve", "process", "demo"])
def test_every_flag_that_it_names_exists(readme: str, command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "osteoscribe", command, "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in re.findall(rf"osteoscribe {command}\b(.*)", readme):
        for flag in re.findall(r"--[\w-]+", line):
            assert flag in result.stdout


def test_it_says_research_use_and_quotes_no_accuracy(readme: str) -> None:
    assert "For research use, not for diagnostic use" in readme
    assert not re.search(r"\d\s*%|accura|sensitiv|specificity", readme, flags=re.IGNORECASE)


def test_its_settings_file_is_one(readme: str) -> None:
    (example,) = re.findall(r"```toml\n(.*?)\n```", readme, flags=re.DOTALL)
    settings = parse_settings(tomllib.loads(example))
    assert [str(one) for one in settings.destinations_for("PACS")] == ["PACS@10.0.0.5:104"]
