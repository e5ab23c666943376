"""A bounded walk over an encoded data set: where each element lies, nothing decoded.

Received bytes are hostile. The walk never recurses, never allocates by a length it was told, and stops at
stated limits of depth and number. It is what both the header reader and the check before a full parse use.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from osteoscribe.errors import InputError

Encoded = bytes | memoryview

MAX_DEPTH = 64
"""Sequences inside each other; content trees of real reports stay below 20."""
MAX_ELEMENTS = 1_000_000
"""Elements and items of one data set; a multi-frame image of 5000 frames has about 250 000."""

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_DELIMITER = 0xFFFEE00D
SEQUENCE_DELIMITER = 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})

_LONG_FORM = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_SHORT_FORM = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
     b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)  # fmt: skip
_ANY_VR = _LONG_FORM | _SHORT_FORM


class Kind(IntEnum):
    """What an event of the walk is."""

    ELEMENT = 0
    """An element with a value."""
    SEQUENCE = 1
    """A sequence begins."""
    SEQUENCE_END = 2
    """It ends."""
    ITEM = 3
    """An item of the sequence begins."""
    ITEM_END = 4
    """It ends."""
    PIXELS = 5
    """Pixel data of the data set itself; the value's `stop` is not checked, or -1 where undefined."""


# Enum members are slow to look up.
_ITEM, _ITEM_END, _SEQUENCE, _SEQUENCE_END = Kind.ITEM, Kind.ITEM_END, Kind.SEQUENCE, Kind.SEQUENCE_END
_PIXELS_EVENT = Kind.PIXELS


class Event(NamedTuple):
    """One event: its value lies at [start, stop) of the buffer; `vr` is the dictionary's where implicit."""

    kind: Kind
    tag: int
    vr: bytes
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written (PS3.5 section 7.1)."""

    implicit: bool
    little: bool


class _Open(NamedTuple):
    """A sequence, item or run of fragments that the walk is inside of."""

    kind: Kind
    tag: int
    end: int
    limit: int
    implicit: bool


def malformed(position: int, why: str) -> InputError:
    """Make the error for bytes that are no DICOM elements."""
    return InputError(
        "instance.malformed",
        f"at byte {position} of the data set: {why}; expected DICOM elements in the stated transfer syntax",
    )


def encoding_of(transfer_syntax_uid: str, data: Encoded) -> Encoding:
    """How the elements of a data set are written.

    Some writers name explicit VR and write implicit, or the other way round; the first element tells.

    Parameters
    ----------
    transfer_syntax_uid
        As negotiated, or from the file meta group.
    data
        The encoded (inflated) data set; its first 6 bytes are looked at.

    References
    ----------
    PS3.5 annex A
    """
    little = transfer_syntax_uid != "1.2.840.10008.1.2.2"
    implicit = transfer_syntax_uid == "1.2.840.10008.1.2"
    if len(data) >= 8:
        explicit_here = bytes(data[4:6]) in _ANY_VR
        if little and implicit == explicit_here:
            implicit = not explicit_here
    return Encoding(implicit, little)


def walk(
    data: Encoded,
    encoding: Encoding,
    *,
    descend: frozenset[int] | None = None,
    jump_over: frozenset[int] = frozenset(),
    stop_at_pixels: bool = True,
) -> Iterator[Event]:
    """Where the elements of a data set lie, in order of writing.

    Parameters
    ----------
    data
        The encoded, inflated data set.
    encoding
        How its elements are written.
    descend
        Tags of the sequences of the data set itself that are entered; None enters all. What lies inside an
        entered sequence is always entered.
    jump_over
        Tags of sequences, wherever they lie; of stated length they are told as an element of VR SQ.
    stop_at_pixels
        End with the `PIXELS` event, whatever follows.

    Yields
    ------
    Event
        Elements, and the begin and end of each entered sequence and item.

    Raises
    ------
    InputError
        ``instance.truncated``, ``instance.malformed``, ``instance.nested-too-deep`` or
        ``instance.too-many-elements``.
    """
    return Walk(data, encoding, descend=descend, jump_over=jump_over, stop_at_pixels=stop_at_pixels).events()


class Walk:
    """The state of one walk: the position, and the containers it is inside of.

    Parameters and errors are those of `walk`. Whoever takes the events may set `position` forward to where
    another item of the same sequence begins or would: what lies between is then not walked.
    """

    __slots__ = (
        "_data",
        "_descend",
        "_head",
        "_implicit",
        "_jump_over",
        "_length",
        "_open",
        "_stop_at_pixels",
        "limit",
        "position",
    )

    def __init__(
        self,
        data: Encoded,
        encoding: Encoding,
        *,
        descend: frozenset[int] | None = None,
        jump_over: frozenset[int] = frozenset(),
        stop_at_pixels: bool = True,
    ) -> None:
        order = "<" if encoding.little else ">"
        self._data = data
        self._head = struct.Struct(order + "HH2sH").unpack_from
        self._length = struct.Struct(order + "L").unpack_from
        self._implicit = encoding.implicit
        self._descend = descend
        self._jump_over = jump_over
        self._stop_at_pixels = stop_at_pixels
        self._open: list[_Open] = []
        self.position = 0
        self.limit = len(data)
        """End of the innermost container."""

    def events(self) -> Iterator[Event]:
        """Walk, one event after the other; `position` is then behind what the event tells of."""
        data, head, stack, size = self._data, self._head, self._open, len(self._data)
        element_kind = Kind.ELEMENT  # enum members are slow to look up
        limit, plain = size, not self._implicit
        position = 0
        for _ in range(MAX_ELEMENTS):
            if plain and position + 8 <= limit:
                # nearly every element of a header: explicit, short form, no sequence
                group, element, vr, length = head(data, position)
                start = position + 8
                if vr in _SHORT_FORM and start + length <= limit:
                    position = start + length
                    yield Event(element_kind, group << 16 | element, vr, start, position)
                    continue
            self.position = position
            while stack and stack[-1].end == self.position:
                yield self._close()
            if not stack and size - self.position < 8 and not any(data[self.position :]):
                return  # zeros behind the last element are what is left of a padded buffer
            event = self._next()
            if event is not None:
                yield event
                if event.kind is _PIXELS_EVENT and self._stop_at_pixels:
                    return
            position, limit = self.position, self.limit
            plain = not self._implicit and (not stack or stack[-1].kind is _ITEM)
        raise InputError(
            "instance.too-many-elements",
            f"the data set has more than {MAX_ELEMENTS} elements; expected an image or a mark object",
        )

    def _next(self) -> Event | None:
        """Take what lies at the position."""
        if self.position + 8 > self.limit:
            raise self._too_long("an item ends inside an element")
        group, element, vr, short = self._head(self._data, self.position)
        if group == 0xFFFE:
            return self._item(group << 16 | element)
        if self._open and self._open[-1].kind is not _ITEM:
            raise malformed(self.position, "an element where an item was expected")
        return self._element(group << 16 | element, vr, short)

    def _item(self, tag: int) -> Event | None:
        """Take an item or a delimiter."""
        length = self._length(self._data, self.position + 4)[0]
        inside = self._open[-1] if self._open else None
        start = self.position + 8
        if tag == ITEM and inside is not None and inside.kind is not _ITEM:
            end = -1 if length == UNDEFINED else start + length
            if end > inside.limit:
                raise self._too_long("an item is longer than its sequence")
            if inside.kind is Kind.ELEMENT:  # a fragment: its content is no elements
                if end < 0:
                    raise malformed(self.position, "a fragment without a length")
                self.position = end
                return None
            self.position = start
            self.limit = inside.limit if end < 0 else end
            self._open.append(_Open(_ITEM, inside.tag, end, self.limit, self._implicit))
            return Event(_ITEM, inside.tag, b"", start, end)
        if length or tag == ITEM:
            raise malformed(self.position, "an item outside a sequence")
        self.position = start
        expected = ITEM_DELIMITER if inside is not None and inside.kind is _ITEM else SEQUENCE_DELIMITER
        if inside is not None and inside.end < 0 and tag == expected:
            return self._close()
        return None  # a stray delimiter without length, as several writers leave behind

    def _element(self, tag: int, vr: bytes, short: int) -> Event | None:
        """Take an element; enter it where it is a sequence."""
        position, limit = self.position, self.limit
        start = position + 8
        if self._implicit or not (vr in _ANY_VR or vr.isalpha()):
            vr = _dictionary_vr(tag)
            length = self._length(self._data, position + 4)[0]
            if length == UNDEFINED and tag not in _PIXELS:
                vr = b"SQ"
        elif vr in _SHORT_FORM:
            length = short
        else:
            start = position + 12
            if start > limit:
                raise self._too_long("an item ends inside an element")
            length = self._length(self._data, position + 8)[0]
        stop = -1 if length == UNDEFINED else start + length
        if tag in _PIXELS and not self._open and self._stop_at_pixels:
            return Event(Kind.PIXELS, tag, vr, start, stop)
        if stop > limit:
            raise self._too_long("an element is longer than its item")
        if stop < 0 and vr not in (b"SQ", b"UN"):
            self.position = start
            self._open.append(_Open(Kind.ELEMENT, tag, -1, limit, self._implicit))
            return None
        if stop < 0 or vr == b"SQ":
            return self._enter(tag, vr, start, stop)
        self.position = stop
        return Event(Kind.ELEMENT, tag, vr, start, stop)

    def _enter(self, tag: int, vr: bytes, start: int, stop: int) -> Event | None:
        """Enter a sequence, or jump over it."""
        if stop >= 0 and tag in self._jump_over:
            self.position = stop
            return Event(Kind.ELEMENT, tag, b"SQ", start, stop)
        if stop >= 0 and not self._open and self._descend is not None and tag not in self._descend:
            self.position = stop
            return None
        if len(self._open) >= 2 * MAX_DEPTH:
            raise InputError(
                "instance.nested-too-deep",
                f"sequences lie more than {MAX_DEPTH} deep; expected an image or a mark object",
            )
        self.limit = self.limit if stop < 0 else stop
        self._open.append(_Open(_SEQUENCE, tag, stop, self.limit, self._implicit))
        # the items of a sequence of unknown VR and undefined length are implicit (PS3.5 6.2.2)
        self._implicit = self._implicit or vr == b"UN"
        self.position = start
        return Event(_SEQUENCE, tag, vr, start, stop)

    def _close(self) -> Event:
        closed = self._open.pop()
        self._implicit = closed.implicit
        self.limit = self._open[-1].limit if self._open else len(self._data)
        if closed.kind is Kind.ELEMENT:
            return Event(Kind.ELEMENT, closed.tag, b"OB", self.position, self.position)
        kind = _ITEM_END if closed.kind is _ITEM else _SEQUENCE_END
        return Event(kind, closed.tag, b"", self.position, self.position)

    def _too_long(self, why: str) -> InputError:
        if self.limit == len(self._data):
            return InputError(
                "instance.truncated",
                f"the data set ends inside the element at byte {self.position}; "
                "the object is incomplete, please send it again",
            )
        return malformed(self.position, why)


@lru_cache(maxsize=4096)
def _dictionary_vr(tag: int) -> bytes:
    # of several possible ones, as "US or SS", the first: all have the same kind of header
    return dictionary_VR(tag)[:2].encode("ascii") if dictionary_has_tag(tag) else b"UN"
