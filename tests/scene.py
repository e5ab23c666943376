"""A CT series, marks of a chosen size on it, and what the written reports say, read back with pydicom."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pydicom
from pydicom import Dataset

from osteoscribe.app.pipeline import Outcome, Request, run
from osteoscribe.app.ports import EarlierLesions, no_earlier_lesions
from osteoscribe.app.practice import Practice
from osteoscribe.app.write import Written
from osteoscribe.core import codes
from osteoscribe.core.codes import Code
from tests.builders_marks import (
    FRAME_OF_REFERENCE,
    GSPS,
    SERIES,
    contour,
    image_uid,
    item,
    mark_object,
    reference,
    rtstruct,
)
from tests.shelf import Shelf

BENIGN = "BI typical, no ca, asymp, solitary, no prior, no agg, no risk"
"""A label that records every answer a label can, all benign."""


def on(ct: Sequence[Dataset], mark: Dataset, number: int = 1) -> Dataset:
    """A mark of `builders_marks` on the images of a CT series: its made-up UIDs become those of the CT."""
    known = {
        SERIES: ct[0].SeriesInstanceUID,
        FRAME_OF_REFERENCE: ct[0].get("FrameOfReferenceUID", FRAME_OF_REFERENCE),
    }
    known |= {image_uid(n): ds.SOPInstanceUID for n, ds in enumerate(ct, 1)}
    placed = deepcopy(mark)
    placed.walk(lambda _ds, element: _replace(element, known))
    placed.StudyInstanceUID = ct[0].StudyInstanceUID
    placed.SeriesInstanceUID = f"1.2.3.8.{number}"
    placed.SOPInstanceUID = f"1.2.3.9.{number}"
    placed.ContentDate, placed.ContentTime = "20260102", f"1200{number % 60:02}"
    return placed


def _replace(element: pydicom.DataElement, known: dict[str, str]) -> None:
    if element.VR == "UI" and str(element.value) in known:
        element.value = known[str(element.value)]


def ellipse(
    long_mm: float, *, at: tuple[float, float] = (20.0, 20.0), z: float = 0.7, corners: int = 24
) -> list[tuple[float, float, float]]:
    """Corners of an outline whose longest diameter is exactly `long_mm`, along x."""
    turns = [2 * math.pi * n / corners for n in range(corners)]
    points = [
        (round(at[0] + long_mm / 2 * math.cos(a), 6), round(at[1] + 0.4 * long_mm * math.sin(a), 6), z)
        for a in turns
    ]
    points[0], points[corners // 2] = (at[0] + long_mm / 2, at[1], z), (at[0] - long_mm / 2, at[1], z)
    return points


def outlined(*lesions: tuple[str, float]) -> Dataset:
    """A structure set with one outline for each label and longest diameter (mm), side by side."""
    places = [(12.0 + 11.0 * n, 20.0) for n in range(len(lesions))]
    return rtstruct(
        *(
            (label, [contour(ellipse(mm, at=at if len(lesions) > 1 else (20.0, 20.0)))])
            for (label, mm), at in zip(lesions, places, strict=True)
        )
    )


def bare_state(image: int) -> Dataset:
    """A presentation state of one image that draws nothing yet."""
    series = item(SeriesInstanceUID=SERIES, ReferencedImageSequence=[reference(image)])
    return mark_object(GSPS, ReferencedSeriesSequence=[series])


def drawn_state(
    image: int, label: str, kind: str, points: Sequence[Sequence[float]], **more: object
) -> Dataset:
    """A presentation state with one graphic on an image, its points in pixels, and a label at the first."""
    graphic = item(
        GraphicAnnotationUnits="PIXEL",
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(points),
        GraphicData=[float(x) for point in points for x in point],
        GraphicType=kind,
        **more,
    )
    words = item(UnformattedTextValue=label, AnchorPoint=list(points[0]), AnchorPointAnnotationUnits="PIXEL")
    ds = bare_state(image)
    ds.GraphicAnnotationSequence = [
        item(
            ReferencedImageSequence=[reference(image)],
            GraphicLayer="MEASURE",
            GraphicObjectSequence=[graphic],
            TextObjectSequence=[words],
        )
    ]
    return ds


def process(
    practice: Practice,
    *objects: Dataset,
    earlier: EarlierLesions = no_earlier_lesions,
    label_patterns: Sequence[str] = (),
) -> Outcome:
    """The pipeline over CT instances and marks."""
    shelf = Shelf()
    for ds in objects:
        shelf.add_dataset(ds)
    request = Request(
        instances=shelf.instances, read=shelf.read, earlier=earlier, label_patterns=label_patterns
    )
    return run(request, practice)


def scrambled(ct: Iterable[Dataset], seed: int) -> list[Dataset]:
    """The same series with every voxel drawn at random."""
    random = np.random.default_rng(seed)
    changed = []
    for ds in ct:
        ds = deepcopy(ds)
        if "file_meta" in ds.__dict__ and ds.file_meta.TransferSyntaxUID.is_compressed:
            ds.decompress(generate_instance_uid=False)
        ds.PixelData = random.integers(0, 4096, ds.Rows * ds.Columns, dtype=np.uint16).tobytes()
        ds["PixelData"].VR = "OW"
        changed.append(ds)
    return changed


@dataclass(frozen=True)
class Said:
    """What one lesion's group of a written SR says."""

    name: str
    phrase: str
    rule: str


def document(written: Written, role: str = "sr") -> Dataset:
    """One object of a report, read back with pydicom."""
    (one,) = (one for one in written.objects if one.role == role)
    return pydicom.dcmread(BytesIO(one.encoded))


def said(written: Written) -> list[Said]:
    """Name, phrase and rule of each lesion in the SR of a report."""
    measurements = _child(document(written), codes.IMAGING_MEASUREMENTS)
    groups = [g for g in _children(measurements, codes.MEASUREMENT_GROUP) if _children(g, codes.PHRASE)]
    return [
        Said(
            name=_child(group, codes.TRACKING_IDENTIFIER).TextValue,
            phrase=_child(group, codes.PHRASE).TextValue,
            rule=_child(group, codes.MANAGEMENT_CATEGORY).ConceptCodeSequence[0].CodeValue,
        )
        for group in groups
    ]


def texts(written: Written, name: Code, role: str = "sr") -> list[str]:
    """All texts of a concept in a document, from top to bottom."""
    return [
        str(item.TextValue)
        for item in items(document(written, role))
        if item.ValueType == "TEXT" and _is(item, name)
    ]


def items(parent: Dataset) -> list[Dataset]:
    """All content items below one, from top to bottom."""
    children = list(parent.get("ContentSequence") or ())
    return [item for child in children for item in (child, *items(child))]


def _children(parent: Dataset, name: Code) -> list[Dataset]:
    return [item for item in parent.get("ContentSequence") or () if _is(item, name)]


def _child(parent: Dataset, name: Code) -> Dataset:
    (only,) = _children(parent, name)
    return only


def _is(item: Dataset, name: Code) -> bool:
    concept = (item.get("ConceptNameCodeSequence") or [Dataset()])[0]
    return (concept.get("CodeValue"), concept.get("CodingSchemeDesignator")) == (name.value, name.scheme)
