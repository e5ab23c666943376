"""The file meta group of a DICOM file: where the data set begins, and how it is encoded (PS3.10)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from osteoscribe.errors import InputError
from osteoscribe.readers.values import is_uid

IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_TRANSFER_SYNTAX_UID = 0x0010
_LONG_FORM = frozenset(
    {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
)
_IDENTIFYING = frozenset(range(0x0000, 0x0019))
"""Elements of group 0008 that a data set can begin with: up to SOPInstanceUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part10:
    """How a file is encoded, and where its data set begins, in bytes from the file's first."""

    transfer_syntax_uid: str
    dataset_offset: int


def split_part10(data: bytes) -> Part10:
    """Find the data set of a DICOM file.

    A file without preamble, without file meta group or with a wrong group length is taken where the bytes
    leave no doubt.

    Parameters
    ----------
    data
        The file, or its first few thousand bytes.

    Raises
    ------
    InputError
        ``file.not-dicom`` or ``file.bad-transfer-syntax``.

    References
    ----------
    PS3.10 section 7.1
    """
    if data[128:132] == b"DICM":
        position = 132
    elif data[:4] == b"DICM":
        position = 4
    else:
        position = 0
    offset, transfer_syntax_uid = _read_meta(data, position)
    if transfer_syntax_uid is None:
        transfer_syntax_uid = _recognise(data[offset : offset + 8])
    elif not is_uid(transfer_syntax_uid):
        raise InputError(
            "file.bad-transfer-syntax", "the file meta group names no UID as transfer syntax; expected one"
        )
    return Part10(transfer_syntax_uid=transfer_syntax_uid, dataset_offset=offset)


def _read_meta(data: bytes, position: int) -> tuple[int, str | None]:
    """Give the end of the elements of group 0002 and the transfer syntax named there."""
    transfer_syntax_uid = None
    while position + 12 <= len(data):
        group, element, vr, length = struct.unpack_from("<HH2sH", data, position)
        if group != 0x0002:
            break
        start = position + 8
        if vr in _LONG_FORM or not vr.isalpha():
            start = position + 12
            length = struct.unpack_from("<L", data, position + 8)[0]
        if start + length > len(data):
            raise _not_dicom("its file meta group is damaged")
        if element == _TRANSFER_SYNTAX_UID:
            transfer_syntax_uid = data[start : start + length][:80].decode("latin-1").strip(" \0")
        position = start + length
    return position, transfer_syntax_uid


def _recognise(head: bytes) -> str:
    """Tell the encoding from the first element of a data set."""
    if len(head) < 8:
        raise _not_dicom("it has no data set")
    group, element = struct.unpack_from("<HH", head)
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if group != 0x0008 or element not in _IDENTIFYING:
        raise _not_dicom("it has no preamble, and its first element is none that an object begins with")
    if explicit:
        return EXPLICIT_LITTLE
    if struct.unpack_from("<L", head, 4)[0] > 1024:
        raise _not_dicom("it has no preamble, and its first element is absurdly long")
    return IMPLICIT_LITTLE


def _not_dicom(why: str) -> InputError:
    return InputError("file.not-dicom", f"the file is no DICOM file: {why}; leave it out or export it again")
