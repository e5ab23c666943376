"""Segmentation objects: each segment is one mark, a mask on its own grid.

References
----------
PS3.3 A.51 and C.8.20 (Segmentation), C.7.6.16 (functional groups)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from osteoscribe.core.codes import Code
from osteoscribe.core.geometry import Grid
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
    person,
    quiet,
    series_of,
    source_of,
    text,
    uid,
)
from osteoscribe.readers.frames import Frame, FrameLayout, frame_layout, iter_frames, packed_frames
from osteoscribe.readers.packed import PackedFrames
from osteoscribe.readers.planes import FramePlace, Frames, common_image, read_frames, slice_step, stacked

INVENTED = (
    "An early writer of 3D Slicer made up the frame of reference: the CT images that the mask names count."
)

SOP_CLASSES = frozenset(("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"))
"""Segmentation Storage and Label Map Segmentation Storage."""

SIDES = frozenset(("7771000", "24028007", "51440002", "66459002"))
"""SNOMED CT codes of left, right, right and left, unilateral (PS3.16 CID 244)."""

MAX_MASK_VOXELS = 400_000_000
"""Voxels of all masks of one object together, a byte each: what a worker may spend on them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Patch:
    """The set pixels of one segment on one frame, cut to their box."""

    row: int
    column: int
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pixels:
    """The pixels of one segment.

    Parameters
    ----------
    packed
        The frames, where they stay packed until all of a segment's are known; then there are no patches.
    patches
        By frame index.
    """

    packed: PackedFrames | None
    patches: dict[int, _Patch | None] = field(default_factory=dict)

    def stacked(
        self, planes: Sequence[Sequence[FramePlace]]
    ) -> tuple[tuple[int, int], npt.NDArray[np.bool_]]:
        """First row and column, and the mask of planes, cut to what all of them touch."""
        frames = [[frame.index for frame in plane] for plane in planes]
        if self.packed is not None:
            box = self.packed.box_of([index for plane in frames for index in plane])
            _check_size(len(planes) * box.pixels)
            return self.packed.stacked(frames)
        patches = [[one for index in plane if (one := self.patches[index])] for plane in frames]
        every = [patch for plane in patches for patch in plane]
        row, column = min(one.row for one in every), min(one.column for one in every)
        rows = max(one.row + one.mask.shape[0] for one in every) - row
        columns = max(one.column + one.mask.shape[1] for one in every) - column
        _check_size(len(planes) * rows * columns)
        mask = np.zeros((len(planes), rows, columns), dtype=np.bool_)
        for k, plane in enumerate(patches):
            for patch in plane:
                top, left = patch.row - row, patch.column - column
                mask[k, top : top + patch.mask.shape[0], left : left + patch.mask.shape[1]] |= patch.mask
        return (row, column), mask


def _check_size(pixels: int) -> None:
    if pixels > MAX_MASK_VOXELS:
        raise InputError(
            "seg.too-large",
            f"the box of this segment holds over {MAX_MASK_VOXELS} pixels; please mark one lesion a segment",
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Object:
    """What all segments of one object share."""

    ds: Dataset
    source: InstanceRef
    layout: FrameLayout
    kind: str
    threshold: float
    background: int
    frames: Frames
    series: dict[str, str | None]


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
        count = Counter(numbers_)
        described = tuple(
            _mark(whole, segment, masks.pop(number, None), repeated=count[number] > 1)
            for number, segment in zip(numbers_, segments, strict=True)
            if not (whole.kind == "LABELMAP" and number == whole.background)
        )
        return (*described, *_undescribed(whole, set(masks)))


def _undescribed(whole: _Object, segment_numbers: set[int | None]) -> tuple[UnreadableMark, ...]:
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
        for number in sorted(segment_numbers, key=str)
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
        # Pixels of a label map that belong to no segment (PS3.3 C.8.20.2).
        background=integer(ds, "PixelPaddingValue") or 0,
        frames=read_frames(ds, layout.number_of_frames),
        series=evidence(ds),
    )


def _masks(whole: _Object) -> dict[int | None, _Pixels]:
    """For each segment number its pixels; frames without any are left out."""
    packed = None
    if whole.kind != "LABELMAP" and 0 < whole.threshold <= 1:
        packed = packed_frames(whole.ds, whole.layout)
    masks: dict[int | None, _Pixels] = {}
    used = 0
    for number, frame, size, patch in _patches(whole) if packed is None else _boxes(whole, packed):
        used += size
        if used > MAX_MASK_VOXELS:
            raise InputError(
                "seg.too-large",
                f"the masks of this segmentation hold over {MAX_MASK_VOXELS} pixels;"
                " please send the lesion marks in a segmentation of their own",
            )
        if number not in masks:
            masks[number] = _Pixels(packed=packed)
        masks[number].patches[frame] = patch
    return masks


def _only_segment(whole: _Object) -> int | None:
    """The number of the segment where there is but one: its frames need not name it."""
    numbers_ = [integer(segment, "SegmentNumber") for segment in items(whole.ds, "SegmentSequence")]
    return numbers_[0] if len(numbers_) == 1 else None


def _boxes(whole: _Object, packed: PackedFrames) -> Iterator[tuple[int | None, int, int, None]]:
    """Segment number, index and size of each frame with pixels, which stay packed."""
    only = _only_segment(whole)
    for frame, box in zip(whole.frames.places, packed.boxes, strict=True):
        if box is not None:
            yield only if frame.segment is None else frame.segment, frame.index, box.pixels, None


def _patches(whole: _Object) -> Iterator[tuple[int | None, int, int, _Patch]]:
    """Segment number, frame index, size and pixels of each segment on each frame."""
    only = _only_segment(whole)
    for frame, found in zip(whole.frames.places, iter_frames(whole.ds, whole.layout), strict=True):
        if whole.kind == "LABELMAP":
            patches = _labels(found, whole.background)
        else:
            segment = only if frame.segment is None else frame.segment
            patches = iter([(segment, _patch(found.row, found.pixels >= whole.threshold))])
        for number, patch in patches:
            if patch is not None:
                yield number, frame.index, patch.mask.size, patch


def _labels(frame: Frame, background: int) -> Iterator[tuple[int | None, _Patch | None]]:
    rows, columns = np.nonzero(frame.pixels != background)
    labels = frame.pixels[rows, columns]
    order = np.argsort(labels, kind="stable")
    found, starts = np.unique(labels[order], return_index=True)
    for label, part in zip(found, np.split(order, starts[1:]), strict=True):
        row, column = int(rows[part].min()), int(columns[part].min())
        height, width = int(rows[part].max()) - row + 1, int(columns[part].max()) - column + 1
        mask = np.zeros((height, width), dtype=np.bool_)
        mask[rows[part] - row, columns[part] - column] = True
        yield int(label), _Patch(row=frame.row + row, column=column, mask=mask)


def _patch(first_row: int, mask: npt.NDArray[np.bool_]) -> _Patch | None:
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None
    band = mask[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(band.any(axis=0))
    part = band[:, columns[0] : columns[-1] + 1]
    return _Patch(row=first_row + int(rows[0]), column=int(columns[0]), mask=part.copy())


def _mark(
    whole: _Object, segment: Dataset, masks: _Pixels | None, *, repeated: bool
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
        if masks is None:
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
    # Frames that share their sources share one tuple of them.
    places = whole.frames.places
    sources = {id(places[k].images): places[k].images for k in masks.patches}
    images = tuple(dict.fromkeys(image for named in sources.values() for image in named))
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
        referenced_series_uid=_series_uid(whole, images),
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


def _shape(whole: _Object, masks: _Pixels) -> tuple[MaskShape, tuple[str, ...]]:
    """The mask of one segment, cut to the rows and columns that it touches."""
    planes = stacked([whole.frames.places[index] for index in masks.patches])
    lead = planes[0][0]
    (row, column), mask = masks.stacked(planes)
    row_step = lead.column_direction * lead.spacing_mm[0]
    column_step = lead.row_direction * lead.spacing_mm[1]
    step, remarks = slice_step(whole.frames, lead)
    grid = Grid(
        shape=(len(planes), mask.shape[1], mask.shape[2]),
        origins_lps_mm=np.array([plane[0].origin_lps_mm for plane in planes])
        + row * row_step
        + column * column_step,
        row_step_lps_mm=row_step,
        column_step_lps_mm=column_step,
        slice_step_lps_mm=step,
        frame_of_reference_uid=None
        if _invents_frame_of_reference(whole.ds)
        else uid(whole.ds, "FrameOfReferenceUID"),
    )
    if _invents_frame_of_reference(whole.ds):
        remarks = (*remarks, INVENTED)
    if whole.kind == "FRACTIONAL":
        remarks = (*remarks, "fractional segment: pixels of at least half of the maximum are inside")
    return MaskShape(grid=grid, mask=mask, images=tuple(common_image(plane) for plane in planes)), remarks


def _invents_frame_of_reference(ds: Dataset) -> bool:
    """Whether the writer is known to make up a frame of reference UID, as an early one of 3D Slicer does."""
    return text(ds, "ManufacturerModelName").startswith("AndreyTestDICOMSegWriter")


def _series_images(ds: Dataset) -> tuple[InstanceRef, ...]:
    return tuple(
        image
        for series in items(ds, "ReferencedSeriesSequence")
        for item in items(series, "ReferencedInstanceSequence")
        for image in image_refs(item)
    )


def _series_uid(whole: _Object, images: tuple[InstanceRef, ...]) -> str | None:
    series = {uid(item, "SeriesInstanceUID") for item in items(whole.ds, "ReferencedSeriesSequence")}
    return series.pop() if len(series) == 1 else series_of(whole.series, images)


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
