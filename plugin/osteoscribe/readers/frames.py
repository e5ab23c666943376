"""Frames of a segmentation's pixel data, one at a time, never larger than what was received can hold.

Plain encodings are undone here, code streams in the decoding processes; what cannot be decoded to exactly the
right number of pixels is refused: a wrong mask is worse than none.

References
----------
PS3.5 section 8.1.1 and annexes A.4, D (1-bit pixels), G (RLE); PS3.5 A.4.13 (deflated image frames)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from osteoscribe.decoders.frame import FrameFormat
from osteoscribe.decoders.process import begin_decoding
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import UNREADABLE, integer, text, value
from osteoscribe.readers.elements import Encoded
from osteoscribe.readers.packed import WORD, PackedFrames

PixelArray = npt.NDArray[Any]
"""(rows, columns) of uint8 or uint16."""

DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
"""Deflated Image Frame Compression, PS3.5 A.4.13; unknown to pydicom 3.0."""
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", _BIG_ENDIAN))
CODE_STREAMS = frozenset((JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL, JPEGLSLossless))
SUPPORTED = NATIVE | CODE_STREAMS | {RLELossless, DEFLATED_IMAGE_FRAME}

MAX_FRAME_PIXELS = 1 << 26
"""8192 x 8192 pixels: no CT has larger slices, and a header must not make us allocate more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLayout:
    """Size and depth of the frames of a pixel data element."""

    rows: int
    columns: int
    number_of_frames: int
    bits_allocated: int

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.rows * self.columns

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame on its own."""
        return (self.pixels * self.bits_allocated + 7) // 8


def frame_layout(ds: Dataset) -> FrameLayout:
    """Layout of the pixel data, checked before anything is allocated.

    Raises
    ------
    InputError
        `pixels.layout` where rows, columns, frames or depth are absent or absurd.
    """
    rows, columns = integer(ds, "Rows") or 0, integer(ds, "Columns") or 0
    bits = integer(ds, "BitsAllocated") or 0
    frames = integer(ds, "NumberOfFrames")
    frames = 1 if frames is None else frames
    samples = integer(ds, "SamplesPerPixel") or 1
    sound = rows > 0 and columns > 0 and frames > 0 and samples == 1 and bits in (1, 8, 16)
    if not sound or rows * columns > MAX_FRAME_PIXELS:
        raise InputError(
            "pixels.layout",
            f"found {rows} rows, {columns} columns, {frames} frames, {samples} samples of {bits} bits;"
            f" expected frames of 1 sample of 1, 8 or 16 bits and at most {MAX_FRAME_PIXELS} pixels;"
            " please export the mark again",
        )
    return FrameLayout(rows=rows, columns=columns, number_of_frames=frames, bits_allocated=bits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """Rows of a frame that hold all its pixels that are not zero.

    Parameters
    ----------
    row
        Number of the first of them.
    pixels
        (rows, columns); 1-bit pixels as 0 and 1.
    """

    row: int
    pixels: PixelArray


def iter_frames(ds: Dataset, layout: FrameLayout) -> Iterator[Frame]:
    """Each frame, in order.

    Raises
    ------
    InputError
        `pixels.missing`, `pixels.short`, `pixels.encoding-unsupported`, `pixels.undecodable`.
    """
    syntax = _transfer_syntax(ds)
    data = _pixel_data(ds, syntax)
    if syntax not in NATIVE:
        return (Frame(row=0, pixels=pixels) for pixels in _encapsulated(ds, bytes(data), layout, syntax))
    data = _native(ds, data, layout)
    if layout.bits_allocated == 1:
        return _native_bits(data, layout)
    word = "u1" if layout.bits_allocated == 8 else (">u2" if syntax == _BIG_ENDIAN else "<u2")
    return (Frame(row=0, pixels=pixels) for pixels in _native_words(data, layout, word))


def packed_frames(ds: Dataset, layout: FrameLayout) -> PackedFrames | None:
    """All frames, where they are 1-bit pixels in whole words, else None; errors as of `iter_frames`."""
    syntax = _transfer_syntax(ds)
    if syntax not in NATIVE or layout.bits_allocated != 1 or layout.columns % WORD:
        return None
    data = _native(ds, _pixel_data(ds, syntax), layout)
    return PackedFrames.of(data, frames=layout.number_of_frames, rows=layout.rows, columns=layout.columns)


def _pixel_data(ds: Dataset, syntax: str) -> Encoded:
    if syntax not in SUPPORTED:
        raise InputError(
            "pixels.encoding-unsupported",
            f"found pixel data in transfer syntax {syntax}; expected an uncompressed mask,"
            " or one in RLE, JPEG 2000 lossless, JPEG-LS lossless or deflated frames;"
            " please send it uncompressed",
        )
    data = value(ds, "PixelData")
    if not isinstance(data, bytes | memoryview) or not data:
        raise InputError("pixels.missing", "found no pixel data in the mask; please export the mark again")
    return data


def _transfer_syntax(ds: Dataset) -> str:
    meta = getattr(ds, "file_meta", None)
    found = text(meta, "TransferSyntaxUID") if isinstance(meta, Dataset) else ""
    return found or "1.2.840.10008.1.2.1"


def _native(ds: Dataset, data: Encoded, layout: FrameLayout) -> Encoded:
    """Pixel data of the right length; of 1-bit pixels the lowest bit of each byte is the first."""
    needed = (layout.pixels * layout.number_of_frames * layout.bits_allocated + 7) // 8
    if len(data) < needed:
        raise InputError(
            "pixels.short",
            f"found {len(data)} bytes of pixel data, expected {needed} for {layout.number_of_frames} frames"
            f" of {layout.rows} x {layout.columns}; the file is cut off, please send it again",
        )
    if layout.bits_allocated == 1 and _transfer_syntax(ds) == _BIG_ENDIAN and _pixel_vr(ds) == "OW":
        return np.frombuffer(data[: len(data) // 2 * 2], dtype=">u2").astype("<u2").tobytes()
    return data


def _pixel_vr(ds: Dataset) -> str:
    return str(ds["PixelData"].VR)


def _native_bits(data: Encoded, layout: FrameLayout) -> Iterator[Frame]:
    """Unpack the rows from the first bit that is set to the last; mostly a tenth of the frame."""
    packed = np.frombuffer(data, dtype=np.uint8)
    columns = layout.columns
    for frame in range(layout.number_of_frames):
        # Frames follow each other without padding, so one may start inside a byte (PS3.5 8.1.1).
        start = frame * layout.pixels
        first, last = _used_bytes(data, start // 8, (start + layout.pixels + 7) // 8)
        # Bits of the neighbouring frames may stand in the first and the last byte.
        top = max(0, 8 * first - start) // columns
        bottom = max(top, -(-min(layout.pixels, 8 * last - start) // columns))
        begin = start + top * columns
        bits = np.unpackbits(packed[begin // 8 : (start + bottom * columns + 7) // 8], bitorder="little")
        pixels = bits[begin % 8 : begin % 8 + (bottom - top) * columns].reshape(bottom - top, columns)
        yield Frame(row=top, pixels=pixels)


def _used_bytes(data: Encoded, begin: int, end: int) -> tuple[int, int]:
    """Range of bytes beyond which all are zero, found by eights; an empty one where all are."""
    words = np.frombuffer(data, dtype=np.uint64, count=(end - begin) // 8, offset=begin)
    used = np.flatnonzero(words)
    rest = begin + 8 * len(words)
    if any(data[rest:end]):
        return (begin + 8 * int(used[0]) if used.size else rest), end
    return (begin + 8 * int(used[0]), begin + 8 * int(used[-1]) + 8) if used.size else (begin, begin)


def _native_words(data: Encoded, layout: FrameLayout, word: str) -> Iterator[PixelArray]:
    for frame in range(layout.number_of_frames):
        offset = frame * layout.frame_bytes
        words = np.frombuffer(data, dtype=word, count=layout.pixels, offset=offset)
        native = np.uint8 if layout.bits_allocated == 8 else np.uint16
        yield words.astype(native).reshape(layout.rows, layout.columns)


def _encapsulated(ds: Dataset, data: bytes, layout: FrameLayout, syntax: str) -> Iterator[PixelArray]:
    table = value(ds, "ExtendedOffsetTable"), value(ds, "ExtendedOffsetTableLengths")
    extended = (table[0], table[1]) if isinstance(table[0], bytes) and isinstance(table[1], bytes) else None
    count = 0
    try:
        encoded = generate_frames(data, number_of_frames=layout.number_of_frames, extended_offsets=extended)
        for frame in encoded:
            if count == layout.number_of_frames:
                break
            yield _decoded(frame, count, layout, syntax)
            count += 1
    except (*UNREADABLE, RuntimeError, zlib.error) as error:
        raise _undecodable(f"frame {count + 1}: {type(error).__name__}") from error
    if count < layout.number_of_frames:
        raise _undecodable(f"only {count} of {layout.number_of_frames} frames")


def _undecodable(found: str) -> InputError:
    return InputError(
        "pixels.undecodable",
        f"the compressed pixel data of the mask cannot be decoded ({found}); please send it uncompressed",
    )


def _decoded(frame: bytes, index: int, layout: FrameLayout, syntax: str) -> PixelArray:
    if syntax in CODE_STREAMS:
        return _decoded_code_stream(frame, index, layout, syntax)
    if syntax == RLELossless:
        return _from_bytes(_rle_planes(frame, layout), layout)
    raw = zlib.decompressobj(wbits=-15).decompress(frame, layout.frame_bytes + 2)
    # A frame of an odd number of bytes may be padded to even length before deflating.
    return _from_bytes(raw[: layout.frame_bytes] if len(raw) == layout.frame_bytes + 1 else raw, layout)


def _decoded_code_stream(frame: bytes, index: int, layout: FrameLayout, syntax: str) -> PixelArray:
    form = FrameFormat(
        transfer_syntax_uid=syntax,
        rows=layout.rows,
        columns=layout.columns,
        bits_allocated=layout.bits_allocated,
        bits_stored=layout.bits_allocated,
        signed=False,
    )
    try:
        array = begin_decoding(frame, form).result()
    except InputError as error:
        raise _undecodable(f"frame {index + 1}: {error.message}") from None
    if array.dtype.kind != "u":
        raise _undecodable(f"frame {index + 1} has signed values")
    return array.astype(np.uint16 if layout.bits_allocated == 16 else np.uint8)


def _from_bytes(raw: bytes, layout: FrameLayout) -> PixelArray:
    if len(raw) != layout.frame_bytes:
        raise _undecodable(f"a frame of {len(raw)} bytes where {layout.frame_bytes} are expected")
    if layout.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), bitorder="little")
        return bits[: layout.pixels].reshape(layout.rows, layout.columns)
    if layout.bits_allocated == 8:
        return np.frombuffer(raw, dtype=np.uint8).reshape(layout.rows, layout.columns)
    return np.frombuffer(raw, dtype="<u2").astype(np.uint16).reshape(layout.rows, layout.columns)


def _rle_planes(frame: bytes, layout: FrameLayout) -> bytes:
    """Bytes of an RLE frame: one segment for each byte of a pixel, most significant first (PS3.5 G.2)."""
    depth = 2 if layout.bits_allocated == 16 else 1
    header = struct.unpack("<16L", frame[:64])
    if header[0] != depth:
        raise _undecodable(f"{header[0]} RLE segments where {depth} are expected")
    bounds = [*header[1 : 1 + depth], len(frame)]
    plane_bytes = layout.frame_bytes // depth
    planes = [_unpack_rle(frame[start:stop], plane_bytes) for start, stop in pairwise(bounds)]
    if depth == 1:
        return planes[0]
    if {len(plane) for plane in planes} != {plane_bytes}:
        raise _undecodable("RLE segments of unequal length")
    return b"".join(bytes(pair) for pair in zip(planes[1], planes[0], strict=True))


def _unpack_rle(segment: bytes, expected: int) -> bytes:
    """PackBits (PS3.5 G.3.1), stopping as soon as there is more than expected, which the caller refuses."""
    out = bytearray()
    at = 0
    while at + 1 < len(segment) and len(out) <= expected:
        head = segment[at]
        if head < 128:
            out += segment[at + 1 : at + 2 + head]
            at += head + 2
        elif head > 128:
            out += segment[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    return bytes(out)
