"""RT Structure Sets: each ROI is one mark, contours in patient space.

References
----------
PS3.3 C.8.8.5 (Structure Set), C.8.8.6 (ROI Contour), C.8.8.8 (RT ROI Observations)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from osteoscribe.core.codes import Code
from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.marks import (
    InstanceRef,
    PatientCaliper,
    PatientContours,
    PatientPoint,
    RoiMark,
    Shape,
    UnreadableMark,
)
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import (
    code,
    codes,
    image_ref,
    integer,
    items,
    numbers,
    person,
    quiet,
    source_of,
    text,
    uid,
)
from osteoscribe.readers.outlines import patient_points, without_repeated_first

SOP_CLASSES = frozenset(("1.2.840.10008.5.1.4.1.1.481.3",))
"""RT Structure Set Storage."""

CLOSED = frozenset(("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"))
DIALECT = "RTSTRUCT"
INVENTED = (
    "rt-utils wrote a frame of reference UID of its own: the CT images that the contours name count instead."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Contour:
    kind: str
    points: FloatArray
    image: InstanceRef | None


def read(ds: Dataset) -> tuple[RoiMark | UnreadableMark, ...]:
    """One mark for each ROI of the structure set.

    Contours keep their order and all are kept: which are holes is for the placing to find out (inner
    contours count by exclusive or, keyholes are one contour that touches itself).

    Raises
    ------
    InputError
        `rtstruct.no-rois` where the structure set holds none.
    """
    with quiet():
        rois: dict[int | None, list[Dataset]] = {}
        for roi in items(ds, "StructureSetROISequence"):
            rois.setdefault(integer(roi, "ROINumber"), []).append(roi)
        drawn: dict[int | None, list[Dataset]] = {}
        for item in items(ds, "ROIContourSequence"):
            contours = drawn.setdefault(integer(item, "ReferencedROINumber"), [])
            contours.extend(items(item, "ContourSequence"))
        observations = {
            integer(one, "ReferencedROINumber"): one
            for one in reversed(items(ds, "RTROIObservationsSequence"))
        }
        if not rois and not drawn:
            raise InputError("rtstruct.no-rois", "found no ROI in the structure set; nothing can be measured")
        return tuple(
            _mark(
                ds,
                number,
                roi,
                observations.get(number, Dataset()),
                drawn.get(number, []),
                repeated=len(rois.get(number, ())) > 1,
            )
            for number in dict.fromkeys((*rois, *drawn))
            for roi in rois.get(number, [Dataset()])
        )


def _mark(
    ds: Dataset,
    number: int | None,
    roi: Dataset,
    observation: Dataset,
    drawn: list[Dataset],
    *,
    repeated: bool,
) -> RoiMark | UnreadableMark:
    source, item = source_of(ds), f"ROI {number}"
    label = text(roi, "ROIName") or text(observation, "ROIObservationLabel") or text(roi, "ROIDescription")
    try:
        if repeated:
            raise InputError(
                "rtstruct.number-repeated",
                f"several ROIs have the number {number}, so their contours cannot be told apart;"
                " please export the structure set again",
            )
        shape, remarks = _shape([_contour(contour) for contour in drawn])
    except InputError as error:
        return UnreadableMark(
            label=label, source=source, item=item, dialect=DIALECT, code=error.code, message=error.message
        )
    frame_of_reference_uid = uid(roi, "ReferencedFrameOfReferenceUID") or uid(ds, "FrameOfReferenceUID")
    if _invents_frame_of_reference(ds) and _images(shape):
        frame_of_reference_uid = None
        remarks = (*remarks, INVENTED)
    return RoiMark(
        tracking_uid=uid(observation, "TrackingUID") or uid(roi, "TrackingUID"),
        label=label,
        shape=shape,
        source=source,
        item=item,
        dialect=DIALECT,
        referenced_images=_images(shape),
        referenced_series_uid=_series_uid(ds, frame_of_reference_uid),
        frame_of_reference_uid=frame_of_reference_uid,
        observer_name=person(observation, "ROIInterpreter"),
        finding_site=code(observation, "AnatomicRegionSequence") or code(roi, "AnatomicRegionSequence"),
        property_codes=_property_codes(observation),
        interpreted_type=text(observation, "RTROIInterpretedType").upper(),
        remarks=remarks,
    )


def _invents_frame_of_reference(ds: Dataset) -> bool:
    """Whether the writer is known to make up a frame of reference UID instead of copying it (rt-utils)."""
    return text(ds, "ManufacturerModelName").casefold() == "rt-utils"


def _property_codes(observation: Dataset) -> tuple[Code, ...]:
    return (
        *codes(observation, "RTROIIdentificationCodeSequence"),
        *codes(observation, "SegmentedPropertyCategoryCodeSequence"),
        *codes(observation, "SegmentedPropertyTypeCodeSequence"),
    )


def _contour(item: Dataset) -> _Contour:
    points = patient_points(numbers(item, "ContourData"))
    declared = integer(item, "NumberOfContourPoints")
    if declared is not None and declared != len(points):
        raise InputError(
            "roi.points-differ",
            f"a contour says it has {declared} points but holds {len(points)}; it may be cut off,"
            " please export the structure set again",
        )
    kind = text(item, "ContourGeometricType").upper() or "CLOSED_PLANAR"
    image = next((ref for c in items(item, "ContourImageSequence") if (ref := image_ref(c))), None)
    return _Contour(kind=kind, points=points, image=image)


def _shape(contours: list[_Contour]) -> tuple[Shape, tuple[str, ...]]:
    if not contours:
        raise InputError("roi.empty", "the ROI has no contour; please draw it again or leave it out")
    closed = [
        (without_repeated_first(contour.points), contour.image)
        for contour in contours
        if contour.kind in CLOSED
    ]
    areas = [(points, image) for points, image in closed if len(points) >= 3]
    left_out = len(contours) - len(areas)
    if areas:
        remarks = (f"{left_out} contours of this ROI enclose no area",) if left_out else ()
        return PatientContours(
            contours_lps_mm=tuple(points for points, _ in areas),
            images=tuple(image for _, image in areas),
        ), remarks
    if len(contours) == 1:
        return _single(contours[0]), ()
    raise InputError(
        "roi.no-area",
        f"found {len(contours)} contours of type {contours[0].kind[:20]} and none that encloses an area;"
        " expected closed contours, please draw the outline closed",
    )


def _single(contour: _Contour) -> Shape:
    points = contour.points
    if len(points) == 1:
        return PatientPoint(point_lps_mm=points[0], image=contour.image)
    if len(points) == 2 and contour.kind.startswith("OPEN"):
        if np.array_equal(points[0], points[1]):
            raise InputError("roi.no-area", "the line has no length; please draw it again")
        return PatientCaliper(long_axis_lps_mm=points, image=contour.image)
    raise InputError(
        "roi.open-contour",
        f"found one contour of {len(points)} points of type {contour.kind[:20]}; expected a closed contour or"
        " a line of two points, please close the outline and save it again",
    )


def _images(shape: Shape) -> tuple[InstanceRef, ...]:
    if isinstance(shape, PatientContours):
        return tuple(dict.fromkeys(image for image in shape.images if image is not None))
    image = shape.image if isinstance(shape, PatientCaliper | PatientPoint) else None
    return () if image is None else (image,)


def _series_uid(ds: Dataset, frame_of_reference_uid: str | None) -> str | None:
    """The one series that the structure set refers to in this frame of reference, or None."""
    frames = items(ds, "ReferencedFrameOfReferenceSequence")
    matching = [frame for frame in frames if uid(frame, "FrameOfReferenceUID") == frame_of_reference_uid]
    series = {
        uid(one, "SeriesInstanceUID")
        for frame in matching or frames
        for study in items(frame, "RTReferencedStudySequence")
        for one in items(study, "RTReferencedSeriesSequence")
    }
    return series.pop() if len(series) == 1 else None
