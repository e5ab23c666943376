"""Send report objects by C-STORE: one association for a batch, contexts from the objects."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from osteoscribe.app.ports import EncodedObject, StoreReply
from osteoscribe.app.settings import Destination
from osteoscribe.errors import PeerError, RefusedError

LARGEST_PDU = 131072
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
    """Sends by C-STORE (`app.ports.Sender`).

    Parameters
    ----------
    ae_title
        How this node calls itself.
    timeout_s
        Patience with a silent destination.
    """

    def __init__(self, *, ae_title: str, timeout_s: float) -> None:
        self._ae_title = ae_title
        self._timeout_s = timeout_s

    def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> Iterator[StoreReply]:
        """Send the objects over one association; one reply for each, given as they come.

        Raises
        ------
        PeerError
            ``peer.unreachable``, ``peer.rejected``, ``peer.aborted``, ``peer.silent``: to be tried again.
        RefusedError
            ``peer.rejected-permanently``: a person must act.
        """
        contexts = tuple(dict.fromkeys(_context_for(one) for one in objects))
        association = associate(destination, contexts, ae_title=self._ae_title, timeout_s=self._timeout_s)
        try:
            for one in objects:
                yield self._store(association, destination, one)
        except BaseException:
            association.abort()
            raise
        association.release()

    def _store(self, association: Association, peer: Destination, one: EncodedObject) -> StoreReply:
        ds = _decode(one)
        try:
            status = association.send_c_store(ds)
        except ValueError:
            # No accepted presentation context, which the library reports with this type only.
            return StoreReply(
                sop_instance_uid=one.sop_instance_uid,
                status=None,
                code="peer.no-context",
                message=f"found SOP Class {one.sop_class_uid} not accepted by {peer}, expected a "
                "presentation context for it; enable it there, then run osteoscribe jobs retry",
            )
        except RuntimeError as error:
            raise PeerError(
                "peer.aborted", f"found the association aborted by {peer}; tried again"
            ) from error
        if "Status" not in status:
            raise PeerError(
                "peer.silent",
                f"found no answer of {peer} to a C-STORE within {self._timeout_s:g} s; tried again",
            )
        return StoreReply(sop_instance_uid=one.sop_instance_uid, status=int(status.Status))


def associate(
    peer: Destination,
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    ae_title: str,
    timeout_s: float,
    handlers: Sequence[tuple[Any, Any]] = (),
    roles: Sequence[Any] = (),
) -> Association:
    """Open an association with a peer.

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
        ``peer.unreachable``, ``peer.rejected``: to be tried again.
    RefusedError
        ``peer.rejected-permanently``, ``peer.no-context``: a person must act.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    ae = AE(ae_title=ae_title)
    ae.maximum_pdu_size = LARGEST_PDU
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    for sop_class_uid, syntaxes in contexts:
        ae.add_requested_context(sop_class_uid, list(syntaxes))
    try:
        association = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _on_connection), *handlers],
            ext_neg=list(roles),
        )
    except (OSError, RuntimeError) as error:
        raise _unreachable(peer) from error
    if association.is_established:
        return association
    raise _not_established(association, peer)


def _on_connection(event: Event) -> None:
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _context_for(one: EncodedObject) -> tuple[str, tuple[str, ...]]:
    """SOP class and transfer syntaxes to propose: a compressed object goes as it is or not at all."""
    own = one.transfer_syntax_uid
    others = () if UID(own).is_encapsulated else (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN)
    return one.sop_class_uid, tuple(dict.fromkeys((own, *others)))


def _decode(one: EncodedObject) -> Dataset:
    syntax = UID(one.transfer_syntax_uid)
    ds = read_dataset(BytesIO(one.encoded), syntax.is_implicit_VR, syntax.is_little_endian)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def _unreachable(peer: Destination) -> PeerError:
    return PeerError(
        "peer.unreachable", f"found no connection to {peer}, expected a DICOM node there; tried again"
    )


def _not_established(association: Association, peer: Destination) -> PeerError:
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
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
    return _unreachable(peer)
