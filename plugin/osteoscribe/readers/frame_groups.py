"""Functional groups of the frames of a segmentation: what is needed of them, straight from their bytes.

A segmentation of a hundred lesions has thousands of frames, each with ten sequences in each other: as data
sets of pydicom they take 0.5 ms a frame, as numbers from a walk over their bytes a tenth of it.

References
----------
PS3.3 C.7.6.16.2 (functional groups), PS3.5 section 6.2 (VRs)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from pydicom.dataset import Dataset

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.marks import InstanceRef
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import (
    first,
    image_refs,
    items,
    named_images,
    numbers,
    well_formed_uid,
)
from osteoscribe.readers.elements import Encoding, Kind, walk

PER_FRAME = 0x52009230
"""Per-Frame Functional Groups Sequence."""
MAX_PARTS = 300_000
"""Elements and items of all frames of one object that are looked at."""

_NUMBERS = {
    0x00289110: ("PixelMeasuresSequence", {
        0x00280030: "PixelSpacing", 0x00180050: "SliceThickness", 0x00180088: "SpacingBetweenSlices",
    }),
    0x00209113: ("PlanePositionSequence", {0x00200032: "ImagePositionPatient"}),
    0x00209116: ("PlaneOrientationSequence", {0x00200037: "ImageOrientationPatient"}),
    0x0062000A: ("SegmentIdentificationSequence", {0x0062000B: "ReferencedSegmentNumber"}),
}  # fmt: skip
"""Groups of which numbers are read: tag -> keyword, and their elements likewise."""
_SOURCES = [0x00089124, 0x00082112]
"""Derivation Image Sequence, and in it Source Image Sequence."""
_SOP_CLASS_UID, _SOP_INSTANCE_UID, _FRAME_NUMBER = 0x00081150, 0x00081155, 0x00081160
_UNUSED = frozenset({0x00209111, 0x00089215, 0x0040A170})
"""Frame Content, Derivation Code and Purpose of Reference Code Sequence: in every frame, of no use here."""
_MOST_TEXT = 256
"""Bytes of a value; six decimals take at most 101."""
_FORMATS = {b"US": "H", b"SS": "h", b"UL": "L", b"SL": "l", b"FL": "f", b"FD": "d"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFrames:
    """The Per-Frame Functional Groups Sequence as received: its element with header and value."""

    element: bytes
    encoding: Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameGroups:
    """What the functional groups of one frame, or those shared by all, say.

    Parameters
    ----------
    values
        By keyword of a group that is there, by keyword of an element that is there, its numbers.
    images
        Source images.
    """

    values: Mapping[str, Mapping[str, FloatArray]] = field(default_factory=dict)
    images: tuple[InstanceRef, ...] = ()


def groups_of(item: Dataset) -> FrameGroups:
    """Groups of an item as pydicom has it."""
    values: dict[str, dict[str, FloatArray]] = {}
    for group, elements in _NUMBERS.values():
        if items(item, group):
            holder = first(item, group)
            found = ((keyword, numbers(holder, keyword)) for keyword in elements.values())
            values[group] = {keyword: number for keyword, number in found if number is not None}
    images = (
        image
        for derivation in items(item, "DerivationImageSequence")
        for source in items(derivation, "SourceImageSequence")
        for image in image_refs(source)
    )
    return FrameGroups(values=values, images=tuple(dict.fromkeys(images)))


def frame_groups(encoded: EncodedFrames) -> Iterator[FrameGroups]:
    """Groups of each frame.

    Raises
    ------
    InputError
        ``instance.too-many-elements``, ``instance.truncated``, ``instance.malformed``.
    """
    order = "<" if encoded.encoding.little else ">"
    data = encoded.element
    path: list[int] = []
    values: dict[str, dict[str, FloatArray]] = {}
    images: dict[InstanceRef, None] = {}
    wanted: tuple[dict[int, str], dict[str, FloatArray]] | None = None
    source: dict[int, bytes] = {}
    element, opened, closed, item = Kind.ELEMENT, Kind.SEQUENCE, Kind.SEQUENCE_END, Kind.ITEM
    walked = walk(data, encoded.encoding, jump_over=_UNUSED, stop_at_pixels=False)
    for part, (kind, tag, vr, start, stop) in enumerate(walked):
        if part > MAX_PARTS:
            raise InputError(
                "instance.too-many-elements",
                f"the frames of the segmentation have more than {MAX_PARTS} elements; "
                "please send the lesion marks in a segmentation of their own",
            )
        depth = len(path)
        if kind is element:
            if stop - start > _MOST_TEXT:
                continue
            if depth == 2 and wanted is not None and tag in wanted[0]:
                found = _numbers_in(data[start:stop], vr, order)
                if found is not None:
                    wanted[1][wanted[0][tag]] = found
            elif depth == 3:
                source[tag] = data[start:stop]
        elif kind is opened:
            path.append(tag)
        elif kind is closed:
            path.pop()
        elif kind is item:
            if depth == 1:
                values, images = {}, {}
            elif depth == 2:
                wanted = None
                if tag in _NUMBERS and _NUMBERS[tag][0] not in values:  # of several items the first counts
                    group, elements = _NUMBERS[tag]
                    wanted = elements, values.setdefault(group, {})
            elif depth == 3:
                source = {}
        elif depth == 1:
            yield FrameGroups(values=values, images=tuple(images))
        elif depth == 3 and path[1:] == _SOURCES:
            images.update(dict.fromkeys(_images_of(source)))


def _images_of(source: Mapping[int, bytes]) -> tuple[InstanceRef, ...]:
    return named_images(
        _uid_in(source.get(_SOP_CLASS_UID, b"")),
        _uid_in(source.get(_SOP_INSTANCE_UID, b"")),
        _numbers_in(source[_FRAME_NUMBER], b"IS", "") if _FRAME_NUMBER in source else None,
    )


def _uid_in(value: bytes) -> str | None:
    return well_formed_uid(value.decode("ascii", "replace").replace("\0", "").strip())


def _numbers_in(value: bytes, vr: bytes, order: str) -> FloatArray | None:
    """Numbers of a value; None where it holds none, or anything else."""
    try:
        if vr in _FORMATS:
            one = struct.calcsize(order + _FORMATS[vr])
            found = struct.unpack(f"{order}{len(value) // one}{_FORMATS[vr]}", value)
        else:
            found = tuple(map(float, value.strip(b" \0").split(b"\\")))
    except (ValueError, struct.error):
        return None
    return np.array(found, dtype=np.float64) if found else None
