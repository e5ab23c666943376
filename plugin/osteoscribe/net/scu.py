"""Send report objects by C-STORE: contexts from the objects, an association kept for the next batch."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE

from osteoscribe.app.ports import EncodedObject, StoreReply
from osteoscribe.app.settings import Destination
from osteoscribe.errors import PeerError, RefusedError
from osteoscribe.net.channel import Channel, Silent
from osteoscribe.net.checkpoint import pause_for_certain
from osteoscribe.net.guard import LARGEST_PDU, GuardedReceive
from osteoscribe.net.tls import Opening, SecuredSocket, SecuredTransport, client_context, not_secured

LARGEST_ANSWERS = 1 << 26
"""Bytes of all answers on an association; those to a query are a few hundred each."""
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

_PERMANENT = 1
"""Result *rejected-permanent* of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported",
    (1, 3): "our AE title is not known there",
    (1, 7): "the called AE title is not known there",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""Source and reason of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""


class StoreSender:
    """Sends by C-STORE (`app.ports.Sender`) over an association that is kept open for what follows soon.

    Parameters
    ----------
    ae_title
        How this node calls itself.
    timeout_s
        Patience with a silent destination.
    keep_s
        How long an association stays open after its last object; 0 ends it with each batch.
    """

    def __init__(self, *, ae_title: str, timeout_s: float, keep_s: float = 0.0) -> None:
        self._ae_title = ae_title
        self._timeout_s = timeout_s
        self._keep_s = keep_s
        self._kept: dict[Destination, tuple[Channel, float]] = {}
        self._lock = threading.Lock()
        self._closer: threading.Thread | None = None

    def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> Iterator[StoreReply]:
        """Send the objects over one association; one reply for each, given as they come.

        Raises
        ------
        PeerError
            ``peer.unreachable``, ``peer.tls``, ``peer.rejected``, ``peer.aborted``, ``peer.silent``: to be
            tried again.
        RefusedError
            ``peer.rejected-permanently``: a person must act.
        SetupError
            ``settings.ca-unreadable``, ``settings.tls-unusable``.
        """
        replied = 0
        kept = self._take_kept(destination, objects)
        if kept is not None:
            try:
                for reply in self._send(kept, destination, objects):
                    replied += 1
                    yield reply
            except PeerError as error:
                if error.code != "peer.aborted":
                    raise
                # The peer may have ended what was idle. The same UIDs again: what it has it says it has.
        if replied < len(objects):
            left = objects[replied:]
            yield from self._send(self._open(destination, left), destination, left)

    def close(self) -> None:
        """Release what is kept open."""
        with self._lock:
            kept, self._kept = list(self._kept.values()), {}
        for channel, _ in kept:
            channel.release()

    def _open(self, destination: Destination, objects: Sequence[EncodedObject]) -> Channel:
        contexts = tuple(dict.fromkeys(_context_for(one) for one in objects))
        association = associate(destination, contexts, ae_title=self._ae_title, timeout_s=self._timeout_s)
        return Channel(association, str(destination), self._timeout_s)

    def _send(
        self, channel: Channel, destination: Destination, objects: Sequence[EncodedObject]
    ) -> Iterator[StoreReply]:
        try:
            for one in objects:
                yield self._store(channel, destination, one)
        except BaseException:
            channel.abort()
            raise
        self._keep(destination, channel)

    def _store(self, channel: Channel, peer: Destination, one: EncodedObject) -> StoreReply:
        if not channel.accepts(one.sop_class_uid):
            return StoreReply(
                sop_instance_uid=one.sop_instance_uid,
                status=None,
                code="peer.no-context",
                message=f"found SOP Class {one.sop_class_uid} not accepted by {peer}, expected a "
                "presentation context for it; enable it there, then run osteoscribe jobs retry",
            )
        try:
            return StoreReply(sop_instance_uid=one.sop_instance_uid, status=channel.store(one))
        except Silent:
            raise PeerError(
                "peer.silent",
                f"found no answer of {peer} to a C-STORE within {self._timeout_s:g} s; tried again",
            ) from None

    def _take_kept(self, destination: Destination, objects: Sequence[EncodedObject]) -> Channel | None:
        """Take the association that is kept to a destination, if it serves for these objects."""
        with self._lock:
            channel, _ = self._kept.pop(destination, (None, 0.0))
        if channel is None:
            return None
        if channel.is_usable and all(channel.accepts(one.sop_class_uid) for one in objects):
            return channel
        channel.release()
        return None

    def _keep(self, destination: Destination, channel: Channel) -> None:
        if not self._keep_s:
            channel.release()
            return
        with self._lock:
            former, _ = self._kept.pop(destination, (None, 0.0))
            self._kept[destination] = (channel, time.monotonic() + self._keep_s)
            if self._closer is None:
                self._closer = threading.Thread(target=self._close_idle, name="associations", daemon=True)
                self._closer.start()
        if former is not None:
            former.release()

    def _close_idle(self) -> None:
        """Release associations whose time is over, until none is left."""
        while True:
            with self._lock:
                now = time.monotonic()
                over = [name for name, (_, until) in self._kept.items() if until <= now]
                channels = [self._kept.pop(name)[0] for name in over]
                next_s = min((until - now for _, until in self._kept.values()), default=None)
                if next_s is None:
                    self._closer = None
            for channel in channels:
                channel.release()
            if next_s is None:
                return
            time.sleep(next_s)


def associate(
    peer: Destination,
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    ae_title: str,
    timeout_s: float,
    handlers: Sequence[tuple[Any, Any]] = (),
    roles: Sequence[Any] = (),
) -> Association:
    """Open an association with a peer, over TLS where it is to be.

    Parameters
    ----------
    contexts
        SOP Class UIDs with the transfer syntaxes that are proposed for each.
    handlers
        Event handlers of the association.
    roles
        Roles that are negotiated (PS3.7 D.3.3.4).

    Raises
    ------
    PeerError
        ``peer.unreachable``, ``peer.tls``, ``peer.rejected``: to be tried again.
    RefusedError
        ``peer.rejected-permanently``, ``peer.no-context``: a person must act.
    SetupError
        ``settings.ca-unreadable``, ``settings.tls-unusable``.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    ae = AE(ae_title=ae_title)
    ae.maximum_pdu_size = LARGEST_PDU
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    for sop_class_uid, syntaxes in contexts:
        ae.add_requested_context(sop_class_uid, list(syntaxes))
    opening = Opening(client_context(peer)) if peer.tls else None
    try:
        association = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _on_connection), *handlers],
            ext_neg=list(roles),
            tls_args=None if opening is None else (cast(Any, opening), peer.host),
        )
    except (OSError, RuntimeError, UnicodeError) as error:
        # The last of a host name that cannot be one.
        raise _unreachable(peer) from error
    if association.is_established:
        pause_for_certain(association)
        return association
    raise _not_established(association, peer, "" if opening is None else opening.fault)


def _on_connection(event: Event) -> None:
    transport = event.assoc.dul.socket
    if transport is None or transport.socket is None:
        return
    if isinstance(transport.socket, SecuredSocket):
        transport.__class__ = SecuredTransport
    transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The library would wait for ever where the peer falls silent in the middle of a PDU or reads no more,
    # and so would whoever ends the association.
    patience_s = float(event.assoc.network_timeout or 0.0)
    transport.socket.settimeout(patience_s)
    cast(Any, transport).recv = GuardedReceive(
        transport.socket, patience_s=patience_s, largest_object=LARGEST_ANSWERS
    )


def _context_for(one: EncodedObject) -> tuple[str, tuple[str, ...]]:
    """SOP class and transfer syntaxes to propose: a compressed object goes as it is or not at all."""
    own = one.transfer_syntax_uid
    others = () if UID(own).is_encapsulated else (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN)
    return one.sop_class_uid, tuple(dict.fromkeys((own, *others)))


def _unreachable(peer: Destination) -> PeerError:
    return PeerError(
        "peer.unreachable", f"found no connection to {peer}, expected a DICOM node there; tried again"
    )


def rejection_of(association: Association) -> Any:
    """Give the peer's A-ASSOCIATE-RJ, or None.

    The library does not read it where its own thread reads it and ends the connection before the thread that
    asked is awake: to that one it looks as if there never was a connection.
    """
    answer = association.acceptor.primitive or association.dul.peek_next_pdu()
    return answer if isinstance(answer, A_ASSOCIATE) and answer.result else None


def _not_established(association: Association, peer: Destination, fault: str) -> PeerError:
    answer = rejection_of(association)
    if answer is not None:
        reason = _REASONS.get((answer.result_source, answer.diagnostic), "unknown reason")
        if answer.result == _PERMANENT:
            return RefusedError(
                "peer.rejected-permanently",
                f"found the association rejected by {peer}: {reason}; correct the AE titles on one side, "
                "then run osteoscribe jobs retry",
            )
        return PeerError("peer.rejected", f"found the association rejected by {peer}: {reason}; tried again")
    if association.acceptor.primitive is not None and not association.accepted_contexts:
        return RefusedError(
            "peer.no-context",
            f"found no SOP Class accepted by {peer}, expected those of structured reports; enable them "
            "there, then run osteoscribe jobs retry",
        )
    return not_secured(fault, str(peer)) if fault else _unreachable(peer)
