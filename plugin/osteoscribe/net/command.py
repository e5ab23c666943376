"""Command sets of C-STORE, read and written as bytes (PS3.7 6.3.1, 9.3.1).

Command sets are always implicit VR little endian, with their elements in order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from osteoscribe.readers.values import is_uid

_ELEMENT = struct.Struct("<HHL")
_COMMAND_FIELD, _MESSAGE_ID, _DATA_SET_TYPE = 0x0100, 0x0110, 0x0800
_AFFECTED_SOP_CLASS_UID, _AFFECTED_SOP_INSTANCE_UID = 0x0002, 0x1000
_C_STORE_RQ = b"\x01\x00"
NO_DATA_SET = b"\x01\x01"
"""Command Data Set Type of a message without a data set (PS3.7 E.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """A C-STORE request that is followed by its data set."""

    message_id: bytes = b"\0\0"
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


def elements_of(command: bytes) -> dict[int, bytes] | None:
    r"""Values of a command set by element number; None where it is malformed or has an element twice.

    Examples
    --------
    >>> elements_of(bytes.fromhex("0000000102000000 0100"))
    {256: b'\x01\x00'}
    """
    values: dict[int, bytes] = {}
    position, end = 0, len(command)
    while position < end:
        if end - position < _ELEMENT.size:
            return None
        group, element, length = _ELEMENT.unpack_from(command, position)
        start, position = position + _ELEMENT.size, position + _ELEMENT.size + length
        if group or element in values or position > end:
            return None
        values[element] = command[start:position]
    return values


def read_store_request(command: bytes) -> StoreRequest | None:
    """Read a plain C-STORE request; None for any other command.

    One with wrong values, without a data set or with UIDs that are none is not plain.
    """
    values = elements_of(command)
    if values is None or values.get(_COMMAND_FIELD) != _C_STORE_RQ:
        return None
    message_id, kind = values.get(_MESSAGE_ID, b""), values.get(_DATA_SET_TYPE, NO_DATA_SET)
    uids = [
        _uid(values.get(element, b"")) for element in (_AFFECTED_SOP_CLASS_UID, _AFFECTED_SOP_INSTANCE_UID)
    ]
    if len(message_id) != 2 or len(kind) != 2 or kind == NO_DATA_SET or not all(uids):
        return None
    return StoreRequest(message_id=message_id, sop_class_uid=uids[0], sop_instance_uid=uids[1])


def has_data_set(command: bytes) -> bool:
    """Whether a command says that a data set follows; True where it says nothing."""
    return (elements_of(command) or {}).get(_DATA_SET_TYPE) != NO_DATA_SET


def encode_answer(context_id: int, request: StoreRequest, status: int) -> bytes:
    """Encode a C-STORE response as a whole P-DATA-TF PDU (PS3.7 9.3.1.2, PS3.8 9.3.5)."""
    command = b"".join(
        (
            _encoded(_AFFECTED_SOP_CLASS_UID, _padded(request.sop_class_uid)),
            _encoded(_COMMAND_FIELD, b"\x01\x80"),
            _encoded(0x0120, request.message_id),
            _encoded(_DATA_SET_TYPE, NO_DATA_SET),
            _encoded(0x0900, struct.pack("<H", status)),
            _encoded(_AFFECTED_SOP_INSTANCE_UID, _padded(request.sop_instance_uid)),
        )
    )
    command = _encoded(0x0000, struct.pack("<L", len(command))) + command
    return struct.pack(">BxLLBB", 0x04, len(command) + 6, len(command) + 2, context_id, 0x03) + command


def _encoded(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, element, len(value)) + value


def _uid(value: bytes) -> str:
    """UID of its padded bytes; empty where it is none."""
    text = value.rstrip(b"\0 ").decode("latin-1")
    return text if is_uid(text) else ""


def _padded(uid: str) -> bytes:
    return uid.encode("ascii") + b"\0" * (len(uid) % 2)
