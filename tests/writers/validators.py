"""The outside programs that judge our documents; each function gives the errors it found, one a line."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest

from tests.conftest import Program, srcheck_folder
from tests.writers.sr_tree import children, groups, name, template

PIXELMED = Path("/usr/share/java/pixelmed.jar")
XPATH_LIMITS = ("xpathTotalOpLimit", "xpathExprOpLimit", "xpathExprGrpLimit")
"""Java 17 stops PixelMed's style sheets at its usual limits."""


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=280, errors="replace"
    )


def dciodvfy(program: Program, file: Path) -> list[str]:
    """Both builds; they print errors and still end with status 0."""
    found = []
    for build in ("/usr/bin/dciodvfy", str(srcheck_folder() / "bin" / "dciodvfy")):
        result = _run(program(build), "-new", file)
        lines = (result.stdout + result.stderr).splitlines()
        # A private scheme is never in its list of schemes.
        found += [line for line in lines if line.startswith("Error") and "term = <99" not in line]
    return found


def dcentvfy(program: Program, file: Path, ct: Sequence[Path]) -> list[str]:
    """Patient, study and frame of reference agree with the CT; what the CT's files disagree on is theirs."""
    # The CT comes first: what differs is said of the later file.
    result = _run(program("dcentvfy"), *ct, file)
    lines = (result.stdout + result.stderr).splitlines()
    found = [line for line in lines if "nconsistent" in line or line.startswith("Error")]
    return [line for line in found if f"<{file}>" in line]


def dsrdump(program: Program, file: Path) -> list[str]:
    """DCMTK reads the whole tree."""
    result = _run(program("/usr/bin/dsrdump"), file)
    found = [line for line in result.stderr.splitlines() if line.startswith("E:")]
    return found or ([f"dsrdump ended with {result.returncode}"] if result.returncode else [])


def pixelmed(program: Program, file: Path) -> tuple[list[str], list[str]]:
    """Errors, and the places of items that its templates of 2022 do not know."""
    if not PIXELMED.is_file():
        pytest.skip(f"outside program absent: {PIXELMED} (.ci/setup installs it)")
    limits = [f"-Djdk.xml.{limit}=0" for limit in XPATH_LIMITS]
    result = _run(program("java"), *limits, "-cp", PIXELMED, "com.pixelmed.validate.DicomSRValidator", file)
    lines = (result.stdout + result.stderr).splitlines()
    if "Root Template Validation Complete" not in lines:
        return ["PixelMed did not finish"], []
    ds = pydicom.dcmread(file)
    errors = [line for line in lines if line.startswith("Error") and not _is_noise(ds, line)]
    return errors, [line for line in lines if line.startswith("Warning")]


def _is_noise(ds: pydicom.Dataset, line: str) -> bool:
    """It tries every group against three templates, and takes the baseline group 100 as complete."""
    tried = re.match(r"Error: Template (\d+) .*?: within ([\d.]+): .*Missing conditional", line)
    if not tried:
        return "not found in context group 100" in line
    item = ds
    for number in tried[2].split(".")[1:]:
        item = item.ContentSequence[int(number) - 1]
    return "ContentTemplateSequence" in item and template(item) != tried[1]


def tid1500reader(program: Program, file: Path, folder: Path) -> list[str]:
    """dcmqi reads the same numbers, in the same groups; it never fails by itself."""
    out = folder / "tid1500.json"
    _run(
        program(str(srcheck_folder() / "bin" / "tid1500reader")),
        "--inputDICOM",
        file,
        "--outputMetadata",
        out,
    )
    if not out.is_file():
        return ["tid1500reader wrote nothing"]
    read = [
        [(item["quantity"]["CodeValue"], float(item["value"])) for item in group.get("measurementItems", [])]
        for group in json.loads(out.read_text())["Measurements"]
    ]
    written = [
        [
            (name(item), float(item.MeasuredValueSequence[0].NumericValue))
            for item in children(group)
            if item.ValueType == "NUM"
        ]
        for group in groups(pydicom.dcmread(file))
    ]
    return [] if read == written else [f"dcmqi reads {read}, written are {written}"]
