"""Presentation states: each graphic object is one mark, drawn on one image.

References
----------
PS3.3 C.10.5 (Graphic Annotation), C.10.4 (Displayed Area), C.10.6 (Spatial Transformation); PS3.4 N.2.3
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.marks import (
    Caliper,
    IgnoredMark,
    ImageContours,
    InstanceRef,
    PointMark,
    RoiMark,
    UnreadableMark,
)
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import (
    evidence,
    image_refs,
    integer,
    items,
    numbers,
    person,
    quiet,
    series_of,
    source_of,
    text,
    uid,
)
from osteoscribe.readers.displayed import to_pixels
from osteoscribe.readers.outlines import (
    circle,
    ellipse,
    image_points,
    interpolated,
    is_closed,
    is_rectangle,
    without_repeated_first,
)
from osteoscribe.readers.viewer_models import ModelGraphic, viewer_model

_STATES = "1.2.840.10008.5.1.4.1.1.11."
SOP_CLASSES = frozenset(f"{_STATES}{n}" for n in (1, 2, 3, 4, 5, 8, 12))
"""Grayscale, Color, Pseudo-Color, Blending, XA/XRF, Advanced Blending and Variable Modality LUT states."""

DIALECT = "presentation state"
NOT_MEASURED = frozenset(("ARROW", "AXIS", "CROSSHAIR", "CUTLINE", "INFINITELINE", "RANGELINE"))
"""Compound graphics that point or divide but do not outline or measure."""
MAX_PAIRS = 20_000_000
"""Texts times points of one annotation that are still paired by distance: far more than a person draws."""
OVERLAY_ADVICE = (
    "found an overlay bitmap, which has no outline that can be measured; please save the mark as vector"
    " graphics, RT Structure Set or SEG"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """What all graphics of one presentation state share."""

    ds: Dataset
    source: InstanceRef
    images: tuple[InstanceRef, ...]
    series: dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Graphic:
    """One graphic object in image pixels."""

    item: str
    kind: str
    points_px: FloatArray
    filled: bool
    group: int | None
    ds: Dataset


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Note:
    """A text object, and where it is anchored in image pixels (None: unknown)."""

    words: str
    place_px: FloatArray | None
    group: int | None


def read(ds: Dataset) -> tuple[RoiMark | UnreadableMark | IgnoredMark, ...]:
    """One mark for each graphic object of the presentation state.

    A compound graphic counts only where no simple graphic stands for it; the private model of Weasis and
    Visage is read only where standard graphics are absent.
    """
    with quiet():
        state = _State(ds=ds, source=source_of(ds), images=_all_images(ds), series=evidence(ds))
        marks: list[RoiMark | UnreadableMark | IgnoredMark] = []
        for number, annotation in enumerate(items(ds, "GraphicAnnotationSequence"), start=1):
            marks.extend(_annotation(state, annotation, number))
        if not marks:
            marks.extend(_from_viewer_model(state))
        marks.extend(_overlays(state))
        return tuple(marks) or (
            IgnoredMark(
                label="",
                source=state.source,
                item="presentation state",
                dialect=DIALECT,
                reason="a presentation state without graphics",
            ),
        )


def _annotation(
    state: _State, annotation: Dataset, number: int
) -> list[RoiMark | UnreadableMark | IgnoredMark]:
    own = [ref for item in items(annotation, "ReferencedImageSequence") for ref in image_refs(item)]
    images = tuple(dict.fromkeys(own)) or state.images
    simple = items(annotation, "GraphicObjectSequence")
    drawn_as_simple = {integer(one, "CompoundGraphicInstanceID") for one in simple} - {None}
    compound = [
        one
        for one in items(annotation, "CompoundGraphicSequence")
        if integer(one, "CompoundGraphicInstanceID") not in drawn_as_simple
    ]
    graphics: list[_Graphic] = []
    others: list[UnreadableMark | IgnoredMark] = []
    for n, one in enumerate((*simple, *compound), start=1):
        item = f"annotation {number}, graphic {n}"
        try:
            graphics.append(_graphic(state.ds, one, images, item))
        except InputError as error:
            others.append(_unreadable(state, "", item, error))
    notes = [_note(state.ds, one, images) for one in items(annotation, "TextObjectSequence")]
    labels = _labels(graphics, notes)
    found = [_mark(state, one, images, label) for one, label in zip(graphics, labels, strict=True)]
    return [*found, *others]


def _all_images(ds: Dataset) -> tuple[InstanceRef, ...]:
    """The images that the presentation state as a whole applies to."""
    return tuple(
        dict.fromkeys(
            ref
            for series in items(ds, "ReferencedSeriesSequence")
            for item in items(series, "ReferencedImageSequence")
            for ref in image_refs(item)
        )
    )


def _graphic(ds: Dataset, one: Dataset, images: tuple[InstanceRef, ...], item: str) -> _Graphic:
    kind = (text(one, "GraphicType") or text(one, "CompoundGraphicType")).upper()
    units = text(one, "GraphicAnnotationUnits") or text(one, "CompoundGraphicUnits")
    points = image_points(numbers(one, "GraphicData"))
    declared = integer(one, "NumberOfGraphicPoints")
    if declared is not None and declared != len(points):
        raise InputError(
            "roi.points-differ",
            f"a graphic says it has {declared} points but holds {len(points)}; it may be cut off,"
            " please save the presentation state again",
        )
    angle = numbers(one, "RotationAngle")
    if angle is not None and angle.any():
        raise InputError(
            "roi.unsupported-shape",
            f"found a rotated {kind[:16]}; expected one without rotation, please draw the outline",
        )
    return _Graphic(
        item=item,
        kind=kind,
        points_px=to_pixels(ds, points, units, images),
        filled=text(one, "GraphicFilled").upper() == "Y",
        group=integer(one, "GraphicGroupID"),
        ds=one,
    )


def _note(ds: Dataset, one: Dataset, images: tuple[InstanceRef, ...]) -> _Note:
    place = None
    for keyword, units in (
        ("AnchorPoint", "AnchorPointAnnotationUnits"),
        ("BoundingBoxTopLeftHandCorner", "BoundingBoxAnnotationUnits"),
    ):
        found = numbers(one, keyword)
        if place is None and found is not None and found.size == 2 and np.isfinite(found).all():
            try:
                place = to_pixels(ds, found.reshape(1, 2), text(one, units), images)[0]
            except InputError:
                place = None  # A text whose place is unknown still names the only graphic beside it.
    words = " ".join(text(one, "UnformattedTextValue").split())
    return _Note(words=words, place_px=place, group=integer(one, "GraphicGroupID"))


def _labels(graphics: list[_Graphic], notes: list[_Note]) -> list[str]:
    """For each graphic the texts of its group, else those that are nearest to it."""
    found: list[list[str]] = [[] for _ in graphics]
    points = np.concatenate([one.points_px for one in graphics]) if graphics else np.zeros((0, 2))
    owners = np.repeat(np.arange(len(graphics)), [len(one.points_px) for one in graphics])
    groups: dict[int | None, list[int]] = {}
    for n, one in enumerate(graphics):
        groups.setdefault(one.group, []).append(n)
    nearby = len(notes) * len(points) <= MAX_PAIRS
    for note in notes:
        if not note.words or not graphics:
            continue
        if note.group is not None and note.group in groups:
            named = groups[note.group]
        elif len(graphics) == 1:
            named = [0]
        elif note.place_px is not None and nearby:
            named = [int(owners[np.linalg.norm(points - note.place_px, axis=1).argmin()])]
        else:
            named = []
        for n in named:
            found[n].append(note.words)
    return [" ".join(words) for words in found]


def _mark(
    state: _State, graphic: _Graphic, images: tuple[InstanceRef, ...], label: str
) -> RoiMark | UnreadableMark | IgnoredMark:
    label = label or text(graphic.ds, "TrackingID")
    if graphic.kind in NOT_MEASURED:
        return IgnoredMark(
            label=label,
            source=state.source,
            item=graphic.item,
            dialect=DIALECT,
            reason=f"a graphic of type {graphic.kind} outlines or measures nothing",
        )
    try:
        shape, remarks = _shape(graphic, _only(images))
    except InputError as error:
        return _unreadable(state, label, graphic.item, error)
    return _roi_mark(state, label, graphic.item, DIALECT, shape, remarks, uid(graphic.ds, "TrackingUID"))


def _roi_mark(
    state: _State,
    label: str,
    item: str,
    dialect: str,
    shape: ImageContours | Caliper | PointMark,
    remarks: tuple[str, ...],
    tracking_uid: str | None = None,
) -> RoiMark:
    image = shape.images[0] if isinstance(shape, ImageContours) else shape.image
    return RoiMark(
        tracking_uid=tracking_uid,
        label=label,
        shape=shape,
        source=state.source,
        item=item,
        dialect=dialect,
        referenced_images=(image,),
        referenced_series_uid=series_of(state.series, (image,)),
        observer_name=person(state.ds, "ContentCreatorName"),
        remarks=remarks,
    )


def _only(images: tuple[InstanceRef, ...]) -> InstanceRef:
    if len(images) == 1:
        return images[0]
    if not images:
        raise InputError(
            "roi.no-image-reference",
            "found graphics without the image they are drawn on; please save the mark again",
        )
    raise InputError(
        "roi.ambiguous-image",
        f"found graphics that apply to {len(images)} images or frames, expected one;"
        " please mark each image by itself",
    )


def _shape(
    graphic: _Graphic, image: InstanceRef
) -> tuple[ImageContours | Caliper | PointMark, tuple[str, ...]]:
    points, kind = graphic.points_px, graphic.kind
    remarks: tuple[str, ...] = ()
    if kind == "POINT" and len(points) == 1:
        return PointMark(image=image, point_px=points[0]), ()
    if kind in ("POLYLINE", "MULTILINE", "RULER") and len(points) == 2:
        return _caliper(image, points), ()
    if kind == "ELLIPSE" and len(points) == 4:
        outline = ellipse(points)
    elif kind == "CIRCLE":
        outline = circle(points)
    elif kind in ("RECTANGLE", "ELLIPSE") and len(points) == 2:
        outline = boxed(points, kind)
    elif kind in ("POLYLINE", "MULTILINE", "INTERPOLATED", "RECTANGLE"):
        outline, remarks = _closed(graphic)
    else:
        raise InputError(
            "roi.unsupported-shape",
            f"found a graphic of type {kind[:16]!r} with {len(points)} points; please draw a closed outline",
        )
    return ImageContours(contours_px=(outline,), images=(image,)), remarks


def boxed(corners: FloatArray, kind: str) -> FloatArray:
    """Outline of a rectangle, or of the ellipse in it, given by two opposite corners (2, 2)."""
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    if right - left < 1e-6 or bottom - top < 1e-6:
        raise InputError("roi.no-area", "the rectangle or ellipse has no area; please draw the mark again")
    if kind == "ELLIPSE":
        return ellipse(
            np.array([(left, middle[1]), (right, middle[1]), (middle[0], top), (middle[0], bottom)])
        )
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _caliper(image: InstanceRef, points: FloatArray) -> Caliper:
    if np.array_equal(points[0], points[1]):
        raise InputError("roi.no-area", "the line has no length; please draw it again")
    return Caliper(image=image, long_axis_px=points)


def _closed(graphic: _Graphic) -> tuple[FloatArray, tuple[str, ...]]:
    points = graphic.points_px
    outline = without_repeated_first(points)
    remarks: tuple[str, ...] = ()
    if not is_closed(points):
        # Weasis before mid-2025 leaves rectangles open; a filled graphic is an area by its nature.
        if not (graphic.filled or is_rectangle(outline) or graphic.kind == "RECTANGLE"):
            raise InputError(
                "roi.open-contour",
                f"found an open line of {len(points)} points; expected a closed outline or a straight length,"
                " please close the outline and save it again",
            )
        remarks = ("the outline was saved open and has been closed with a straight line",)
    if len(outline) < 3:
        raise InputError("roi.no-area", f"found an outline of {len(outline)} points; please draw it again")
    if graphic.kind == "INTERPOLATED":
        return interpolated(outline), (*remarks, "the curve through the saved points is a cubic spline")
    return outline, remarks


def _unreadable(
    state: _State, label: str, item: str, error: InputError, dialect: str = DIALECT
) -> UnreadableMark:
    return UnreadableMark(
        label=label, source=state.source, item=item, dialect=dialect, code=error.code, message=error.message
    )


def _from_viewer_model(state: _State) -> list[RoiMark | UnreadableMark | IgnoredMark]:
    """Marks of the viewer's own model, where it wrote no standard graphics."""
    try:
        model = viewer_model(state.ds, state.images)
    except InputError as error:
        return [_unreadable(state, "", "private model", error)]
    if model is None:
        return []
    return [
        _model_mark(state, graphic, f"graphic {n}", model.dialect)
        for n, graphic in enumerate(model.graphics, start=1)
    ]


def _model_mark(
    state: _State, graphic: ModelGraphic, item: str, dialect: str
) -> RoiMark | UnreadableMark | IgnoredMark:
    drawn = _Graphic(
        item=item,
        kind=graphic.kind,
        points_px=graphic.points_px,
        filled=False,
        group=None,
        ds=Dataset(),
    )
    try:
        shape, remarks = _shape(drawn, _only(graphic.images))
    except InputError as error:
        return _unreadable(state, graphic.label, item, error, dialect)
    return _roi_mark(state, graphic.label, item, dialect, shape, (*remarks, *graphic.remarks))


def _overlays(state: _State) -> list[UnreadableMark]:
    """Overlay planes (60xx,3000) and bitmap shutters are bitmaps: stated, not guessed at."""
    groups = range(0x6000, 0x6100, 2)
    present = [group for group in groups if (group, 0x3000) in state.ds or (group, 0x0010) in state.ds]
    error = InputError("roi.overlay-bitmap", OVERLAY_ADVICE)
    return [_unreadable(state, "", f"overlay {group:04X}", error) for group in present]
