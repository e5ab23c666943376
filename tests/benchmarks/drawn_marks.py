"""Marks that are no masks, on the series of `marked_series`: contours, a bidirectional caliper, a point."""

from __future__ import annotations

import math

from pydicom.dataset import Dataset

from tests.benchmarks.marked_series import PIXEL_MM, STEP_MM, Lesion, image_uid, series_uid, study_uid
from tests.builders_marks import (
    CT,
    ENHANCED_SR,
    LONG_AXIS,
    REGION,
    RTSTRUCT,
    SHORT_AXIS,
    contour,
    group,
    image_item,
    item,
    num,
    report,
    rtstruct,
    scoord,
    tracking,
)
from tests.readers.ct_objects import encode
from tests.scene import on

KINDS = {"contours": RTSTRUCT, "caliper": ENHANCED_SR, "point": ENHANCED_SR}
"""Kinds of marks, and the SOP class that carries each here."""
CORNERS = 64


def encoded_mark(kind: str, lesion: Lesion, slices: int, version: int) -> tuple[str, bytes]:
    """SOP Instance UID and data set of an object with one mark.

    Parameters
    ----------
    version
        Versions differ in where the mark is; their SOP Instance UIDs are the same.
    """
    mark = {"contours": _contours, "caliper": _caliper, "point": _point}[kind](lesion, version)
    placed = on([_image(number) for number in range(slices)], mark)
    placed.SOPInstanceUID = f"{study_uid()}.4.9.{10001 + list(KINDS).index(kind)}"
    placed.SeriesInstanceUID = f"{study_uid()}.5.9"
    placed.PatientName, placed.PatientID, placed.PatientBirthDate = "Bench^Mark", "BENCH", "19500101"
    placed.StudyDate, placed.StudyTime, placed.StudyID, placed.AccessionNumber = "20260101", "120000", "1", ""
    placed.ContentDate, placed.ContentTime = "20260102", f"12{version % 60:02}00"
    return placed.SOPInstanceUID, encode(placed)


def _image(number: int) -> Dataset:
    """What a mark needs to know of an image."""
    return item(
        SOPInstanceUID=image_uid(number),
        StudyInstanceUID=study_uid(),
        SeriesInstanceUID=series_uid(),
        FrameOfReferenceUID=f"{study_uid()}.3",
    )


def _contours(lesion: Lesion, version: int) -> Dataset:
    """A circle on each slice of the ball."""
    k, r, c = lesion.middle
    outlines = []
    for plane in range(-int(lesion.diameter_mm / 2), int(lesion.diameter_mm / 2) + 1):
        radius_mm = math.sqrt(max((lesion.diameter_mm / 2) ** 2 - (plane * STEP_MM) ** 2, 0.25))
        turns = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
        points = [
            (
                round((c + version) * PIXEL_MM + radius_mm * math.cos(turn), 3),
                round(r * PIXEL_MM + radius_mm * math.sin(turn), 3),
                STEP_MM * (k + plane),
            )
            for turn in turns
        ]
        outlines.append(contour(points, image=k + plane + 1))
    return rtstruct(("Lesion 1", outlines))


def _caliper(lesion: Lesion, version: int) -> Dataset:
    """Long and short axis, as a viewer's bidirectional tool writes them."""
    k, r, c = lesion.middle
    half, column = lesion.diameter_mm / PIXEL_MM / 2, c + version
    image = image_item(k + 1)
    long_axis = scoord("POLYLINE", [column - half, r, column + half, r], image=image)
    short_axis = scoord("POLYLINE", [column, r - half / 2, column, r + half / 2], image=image)
    return report(
        group(
            *tracking("Lesion 1", f"{study_uid()}.7.1"),
            num(LONG_AXIS, long_axis, value=lesion.diameter_mm),
            num(SHORT_AXIS, short_axis, value=lesion.diameter_mm / 2),
        )
    )


def _point(lesion: Lesion, version: int) -> Dataset:
    k, r, c = lesion.middle
    place = scoord(
        "POINT",
        [c + version, r],
        concept=REGION,
        relationship="CONTAINS",
        image=image_item(k + 1, sop_class_uid=CT),
    )
    return report(group(*tracking("Lesion 1", f"{study_uid()}.7.2"), place))
