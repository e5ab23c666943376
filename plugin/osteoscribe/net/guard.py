"""Walls in front of the listener: who may connect, and how much and how slowly a peer may send."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import select
import socket
import socketserver
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NoReturn, Protocol, cast

from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.settings import NodeSettings, PeerSettings
from osteoscribe.errors import SetupError
from osteoscribe.net.spare import SpareAssociation, SparingEntity

LOGGER = logging.getLogger(__name__)

LARGEST_PDU = 131072
"""Bytes; DCMTK never sends more, and an unlimited PDU invites huge allocations."""

ANYONE = "*"

LONGEST_HANDSHAKE_S = 10.0
"""Patience with each step of a TLS handshake."""
LARGEST_HANDSHAKES = 64
"""Handshakes at the same time."""

_POLL_S = 30.0
"""How often the server looks whether it is to end, should nothing have woken it."""

_QUIET_S = 0.01
"""How long no other connection may have come before the next association is made ahead: a small object is
stored by then."""

_SPARE_CONNECTIONS = 8
"""Connections beyond the limit of associations, so that a full node can still answer that it is full."""


class GuardedReceive:
    """Reads from one connection (in place of the library's own reading), within limits.

    Parameters
    ----------
    connection
        The accepted socket.
    patience_s
        How long one PDU may take from its first to its last byte.
    largest_object
        Bytes that may come before a whole message was handled.
    """

    def __init__(self, connection: socket.socket, *, patience_s: float, largest_object: int) -> None:
        self._connection = connection
        self._patience_s = patience_s
        self._largest_object = largest_object
        self.received = 0

    def __call__(self, length: int) -> bytearray:
        """Read so many bytes; fewer where the peer closed the connection.

        Raises
        ------
        OSError
            The PDU is too large, too slow, or makes its message too large; the connection is closed.
        """
        self.received += length
        if length > LARGEST_PDU or self.received > self._largest_object:
            self._refuse("net.too-large", length)
        content = bytearray(length)
        view = memoryview(content)
        deadline = time.monotonic() + self._patience_s
        got = 0
        while got < length:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                self._refuse("net.too-slow", length)
            self._connection.settimeout(remaining)
            try:
                count = self._connection.recv_into(view[got:])
            except TimeoutError:
                self._refuse("net.too-slow", length)
            if not count:
                return content[:got]
            got += count
        self._connection.settimeout(self._patience_s)
        return content

    def __del__(self) -> None:
        # The library leaves a connection that its peer closed first to be closed by reference counting.
        self._connection.close()

    def _refuse(self, code: str, length: int) -> NoReturn:
        LOGGER.warning("%s pdu_bytes=%d message_bytes=%d: connection closed", code, length, self.received)
        self._connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError(code)


class SharedContext(PresentationContext):
    """A supported context that all associations share: the library's copy for each takes 3 ms."""

    @classmethod
    def of(cls, context: PresentationContext) -> SharedContext:
        """Share a context; nothing changes it any more."""
        shared = cls()
        vars(shared).update(vars(context))
        return shared

    def __deepcopy__(self, _memo: object) -> SharedContext:
        return self


class Receiver(Protocol):
    """Another process that serves connections of this node."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes any."""
        ...

    @property
    def open_connections(self) -> int:
        """How many it has."""
        ...

    def give(self, connection: socket.socket) -> bool:
        """Have it serve a connection, which stays open here too; False where it cannot."""
        ...


class GuardedServer(ThreadedAssociationServer):
    """The library's server with an address list, a connection limit and a longer backlog.

    While nobody connects it makes ready for who comes next: an association waits for the connection.
    """

    request_queue_size = 128
    may_connect: Callable[[str], bool] = staticmethod(lambda _address: True)
    max_associations = 32
    others: Sequence[Receiver] = ()
    """Other processes that serve connections of this node."""
    tls: ssl.SSLContext | None = None
    prepare: Callable[[], None] = staticmethod(lambda: None)
    """Makes ready what else an association needs."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._handshakes = threading.BoundedSemaphore(LARGEST_HANDSHAKES)
        self._spare: deque[SpareAssociation] = deque()
        self._connections: dict[Any, bool] = {}
        super().__init__(*arguments, **named)

    @property
    def open_connections(self) -> int:
        """How many connections this process has."""
        return len(self._connections)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, or have it served where there are fewer.

        Only a TLS handshake needs a thread to wait in before the association's.
        """
        if self._is_given_away(request):
            self.close_request(request)
            return
        self.take(request)
        if self.tls is None:
            self.process_request_thread(request, client_address)
        else:
            super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, secured first where TLS is on."""
        secured = request if self.tls is None else self._secured(self.tls, request, str(client_address[0]))
        if secured is None:
            return
        self._connections[request] = True
        try:
            spare = self._spare.pop()
        except IndexError:
            spare = SpareAssociation(self)
        spare.serve(secured, client_address, partial(self.end, request))

    def take(self, request: Any) -> None:
        """Count a connection."""
        self._connections[request] = False

    def end(self, request: Any) -> None:
        """Count it no more."""
        self._connections.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that gets no association."""
        self.end(request)
        super().shutdown_request(request)

    def _is_given_away(self, request: Any) -> bool:
        """Whether another process serves a connection: the one with the fewest, of equal ones this."""
        by_count = [(one.open_connections, one) for one in self.others]
        elsewhere = sum(count for count, _ in by_count)
        # Where no more may be open, this process says so.
        cast(SparingEntity, self.ae).maximum_associations = self.max_associations - elsewhere
        if len(self._connections) + elsewhere >= self.max_associations:
            return False
        ready = [(count, one) for count, one in by_count if one.is_ready]
        count, other = min(ready, key=itemgetter(0), default=(0, None))
        return other is not None and count < len(self._connections) and other.give(request)

    def _secured(self, tls: ssl.SSLContext, request: socket.socket, address: str) -> ssl.SSLSocket | None:
        if not self._handshakes.acquire(blocking=False):
            LOGGER.warning("net.too-many-connections address=%s", address)
            self.shutdown_request(request)
            return None
        try:
            request.settimeout(LONGEST_HANDSHAKE_S)
            return tls.wrap_socket(request, server_side=True)
        except OSError as error:
            # The reason is a word of OpenSSL's, never received text.
            reason = getattr(error, "reason", None)
            LOGGER.warning("%s address=%s reason=%s", "net.tls-failed", address, reason)
            self.shutdown_request(request)
            return None
        finally:
            self._handshakes.release()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is taken at all."""
        del request
        address = str(client_address[0])
        if not self.may_connect(address):
            LOGGER.warning("net.address-refused address=%s", address)
            return False
        served = sum(list(self._connections.values())) + sum(one.open_connections for one in self.others)
        if served >= self.max_associations + _SPARE_CONNECTIONS:
            LOGGER.warning("net.too-many-connections address=%s", address)
            return False
        return True

    def serve_forever(self, poll_interval: float = _POLL_S) -> None:
        """Take connections until `shutdown`."""
        super().serve_forever(poll_interval)

    def service_actions(self) -> None:
        """Make ready for the next connection, unless it is there.

        The library collects garbage here, a pause of all threads.
        """
        if not select.select([cast(socket.socket, self.socket)], [], [], _QUIET_S)[0]:
            self.make_ready()

    def make_ready(self) -> None:
        """Make ready for the next connection."""
        try:
            if not self._spare:
                self._spare.append(SpareAssociation(self))
            self.prepare()
        except Exception as error:  # noqa: BLE001  too many threads, say: who connects is served all the same
            LOGGER.error("nothing made ready for the next association: %s", trace_of(error))

    def shutdown(self) -> None:
        """Stop listening."""
        # Wakes the thread that waits for connections.
        with contextlib.suppress(OSError):
            cast(socket.socket, self.socket).shutdown(socket.SHUT_RDWR)
        socketserver.BaseServer.shutdown(self)
        self.server_close()
        while self._spare:
            self._spare.pop().cancel()


def address_check(allowed: Sequence[str]) -> Callable[[str], bool]:
    """Make the check of an IP address against addresses and networks; none of them allows all.

    Raises
    ------
    SetupError
        ``settings.wrong-value``: one is no address.
    """
    try:
        networks = [ipaddress.ip_network(one, strict=False) for one in allowed]
    except ValueError as error:
        raise SetupError(
            "settings.wrong-value",
            f"found {error} in 'node.allowed_addresses', expected an address or a network like 10.1.0.0/16",
        ) from error

    if not networks:
        return lambda _text: True

    def check(text: str) -> bool:
        address = ipaddress.ip_address(text.split("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in networks)

    return check


def calling_aes(settings: NodeSettings, peers: Sequence[PeerSettings]) -> list[str]:
    """Give the calling AE titles that may associate; an empty list allows all.

    Raises
    ------
    SetupError
        ``settings.callers-unknown``: the node would listen beyond this machine, to anyone.
    """
    if settings.allowed_calling_aes:
        allowed = {*settings.allowed_calling_aes, *(peer.ae_title for peer in peers)}
        return [] if ANYONE in allowed else sorted(allowed)
    if _is_loopback(settings.host):
        return []
    if not peers:
        raise SetupError(
            "settings.callers-unknown",
            f"found host {settings.host!r} beyond this machine and no caller named; add [[peer]] tables or "
            'node.allowed_calling_aes (["*"] lets anyone in)',
        )
    return sorted({peer.ae_title for peer in peers})


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
