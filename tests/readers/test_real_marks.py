"""Real mark objects by other writers: what each reader says that it recognised."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest

from osteoscribe.core.marks import Caliper, IgnoredMark, RoiMark
from osteoscribe.readers.marks import Mark, read_marks

pytestmark = pytest.mark.shared

REFERS = "refers to segment"
FILES = {
    "sr-writers/cornerstonetools_dcmjs_tid1500.dcm": (
        "SR TID 1500 (OHIF)",
        {"PointMark": 1, "ImageContours": 2, "Caliper": 3},
    ),
    "sr-writers/pixelmed_crowdscure_length.dcm": ("SR TID 1500", {"Caliper": 1}),
    "sr-writers/dwv/dwv034_basictext_roi.dcm": ("SR", {"ImageContours": 3}),
    "sr-writers/dwv/tid1500_circle.dcm": ("SR TID 1500", {"ImageContours": 3}),
    "sr-writers/dwv/tid1500_rectangle.dcm": ("SR TID 1500", {"ImageContours": 3}),
    "sr-writers/dwv/tid1500_roi.dcm": ("SR TID 1500", {"ImageContours": 3}),
    "sr-writers/dwv/tid1500_ruler.dcm": ("SR TID 1500", {"Caliper": 3}),
    "sr-writers/iowa_petct/seg.dcm": ("SEG binary", {"MaskShape": 1}),
    "sr-writers/iowa_petct/sr.dcm": ("SR TID 1500", {REFERS: 1}),
    "dcmqi-ct-liver-spine/sr/dcmqi_tid1500_2016.dcm": ("SR TID 1500", {REFERS: 1}),
    "dcmqi-ct-liver-spine/sr/dcmqi_tid1500_2018.dcm": ("SR TID 1500", {REFERS: 1}),
    "highdicom-small/ct_small/seg_binary_single_frame.dcm": ("SEG binary", {"MaskShape": 1}),
    "highdicom-small/ct_small/sr_planar_circle.dcm": ("SR TID 1500", {"ImageContours": 1}),
    "highdicom-small/ct_small/sr_groups_scoord3d.dcm": (
        "SR TID 1500",
        {"ImageContours": 2, "PatientPoint": 1, "a measurement of whole images": 1},
    ),
    "gsps-imagej/real01.pr.dcm": ("presentation state", {"ImageContours": 1}),
    "gsps-imagej/real0X.ko.dcm": ("document", {"a key object selection": 1}),
    "rtstruct-writers/rt-utils-phantom/mim_invalid_reference.dcm": ("RTSTRUCT", {"PatientContours": 4}),
    "rtstruct-writers/rt-utils-phantom/mim_non_existent_reference.dcm": ("RTSTRUCT", {"PatientContours": 4}),
    "rtstruct-writers/rt-utils-phantom/rtutils_rtstruct.dcm": ("RTSTRUCT", {"PatientContours": 1}),
    "sts-ct-rtstruct/STS_002/rtstruct.dcm": ("RTSTRUCT", {"PatientContours": 1}),
}


def marks_of(path: Path) -> tuple[Mark, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of what real writers write
        return read_marks(pydicom.dcmread(path))


@pytest.mark.parametrize("path", FILES)
def test_each_writer_is_recognised_and_nothing_is_lost(shared_data: Path, path: str) -> None:
    dialect, kinds = FILES[path]
    marks = marks_of(shared_data / path)
    found: Counter[str] = Counter()
    for mark in marks:
        assert isinstance(mark, RoiMark | IgnoredMark)
        if isinstance(mark, RoiMark):
            found[type(mark.shape).__name__] += 1
        else:
            found[next(kind for kind in kinds if mark.reason.startswith(kind))] += 1
    assert {mark.dialect for mark in marks} == {dialect}
    assert found == kinds


def test_dwv_rulers_have_the_length_that_they_say(shared_data: Path) -> None:
    path = "sr-writers/dwv/tid1500_ruler.dcm"
    items = json.loads((shared_data / "sr-writers" / "expected.json").read_text())["files"][path]["items"]
    stated_mm = [one["value"] for one in items if one.get("concept", ["", "", ""])[2] == "Length"]
    image = pydicom.dcmread(shared_data / "sr-writers" / "dwv" / "squares.dcm", stop_before_pixels=True)
    column_mm, row_mm = float(image.PixelSpacing[1]), float(image.PixelSpacing[0])
    lengths = []
    for mark in marks_of(shared_data / path):
        assert isinstance(mark, RoiMark)
        assert isinstance(mark.shape, Caliper)
        lengths.append(float(np.linalg.norm(np.diff(mark.shape.long_axis_px, axis=0) * (column_mm, row_mm))))
    assert lengths == pytest.approx(stated_mm, rel=1e-6)
