"""The C-STORE data path of an association, in place of the library's: as fast as the wire.

pynetdicom negotiates, releases, aborts, and answers every message that is not a plain C-STORE request. In
between, `FastProvider` reads P-DATA itself: whole PDUs in one buffer, their payload straight to the store, a
ready-made answer (docs/decisions/080).

This module alone relies on names that pynetdicom keeps to itself: `HOOKS`. A test compares them.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from osteoscribe.app.bugs import trace_of
from osteoscribe.net.conversation import Conversation, ProtocolViolation, State, Storing
from osteoscribe.net.guard import LARGEST_PDU, GuardedReceive

LOGGER = logging.getLogger(__name__)

HOOKS: Mapping[str, tuple[str, ...]] = {
    "DULServiceProvider": (
        "_is_transport_event", "_read_pdu_data", "is_alive", "kill_dul", "receive_pdu", "run_reactor",
        "send_pdu", "start", "stop_dul",
    ),
    "DULServiceProvider()": (
        "_idle_timer", "_kill_thread", "_run_loop_delay", "assoc", "event_queue", "socket", "state_machine",
        "to_provider_queue", "to_user_queue",
    ),
    "Association()": (
        "_accepted_cx", "_dul_ready", "_kill", "_reactor_checkpoint", "_run_reactor", "acse", "dimse", "dul",
    ),
    "DIMSEServiceProvider()": ("msg_queue", "receive_primitive"),
}  # fmt: skip
"""Names of pynetdicom that the fast path stands on, by class; with brackets those of its objects."""

ESTABLISHED = "Sta6"
CLOSING = "Sta13"
"""States of the upper layer: data transfer; waiting for the connection to close (PS3.8 table 9-1)."""

INVALID_PDU, CONNECTION_CLOSED = "Evt19", "Evt17"
"""Events of the upper layer (PS3.8 table 9-7)."""

BUFFER_LENGTH = 9 * LARGEST_PDU
"""Room for a data set of 1 MB: it is written from here in one go."""

_P_DATA = 0x04
_PDU_HEAD = struct.Struct(">BxL")
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

    @property
    def has_other(self) -> bool:
        """Whether a PDU that is no P-DATA is at the front."""
        return self.buffered >= _PDU_HEAD.size and self._buffer[self._start] != _P_DATA

    def data_pdu(self) -> memoryview | None:
        """Take the P-DATA PDU at the front, without its head; None where it is not whole, or another.

        Raises
        ------
        OSError
            It is too large, or makes its message too large.
        """
        start = self._start + _PDU_HEAD.size
        if start > self._end:
            return None
        kind, length = _PDU_HEAD.unpack_from(self._buffer, self._start)
        if length > LARGEST_PDU or (kind == _P_DATA and self.received + length > self._largest_object):
            self._refuse("net.too-large", length)
        end = start + length
        if end > self._end or kind != _P_DATA:
            return None
        self.received += length
        self._start, self._began = end, None
        return self._buffer[start:end]

    def fill(self) -> int | None:
        """Read what is there from a connection that does not block, behind what was read before.

        Returns
        -------
        int or None
            How many bytes; 0 where the peer has closed the connection, None where nothing is there.

        Raises
        ------
        OSError
            The connection is broken.
        """
        try:
            count = self._connection.recv_into(self._buffer[self._end :])
        except _NOT_NOW:
            return None
        self._end += count
        with contextlib.suppress(AttributeError, OSError):
            # Not lasting: without it each pause of a peer with Nagle's algorithm costs 40 ms.
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return count

    @property
    def has_room(self) -> bool:
        """Whether a whole PDU finds room behind what was taken."""
        return BUFFER_LENGTH - self._start >= _PDU_HEAD.size + LARGEST_PDU

    def make_room(self) -> None:
        """Begin the buffer anew: what was taken is overwritten from now on."""
        self._buffer[: self.buffered] = self._buffer[self._start : self._end]
        self._start, self._end = 0, self.buffered

    def drop(self) -> None:
        """Forget what was read and not taken."""
        self._start = self._end = 0

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


class _Enough(BaseException):
    """The provider has done what it was to do; no fault, and not to be taken for one by the library."""


class _Checkpoint(threading.Event):
    """Where the library's association waits for its turn: meanwhile its thread does the provider's work."""

    def __init__(self, provider: FastProvider) -> None:
        super().__init__()
        self._provider = provider

    def wait(self, timeout: float | None = None) -> bool:
        """Receive until there is something for the association."""
        del timeout
        self._provider.receive()
        return True


class FastProvider(DULServiceProvider):
    """The library's upper layer, with its own reading of P-DATA while the association is established.

    It has no thread of its own: the association's does its work whenever it waits for something, and sleeps
    until bytes come or another thread rings.

    Parameters
    ----------
    association
        Whose provider it becomes, in place of the one that it has.
    wire
        Reads from its connection.
    begin
        Begins a C-STORE of what its request announces.
    """

    def __init__(
        self,
        association: Association,
        wire: ReadAhead,
        begin: Callable[..., Storing],
    ) -> None:
        # All that the one in its place has, as it is: to make it again takes longer than a small object.
        vars(self).update(vars(association.dul))
        self.state_machine.dul = self
        self._run_loop_delay = 0.0
        self._wire = wire
        self._connection = cast(Any, self.socket).socket
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)
        self._poll.register(self._ear, select.POLLIN)
        self._conversation = Conversation(self)
        self._worker: int | None = None
        self._is_enough: Callable[[], bool] = lambda: False
        self.begin = begin

    # In place of a thread: the association's runs the library's loop until there is enough for it.

    def start(self) -> None:
        """Have the work done by this thread, the association's."""
        self._worker = threading.get_ident()
        cast(Any, self.assoc)._dul_ready.set()

    def is_alive(self) -> bool:
        """Whether the association has not come to its end."""
        return self._worker is not None

    def receive_pdu(self, wait: bool = False, timeout: float | None = None) -> Any:
        """Give the next primitive for the association; None where none has come."""
        del timeout  # the library's is that of its ARTIM timer, which ends the connection
        if wait:
            self._run(lambda: bool(self.to_user_queue.queue))
        return super().receive_pdu(wait=False)

    def serve(self) -> None:
        """Serve the association to its end; in place of its loop, which begins with a millisecond of sleep.

        Where something else comes before its release, that loop goes on.
        """
        association, acse = cast(Any, self.assoc), self.assoc.acse
        self.receive()
        if association._kill or not acse.is_release_requested():
            type(association)._run_reactor(association)
            return
        acse.send_release(is_response=True)
        association.is_released, association.is_established = True, False
        evt.trigger(association, evt.EVT_RELEASED, {})
        association.kill()

    def receive(self) -> None:
        """Receive until there is something for the association."""
        # The library's loop begins the idle time anew: what is over must stay so.
        if not self._is_called():
            self._run(self._is_called)

    def send_pdu(self, primitive: Any) -> None:
        """Send a primitive."""
        super().send_pdu(primitive)
        self._run(lambda: True)

    def kill_dul(self) -> None:
        """End it."""
        super().kill_dul()
        self._ring()

    def stop_dul(self) -> bool:
        """Wait for the end of the connection, where the association is at its end; whether it has come."""
        if not self.assoc.is_alive():
            # It was killed by this thread before it came to wait for that end itself.
            self._worker = threading.get_ident()
        self._run(lambda: self.state_machine.current_state == ESTABLISHED)
        return not self.is_alive()

    def _run(self, is_enough: Callable[[], bool]) -> None:
        """Run the library's loop so long, or wake the thread that does."""
        if self._worker != threading.get_ident():
            self._ring()
            return
        self._is_enough = is_enough
        try:
            super().run_reactor()
        except _Enough:
            return
        except Exception as error:  # noqa: BLE001  what the library's states do not foresee
            LOGGER.warning("association ended by %s", trace_of(error))
        self._worker = None
        # The library leaves a connection that its peer closed first to the garbage collector.
        for one in (self._connection, self._bell, self._ear):
            one.close()

    def _is_called(self) -> bool:
        """Whether there is something for the association; one that was killed waits for its end here."""
        association = cast(Any, self.assoc)
        return not association._kill and bool(
            association.dimse.msg_queue.queue or self.to_user_queue.queue or self._idle_timer.remaining <= 0
        )

    def _ring(self) -> None:
        # Full means that it rings already, closed that nobody listens any more.
        with contextlib.suppress(OSError):
            self._bell.send(b"!")

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
        if self._is_enough():
            raise _Enough
        if self.state_machine.current_state == ESTABLISHED:
            try:
                with self._wire.at_once():
                    return self._receive()
            except OSError:
                self.event_queue.put(CONNECTION_CLOSED)
            except ProtocolViolation:
                self.event_queue.put(INVALID_PDU)
            return True
        if self.state_machine.current_state == CLOSING:
            # Nothing that came is answered any more (PS3.8 AA-6), and the rest of a PDU is not waited for.
            self._wire.drop()
        if self._wire.buffered:
            self._read_pdu_data()
            return True
        if self.state_machine.current_state != CLOSING and not self.event_queue.queue:
            self._wait(self.artim_timer.remaining)
        return super()._is_transport_event()

    def _receive(self) -> bool:
        """Read P-DATA until the library has something to do; whether it is an event."""
        wire, answered = self._wire, False
        while not (self._kill_thread or self.event_queue.queue or self.to_provider_queue.queue):
            if self._is_enough():
                raise _Enough
            if self._take():
                answered = not wire.buffered
                continue
            if wire.has_other:
                self._read_pdu_data()
                return True
            self._conversation.pass_on()
            if not wire.has_room:
                self._conversation.let_go()
                wire.make_room()
            # A peer sends nothing in the moment after its answer.
            count, answered = None if answered else wire.fill(), False
            if count is None:
                self._wait(self._patience_s())
            elif count:
                self._idle_timer.restart()
            else:
                self.event_queue.put(CONNECTION_CLOSED)
        return False

    def _take(self) -> bool:
        """Take the P-DATA that is there, at most to the end of a message; whether it has come."""
        wire, conversation = self._wire, self._conversation
        while (pdu := wire.data_pdu()) is not None:
            conversation.take(pdu)
            if conversation.state is State.IDLE:
                wire.received = 0
                if not wire.buffered:
                    wire.make_room()
                return True
        return False

    def _patience_s(self) -> float:
        """How long to wait for bytes."""
        remaining = self._wire.remaining_s
        if remaining is not None and remaining <= 0:
            self._wire.refuse_slow()
        return self._idle_timer.remaining if remaining is None else remaining

    def _wait(self, patience_s: float) -> None:
        """Wait for bytes or for the user of the provider."""
        connection = self._connection
        if (isinstance(connection, ssl.SSLSocket) and connection.pending()) or connection.fileno() < 0:
            return
        for descriptor, _ in self._poll.poll(min(max(patience_s, 0.0), _LONGEST_WAIT_S) * 1000 + 1):
            if descriptor == self._ear.fileno():
                with contextlib.suppress(OSError):
                    self._ear.recv(4096)


def take_over(
    association: Association,
    wire: ReadAhead,
    *,
    begin: Callable[..., Storing],
) -> None:
    """Give an association that has not started yet the fast path.

    Parameters
    ----------
    wire
        Reads from its connection.
    begin
        Begins a C-STORE of what its request announces.
    """
    cast(Any, association.dul.socket).recv = wire
    association.dul = provider = FastProvider(association, wire, begin)
    association._reactor_checkpoint = _Checkpoint(provider)
    cast(Any, association)._run_reactor = provider.serve
