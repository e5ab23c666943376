"""A sender and an archive for the benchmarks: nothing but sockets, so that they cost next to nothing.

They speak as much of the upper layer (PS3.8) as storing needs, and check nothing: they are no examples.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

EXPLICIT = b"1.2.840.10008.1.2.1"
APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
LARGEST_PDU = 131072

_C_STORE_RQ, _N_EVENT_REPORT_RQ, _N_ACTION_RQ, _RESPONSE = 0x0001, 0x0100, 0x0130, 0x8000
_NO_DATA = 0x0101


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(content)) + content


def _even(text: bytes) -> bytes:
    return text + b"\0" * (len(text) % 2)


def _command(*elements: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("<HHI", 0, tag, len(value)) + value for tag, value in elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _short(value: int) -> bytes:
    return struct.pack("<H", value)


def elements_of(command: bytes) -> dict[int, bytes]:
    """Elements of a command set (PS3.7 6.3.1), by the low half of their tags."""
    found, at = {}, 0
    while at < len(command):
        _, tag, length = struct.unpack_from("<HHI", command, at)
        found[tag] = command[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def _read(connection: socket.socket, length: int) -> bytes:
    content = bytearray(length)
    view, got = memoryview(content), 0
    while got < length:
        count = connection.recv_into(view[got:])
        if not count:
            raise ConnectionError("the peer has closed the connection")
        got += count
    return bytes(content)


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Kind and content of the next PDU."""
    kind, length = struct.unpack(">BxI", _read(connection, 6))
    return kind, _read(connection, length)


def _ready(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Sending:
    """An open association of a sender."""

    def __init__(self, port: int, sop_classes: Sequence[str], *, calling: str = "SENDER") -> None:
        self._connection = socket.create_connection(("127.0.0.1", port))
        _ready(self._connection)
        contexts = b"".join(
            _item(0x20, bytes((2 * n + 1, 0, 0, 0)) + _item(0x30, uid.encode()) + _item(0x40, EXPLICIT))
            for n, uid in enumerate(sop_classes)
        )
        user = _item(0x50, _item(0x51, struct.pack(">I", LARGEST_PDU)) + _item(0x52, b"1.2.3.4"))
        head = struct.pack(">HH16s16s32x", 1, 0, b"OSTEOSCRIBE".ljust(16), calling.encode().ljust(16))
        self._connection.sendall(_pdu(0x01, head + _item(0x10, APPLICATION_CONTEXT) + contexts + user))
        kind, answer = read_pdu(self._connection)
        assert kind == 0x02, f"not accepted: PDU {kind}"
        at = answer.index(b"\x51\0\0\4")
        self._largest = struct.unpack_from(">I", answer, at + 4)[0] or LARGEST_PDU
        self._contexts = {uid: 2 * n + 1 for n, uid in enumerate(sop_classes)}
        self._number = 0

    def store(self, sop_class: str, uid: str, parts: Sequence[bytes]) -> tuple[float, float]:
        """Send one data set; when its last byte was given to the network, and when it was answered."""
        self._number += 1
        context = self._contexts[sop_class]
        command = _command(
            (0x0002, _even(sop_class.encode())),
            (0x0100, _short(_C_STORE_RQ)),
            (0x0110, _short(self._number)),
            (0x0700, _short(2)),
            (0x0800, _short(1)),
            (0x1000, _even(uid.encode())),
        )
        self._connection.sendall(_pdv(context, 3, command))
        self._send_data(context, b"".join(parts))
        sent = time.time()
        kind, answer = read_pdu(self._connection)
        answered = time.time()
        assert kind == 0x04, f"no answer but PDU {kind}"
        assert elements_of(answer[6:])[0x0900] == b"\0\0", answer
        return sent, answered

    def _send_data(self, context: int, encoded: bytes) -> None:
        room = self._largest - 6
        view = memoryview(encoded)
        for start in range(0, len(view), room):
            piece = view[start : start + room]
            last = 2 if start + room >= len(view) else 0
            head = struct.pack(">BxIIBB", 0x04, len(piece) + 6, len(piece) + 2, context, last)
            self._connection.sendmsg([head, piece])

    def release(self) -> float:
        """End the association; when that was confirmed."""
        self._connection.sendall(_pdu(0x05, bytes(4)))
        kind, _ = read_pdu(self._connection)
        assert kind == 0x06, f"not released: PDU {kind}"
        self._connection.close()
        return time.time()


@dataclass
class Arrived:
    """A data set that an archive took: when it was complete."""

    at: float
    sop_class: str
    encoded: bytes
    association: int


@dataclass
class Archive:
    """An archive in this process that notes when each data set was complete.

    Parameters
    ----------
    pause_s
        Seconds that it takes over each, as a slow disk would.
    commits_after_s
        Asked for storage commitment it answers so much later, on the same association, that it has all.
    """

    pause_s: float = 0.0
    commits_after_s: float = 0.0
    port: int = 0
    arrived: list[Arrived] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)
    """When each commitment was given."""
    responses: list[int] = field(default_factory=list)
    """Command fields of the responses to what it asked or reported."""
    released: int = 0
    associations: int = 0
    _news: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Archive:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def wait_for(self, wanted: Callable[[Arrived], bool], after: float, patience_s: float = 60.0) -> Arrived:
        """The first data set of this kind that was complete after a time."""
        seen, deadline = 0, time.monotonic() + patience_s
        while True:
            with self._news:
                while len(self.arrived) <= seen:
                    left = deadline - time.monotonic()
                    assert self._news.wait(left), "waited in vain for a report"
            one, seen = self.arrived[seen], seen + 1
            if one.at > after and wanted(one):
                return one

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            _ready(connection)
            self.associations += 1
            serving = threading.Thread(target=self._serve, args=(connection, self.associations), daemon=True)
            serving.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            self._talk(connection, number)
        except ConnectionError:
            return
        finally:
            connection.close()

    def _talk(self, connection: socket.socket, number: int) -> None:
        command, data = bytearray(), bytearray()
        while True:
            kind, content = read_pdu(connection)
            if kind == 0x01:
                connection.sendall(accepting(content))
            elif kind == 0x05:
                self.released += 1
                connection.sendall(_pdu(0x06, bytes(4)))
            elif kind == 0x04:
                for context, control, piece in _values(content):
                    (command if control & 1 else data).extend(piece)
                    if control & 2 and (not control & 1 or _has_no_data(command)):
                        self._take(connection, number, context, elements_of(bytes(command)), bytes(data))
                        command.clear()
                        data.clear()
            else:
                return

    def _take(
        self, connection: socket.socket, number: int, context: int, command: dict[int, bytes], data: bytes
    ) -> None:
        now = time.time()
        kind = struct.unpack("<H", command[0x0100])[0]
        if kind & _RESPONSE:
            self.responses.append(kind)
            return
        # An N-ACTION names the requested class and instance, a C-STORE the affected ones (PS3.7 E.1, E.2).
        named = {
            0x0002: command.get(0x0002, command.get(0x0003)),
            0x1000: command.get(0x1000, command.get(0x1001)),
        }
        named = {tag: value for tag, value in named.items() if value is not None}
        if kind == _C_STORE_RQ:
            if self.pause_s:
                time.sleep(self.pause_s)
            with self._news:
                name = named[0x0002].rstrip(b"\0").decode()
                self.arrived.append(Arrived(at=now, sop_class=name, encoded=data, association=number))
                self._news.notify_all()
        answer = _command(
            (0x0002, named[0x0002]),
            (0x0100, _short(kind | _RESPONSE)),
            (0x0120, command[0x0110]),
            (0x0800, _short(_NO_DATA)),
            (0x0900, _short(0)),
            *((tag, value) for tag, value in named.items() if tag == 0x1000),
        )
        connection.sendall(_pdv(context, 3, answer))
        if kind == _N_ACTION_RQ:
            self._commit(connection, context, named, data)

    def _commit(
        self, connection: socket.socket, context: int, named: dict[int, bytes], question: bytes
    ) -> None:
        """Report that everything asked for is kept: the report names what it named (PS3.4 J.3.3)."""
        time.sleep(self.commits_after_s)
        report = _command(
            (0x0002, named[0x0002]),
            (0x0100, _short(_N_EVENT_REPORT_RQ)),
            (0x0110, _short(1)),
            (0x0800, _short(1)),
            (0x1000, named[0x1000]),
            (0x1002, _short(1)),
        )
        connection.sendall(_pdv(context, 3, report) + _pdv(context, 2, question))
        self.committed.append(time.time())


def _pdv(context: int, control: int, content: bytes) -> bytes:
    """A PDU with one presentation data value (PS3.8 9.3.5.1)."""
    return _pdu(0x04, struct.pack(">IBB", len(content) + 2, context, control) + content)


def _has_no_data(command: bytearray) -> bool:
    return elements_of(bytes(command))[0x0800] == _short(_NO_DATA)


def _values(content: bytes) -> list[tuple[int, int, bytes]]:
    """Context, control header and fragment of each presentation data value (PS3.8 9.3.5.1)."""
    found, at = [], 0
    while at < len(content):
        length, context, control = struct.unpack_from(">IBB", content, at)
        found.append((context, control, content[at + 6 : at + 4 + length]))
        at += 4 + length
    return found


def accepting(request: bytes) -> bytes:
    """Accept every context with the first transfer syntax that is proposed for it."""
    items, at = [], 68
    while at < len(request):
        kind, length = struct.unpack_from(">BxH", request, at)
        content = request[at + 4 : at + 4 + length]
        if kind == 0x20:
            inner = 4
            while content[inner] != 0x40:
                inner += 4 + struct.unpack_from(">H", content, inner + 2)[0]
            size = struct.unpack_from(">H", content, inner + 2)[0]
            items.append(
                _item(0x21, bytes((content[0], 0, 0, 0)) + _item(0x40, content[inner + 4 : inner + 4 + size]))
            )
        at += 4 + length
    user = _item(0x50, _item(0x51, struct.pack(">I", LARGEST_PDU)) + _item(0x52, b"1.2.3.4"))
    return _pdu(0x02, request[:68] + _item(0x10, APPLICATION_CONTEXT) + b"".join(items) + user)
