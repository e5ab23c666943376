"""C-STORE over an association that the network library has negotiated: bytes go out as they were made.

The library's own sending decodes and encodes each object, and its two threads look for work a thousand times
a second as long as an association is open. Here the library negotiates, then its threads end and the socket
is ours: one request at a time, its answer, and in the end a release.

References
----------
PS3.7 9.1.1, 9.3.1 (C-STORE), PS3.8 9.3 (protocol data units)
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO

from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID
from pynetdicom.association import Association

from osteoscribe.app.ports import EncodedObject
from osteoscribe.errors import PeerError
from osteoscribe.net.tls import SecuredSocket

_P_DATA, _RELEASE_RQ, _RELEASE_RP, _ABORT = 0x04, 0x05, 0x06, 0x07
_C_STORE_RQ, _C_STORE_RSP = 0x0001, 0x8001
_MEDIUM_PRIORITY, _HAS_DATA, _NO_DATA = 0x0000, 0x0001, 0x0101
_IS_COMMAND, _IS_LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""

_READY = "Sta6"
"""State of the library's upper layer: data transfer (PS3.8 table 9-1)."""

_LONGEST_ANSWER = 1 << 16
"""No C-STORE response comes near; a longer PDU is none."""
_UNLIMITED_PDU = 1 << 17
"""Our own limit where the peer states none (PS3.8 D.1)."""
_LONGEST_RELEASE_S = 1.0
"""Patience with a peer that does not confirm a release: all is stored by then."""


class Silent(Exception):  # noqa: N818  it is the absence of an answer
    """The peer did not answer in time."""


class Channel:
    """An open association to send over, held by one thread at a time.

    Parameters
    ----------
    association
        Established by the library; not to be used afterwards.
    peer
        Its name, for messages.
    timeout_s
        Patience with the answer to one request.
    """

    def __init__(self, association: Association, peer: str, timeout_s: float) -> None:
        self._peer = peer
        self._timeout_s = timeout_s
        self._contexts: Mapping[str, tuple[int, str]] = {
            str(one.abstract_syntax): (int(one.context_id or 0), str(one.transfer_syntax[0]))
            for one in association.accepted_contexts
        }
        # 0 is "no limit"; a fragment needs room for its two headers.
        self._largest = max(association.acceptor.maximum_length or _UNLIMITED_PDU, 64)
        self._number = 0
        self._socket = _taken_over(association)
        # A secured socket cannot be detached from what closes it as soon as the library's part is forgotten.
        self._association = association

    def accepts(self, sop_class_uid: str) -> bool:
        """Whether the peer takes objects of this class over this association."""
        return sop_class_uid in self._contexts

    @property
    def is_usable(self) -> bool:
        """Whether nothing has come from the peer since its last answer: neither an abort nor an end."""
        if isinstance(self._socket, SecuredSocket):
            return not self._socket.has_data()
        return not select.select([self._socket], [], [], 0)[0]

    def store(self, one: EncodedObject) -> int:
        """Send an object whose class is accepted; the status that it was answered with.

        Raises
        ------
        PeerError
            ``peer.aborted``: the association is at its end.
        Silent
            No answer came in time.
        """
        context_id, syntax = self._contexts[one.sop_class_uid]
        self._number = self._number % 0xFFFF + 1
        command = _request(self._number, one)
        encoded = _encoded_as(one, syntax)
        try:
            self._socket.settimeout(self._timeout_s)
            self._send(context_id, _IS_COMMAND, command)
            self._send(context_id, 0, encoded)
            return self._answer(time.monotonic() + self._timeout_s)
        except TimeoutError:
            raise Silent from None
        except OSError as error:
            raise self._aborted() from error

    def release(self) -> None:
        """End the association; a peer that does not confirm is left."""
        with suppress(OSError, PeerError):
            self._socket.settimeout(_LONGEST_RELEASE_S)
            self._socket.sendall(_pdu(_RELEASE_RQ, bytes(4)))
            self._pdu(time.monotonic() + _LONGEST_RELEASE_S)
        self._close()

    def abort(self) -> None:
        """End the association at once (PS3.8 9.3.8)."""
        with suppress(OSError):
            self._socket.settimeout(_LONGEST_RELEASE_S)
            self._socket.sendall(_pdu(_ABORT, bytes(4)))
        self._close()

    def _close(self) -> None:
        if isinstance(self._socket, SecuredSocket):
            self._socket.end()
        else:
            self._socket.close()

    def _send(self, context_id: int, control: int, content: bytes) -> None:
        """Send a command or a data set in fragments (PS3.8 9.3.5.1)."""
        room = self._largest - 6
        view = memoryview(content)
        for start in range(0, len(view), room):
            piece = view[start : start + room]
            flags = control | (_IS_LAST if start + room >= len(view) else 0)
            head = struct.pack(">BxIIBB", _P_DATA, len(piece) + 6, len(piece) + 2, context_id, flags)
            self._socket.sendall(head + piece)

    def _answer(self, deadline: float) -> int:
        """Status of the response to the request that was sent last."""
        command = bytearray()
        while True:
            kind, content = self._pdu(deadline)
            if kind != _P_DATA:
                if kind == _RELEASE_RQ:
                    self._socket.sendall(_pdu(_RELEASE_RP, bytes(4)))
                raise self._aborted()
            for control, fragment in _fragments(content):
                command += fragment
                if len(command) > _LONGEST_ANSWER or not control & _IS_COMMAND:
                    raise self._aborted()
                if control & _IS_LAST:
                    return self._status(bytes(command))

    def _status(self, command: bytes) -> int:
        try:
            elements = _elements(command)
            (kind,), (number,), (status,) = (
                struct.unpack("<H", elements[tag]) for tag in (0x0100, 0x0120, 0x0900)
            )
        except (KeyError, struct.error):
            raise self._aborted() from None
        if kind != _C_STORE_RSP or number != self._number:
            raise self._aborted()
        return int(status)

    def _pdu(self, deadline: float) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._read(6, deadline))
        if length > _LONGEST_ANSWER:
            raise self._aborted()
        return kind, self._read(length, deadline)

    def _read(self, length: int, deadline: float) -> bytes:
        content = bytearray()
        while len(content) < length:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            part = self._socket.recv(length - len(content))
            if not part:
                raise self._aborted()
            content += part
            _acknowledge_at_once(self._socket)
        return bytes(content)

    def _aborted(self) -> PeerError:
        return PeerError("peer.aborted", f"found the association aborted by {self._peer}; tried again")


def _taken_over(association: Association) -> socket.socket:
    """End the library's threads and take its socket, in the state *ready for data transfer*."""
    dul = association.dul
    dul.kill_dul()
    dul.join()
    association.join()
    # Only now: until its end the library may have read that the peer ends the association again.
    connection = None if dul.socket is None else dul.socket.socket
    if connection is None or dul.state_machine.current_state != _READY:
        if connection is not None:
            connection.close()
        raise PeerError("peer.aborted", "found the association ended as soon as it was open; tried again")
    if isinstance(connection, SecuredSocket):
        return connection
    # Whatever the library still does with what is left of its own, it is none of this one's.
    taken = socket.socket(fileno=connection.detach())
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return taken


def _acknowledge_at_once(connection: socket.socket) -> None:
    """Without it a peer that waits for acknowledgements (Nagle) costs 40 ms; the option does not last."""
    if hasattr(socket, "TCP_QUICKACK"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(content)) + content


def _request(number: int, one: EncodedObject) -> bytes:
    """Encode the command set of a C-STORE request (PS3.7 9.3.1.1)."""
    body = b"".join(
        struct.pack("<HHI", 0x0000, tag, len(value)) + value
        for tag, value in (
            (0x0002, _padded(one.sop_class_uid)),
            (0x0100, struct.pack("<H", _C_STORE_RQ)),
            (0x0110, struct.pack("<H", number)),
            (0x0700, struct.pack("<H", _MEDIUM_PRIORITY)),
            (0x0800, struct.pack("<H", _HAS_DATA)),
            (0x1000, _padded(one.sop_instance_uid)),
        )
    )
    return struct.pack("<HHII", 0x0000, 0x0000, 4, len(body)) + body


def _padded(uid: str) -> bytes:
    encoded = uid.encode("ascii")
    return encoded + b"\0" * (len(encoded) % 2)


def _elements(command: bytes) -> dict[int, bytes]:
    """Elements of a command set, by the low half of their tags (PS3.7 6.3.1); KeyError where it is none."""
    found, at = {}, 0
    while at < len(command):
        group, tag, length = struct.unpack_from("<HHI", command, at)
        if group != 0x0000:
            raise KeyError(group)
        found[tag] = command[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def _fragments(content: bytes) -> list[tuple[int, bytes]]:
    """Control header and content of each presentation data value (PS3.8 9.3.5.1)."""
    found, at = [], 0
    while at + 6 <= len(content):
        length, _context_id, control = struct.unpack_from(">IBB", content, at)
        found.append((control, content[at + 6 : at + 4 + length]))
        at += 4 + max(length, 2)
    return found


def _encoded_as(one: EncodedObject, transfer_syntax_uid: str) -> bytes:
    """The object in the transfer syntax that the peer takes: nearly always its own."""
    if transfer_syntax_uid == one.transfer_syntax_uid:
        return one.encoded
    own, wanted = UID(one.transfer_syntax_uid), UID(transfer_syntax_uid)
    ds = read_dataset(BytesIO(one.encoded), own.is_implicit_VR, own.is_little_endian)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = wanted.is_implicit_VR, wanted.is_little_endian
    write_dataset(buffer, ds)
    return bytes(buffer.getvalue())
