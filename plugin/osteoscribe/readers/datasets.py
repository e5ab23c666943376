"""A whole data set of a mark object, parsed by pydicom after a bounded check.

pydicom reads sequences recursively, keeps every value as objects, and quotes values in its warnings. So the
bytes are walked first, every value is converted here, and what cannot be converted is as absent.
"""

from __future__ import annotations

import gc
import logging
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO

from pydicom import config
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset as parse
from pydicom.uid import UID

from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import UNREADABLE
from osteoscribe.readers.elements import PIXEL_DATA, Encoded, Encoding, Kind, encoding_of, walk
from osteoscribe.readers.frame_groups import PER_FRAME, EncodedFrames
from osteoscribe.readers.values import DEFLATED_SYNTAXES, inflate

# pydicom's messages quote the values they are about, and those can be a patient's
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

MAX_BYTES = 1 << 28
"""Largest mark object, inflated; a fractional segmentation of 500 frames has 131 MB."""
MAX_PARTS = 300_000
"""Elements and twice the items of a mark object: pydicom takes 20 microseconds and 2 kB for an item."""
MAX_VALUES = 8_000_000
"""Single values of a mark object; a large structure set has 4 million numbers."""
MANY_VALUES = 64
"""Longer lists of numbers become plain numbers; pydicom's own take ten times the space."""

_SPECIFIC_CHARACTER_SET = 0x00080005
_CONTOUR_DATA = 0x30060050
_VALUE_BYTES = {
    b"AT": 4, b"FD": 8, b"FL": 4, b"SL": 4, b"SS": 2, b"SV": 8, b"UL": 4, b"US": 2, b"UV": 8,
}  # fmt: skip
_BULK = frozenset({b"LT", b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"ST", b"UR", b"UT"})
_PLAIN_TEXT = frozenset({"CS", "LO", "SH", "UI"})
_TEXT = frozenset({b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT"})


def read_dataset(encoded: Encoded, *, transfer_syntax_uid: str, max_bytes: int = MAX_BYTES) -> Dataset:
    """Parse the data set of a mark object.

    Values that cannot be converted are absent from the result. Long lists of DS and IS, as ContourData,
    are lists of float and int. Text without
    a Specific Character Set is UTF-8 where it is valid UTF-8, as several viewers write it, else Latin-1.
    The Per-Frame Functional Groups Sequence is `EncodedFrames`, as it came; the pixel data is a memoryview.

    Parameters
    ----------
    encoded
        The encoded data set, without file meta group.
    transfer_syntax_uid
        As negotiated, or from the file meta group; it stands in the result's ``file_meta``.
    max_bytes
        Largest size, inflated.

    Raises
    ------
    InputError
        ``instance.too-large``, ``instance.too-many-elements``, ``instance.nested-too-deep``,
        ``instance.truncated``, ``instance.malformed``, ``instance.bad-deflate``.
    """
    data = _inflated(encoded, transfer_syntax_uid, max_bytes)
    return _parse(data, encoding_of(transfer_syntax_uid, data), transfer_syntax_uid)


def read_context(encoded: Encoded, *, transfer_syntax_uid: str, pixels_at: int | None = None) -> Dataset:
    """Parse the header of an image: all that stands before its pixel data.

    Parameters and errors as for `read_dataset`; text likewise.

    Parameters
    ----------
    pixels_at
        Where the value of its pixel data begins, if that is known; `encoded` need not go further.
    """
    data = _inflated(encoded, transfer_syntax_uid, MAX_BYTES)
    encoding = encoding_of(transfer_syntax_uid, data)
    if pixels_at is None:
        events = walk(data, encoding)
        pixels_at = next((event.start for event in events if event.kind is Kind.PIXELS), None)
    if pixels_at is not None:
        # PS3.5 section 7.1: tag and length take 8 bytes before the value, with an explicit VR 12
        data = data[: pixels_at - (8 if encoding.implicit else 12)]
    return _parse(data, encoding, transfer_syntax_uid)


def _inflated(encoded: Encoded, transfer_syntax_uid: str, max_bytes: int) -> bytes:
    if transfer_syntax_uid in DEFLATED_SYNTAXES:
        data, complete = inflate(encoded, max_bytes=max_bytes)
    else:
        data, complete = bytes(encoded[:max_bytes]), len(encoded) <= max_bytes
    if not complete:
        raise InputError(
            "instance.too-large", f"the object is larger than {max_bytes} bytes; expected a mark object"
        )
    return data


def _parse(data: bytes, encoding: Encoding, transfer_syntax_uid: str) -> Dataset:
    """Parse elements after a bounded check of their structure."""
    apart = list(_read_apart(data, encoding))
    data = b"".join(data[i:j] for i, j in _around([where for where, _ in apart], len(data)))
    character_set = _check(data, encoding)
    with _quietly():
        try:
            ds = parse(BytesIO(data), encoding.implicit, encoding.little, parent_encoding=character_set)
        except UNREADABLE as error:
            raise InputError(
                "instance.malformed", f"the data set cannot be parsed ({type(error).__name__})"
            ) from None
        _convert(ds)
    for _, element in apart:
        ds[element.tag] = element
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return ds


@contextmanager
def _quietly() -> Iterator[None]:
    """Without pydicom's checks of values, its warnings, and a garbage collector that finds no garbage."""
    collecting = gc.isenabled()
    gc.disable()  # hundreds of thousands of new objects: half of the time otherwise
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        if collecting:
            gc.enable()


def _read_apart(data: bytes, encoding: Encoding) -> Iterator[tuple[slice, DataElement]]:
    """What pydicom takes long for, and where it stands: groups of frames, native pixels."""
    depth = begin = 0
    for event in walk(data, encoding, descend=frozenset(), jump_over=frozenset({PER_FRAME})):
        at_frames = event.tag == PER_FRAME and event.kind is not Kind.PIXELS
        if event.kind is Kind.SEQUENCE:
            begin = event.start if at_frames and not depth else begin
            depth += 1
        elif event.kind is Kind.SEQUENCE_END:
            depth -= 1
        if depth:
            continue
        if at_frames and (event.kind is Kind.SEQUENCE_END or event.vr == b"SQ"):
            start = begin if event.kind is Kind.SEQUENCE_END else event.start
            where = slice(_header_at(data, PER_FRAME, start, encoding), event.stop)
            frames = EncodedFrames(element=data[where], encoding=encoding)
            yield where, DataElement(PER_FRAME, "OB", frames, already_converted=True)
        elif event.kind is Kind.PIXELS and event.tag == PIXEL_DATA and 0 <= event.stop <= len(data):
            where = slice(_header_at(data, PIXEL_DATA, event.start, encoding), event.stop)
            # a view: of a hundred lesions they are 60 MB
            pixels, vr = memoryview(data)[event.start : event.stop], event.vr.decode()
            vr = "OW" if encoding.implicit else vr
            yield where, DataElement(PIXEL_DATA, vr, pixels, already_converted=True)


def _header_at(data: bytes, tag: int, start: int, encoding: Encoding) -> int:
    """Where an element begins whose value begins at `start`; see PS3.5 section 7.1."""
    encoded = struct.pack(f"{'<' if encoding.little else '>'}HH", tag >> 16, tag & 0xFFFF)
    return start - (12 if data[start - 12 : start - 8] == encoded else 8)


def _around(apart: Iterable[slice], length: int) -> Iterator[tuple[int, int]]:
    """What is left between some parts."""
    begin = 0
    for part in apart:
        yield begin, part.start
        begin = part.stop
    yield begin, length


def _check(data: bytes, encoding: Encoding) -> str:
    """Check the structure against the limits; give the encoding of text that names none."""
    parts = values = 0
    named, utf8 = False, True
    for event in walk(data, encoding, stop_at_pixels=False):
        if event.kind is Kind.ITEM:
            parts += 2
        if event.kind is not Kind.ELEMENT:
            continue
        parts += 1
        if event.tag == _SPECIFIC_CHARACTER_SET and event.stop > event.start:
            named = True
        elif event.vr in _VALUE_BYTES:
            values += (event.stop - event.start) // _VALUE_BYTES[event.vr]
        elif event.vr not in _BULK:
            values += data.count(b"\\", event.start, event.stop)
        if event.vr in _TEXT and utf8 and not named:
            utf8 = _is_utf8(data[event.start : event.stop])
    if parts > MAX_PARTS or values > MAX_VALUES:
        raise InputError(
            "instance.too-many-elements",
            f"the data set has {parts} parts and {values} values; "
            f"expected at most {MAX_PARTS} and {MAX_VALUES}",
        )
    return "utf8" if utf8 and not named else "iso8859"


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _convert(ds: Dataset) -> None:
    """Convert every value in place; drop those that cannot be.

    Sequences with the same bytes become one: the segments of an object repeat their codes.
    """
    waiting = [ds]
    known: dict[tuple[object, ...], DataElement] = {}
    while waiting:
        item = waiting.pop()
        for tag in list(item.keys()):
            try:
                raw, key, plain = item.get_item(tag), None, None
                if isinstance(raw, RawDataElement):
                    key = _sequence_key(raw, item)
                    plain = known.get(key) if key else _plain(raw)
                if plain is not None:
                    item[tag] = plain
                elif item[tag].VR == "SQ":
                    waiting.extend(item[tag].value)
                    if key:
                        known[key] = item[tag]
            except UNREADABLE:
                del item[tag]


def _sequence_key(raw: RawDataElement, holder: Dataset) -> tuple[object, ...] | None:
    """All that a sequence is converted from; None for other elements."""
    if _vr_of(raw) != "SQ" or not isinstance(raw.value, bytes):
        return None
    character_set = repr(holder.original_character_set)
    return raw.tag, raw.value, raw.is_implicit_VR, raw.is_little_endian, character_set


def _vr_of(raw: RawDataElement) -> str:
    return raw.VR or (dictionary_VR(raw.tag) if dictionary_has_tag(raw.tag) else "UN")


def _plain(raw: RawDataElement) -> DataElement | None:
    """What marks have thousands of: a long list of numbers, a single UID, code or plain text; else None."""
    value = raw.value
    vr = _vr_of(raw)
    if not isinstance(value, bytes):
        return None
    if vr in ("DS", "IS") and (raw.tag == _CONTOUR_DATA or value.count(b"\\") >= MANY_VALUES):
        return _plain_numbers(raw)
    # As pydicom converts them, in a fifth of the time.
    if vr == "US" and len(value) == 2:
        number = int.from_bytes(value, "little" if raw.is_little_endian else "big")
        return DataElement(raw.tag, vr, number, already_converted=True)
    if vr in _PLAIN_TEXT and value.isascii() and b"\\" not in value and b"\x1b" not in value:
        text = value.rstrip(b" \0").decode("ascii")
        if text:
            return DataElement(raw.tag, vr, UID(text) if vr == "UI" else text, already_converted=True)
    return None


def _plain_numbers(raw: RawDataElement) -> DataElement:
    number = int if raw.VR == "IS" else float
    value = raw.value.strip(b" \0") if isinstance(raw.value, bytes) else b""
    numbers = [number(part) for part in value.split(b"\\")]
    return DataElement(raw.tag, raw.VR or "DS", numbers, already_converted=True)
