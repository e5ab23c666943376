"""What a compressed frame says of itself, before a decoder makes room for it."""

from __future__ import annotations

import struct

from osteoscribe.errors import InputError

_RLE = "1.2.840.10008.1.2.5"
_JPEG2000_START = b"\xff\x4f\xff\x51"
_END_OF_IMAGE = b"\xff\xd9"
_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""JPEG's start-of-frame markers, with JPEG-LS (ISO 10918-1 table B.1, ISO 14495-1 table C.1)."""


def check_frame(frame: bytes, *, transfer_syntax_uid: str, rows: int, columns: int) -> None:
    """Check that a compressed frame is complete, has the size its header says, and one component.

    Parameters
    ----------
    frame
        The compressed frame, without item tags.
    transfer_syntax_uid
        Its encoding.
    rows, columns
        The matrix of the image.

    Raises
    ------
    InputError
        ``ct.cannot-decode``
    """
    if transfer_syntax_uid == _RLE:
        return  # RLE knows no size of its own
    found = _jpeg2000_size(frame) or _jpeg_size(frame)
    if found is None:
        raise InputError(
            "ct.cannot-decode", "the compressed frame has no readable beginning; send the image again"
        )
    if found != (rows, columns, 1):
        raise InputError(
            "ct.cannot-decode",
            f"the compressed frame has {found[0]} rows, {found[1]} columns and {found[2]} components; "
            f"expected {rows}, {columns} and 1 as the header says",
        )
    # decoders fill what is missing of a cut frame with grey, without a word
    if not frame[-16:].rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise InputError("ct.cannot-decode", "the compressed frame is incomplete; send the image again")


def _jpeg2000_size(frame: bytes) -> tuple[int, int, int] | None:
    """Read the SIZ segment (ISO 15444-1 A.5.1)."""
    start = frame[:4096].find(_JPEG2000_START)
    if start < 0 or len(frame) < start + 42:
        return None
    width, height, left, top = struct.unpack_from(">4L", frame, start + 8)
    components = struct.unpack_from(">H", frame, start + 40)[0]
    return height - top, width - left, components


def _jpeg_size(frame: bytes) -> tuple[int, int, int] | None:
    """Read the frame header (ISO 10918-1 B.2.2)."""
    position = 2
    while frame[:2] == b"\xff\xd8" and position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _FRAME_HEADERS:
            height, width, components = struct.unpack_from(">HHB", frame, position + 5)
            return height, width, components
        else:
            position += 2 + int(struct.unpack_from(">H", frame, position + 2)[0])
    return None
