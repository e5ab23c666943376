"""Segmentation objects: each segment is one mark, a mask on its own grid.

References
----------
PS3.3 A.51 and C.8.20 (Segmentation), C.7.6.16 (functional groups)
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from osteoscribe.core.codes import Code
from osteoscribe.core.geometry import STEP_TOLERANCE_MM, FloatArray, Grid
from osteoscribe.core.marks import InstanceRef, MaskShape, RoiMark, UnreadableMark
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import (
    code,
    codes,
    evidence,
    first,
    image_refs,
    integer,
    items,
    number,
    numbers,
    person,
    quiet,
    series_of,
    source_of,
    text,
    uid,
)
from osteoscribe.readers.frames import FrameLayout, PixelArray, frame_layout, iter_frames

SOP_CLASSES = frozenset(("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"))
"""Segmentation Storage and Label Map Segmentation Storage."""

SIDES = frozenset(("7771000", "24028007", "51440002", "66459002"))
"""SNOMED CT codes of left, right, right and left, unilateral (PS3.16 CID 244)."""

MAX_MASK_VOXELS = 400_000_000
"""Voxels of all masks of one object together, a byte each: what a worker may spend on them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Frame:
    """One frame: which segment it belongs to (None: a label map holds all), and where it lies."""

    index: int
    segment: int | None
    origin: FloatArray
    orientation: FloatArray
    spacing: FloatArray
    thickness_mm: float | None
    step_mm: float | None
    images: tuple[InstanceRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Object:
    """What all segments of one object share."""

    ds: Dataset
    source: InstanceRef
    layout: FrameLayout
    kind: str
    threshold: float
    frames: tuple[_Frame, ...]


def read(ds: Dataset) -> tuple[RoiMark | UnreadableMark, ...]:
    """One mark for each segment.

    Parameters
    ----------
    ds
        A Segmentation or Label Map Segmentation, with pixel data.

    Returns
    -------
    tuple of RoiMark or UnreadableMark
        In the order of the Segment Sequence.

    Raises
    ------
    InputError
        Where the object as a whole cannot be read: `seg.no-segments`, `seg.type-unknown`,
        `seg.frames-missing`, `seg.no-plane`, `seg.too-large`, and those of `readers.frames`.
    """
    with quiet():
        whole = _read_object(ds)
        segments = items(ds, "SegmentSequence")
        if not segments:
            raise InputError(
                "seg.no-segments", "found no segment in the segmentation; nothing can be measured"
            )
        masks = _masks(whole)
        numbers_ = [integer(segment, "SegmentNumber") for segment in segments]
        described = tuple(
            _mark(whole, segment, masks.get(number or 0, {}), repeated=numbers_.count(number) > 1)
            for number, segment in zip(numbers_, segments, strict=True)
            if not (whole.kind == "LABELMAP" and number == 0)
        )
        return (*described, *_undescribed(whole, set(masks) - set(numbers_)))


def _undescribed(whole: _Object, segment_numbers: set[int]) -> tuple[UnreadableMark, ...]:
    """Pixels of segments that the Segment Sequence does not know: stated, since nothing may be lost."""
    return tuple(
        UnreadableMark(
            label="",
            source=whole.source,
            item=f"segment {number}",
            dialect=f"SEG {whole.kind.lower()}",
            code="seg.segment-undescribed",
            message=f"found pixels of segment {number}, which the segmentation does not describe;"
            " please export it again",
        )
        for number in sorted(segment_numbers)
    )


def _read_object(ds: Dataset) -> _Object:
    layout = frame_layout(ds)
    kind = text(ds, "SegmentationType").upper()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise InputError(
            "seg.type-unknown",
            f"found segmentation type {kind[:16]!r}; expected BINARY, FRACTIONAL or LABELMAP;"
            " please export it as one",
        )
    threshold = 1.0
    if kind == "FRACTIONAL":
        threshold = 0.5 * (integer(ds, "MaximumFractionalValue") or (1 << layout.bits_allocated) - 1)
    return _Object(
        ds=ds,
        source=source_of(ds),
        layout=layout,
        kind=kind,
        threshold=threshold,
        frames=_read_frames(ds, layout, kind),
    )


def _read_frames(ds: Dataset, layout: FrameLayout, kind: str) -> tuple[_Frame, ...]:
    shared = first(ds, "SharedFunctionalGroupsSequence")
    groups = items(ds, "PerFrameFunctionalGroupsSequence")
    if not groups and layout.number_of_frames == 1:
        groups = (Dataset(),)
    if len(groups) < layout.number_of_frames:
        raise InputError(
            "seg.frames-missing",
            f"found positions for {len(groups)} frames, expected {layout.number_of_frames};"
            " the segmentation is damaged, please export it again",
        )
    segments = items(ds, "SegmentSequence")
    only = integer(segments[0], "SegmentNumber") if len(segments) == 1 else None
    return tuple(
        _read_frame(index, groups[index], shared, kind, only) for index in range(layout.number_of_frames)
    )


def _read_frame(index: int, own: Dataset, shared: Dataset, kind: str, only: int | None) -> _Frame:
    def group(keyword: str) -> Dataset:
        return first(own, keyword) if items(own, keyword) else first(shared, keyword)

    measures = group("PixelMeasuresSequence")
    origin = numbers(group("PlanePositionSequence"), "ImagePositionPatient")
    orientation = numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient")
    spacing = numbers(measures, "PixelSpacing")
    if not _is_plane(origin, orientation, spacing):
        raise InputError(
            "seg.no-plane",
            f"frame {index + 1} of the segmentation has no usable position, orientation or pixel spacing;"
            " expected all three, please export it again",
        )
    assert origin is not None and orientation is not None and spacing is not None
    segment = None
    if kind != "LABELMAP":
        segment = integer(group("SegmentIdentificationSequence"), "ReferencedSegmentNumber") or only
    sources = [
        image
        for derivation in items(own, "DerivationImageSequence") or items(shared, "DerivationImageSequence")
        for item in items(derivation, "SourceImageSequence")
        for image in image_refs(item)
    ]
    return _Frame(
        index=index,
        segment=segment,
        origin=origin,
        orientation=orientation,
        spacing=spacing,
        thickness_mm=number(measures, "SliceThickness"),
        step_mm=number(measures, "SpacingBetweenSlices"),
        images=tuple(dict.fromkeys(sources)),
    )


def _is_plane(origin: FloatArray | None, orientation: FloatArray | None, spacing: FloatArray | None) -> bool:
    if origin is None or orientation is None or spacing is None:
        return False
    if (origin.size, orientation.size, spacing.size) != (3, 6, 2):
        return False
    everything = np.concatenate([origin, orientation, spacing])
    if not np.isfinite(everything).all() or np.abs(origin).max() > 1e5 or not (spacing > 1e-4).all():
        return False
    row, column = orientation[:3], orientation[3:]
    unit = np.allclose([np.linalg.norm(row), np.linalg.norm(column)], 1.0, atol=1e-2)
    return bool(unit and abs(row @ column) < 1e-2 and (spacing < 1e3).all())


_Masks = dict[int, dict[int, npt.NDArray[np.bool_]]]
"""For each segment number its pixels by frame index; frames without any are left out."""


def _masks(whole: _Object) -> _Masks:
    masks: _Masks = defaultdict(dict)
    used = 0
    for frame, pixels in zip(whole.frames, iter_frames(whole.ds, whole.layout), strict=True):
        for segment, mask in _segments_of(whole, frame, pixels):
            used += mask.size
            if used > MAX_MASK_VOXELS:
                raise InputError(
                    "seg.too-large",
                    f"the masks of this segmentation hold over {MAX_MASK_VOXELS} pixels;"
                    " please send the lesion marks in a segmentation of their own",
                )
            masks[segment][frame.index] = mask
    return masks


def _segments_of(
    whole: _Object, frame: _Frame, pixels: PixelArray
) -> list[tuple[int, npt.NDArray[np.bool_]]]:
    if whole.kind == "LABELMAP":
        return [(int(label), pixels == label) for label in np.unique(pixels) if label != 0]
    mask = pixels >= whole.threshold
    return [(frame.segment, mask)] if frame.segment is not None and mask.any() else []


def _mark(
    whole: _Object, segment: Dataset, masks: dict[int, npt.NDArray[np.bool_]], *, repeated: bool
) -> RoiMark | UnreadableMark:
    segment_number = integer(segment, "SegmentNumber")
    label = text(segment, "SegmentLabel") or text(segment, "SegmentDescription")
    item, dialect = f"segment {segment_number}", f"SEG {whole.kind.lower()}"
    try:
        if repeated:
            raise InputError(
                "seg.number-repeated",
                f"several segments have the number {segment_number}, so their pixels cannot be told apart;"
                " please export the segmentation again",
            )
        if not masks:
            raise InputError(
                "roi.empty", "the segment has no pixel; please draw the mark again or leave it out"
            )
        shape, remarks = _shape(whole, masks)
    except InputError as error:
        return UnreadableMark(
            label=label,
            source=whole.source,
            item=item,
            dialect=dialect,
            code=error.code,
            message=error.message,
        )
    images = tuple(dict.fromkeys(image for k in masks for image in whole.frames[k].images))
    images = images or _series_images(whole.ds)
    finding_site, laterality = _site(segment)
    return RoiMark(
        tracking_uid=uid(segment, "TrackingUID"),
        label=label,
        shape=shape,
        source=whole.source,
        item=item,
        dialect=dialect,
        referenced_images=images,
        referenced_series_uid=_series_uid(whole.ds, images),
        frame_of_reference_uid=shape.grid.frame_of_reference_uid,
        observer_name=person(whole.ds, "ContentCreatorName"),
        finding_site=finding_site,
        laterality=laterality,
        property_codes=(
            *codes(segment, "SegmentedPropertyCategoryCodeSequence"),
            *codes(segment, "SegmentedPropertyTypeCodeSequence"),
        ),
        remarks=remarks,
    )


def _shape(whole: _Object, masks: dict[int, npt.NDArray[np.bool_]]) -> tuple[MaskShape, tuple[str, ...]]:
    frames = [whole.frames[index] for index in masks]
    lead = frames[0]
    normal = np.cross(lead.orientation[:3], lead.orientation[3:])
    normal /= np.linalg.norm(normal)
    for frame in frames:
        alike = np.allclose(frame.orientation, lead.orientation, atol=1e-4)
        if not alike or not np.allclose(frame.spacing, lead.spacing, rtol=1e-4):
            raise InputError(
                "seg.planes-differ",
                "the frames of this segment differ in orientation or pixel spacing; expected parallel frames"
                " of one size, please export it on one image series",
            )
    planes = _planes(frames, normal)
    mask = np.zeros((len(planes), whole.layout.rows, whole.layout.columns), dtype=np.bool_)
    for k, plane in enumerate(planes):
        for frame in plane:
            mask[k] |= masks[frame.index]
    origins = np.array([plane[0].origin for plane in planes])
    step, remarks = _slice_step(whole, lead, normal)
    grid = Grid(
        shape=(len(planes), whole.layout.rows, whole.layout.columns),
        origins_lps_mm=origins,
        row_step_lps_mm=lead.orientation[3:] * lead.spacing[0],
        column_step_lps_mm=lead.orientation[:3] * lead.spacing[1],
        slice_step_lps_mm=step,
        frame_of_reference_uid=uid(whole.ds, "FrameOfReferenceUID"),
    )
    if whole.kind == "FRACTIONAL":
        remarks = (*remarks, "fractional segment: pixels of at least half of the maximum are inside")
    return MaskShape(grid=grid, mask=mask, images=tuple(_image(plane) for plane in planes)), remarks


def _planes(frames: list[_Frame], normal: FloatArray) -> list[list[_Frame]]:
    """Frames on the same plane together, planes in order along the normal."""
    planes: list[list[_Frame]] = []
    for frame in sorted(frames, key=lambda f: float(f.origin @ normal)):
        if planes and abs((frame.origin - planes[-1][0].origin) @ normal) < STEP_TOLERANCE_MM:
            if np.abs(frame.origin - planes[-1][0].origin).max() > STEP_TOLERANCE_MM:
                raise InputError(
                    "seg.planes-shifted",
                    "two frames of this segment lie on one plane but are shifted against each other;"
                    " expected one grid, please export it on one image series",
                )
            planes[-1].append(frame)
        else:
            planes.append([frame])
    return planes


def _slice_step(whole: _Object, lead: _Frame, normal: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Usual step from slice to slice: that of all planes of the object, else as its writer states it.

    A segment on few slices says little about the step, and slice thickness is not the step.
    """
    origins = sorted(
        {tuple(f.origin) for f in whole.frames if np.allclose(f.orientation, lead.orientation, atol=1e-4)},
        key=lambda origin: float(np.asarray(origin) @ normal),
    )
    steps = np.diff(np.array(origins), axis=0)
    along = steps @ normal
    steps, along = steps[along > STEP_TOLERANCE_MM], along[along > STEP_TOLERANCE_MM]
    stated = lead.step_mm if lead.step_mm is not None and lead.step_mm > STEP_TOLERANCE_MM else None
    if along.size:
        smallest = int(np.argmin(along))
        step, distance = steps[smallest], float(along[smallest])
        count = 0 if stated is None else round(distance / stated)
        # Frames are only written where a segment has pixels: the true step may be a fraction of what is seen.
        if count > 1 and stated is not None and abs(distance - count * stated) < count * STEP_TOLERANCE_MM:
            return step / count, ()
        return step, ()
    if stated is not None:
        return normal * stated, ()
    if lead.thickness_mm is not None and lead.thickness_mm > STEP_TOLERANCE_MM:
        return normal * lead.thickness_mm, ()
    return normal * 1.0, ("the segmentation states no slice thickness: its volume takes 1 mm",)


def _image(plane: list[_Frame]) -> InstanceRef | None:
    """The CT image of a plane, where its frames name exactly one."""
    images = {image for frame in plane for image in frame.images}
    return images.pop() if len(images) == 1 else None


def _series_images(ds: Dataset) -> tuple[InstanceRef, ...]:
    return tuple(
        image
        for series in items(ds, "ReferencedSeriesSequence")
        for item in items(series, "ReferencedInstanceSequence")
        for image in image_refs(item)
    )


def _series_uid(ds: Dataset, images: tuple[InstanceRef, ...]) -> str | None:
    series = {uid(item, "SeriesInstanceUID") for item in items(ds, "ReferencedSeriesSequence")}
    if len(series) == 1:
        return series.pop()
    return series_of(evidence(ds), images)


def _site(segment: Dataset) -> tuple[Code | None, Code | None]:
    """Anatomic region of a segment, and its side where a modifier says so."""
    modifiers = (
        *codes(first(segment, "AnatomicRegionSequence"), "AnatomicRegionModifierSequence"),
        *codes(
            first(segment, "SegmentedPropertyTypeCodeSequence"), "SegmentedPropertyTypeModifierCodeSequence"
        ),
    )
    side = next((modifier for modifier in modifiers if modifier.value in SIDES), None)
    return code(segment, "AnatomicRegionSequence"), side
