"""What a reader sees in OHIF: the outline on the lesion, five values, the sentence in the text companion."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from osteoscribe.core.report import Problem
from osteoscribe.writers.companion import build_companion
from osteoscribe.writers.document import encode
from osteoscribe.writers.key_image import build_key_image
from osteoscribe.writers.notice import build_notice
from osteoscribe.writers.picture import panel_of, render
from osteoscribe.writers.profiles import PROFILES
from osteoscribe.writers.sr import build_sr
from tests.builders_report import (
    OUTLINE_RC,
    PHRASE,
    ct_series,
    evidence_for,
    finding_for,
    grid_for,
    report_for,
    save_series,
)
from tests.conftest import Program
from tests.fakes.orthanc import DICOM_PORT, HTTP_PORT, network_namespace, running_orthanc

HERE = Path(__file__).parent / "ohif"
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
VIEWER_PORT = 3000
SLICES, MARKED = 7, 4
BLOCK_PX = (36.0, 26.0, 44.0, 34.0)
"""Left, top, right, bottom of the bright block in the CT of `ct_series`, in pixels from the corner."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Seen:
    """What the viewer showed, and the pictures of it."""

    result: dict[str, Any]
    folder: Path

    def labels(self, series: str) -> str:
        return "\n".join(self.result["series"][series]["labels"])

    def text(self, series: str) -> str:
        return str(self.result["series"][series]["text"])

    def picture(self, name: str) -> np.ndarray[Any, Any]:
        return np.asarray(Image.open(self.folder / f"{name}.png").convert("RGB"), dtype=float)


@dataclass(frozen=True)
class Viewer:
    """A running Orthanc with OHIF before it."""

    prefix: list[str]
    storescu: str
    node: str
    chromium: str
    folder: Path

    def look(self, files: list[Path], study: str, *descriptions: str) -> Seen:
        """Store the files, open the study, show the series one after the other."""
        send = [*self.prefix, self.storescu, "-R", "127.0.0.1", str(DICOM_PORT), *map(str, files)]
        subprocess.run(send, check=True, capture_output=True, timeout=120)
        pictures = self.folder / study
        pictures.mkdir()
        look = [*self.prefix, self.node, str(HERE / "look.js"), str(VIEWER_PORT), study, str(pictures)]
        done = subprocess.run(
            [*look, *descriptions],
            capture_output=True,
            text=True,
            timeout=300,
            env=dict(os.environ, OHIF_CACHE=str(viewer_folder()), CHROMIUM=self.chromium),
        )
        assert done.returncode == 0, done.stderr
        return Seen(json.loads(done.stdout), pictures)


def viewer_folder() -> Path:
    return Path(os.environ.get("OHIF_CACHE", Path.home() / ".ohif-bench"))


def series_with_a_window(study: str) -> tuple[Dataset, ...]:
    return ct_series(
        SLICES, study=study, WindowCenter="500", WindowWidth="2000", SeriesDescription="CT block"
    )


def save_all(documents: dict[str, Dataset], series: tuple[Dataset, ...], folder: Path) -> list[Path]:
    save_series(series, folder)
    for name, document in documents.items():
        (folder / f"{name}.dcm").write_bytes(encode(document))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def viewer(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    folder = tmp_path_factory.mktemp("ohif")
    dist = viewer_folder() / "package" / "dist"
    if not (dist / "index.html").is_file() or not DICOMWEB.is_file():
        pytest.skip("the OHIF viewer or Orthanc's DICOMweb plugin is absent (.ci/setup installs them)")
    with (
        network_namespace() as prefix,
        running_orthanc(
            program("Orthanc"), program("curl"), prefix, folder / "orthanc", plugins=[str(DICOMWEB)]
        ),
        running_server(prefix, dist),
    ):
        yield Viewer(prefix, program("storescu"), program("node"), program("chromium"), folder)


@pytest.fixture(scope="module")
def seen(viewer: Viewer, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """All four objects of one report about the block."""
    series = series_with_a_window("all")
    finding = finding_for(series, k=MARKED)
    problem = Problem(code="roi.empty", message="segment 3 holds no pixel; mark it again", where="segment 3")
    report = report_for(series, [finding], problems=[problem])
    evidence = evidence_for(series, finding.lesion.mark.source)
    slice_hu = np.full((64, 64), 40.0)
    slice_hu[26:34, 36:44] = 976.0
    picture = render([panel_of(finding, grid_for(series), MARKED, slice_hu)])
    documents = {
        "sr": build_sr(report, series[0], evidence),
        "text": build_companion(report, series[0], evidence),
        "notice": build_notice(report, series[0], evidence),
        "key": build_key_image(report, series[0], evidence, picture),
    }
    files = save_all(documents, series, tmp_path_factory.mktemp("all") / "files")
    return viewer.look(files, str(series[0].StudyInstanceUID), "Bone lesion SR", "Bone lesion text")


@contextlib.contextmanager
def running_server(prefix: list[str], dist: Path) -> Iterator[None]:
    command = [*prefix, sys.executable, str(HERE / "serve.py"), str(dist), str(VIEWER_PORT), str(HTTP_PORT)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait(20)


def test_the_study_opens_with_its_ct_and_all_our_series(seen: Seen):
    thumbnails = " | ".join(seen.result["thumbnails"])
    for series in ("CT block", "Bone lesion SR", "Bone lesion text", "Bone lesion: not", "Bone lesion key"):
        assert series in thumbnails
    left, top, right, bottom = map(int, seen.result["opened"]["canvases"][0])
    shown = seen.picture("opened")[top:bottom, left:right]
    assert shown.max() - shown.min() > 50
    assert seen.result["errors"] == []


def test_the_measurement_report_jumps_to_the_slice_and_shows_five_values(seen: Seen):
    shown = seen.result["series"]["Bone lesion SR"]
    labels = seen.labels("Bone lesion SR")
    for said in (
        "L: : 5.15 mm",  # OHIF's own words for Long Axis and Short Axis
        "W: : 4.45 mm",
        "Volume: 66.54 mm3",
        "Mean Attenuation Coefficient: 1009.80",
        "Standard Deviation of Attenuation Coefficient: 141.30",
    ):
        assert said in labels
    assert f"I:{MARKED + 1}(" in "".join(shown["text"].split())


def test_the_outline_lies_on_the_lesion(seen: Seen):
    """The block in the picture gives the scale; the outline lies on it to a tenth of a pixel."""
    shown = seen.result["series"]["Bone lesion SR"]
    left, top, right, bottom = map(int, max(shown["canvases"], key=lambda box: box[2] - box[0]))
    block = block_on_screen(seen.picture("Bone-lesion-SR"), (left, top, right, bottom))
    scale = (block[2] - block[0]) / (BLOCK_PX[2] - BLOCK_PX[0])
    columns, rows = OUTLINE_RC[:, 1] + 0.5, OUTLINE_RC[:, 0] + 0.5
    expected = [
        block[0] + (columns.min() - BLOCK_PX[0]) * scale,
        block[1] + (rows.min() - BLOCK_PX[1]) * scale,
        block[0] + (columns.max() - BLOCK_PX[0]) * scale,
        block[1] + (rows.max() - BLOCK_PX[1]) * scale,
    ]
    off = [float(np.abs(np.subtract(line, expected)).max()) / scale for line in shown["lines"]]
    assert min(off, default=np.inf) < 0.1, (block, expected, shown["lines"])


def block_on_screen(picture: np.ndarray[Any, Any], box: tuple[int, int, int, int]) -> list[float]:
    """Box of the bright block: the grey pixels that are nearer to the brightest than to the usual ones."""
    left, top, right, bottom = box
    part = picture[top:bottom, left:right]
    grey = np.where(np.ptp(part, axis=2) < 6, part.mean(axis=2), 0.0)
    usual = np.median(grey[grey > 30])
    brightest = max(value for value in np.unique(np.round(grey)) if (np.round(grey) == value).sum() > 2000)
    bright = (grey > (usual + brightest) / 2) & (grey < brightest + 12)
    rows, columns = (np.flatnonzero(bright.sum(axis=axis) > 60) for axis in (1, 0))
    return [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]


def test_the_text_companion_shows_the_sentence(seen: Seen):
    text = seen.text("Bone lesion text")
    assert PHRASE in text
    assert "left ilium" in text
    assert "research use" in text


@pytest.mark.parametrize("profile", ["comprehensive", "dictation"])
def test_the_other_profiles_draw_the_same_outline_and_values(profile, viewer: Viewer, tmp_path: Path):
    series = series_with_a_window(profile)
    finding = finding_for(series, k=MARKED)
    evidence = evidence_for(series, finding.lesion.mark.source)
    report = build_sr(report_for(series, [finding]), series[0], evidence, PROFILES[profile])
    files = save_all({"sr": report}, series, tmp_path / "files")
    seen = viewer.look(files, str(series[0].StudyInstanceUID), "Bone lesion SR")
    assert "Mean Attenuation Coefficient: 1009.80" in seen.labels("Bone lesion SR")
    assert f"I:{MARKED + 1}(" in "".join(seen.text("Bone lesion SR").split())
    assert "continue tracking" not in seen.text("Bone lesion SR")


def test_the_ohif_profile_gives_the_reader_editable_outlines_when_asked_for(viewer: Viewer, tmp_path: Path):
    """Two outlines and a caliper; the viewer asks, "Yes" is clicked, and all three are its own then."""
    series = series_with_a_window("ohif")
    findings = [
        finding_for(series, k=MARKED),
        finding_for(series, number=2, k=MARKED, kind="seg"),
        finding_for(series, number=3, k=MARKED, kind="caliper"),
    ]
    evidence = evidence_for(series, *(finding.lesion.mark.source for finding in findings))
    report = build_sr(report_for(series, findings), series[0], evidence, PROFILES["ohif"])
    files = save_all({"sr": report}, series, tmp_path / "files")
    seen = viewer.look(files, str(series[0].StudyInstanceUID), "Bone lesion SR")
    labels = seen.labels("Bone lesion SR")
    for said in ("Area: 17.67 mm2", "L: : 5.15 mm", "W: : 4.45 mm", "Mean Attenuation Coefficient: 1009.80"):
        assert said in labels
    assert "continue tracking" in seen.text("Bone lesion SR")
    taken = seen.result["series"]["Bone lesion SR"]["taken"]["labels"]
    assert taken.count("Area: 17.7 mm²") == 2, "its own tool, with the area of our outline"
    assert {"L: 4.90 mm", "W: 3.50 mm"} <= set(taken), "what its caliper reads between our end points"
    assert seen.result["errors"] == []


def test_a_lesion_from_a_seg_shows_the_values_of_both_its_groups(viewer: Viewer, tmp_path: Path):
    series = series_with_a_window("seg")
    finding = finding_for(series, k=MARKED, kind="seg")
    evidence = evidence_for(series, finding.lesion.mark.source)
    report = build_sr(report_for(series, [finding]), series[0], evidence)
    files = save_all({"sr": report}, series, tmp_path / "files")
    seen = viewer.look(files, str(series[0].StudyInstanceUID), "Bone lesion SR")
    labels = seen.labels("Bone lesion SR")
    for said in ("L: : 5.15 mm", "W: : 4.45 mm", "Volume: 66.54", "Mean Attenuation Coefficient: 1009.80"):
        assert said in labels


def test_a_caliper_is_drawn_as_its_two_lines(viewer: Viewer, tmp_path: Path):
    series = series_with_a_window("caliper")
    finding = finding_for(series, k=MARKED, kind="caliper")
    evidence = evidence_for(series, finding.lesion.mark.source)
    report = build_sr(report_for(series, [finding]), series[0], evidence)
    files = save_all({"sr": report}, series, tmp_path / "files")
    seen = viewer.look(files, str(series[0].StudyInstanceUID), "Bone lesion SR")
    assert "5.15 mm" in seen.labels("Bone lesion SR")
    assert f"I:{MARKED + 1}(" in "".join(seen.text("Bone lesion SR").split())
    assert len(seen.result["series"]["Bone lesion SR"]["lines"]) >= 2
