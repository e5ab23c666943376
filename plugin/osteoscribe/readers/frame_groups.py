"""Functional groups of the frames of a segmentation: what is needed of them, straight from their bytes.

A segmentation of a hundred lesions has thousands of frames, each with ten sequences in each other: as data
sets of pydicom they take 0.5 ms a frame, as numbers from a walk over their bytes a tenth of it. And a writer
lays out its frames alike, so mostly only the first few are walked: an item that differs from one of the last
in values alone has them at the same places, which takes a hundredth.

References
----------
PS3.3 C.7.6.16.2 (functional groups), PS3.5 section 6.2 (VRs)
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import Any

from pydicom.dataset import Dataset

from osteoscribe.core.marks import InstanceRef
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import (
    Numbers,
    first,
    image_refs,
    items,
    named_images,
    numbers,
    well_formed_uid,
)
from osteoscribe.readers.elements import Encoding, Event, Kind, Walk

PER_FRAME = 0x52009230
"""Per-Frame Functional Groups Sequence."""
MAX_PARTS = 300_000
"""Elements and items of all frames of one object that are looked at."""

LAYOUTS = 16
"""How many different items are remembered: lengths of positions and UIDs differ within one object."""

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
_SOURCE = (0x00081150, 0x00081155, 0x00081160)
"""Referenced SOP Class UID, SOP Instance UID and Frame Number of its items."""
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

    values: Mapping[str, Mapping[str, Numbers]] = field(default_factory=dict)
    images: tuple[InstanceRef, ...] = ()


def groups_of(item: Dataset) -> FrameGroups:
    """Groups of an item as pydicom has it."""
    values: dict[str, dict[str, Numbers]] = {}
    for group, elements in _NUMBERS.values():
        if items(item, group):
            holder = first(item, group)
            found = ((keyword, numbers(holder, keyword)) for keyword in elements.values())
            values[group] = {keyword: tuple(one.tolist()) for keyword, one in found if one is not None}
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
    data = encoded.element
    values = _Values("<" if encoded.encoding.little else ">")
    layouts: deque[_Layout] = deque(maxlen=LAYOUTS)
    walk = Walk(data, encoded.encoding, jump_over=_UNUSED, stop_at_pixels=False)
    opened, closed, item, item_end = Kind.SEQUENCE, Kind.SEQUENCE_END, Kind.ITEM, Kind.ITEM_END
    depth, parts, begin = 0, 0, 0
    inside: list[Event] = []
    for event in walk.events():
        parts += 1
        _check_number(parts)
        kind = event.kind
        inside.append(event)
        if kind is opened:
            depth += 1
        elif kind is closed:
            depth -= 1
        elif depth == 1 and kind is item:
            begin, inside = event.start - 8, [event]
        elif depth == 1 and kind is item_end:
            layout = _Layout.of(data, begin, event.stop, inside)
            layouts.appendleft(layout)
            yield layout.groups_of(data[begin : event.stop], values)
            while (like := _like_one(layouts, data, walk.position, walk.limit)) is not None:
                layout, found = like
                parts += layout.parts
                _check_number(parts)
                walk.position += layout.length
                yield layout.groups_of(found, values)


def _check_number(parts: int) -> None:
    if parts > MAX_PARTS:
        raise InputError(
            "instance.too-many-elements",
            f"the frames of the segmentation have more than {MAX_PARTS} elements; "
            "please send the lesion marks in a segmentation of their own",
        )


class _Values:
    """Values of elements from their bytes, each made once: frames share planes, segments and sources."""

    def __init__(self, order: str) -> None:
        self._order = order
        self._numbers: dict[tuple[bytes, bytes], Numbers | None] = {}
        self._images: dict[Sequence[_Source], tuple[InstanceRef, ...]] = {}

    def numbers(self, value: bytes, vr: bytes) -> Numbers | None:
        """Numbers of a value; None where it holds none, or anything else."""
        key = value, vr
        if key not in self._numbers:
            self._numbers[key] = _numbers_in(value, vr, self._order)
        return self._numbers[key]

    def images(self, sources: tuple[_Source, ...]) -> tuple[InstanceRef, ...]:
        """Images that the items of all Source Image Sequences of a frame name."""
        if sources not in self._images:
            named = (image for source in sources for image in _images_of(source))
            self._images[sources] = tuple(dict.fromkeys(named))
        return self._images[sources]


_Source = tuple[bytes | None, ...]
"""Encoded SOP class, SOP instance and frame number of a source image; None where absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where the values of a frame's item lie; the same in every item with the same bytes around the values.

    A walk looks at nothing but headers of elements and items, so it finds the same in all of these.

    Parameters
    ----------
    length
        Bytes of the item, its header and, where it has one, its delimiter included.
    parts
        Elements and items in it.
    opening
        Its bytes up to the first value.
    around
        Gives the bytes around the values of an item of this length...
    content
        ...and these are they.
    numbers
        By keyword of a group, its elements of which the numbers are wanted: keyword, VR, place.
    sources
        Where the three values of each source image lie.
    """

    length: int
    parts: int
    opening: bytes
    around: Callable[[bytes], Any]
    content: object
    numbers: Mapping[str, Sequence[tuple[str, bytes, slice]]]
    sources: Sequence[Sequence[slice | None]]

    @classmethod
    def of(cls, data: bytes, begin: int, end: int, inside: Sequence[Event]) -> _Layout:
        """Layout of the item at [begin, end), from the events of its walk."""
        spans = [(one.start - begin, one.stop - begin) for one in inside if one.kind is Kind.ELEMENT]
        ends = [0, *(at for span in spans for at in span), end - begin]
        around = itemgetter(*(slice(i, j) for i, j in list(pairwise(ends))[::2]))
        found, sources = _wanted(inside, begin)
        return cls(
            length=end - begin,
            parts=len(inside),
            opening=data[begin : begin + ends[1]],
            around=around,
            content=around(data[begin:end]),
            numbers=found,
            sources=sources,
        )

    def groups_of(self, item: bytes, values: _Values) -> FrameGroups:
        """What an item of this layout says."""
        found: dict[str, dict[str, Numbers]] = {}
        for group, elements in self.numbers.items():
            holder = found[group] = {}
            for keyword, vr, where in elements:
                number = values.numbers(item[where], vr)
                if number is not None:
                    holder[keyword] = number
        named = tuple([tuple([at and item[at] for at in source]) for source in self.sources])
        return FrameGroups(values=found, images=values.images(named))


def _like_one(
    layouts: Sequence[_Layout], data: bytes, position: int, limit: int
) -> tuple[_Layout, bytes] | None:
    """The layout that the item at a position has, where it is one of these, and the item."""
    for layout in layouts:
        if data.startswith(layout.opening, position) and position + layout.length <= limit:
            item = data[position : position + layout.length]
            if layout.around(item) == layout.content:
                return layout, item
    return None


def _wanted(
    inside: Sequence[Event], begin: int
) -> tuple[dict[str, list[tuple[str, bytes, slice]]], list[Sequence[slice | None]]]:
    """Where the wanted values of an item lie, counted from its begin: numbers by group, sources."""
    path: list[int] = []
    found: dict[str, list[tuple[str, bytes, slice]]] = {}
    sources: list[Sequence[slice | None]] = []
    elements: Mapping[int, str] = {}
    source: dict[int, slice] = {}
    for kind, tag, vr, start, stop in inside[1:-1]:
        depth = len(path)
        if kind is Kind.ELEMENT:
            where = slice(start - begin, stop - begin)
            if stop - start > _MOST_TEXT:
                continue
            if depth == 1 and tag in elements:
                found[_NUMBERS[path[0]][0]].append((elements[tag], vr, where))
            elif depth == 2:
                source[tag] = where
        elif kind is Kind.SEQUENCE:
            path.append(tag)
        elif kind is Kind.SEQUENCE_END:
            path.pop()
        elif kind is Kind.ITEM and depth == 1:
            elements = {}
            if tag in _NUMBERS and _NUMBERS[tag][0] not in found:  # of several items the first counts
                group, elements = _NUMBERS[tag]
                found[group] = []
        elif kind is Kind.ITEM and depth == 2:
            source = {}
        elif kind is Kind.ITEM_END and path == _SOURCES:
            sources.append([source.get(one) for one in _SOURCE])
    return found, sources


def _images_of(source: _Source) -> tuple[InstanceRef, ...]:
    sop_class_uid, sop_instance_uid, frame = source
    return named_images(
        _uid_in(sop_class_uid or b""),
        _uid_in(sop_instance_uid or b""),
        None if frame is None else _numbers_in(frame, b"IS", ""),
    )


def _uid_in(value: bytes) -> str | None:
    return well_formed_uid(value.decode("ascii", "replace").replace("\0", "").strip())


def _numbers_in(value: bytes, vr: bytes, order: str) -> Numbers | None:
    """Numbers of a value; None where it holds none, or anything else."""
    try:
        if vr in _FORMATS:
            one = struct.calcsize(order + _FORMATS[vr])
            found = struct.unpack(f"{order}{len(value) // one}{_FORMATS[vr]}", value)
        else:
            found = tuple(map(float, value.strip(b" \0").split(b"\\")))
    except (ValueError, struct.error):
        return None
    return tuple(map(float, found)) or None
