"""Law 1 end to end: every voxel replaced at random; all but the HU items stays the same bytes."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from osteoscribe.app.pipeline import Outcome
from osteoscribe.app.practice import Practice
from osteoscribe.app.summary import summarise_report
from osteoscribe.app.write import Written
from osteoscribe.core import codes
from osteoscribe.writers.document import encode
from tests.builders_marks import (
    AREA,
    FRAME_OF_REFERENCE,
    LENGTH,
    LONG_AXIS,
    SHORT_AXIS,
    coded,
    content,
    contour,
    group,
    image_item,
    num,
    region,
    report,
    rtstruct,
    scoord,
    scoord3d,
    seg,
    seg_frame,
    segment,
    tracking,
)
from tests.scene import bare_state, document, drawn_state, items, on, scrambled
from tests.shelf import Shelf

LABEL = "BI typ, no ca, asymp"
SLICE = 12
"""The slice that is marked, from 1."""
CENTRE = (20.0, 10.0)
"""Of the marks, in patient millimetres (x, y)."""
TURNS = np.linspace(0, 2 * np.pi, 24, endpoint=False)
CIRCLE = np.stack([CENTRE[0] + 3.9 * np.cos(TURNS), CENTRE[1] + 3.1 * np.sin(TURNS)], axis=1).round(4)
LINES = np.array([[[16.1, 10.0], [23.9, 10.0]], [[20.0, 6.9], [20.0, 13.1]]])


@pytest.fixture(scope="module")
def ct(project: Path) -> list[Dataset]:
    """The sample CT, decoded, in the order of its slices."""
    series = [pydicom.dcmread(path) for path in (project / "dicom_samples/pelvis/ct").glob("*.dcm")]
    for ds in series:
        ds.decompress(generate_instance_uid=False)
    return sorted(series, key=lambda ds: float(ds.ImagePositionPatient[2]))


@pytest.fixture(scope="module")
def sample(ct: list[Dataset]) -> Shelf:
    return Shelf().beside(*ct)


@pytest.fixture(scope="module")
def random_voxels(ct: list[Dataset]) -> Shelf:
    return Shelf().beside(*scrambled(ct, seed=1))


@pytest.fixture(scope="module")
def marks(ct: list[Dataset]) -> dict[str, Dataset]:
    return of_dialects(ct)


class Drawn:
    """The outline and the two lengths on the sample, in the coordinates of each dialect."""

    def __init__(self, ct: Sequence[Dataset]) -> None:
        self.origin = np.array([float(x) for x in ct[SLICE - 1].ImagePositionPatient])
        self.z = float(self.origin[2])
        self.circle_px = self.pixels(CIRCLE)
        self.lines_px = [self.pixels(line) for line in LINES]

    def pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        """(column, row), 0.0 at the outer corner of the first pixel."""
        return [tuple(point) for point in ((points - self.origin[:2]) / 0.7 + 0.5).round(3).tolist()]

    def in_patient(self, points: np.ndarray) -> list[tuple[float, float, float]]:
        return [(x, y, self.z) for x, y in points.tolist()]

    @property
    def flat(self) -> list[float]:
        return [float(x) for point in [*self.circle_px, self.circle_px[0]] for x in point]

    def image(self) -> Dataset:
        return image_item(SLICE)

    def calipers(self) -> list[Dataset]:
        return [
            num(name, scoord("POLYLINE", [x for point in line for x in point], image=self.image()))
            for name, line in zip((LONG_AXIS, SHORT_AXIS), self.lines_px, strict=True)
        ]

    def segmentation(self, kind: str) -> Dataset:
        """A mask on a grid of its own: 0.5 mm rows, 0.75 mm columns, three planes 1.25 mm apart."""
        corner = (CENTRE[0] - 6.0, CENTRE[1] - 6.0)
        rows, columns = np.mgrid[:24, :16]
        x, y = corner[0] + 0.75 * columns, corner[1] + 0.5 * rows
        inside = ((x - CENTRE[0]) / 3.9) ** 2 + ((y - CENTRE[1]) / 3.1) ** 2 < 1
        value = {"BINARY": 1, "FRACTIONAL": 255, "LABELMAP": 1}[kind]
        frames = []
        for k in (-1, 0, 1):
            frame = seg_frame(self.z + 1.25 * k, None if kind == "LABELMAP" else 1, image=SLICE + k)
            frame.PlanePositionSequence[0].ImagePositionPatient = [*corner, self.z + 1.25 * k]
            frames.append(frame)
        more = {"SegmentationFractionalType": "PROBABILITY", "MaximumFractionalValue": 255}
        return seg(
            np.stack([inside * value] * 3).astype(np.uint8),
            frames,
            [segment(1, LABEL)],
            kind=kind,
            step=1.25,
            **(more if kind == "FRACTIONAL" else {}),
        )

    def state(self, kind: str, points: Sequence[Sequence[float]]) -> Dataset:
        return drawn_state(SLICE, LABEL, kind, points)

    def weasis(self) -> Dataset:
        """A presentation state that holds the outline in Weasis' private model only."""
        points = "".join(f'<pt x="{x}" y="{y}"/>' for x, y in self.circle_px)
        xml = (
            f"<presentation><graphics><polygon><label>{LABEL}</label><pts>{points}</pts></polygon></graphics>"
        )
        ds = bare_state(SLICE)
        block = ds.private_block(0x7107, "weasis/model/xml/2.5", create=True)
        block.add_new(0x01, "OB", gzip.compress(f"{xml}</presentation>".encode(), mtime=0))
        return ds

    def visage(self) -> Dataset:
        """A presentation state that holds an ellipse in Visage's private model only."""
        (column, row), radii = self.pixels(np.array([CENTRE]))[0], (3.9 / 0.7, 3.1 / 0.7)
        xml = f"""<annotations version="1.0.0.0"><ellipse><coordinate_system>
        <origin>{column} {row} 0.5</origin><axis_x>1 0 0</axis_x><axis_y>0 1 0</axis_y>
        </coordinate_system><label>{LABEL}</label>
        <geometry><radius_x>{radii[0]}</radius_x><radius_y>{radii[1]}</radius_y></geometry></ellipse></annotations>"""
        ds = bare_state(SLICE)
        image = ds.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
        packed = len(xml).to_bytes(4, "big") + zlib.compress(xml.encode())
        image.private_block(0x71, "Visage", create=True).add_new(0x62, "OB", packed)
        return ds


def of_dialects(ct: Sequence[Dataset]) -> dict[str, Dataset]:
    """One mark object in each dialect that the readers recognise."""
    drawn = Drawn(ct)
    ohif = "Cornerstone3DTools@^0.1.0:PlanarFreehandROI"
    words = tracking(LABEL)
    patient = [x for point in drawn.in_patient(CIRCLE) for x in point]
    patient += patient[:3]
    typed = content("CODE", ("121071", "DCM", "Finding"))
    typed.ConceptCodeSequence = [coded("CORNERSTONEFREETEXT", "CST4", LABEL)]
    outline = scoord("POLYLINE", drawn.flat, image=drawn.image())
    length = [x for point in drawn.lines_px[0] for x in point]
    closed = [*drawn.circle_px, drawn.circle_px[0]]
    free = report(group(*words, region("POLYLINE", drawn.flat, drawn.image())))
    del free.ContentTemplateSequence
    free.ConceptNameCodeSequence[0].CodeValue = "18748-4"
    free.ConceptNameCodeSequence[0].CodingSchemeDesignator = "LN"
    return {
        "SEG binary": drawn.segmentation("BINARY"),
        "SEG fractional": drawn.segmentation("FRACTIONAL"),
        "SEG labelmap": drawn.segmentation("LABELMAP"),
        "RTSTRUCT": rtstruct((LABEL, [contour(drawn.in_patient(CIRCLE), image=SLICE)])),
        "SR TID 1500, region": report(group(*words, region("POLYLINE", drawn.flat, drawn.image()))),
        "SR TID 1500, calipers": report(group(*words, *drawn.calipers())),
        "SR TID 1500, length": report(
            group(*words, num(LENGTH, scoord("POLYLINE", length, image=drawn.image())))
        ),
        "SR TID 1500, SCOORD3D": report(group(*words, scoord3d("POLYGON", patient))),
        "SR TID 1500 (OHIF)": report(group(*tracking(ohif), typed, num(AREA, outline))),
        "SR": free,
        "presentation state": drawn.state("POLYLINE", closed),
        "presentation state, ellipse": drawn.state("ELLIPSE", [*drawn.lines_px[0], *drawn.lines_px[1]]),
        "presentation state, length": drawn.state("POLYLINE", drawn.lines_px[0]),
        "presentation state (Weasis model)": drawn.weasis(),
        "presentation state (Visage model)": drawn.visage(),
    }


DIALECTS = (
    "SEG binary",
    "SEG fractional",
    "SEG labelmap",
    "RTSTRUCT",
    "SR TID 1500, region",
    "SR TID 1500, calipers",
    "SR TID 1500, length",
    "SR TID 1500, SCOORD3D",
    "SR TID 1500 (OHIF)",
    "SR",
    "presentation state",
    "presentation state, ellipse",
    "presentation state, length",
    "presentation state (Weasis model)",
    "presentation state (Visage model)",
)


def decided(outcome: Outcome) -> str:
    """All that may depend on the mark alone, as text."""
    reports: list[dict[str, Any]] = [summarise_report(written.report) for written in outcome.written]
    for one in reports:
        for finding in one["findings"]:
            del finding["intensity"]
    return json.dumps(reports, sort_keys=True)


def intensities(outcome: Outcome) -> list[object]:
    return [f["intensity"] for w in outcome.written for f in summarise_report(w.report)["findings"]]


HU_ITEMS = {
    code.value
    for code in (
        codes.MEAN_HU,
        codes.STANDARD_DEVIATION_HU,
        codes.MINIMUM_HU,
        codes.MAXIMUM_HU,
        codes.MEDIAN_HU,
    )
}
HU_WORDS = re.compile(r"HU mean -?\d+, SD \d+, min -?\d+, max -?\d+, median -?\d+")


def without_hu(written: Written, role: str) -> bytes:
    """An encoded document, its HU blanked, and the UID of the document itself (it is made from content)."""
    ds = document(written, role)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    for one in items(ds):
        if one.ValueType == "NUM" and one.ConceptNameCodeSequence[0].CodeValue in HU_ITEMS:
            one.MeasuredValueSequence[0].NumericValue = "0"
        if one.ValueType == "TEXT":
            one.TextValue = HU_WORDS.sub("HU", one.TextValue)
    return encode(ds)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_random_voxels_leave_all_but_the_hu_byte_identical(
    dialect: str,
    ct: list[Dataset],
    marks: dict[str, Dataset],
    sample: Shelf,
    random_voxels: Shelf,
    practice: Practice,
) -> None:
    mark = on(ct, marks[dialect])
    real = sample.beside(mark).process(practice)
    random = random_voxels.beside(mark).process(practice)
    assert real.all_problems == ()
    (before,), (after,) = real.written, random.written
    assert before.quarantined == () == after.quarantined
    (finding,) = before.report.findings
    assert finding.lesion.mark.dialect == dialect.split(",")[0]
    assert finding.decision.rule_id == "L4-C"
    assert decided(random) == decided(real)
    for role in ("sr", "text"):
        assert without_hu(after, role) == without_hu(before, role)
    if finding.lesion.intensity is not None:
        assert intensities(random) != intensities(real)
        assert document(after).SOPInstanceUID != document(before).SOPInstanceUID


def test_every_dialect_is_tried(ct: list[Dataset], marks: dict[str, Dataset]) -> None:
    assert tuple(marks) == DIALECTS
    assert FRAME_OF_REFERENCE not in str(on(ct, marks["RTSTRUCT"]))


@pytest.mark.parametrize("mark", ["seg", "rtstruct", "sr-standard", "sr-ohif"])
def test_the_samples_as_their_viewers_wrote_them(
    mark: str, sample: Shelf, random_voxels: Shelf, project: Path, practice: Practice
) -> None:
    written = pydicom.dcmread(project / f"dicom_samples/pelvis/marks/{mark}.dcm")
    real = sample.beside(written).process(practice)
    random = random_voxels.beside(written).process(practice)
    assert decided(random) == decided(real)
    assert any(intensities(real))
    assert intensities(random) != intensities(real)
    for role in ("sr", "text"):
        assert without_hu(random.written[0], role) == without_hu(real.written[0], role)
