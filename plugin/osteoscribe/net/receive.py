"""The C-STORE data path of an association, in place of the library's: as fast as the wire.

pynetdicom negotiates, releases, aborts, and answers every message that is not a plain C-STORE request. In
between, `FastProvider` reads P-DATA itself: whole PDUs in one buffer, their payload straight to the store, a
ready-made answer (docs/decisions/080).

This module alone relies on names that pynetdicom keeps to itself: `HOOKS`. A test compares them.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from osteoscribe.app.ports import Envelope
from osteoscribe.net.conversation import Conversation, ProtocolViolation, State, Storing
from osteoscribe.net.guard import LARGEST_PDU, GuardedReceive

HOOKS: Mapping[str, tuple[str, ...]] = {
    "DULServiceProvider": ("_is_transport_event", "_read_pdu_data", "kill_dul", "run_reactor", "send_pdu"),
    "DULServiceProvider()": (
        "_idle_timer", "_kill_thread", "_run_loop_delay", "assoc", "event_queue", "socket", "state_machine",
        "to_provider_queue", "to_user_queue",
    ),
    "Association()": ("_accepted_cx", "_kill", "_reactor_checkpoint", "_sent_abort", "dimse", "dul"),
    "DIMSEServiceProvider()": ("msg_queue", "receive_primitive"),
}  # fmt: skip
"""Names of pynetdicom that the fast path stands on, by class; with brackets those of its objects."""

ESTABLISHED = "Sta6"
CLOSING = "Sta13"
"""States of the upper layer: data transfer; waiting for the connection to close (PS3.8 table 9-1)."""

INVALID_PDU, CONNECTION_CLOSED = "Evt19", "Evt17"
"""Events of the upper layer (PS3.8 table 9-7)."""

BUFFER_LENGTH = 4 * LARGEST_PDU
"""Room for what may have come while a slice was written: then it is read at once."""

_P_DATA = 0x04
_PDU_HEAD = struct.Struct(">BxL")
_STEP_S = 0.005
"""How long the socket is waited for while the association's own thread has something to do."""
_LONGEST_WAIT_S = 60.0
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class ReadAhead(GuardedReceive):
    """Reads what is there into one buffer, within the limits of `GuardedReceive`.

    Called, it gives so many bytes as the library's own reading does.
    """

    def __init__(self, connection: socket.socket, *, patience_s: float, largest_object: int) -> None:
        super().__init__(connection, patience_s=patience_s, largest_object=largest_object)
        self._buffer = memoryview(bytearray(BUFFER_LENGTH))
        self._start = self._end = 0
        self._began: float | None = None

    @property
    def buffered(self) -> int:
        """How many bytes were read and not taken."""
        return self._end - self._start

    @property
    def remaining_s(self) -> float | None:
        """How long the PDU that has begun may still take; None where none has."""
        if not self.buffered:
            return None
        if self._began is None:
            self._began = time.monotonic()
        return self._began + self._patience_s - time.monotonic()

    def pdu_type(self) -> int | None:
        """Give the type of the PDU at the front; None where its head is not whole.

        Raises
        ------
        OSError
            It is too large, or makes its message too large.
        """
        if self.buffered < _PDU_HEAD.size:
            return None
        kind, length = _PDU_HEAD.unpack_from(self._buffer, self._start)
        if length > LARGEST_PDU or (kind == _P_DATA and self.received + length > self._largest_object):
            self._refuse("net.too-large", length)
        return int(kind)

    def data_pdu(self) -> memoryview | None:
        """Take the P-DATA PDU at the front, without its head; None where it is not whole."""
        _, length = _PDU_HEAD.unpack_from(self._buffer, self._start)
        start, end = self._start + _PDU_HEAD.size, self._start + _PDU_HEAD.size + length
        if end > self._end:
            return None
        self.received += length
        self._start, self._began = end, None
        return self._buffer[start:end]

    def fill(self) -> int | None:
        """Read what is there from a connection that does not block.

        What `data_pdu` gave before is overwritten.

        Returns
        -------
        int or None
            How many bytes; 0 where the peer has closed the connection, None where nothing is there.

        Raises
        ------
        OSError
            The connection is broken.
        """
        if self._start == self._end:
            self._start = self._end = 0
        elif BUFFER_LENGTH - self._start < _PDU_HEAD.size + LARGEST_PDU:
            self._buffer[: self.buffered] = self._buffer[self._start : self._end]
            self._start, self._end = 0, self.buffered
        try:
            count = self._connection.recv_into(self._buffer[self._end :])
        except _NOT_NOW:
            return None
        self._end += count
        with contextlib.suppress(AttributeError, OSError):
            # Not lasting: without it each pause of a peer with Nagle's algorithm costs 40 ms.
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return count

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it the connection does not block, which spares a look whether it would."""
        self._connection.settimeout(0.0)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # closed meanwhile
                self._connection.settimeout(self._patience_s)

    def send(self, pdu: bytes) -> None:
        """Send on a connection that does not block; waits where the peer does not read.

        Raises
        ------
        OSError
            The connection is broken, or the peer does not read for too long.
        """
        try:
            sent = self._connection.send(pdu)
        except _NOT_NOW:
            sent = 0
        if sent < len(pdu):
            self._connection.settimeout(self._patience_s)
            self._connection.sendall(pdu[sent:])
            self._connection.settimeout(0.0)

    def __call__(self, length: int) -> bytearray:
        """Read so many bytes; fewer where the peer closed the connection.

        Raises
        ------
        OSError
            As `GuardedReceive`.
        """
        here = min(length, self.buffered)
        content = bytearray(self._buffer[self._start : self._start + here])
        self._start, self._began = self._start + here, None
        if here < length:
            content += super().__call__(length - here)
        return content

    def refuse_slow(self) -> None:
        """Close the connection of a peer that is too slow.

        Raises
        ------
        OSError
            Always.
        """
        self._refuse("net.too-slow", self.buffered)


class FastProvider(DULServiceProvider):
    """The library's upper layer, with its own reading of P-DATA while the association is established.

    Its thread sleeps until bytes come or its user has something to send; the association's own thread
    sleeps until there is something for it to do.

    Parameters
    ----------
    association
        Whose provider it becomes, in place of the one that it has.
    wire
        Reads from its connection.
    begin
        Begins a C-STORE.
    envelope
        Describes an instance whose last byte has just come.
    """

    def __init__(
        self,
        association: Association,
        wire: ReadAhead,
        begin: Callable[[], Storing],
        envelope: Callable[..., Envelope],
    ) -> None:
        super().__init__(association)
        former = association.dul
        self.socket, self.event_queue = former.socket, former.event_queue
        self.artim_timer.timeout = former.artim_timer.timeout
        self._idle_timer.timeout = former._idle_timer.timeout
        self._run_loop_delay = 0.0002
        self._wire = wire
        self._connection = cast(Any, former.socket).socket
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)
        self._poll.register(self._ear, select.POLLIN)
        self._conversation = Conversation(self)
        self.begin, self.envelope = begin, envelope

    # What the user of the provider does is heard at once.

    def send_pdu(self, primitive: Any) -> None:
        """Take a primitive to be sent; wakes the thread."""
        super().send_pdu(primitive)
        self._ring()

    def kill_dul(self) -> None:
        """End the thread."""
        super().kill_dul()
        self._ring()

    def _ring(self) -> None:
        # Full means that it rings already, closed that nobody listens any more.
        with contextlib.suppress(OSError):
            self._bell.send(b"!")

    def run_reactor(self) -> None:
        """Run as the library does; the association's thread is left running."""
        try:
            super().run_reactor()
        finally:
            cast(Any, self.assoc)._reactor_checkpoint.set()
            # The library leaves a connection that its peer closed first to the garbage collector.
            for one in (self._connection, self._bell, self._ear):
                one.close()

    # What the conversation needs.

    def transfer_syntax(self, context_id: int) -> str | None:
        """Transfer syntax of a presentation context that was accepted for storage; None for any other."""
        context = cast(Any, self.assoc)._accepted_cx.get(context_id)
        return str(context.transfer_syntax[0]) if context is not None and context.as_scp else None

    def answer(self, pdu: bytes) -> None:
        """Send a P-DATA-TF PDU."""
        self._wire.send(pdu)

    def hand_over(self, context_id: int, value: bytes) -> None:
        """Give pynetdicom a fragment of a message that it answers."""
        primitive = P_DATA()
        cast(Any, primitive).presentation_data_value_list = [[context_id, value]]
        try:
            self.assoc.dimse.receive_primitive(primitive)
        except Exception as error:  # whatever it does not understand in what was received
            raise ProtocolViolation("a message that pynetdicom does not understand") from error

    # The reading.

    def _is_transport_event(self) -> bool:
        """Read; in place of the library's look whether there is something to read."""
        if self.state_machine.current_state == ESTABLISHED:
            try:
                with self._wire.at_once():
                    return self._receive()
            except OSError:
                self.event_queue.put(CONNECTION_CLOSED)
            except ProtocolViolation:
                self.event_queue.put(INVALID_PDU)
            return True
        cast(Any, self.assoc)._reactor_checkpoint.set()
        if self._wire.buffered:
            self._read_pdu_data()
            return True
        if self.state_machine.current_state != CLOSING and not self.event_queue.queue:
            self._wait(_STEP_S)
        return super()._is_transport_event()

    def _receive(self) -> bool:
        """Read P-DATA until the library has something to do; whether it is an event."""
        wire, answered = self._wire, False
        while not (self._kill_thread or self.event_queue.queue or self.to_provider_queue.queue):
            kind = wire.pdu_type()
            if kind is not None and kind != _P_DATA:
                self._read_pdu_data()
                return True
            pdu = wire.data_pdu() if kind is not None else None
            if pdu is not None:
                answered = self._take(pdu)
                continue
            self._conversation.flush()
            # A peer sends nothing in the moment after its answer.
            count, answered = None if answered else wire.fill(), False
            if count is None:
                self._wait(self._patience_s())
            elif count:
                self._idle_timer.restart()
            else:
                self.event_queue.put(CONNECTION_CLOSED)
        return False

    def _take(self, pdu: memoryview) -> bool:
        """Take a PDU; whether it was the last of a message, and nothing came behind it."""
        self._conversation.take(pdu)
        if self._conversation.state is not State.IDLE:
            return False
        self._wire.received = 0
        return not self._wire.buffered

    def _patience_s(self) -> float:
        """How long to wait for bytes; lets the association's thread sleep where it has nothing to do."""
        remaining = self._wire.remaining_s
        if remaining is not None and remaining <= 0:
            self._wire.refuse_slow()
        association = cast(Any, self.assoc)
        idle = self._idle_timer.remaining
        association._reactor_checkpoint.clear()
        if (
            association.dimse.msg_queue.queue
            or self.to_user_queue.queue
            or association._sent_abort
            or association._kill
            or idle <= 0
        ):
            association._reactor_checkpoint.set()
            return _STEP_S
        return min(remaining if remaining is not None else idle, _LONGEST_WAIT_S)

    def _wait(self, patience_s: float) -> None:
        """Wait for bytes or for the user of the provider."""
        connection = self._connection
        if (isinstance(connection, ssl.SSLSocket) and connection.pending()) or connection.fileno() < 0:
            return
        for descriptor, _ in self._poll.poll(max(patience_s, 0.0) * 1000 + 1):
            if descriptor == self._ear.fileno():
                with contextlib.suppress(OSError):
                    self._ear.recv(4096)


def take_over(
    association: Association,
    wire: ReadAhead,
    *,
    begin: Callable[[], Storing],
    envelope: Callable[..., Envelope],
) -> None:
    """Give an association that has not started yet the fast path.

    Parameters
    ----------
    wire
        Reads from its connection.
    begin
        Begins a C-STORE.
    envelope
        Describes an instance whose last byte has just come.
    """
    cast(Any, association.dul.socket).recv = wire
    association.dul = FastProvider(association, wire, begin, envelope)
