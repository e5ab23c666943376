"""Where the frames of a segmentation lie, and how they stack.

References
----------
PS3.3 C.7.6.16.2 (functional groups: pixel measures, plane position, plane orientation, derivation image)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
from pydicom.dataset import Dataset

from osteoscribe.core.geometry import STEP_TOLERANCE_MM, FloatArray
from osteoscribe.core.marks import InstanceRef
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import Numbers, first, items, numbers, value
from osteoscribe.readers.frame_groups import EncodedFrames, FrameGroups, frame_groups, groups_of

PARALLEL = 1e-4
"""Direction cosines of one segment's frames differ by less than this."""
UNKNOWN_STEP_MM = 1.0
"""Step of a segmentation of one plane that states neither step nor thickness."""
MAX_ORIENTATIONS = 64
"""Orientations in one object; a segmentation on three crossed planes has three."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FramePlace:
    """One frame: its segment, its plane and its source images.

    Parameters
    ----------
    index
        From 0.
    stack
        Frames of one stack are parallel; counted from 0.
    segment
        Segment number, or None where the frame names none.
    origin_lps_mm
        (3,), centre of the first pixel.
    row_direction, column_direction, normal
        (3,) unit vectors along a row, along a column and at right angles to both.
    spacing_mm
        (2,), from row to row and from column to column.
    """

    index: int
    stack: int
    segment: int | None
    origin_lps_mm: FloatArray
    row_direction: FloatArray
    column_direction: FloatArray
    normal: FloatArray
    spacing_mm: FloatArray
    thickness_mm: float | None
    step_mm: float | None
    images: tuple[InstanceRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames:
    """All frames of an object.

    Parameters
    ----------
    places
        By frame index.
    steps_lps_mm
        For each stack of at least two planes the smallest step between two neighbours, (3,).
    """

    places: tuple[FramePlace, ...]
    steps_lps_mm: dict[int, FloatArray]


def read_frames(ds: Dataset, number_of_frames: int) -> Frames:
    """Place of each frame, from its own functional groups, else from the shared ones.

    Raises
    ------
    InputError
        `seg.frames-missing`, `seg.no-plane`, `seg.planes-differ`.
    """
    shared = groups_of(first(ds, "SharedFunctionalGroupsSequence"))
    groups = _groups(ds, number_of_frames)
    if not groups and number_of_frames == 1:
        groups = (FrameGroups(),)
    if len(groups) != number_of_frames:
        raise InputError(
            "seg.frames-missing",
            f"found positions for {len(groups)} frames, expected {number_of_frames} as NumberOfFrames says;"
            " the segmentation is damaged, please export it again",
        )
    places: list[FramePlace] = []
    stacks: list[list[FramePlace]] = []
    for index in range(number_of_frames):
        place = _frame(ds, index, groups[index], shared, stacks)
        if place.stack == len(stacks):
            stacks.append([])
        places.append(place)
        stacks[place.stack].append(place)
        if len(stacks) > MAX_ORIENTATIONS:
            raise _differ(f"frames of over {MAX_ORIENTATIONS} orientations")
    steps = {n: step for n, stack in enumerate(stacks) if (step := _smallest_step(stack)) is not None}
    return Frames(places=tuple(places), steps_lps_mm=steps)


def _groups(ds: Dataset, number_of_frames: int) -> tuple[FrameGroups, ...]:
    """Groups of each frame; of too many frames one too many, to be refused."""
    encoded = value(ds, "PerFrameFunctionalGroupsSequence")
    if isinstance(encoded, EncodedFrames):
        return tuple(islice(frame_groups(encoded), number_of_frames + 1))
    return tuple(map(groups_of, items(ds, "PerFrameFunctionalGroupsSequence")))


def _smallest_step(stack: Sequence[FramePlace]) -> FloatArray | None:
    normal = stack[0].normal
    origins = np.array([frame.origin_lps_mm for frame in stack])
    steps = np.diff(origins[np.argsort(origins @ normal)], axis=0)
    along = steps @ normal
    apart = along > STEP_TOLERANCE_MM
    return steps[apart][int(np.argmin(along[apart]))] if apart.any() else None


def _differ(found: str) -> InputError:
    return InputError(
        "seg.planes-differ",
        f"found {found}; expected parallel frames of one pixel size for each segment, please export it on one"
        " image series",
    )


def _frame(
    ds: Dataset, index: int, own: FrameGroups, shared: FrameGroups, stacks: Sequence[Sequence[FramePlace]]
) -> FramePlace:
    def group(keyword: str) -> Mapping[str, Numbers]:
        return own.values[keyword] if keyword in own.values else shared.values.get(keyword, {})

    measures = group("PixelMeasuresSequence")
    origin, orientation, spacing = (
        # Some writers put the plane of a single frame at the top level, as in a single-frame image.
        holder[keyword] if keyword in holder else _numbers_of(ds, keyword)
        for holder, keyword in (
            (group("PlanePositionSequence"), "ImagePositionPatient"),
            (group("PlaneOrientationSequence"), "ImageOrientationPatient"),
            (measures, "PixelSpacing"),
        )
    )
    directions = None if orientation is None else _directions(orientation)
    if origin is None or directions is None or spacing is None or not _is_plane(origin, spacing):
        raise InputError(
            "seg.no-plane",
            f"frame {index + 1} of the segmentation has no usable position, orientation or pixel spacing;"
            " expected all three, please export it again",
        )
    row, column, normal = directions
    alike = (n for n, (one, *_) in enumerate(stacks) if _are_parallel(one, row, column))
    return FramePlace(
        index=index,
        stack=next(alike, len(stacks)),
        segment=_whole(group("SegmentIdentificationSequence").get("ReferencedSegmentNumber")),
        origin_lps_mm=np.array(origin),
        row_direction=row,
        column_direction=column,
        normal=normal,
        spacing_mm=_spacing(spacing),
        thickness_mm=_finite(measures.get("SliceThickness")),
        step_mm=_finite(measures.get("SpacingBetweenSlices")),
        images=own.images or shared.images,
    )


def _numbers_of(ds: Dataset, keyword: str) -> Numbers | None:
    found = numbers(ds, keyword)
    return None if found is None else tuple(found.tolist())


def _are_parallel(one: FramePlace, row: FloatArray, column: FloatArray) -> bool:
    if one.row_direction is row and one.column_direction is column:
        return True
    apart = max(np.abs(one.row_direction - row).max(), np.abs(one.column_direction - column).max())
    return bool(apart < PARALLEL)


@lru_cache(maxsize=64)
def _directions(orientation: Numbers) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Unit vectors along a row, a column and the normal, or None; mostly those of the frame before."""
    if len(orientation) != 6 or not all(map(math.isfinite, orientation)):
        return None
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(length - 1) for length in lengths) >= 1e-2 or abs(row @ column) >= 1e-2:
        return None
    row, column = row / lengths[0], column / lengths[1]
    normal = np.cross(row, column)
    return row, column, np.asarray(normal / np.linalg.norm(normal))


@lru_cache(maxsize=64)
def _spacing(spacing: Numbers) -> FloatArray:
    return np.array(spacing)


def _is_plane(origin: Numbers, spacing: Numbers) -> bool:
    return (
        (len(origin), len(spacing)) == (3, 2)
        and all(abs(number) <= 1e5 for number in origin)
        and all(1e-4 < number < 1e3 for number in spacing)
    )


def _finite(found: Numbers | None) -> float | None:
    """One finite number, or None."""
    return found[0] if found is not None and len(found) == 1 and math.isfinite(found[0]) else None


def _whole(found: Numbers | None) -> int | None:
    one = _finite(found)
    return None if one is None or one != int(one) else int(one)


def stacked(frames: Sequence[FramePlace]) -> list[list[FramePlace]]:
    """Parallel frames by plane, the planes in order along the normal.

    Raises
    ------
    InputError
        `seg.planes-differ`, `seg.planes-shifted`.
    """
    lead = frames[0]
    normal = lead.normal
    spacings = {id(frame.spacing_mm): frame.spacing_mm for frame in frames}
    unlike = np.abs(np.array([*spacings.values()]) / lead.spacing_mm - 1).max() > PARALLEL
    if unlike or {frame.stack for frame in frames} != {lead.stack}:
        raise _differ("frames that differ in orientation or pixel spacing in one segment")
    heights = (np.array([frame.origin_lps_mm for frame in frames]) * normal).sum(axis=1)
    order = heights.argsort(kind="stable")
    ordered = [frames[i] for i in order.tolist()]
    if (np.diff(heights[order]) >= STEP_TOLERANCE_MM).all():
        return [[frame] for frame in ordered]
    planes: list[list[FramePlace]] = []
    for frame in ordered:
        away = frame.origin_lps_mm - planes[-1][0].origin_lps_mm if planes else None
        if away is None or abs(float(away @ normal)) >= STEP_TOLERANCE_MM:
            planes.append([frame])
        elif np.abs(away).max() <= STEP_TOLERANCE_MM:
            planes[-1].append(frame)
        else:
            raise InputError(
                "seg.planes-shifted",
                "two frames of this segment lie on one plane but are shifted against each other;"
                " expected one grid, please export it on one image series",
            )
    return planes


def slice_step(frames: Frames, lead: FramePlace) -> tuple[FloatArray, tuple[str, ...]]:
    """Usual step from slice to slice, in LPS mm, with a remark where it had to be assumed.

    That of the planes of all segments together, or a whole part of it where the writer states one: frames
    are mostly written only where a segment has pixels, and slice thickness is not the step.

    Parameters
    ----------
    frames
        All frames of the object.
    lead
        A frame of the segment in question.
    """
    normal = lead.normal
    stated = lead.step_mm if lead.step_mm is not None and lead.step_mm > STEP_TOLERANCE_MM else None
    step = frames.steps_lps_mm.get(lead.stack)
    if step is not None:
        distance = float(step @ normal)
        count = 0 if stated is None else round(distance / stated)
        if count > 1 and stated is not None and abs(distance - count * stated) < count * STEP_TOLERANCE_MM:
            return np.asarray(step / count), ()
        return step, ()
    if stated is not None:
        return normal * stated, ()
    if lead.thickness_mm is not None and lead.thickness_mm > STEP_TOLERANCE_MM:
        return normal * lead.thickness_mm, ()
    return normal * UNKNOWN_STEP_MM, (
        f"the segmentation states no slice thickness: its volume takes {UNKNOWN_STEP_MM:g} mm",
    )


def common_image(frames: Sequence[FramePlace]) -> InstanceRef | None:
    """The CT image of frames on one plane, where they name exactly one."""
    if any(len(frame.images) > 1 for frame in frames):
        return None
    images = {image for frame in frames for image in frame.images}
    return images.pop() if len(images) == 1 else None
