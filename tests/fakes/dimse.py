"""An association by hand: every byte that is sent is chosen by the test."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

from tests.fakes.dicom import CT, EXPLICIT

RELEASE = struct.pack(">BxLL", 5, 4, 0)
RELEASE_ANSWER = 6
ABORT = struct.pack(">BxLL", 7, 4, 0)
ABORTED = 7
STORE, ECHO, REPORT = 0x0001, 0x0030, 0x0100
ANSWER = 0x8000


class RawAssociation:
    """An established association with one presentation context for each class, numbered 1, 3, 5..."""

    def __init__(self, connection: socket.socket, contexts: Sequence[tuple[str, str]]) -> None:
        self.connection = connection
        body = struct.pack(">Hxx16s16s32x", 1, b"OSTEOSCRIBE".ljust(16), b"RAW".ljust(16))
        body += _item(0x10, b"1.2.840.10008.3.1.1.1")
        for number, (sop_class, syntax) in enumerate(contexts):
            syntaxes = _item(0x30, sop_class.encode()) + _item(0x40, syntax.encode())
            body += _item(0x20, struct.pack(">B3x", 2 * number + 1) + syntaxes)
        user = _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.826.0.1.3680043.9.9999.1")
        body += _item(0x50, user)
        connection.sendall(struct.pack(">BxL", 1, len(body)) + body)
        kind, self.accepted = self.read_pdu()
        assert kind == 2

    def read_pdu(self) -> tuple[int, bytes]:
        """Type and content of the next PDU; type 0 where the node has closed the connection."""
        head = self._read(6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", head)
        return kind, self._read(length)

    def _read(self, length: int) -> bytes:
        content = b""
        with contextlib.suppress(ConnectionResetError):
            while len(content) < length and (part := self.connection.recv(length - len(content))):
                content += part
        return content

    def answer(self) -> tuple[int, int, int]:
        """Command field, message ID and status of the next answer."""
        kind, content = self.read_pdu()
        assert kind == 4, f"found PDU {kind}"
        values = {}
        position = 6
        while position < len(content):
            _, element, length = struct.unpack_from("<HHL", content, position)
            values[element] = content[position + 8 : position + 8 + length]
            position += 8 + length
        return tuple(struct.unpack("<H", values[one])[0] for one in (0x0100, 0x0120, 0x0900))  # type: ignore[return-value]

    def send(self, *pdus: bytes) -> None:
        self.connection.sendall(b"".join(pdus))

    def release(self) -> None:
        self.send(RELEASE)
        assert self.read_pdu()[0] == RELEASE_ANSWER


@contextlib.contextmanager
def raw_association(
    port: int, contexts: Sequence[tuple[str, str]] = ((CT, EXPLICIT),), timeout_s: float = 30.0
) -> Iterator[RawAssociation]:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield RawAssociation(connection, contexts)


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def command(field: int, message_id: int, *, data_set: bool, **elements: bytes) -> bytes:
    """A command set; further elements by their number, for example ``x1000``."""
    values = {
        0x0100: struct.pack("<H", field),
        0x0110: struct.pack("<H", message_id),
        0x0800: b"\x01\x00" if data_set else b"\x01\x01",
        **{int(name[1:], 16): value + b"\0" * (len(value) % 2) for name, value in elements.items()},
    }
    encoded = b"".join(struct.pack("<HHL", 0, one, len(values[one])) + values[one] for one in sorted(values))
    return struct.pack("<HHLL", 0, 0, 4, len(encoded)) + encoded


def store_command(message_id: int, sop_class: str, uid: str) -> bytes:
    return command(
        STORE, message_id, data_set=True, x0002=sop_class.encode(), x0700=b"\0\0", x1000=uid.encode()
    )


def fragments(context_id: int, content: bytes, *, is_command: bool, size: int) -> list[bytes]:
    """Presentation data values of a command or data set."""
    parts = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    return [
        struct.pack(">LBB", len(part) + 2, context_id, is_command | (2 * (number == len(parts)))) + part
        for number, part in enumerate(parts, start=1)
    ]


def pdus(values: Iterable[bytes], *, per_pdu: int = 1) -> list[bytes]:
    """P-DATA-TF PDUs, with so many values in each."""
    values = list(values)
    bodies = [b"".join(values[start : start + per_pdu]) for start in range(0, len(values), per_pdu)]
    return [struct.pack(">BxL", 4, len(body)) + body for body in bodies]


def store_message(
    message_id: int,
    sop_class: str,
    uid: str,
    encoded: bytes,
    *,
    context_id: int = 1,
    size: int = 16000,
    command_size: int = 1000,
    per_pdu: int = 1,
) -> list[bytes]:
    """All PDUs of one C-STORE."""
    request = fragments(
        context_id, store_command(message_id, sop_class, uid), is_command=True, size=command_size
    )
    return pdus([*request, *fragments(context_id, encoded, is_command=False, size=size)], per_pdu=per_pdu)
