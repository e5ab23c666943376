"""What a plain SR viewer shows, with DCMTK's dsr2html as its stand-in."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from osteoscribe.writers.companion import build_companion
from osteoscribe.writers.document import encode
from osteoscribe.writers.sr import build_sr
from tests.builders_report import PHRASE, ct_series, evidence_for, finding_for, report_for
from tests.conftest import Program
from tests.e2e.test_ohif import HERE, viewer_folder

SCREEN_PX = 950
SERIES = ct_series(60)


def page_of(build, program: Program, folder: Path) -> Path:
    finding = finding_for(SERIES, k=30)
    evidence = evidence_for(SERIES, finding.lesion.mark.source)
    file, page = folder / "document.dcm", folder / "document.html"
    file.write_bytes(encode(build(report_for(SERIES, [finding]), SERIES[0], evidence)))
    subprocess.run([program("dsr2html"), str(file), str(page)], check=True, capture_output=True, timeout=60)
    return page


@pytest.mark.slow
@pytest.mark.parametrize("build", [build_sr, build_companion])
def test_the_sentence_is_on_the_first_screen(build, program: Program, tmp_path: Path):
    if not (viewer_folder() / "node_modules" / "playwright-core").is_dir():
        pytest.skip("playwright-core is absent (.ci/setup installs it)")
    page = page_of(build, program, tmp_path)
    done = subprocess.run(
        [program("node"), str(HERE / "where.js"), str(page), PHRASE],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
        env=dict(os.environ, OHIF_CACHE=str(viewer_folder()), CHROMIUM=program("chromium")),
    )
    bottom_px = json.loads(done.stdout)
    assert bottom_px is not None
    assert bottom_px < SCREEN_PX


@pytest.mark.slow
def test_no_two_values_read_alike(program: Program, tmp_path: Path):
    text = re.sub(r"<[^>]+>", "\n", page_of(build_sr, program, tmp_path).read_text())
    names = [line.strip(": ") for line in text.splitlines() if "Attenuation Coefficient" in line]
    assert len(names) == 5
    assert len(set(names)) == 5
