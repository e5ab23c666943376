"""The listener: associations, C-ECHO and C-STORE. Nothing is done here but receiving."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom import _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.settings import NodeSettings, PeerSettings
from osteoscribe.errors import OsteoscribeError, SetupError
from osteoscribe.net.caller import SUCCESS, Caller, Reception, Storing, printable, uid_for_log
from osteoscribe.net.commitment import PUSH_MODEL, Take, take_report
from osteoscribe.net.guard import (
    LARGEST_PDU,
    GuardedReceive,
    GuardedServer,
    Receiver,
    SharedContext,
    address_check,
    calling_aes,
)
from osteoscribe.net.receive import ReadAhead, take_over
from osteoscribe.net.safekeeping import TakeQuestion, take_question
from osteoscribe.net.share import Counter, HandedServer
from osteoscribe.net.spare import SparingEntity
from osteoscribe.net.tls import server_context
from osteoscribe.readers.ct import CT_SOP_CLASSES
from osteoscribe.readers.marks import DOCUMENTS, MARK_SOP_CLASSES, MASK_SOP_CLASSES, MASK_TRANSFER_SYNTAXES

LOGGER = logging.getLogger(__name__)

LONGEST_ASSOCIATING_S = 10.0
"""Patience with a connection that does not associate."""

PROCESSING_FAILURE_N = 0x0110
"""Processing failure of a DIMSE-N service (PS3.7 C.5.21)."""

TEMPORARY_CONGESTION = (2, 3, 1)
"""Rejected for the time being, by the presentation service: temporary congestion (PS3.8 table 9-21)."""

VERIFICATION = "1.2.840.10008.1.1"
STORED_SOP_CLASSES = (*CT_SOP_CLASSES, *sorted(MARK_SOP_CLASSES), *sorted(DOCUMENTS))
"""Storage SOP Classes that are accepted (PS3.4 B.5): CT, all marks, and what is listed as no mark."""

UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")


class Listener:
    """A DICOM node that receives.

    Parameters
    ----------
    settings
        How it is called and where it listens.
    transfer_syntaxes
        Transfer syntaxes that are accepted, in order of preference.
    open_reception
        Called once for each association that stores something, with the time.
    peers
        Senders that are known by name.
    take_commitment
        Records a destination's answer to a question for storage commitment.
    take_question
        Records a peer's question for storage commitment.
    check_room
        Raises StoreError where nothing more can be stored.
    record_all
        Records what was stored and not recorded yet.
    prepare
        Makes ready for the next association that stores something, while nobody connects.
    close
        Called when it has stopped: what was made ready is not needed.

    Raises
    ------
    SetupError
        ``settings.callers-unknown``, ``settings.wrong-value``.
    """

    def __init__(
        self,
        settings: NodeSettings,
        *,
        transfer_syntaxes: tuple[str, ...],
        open_reception: Callable[[datetime], Reception],
        peers: Sequence[PeerSettings] = (),
        take_commitment: Take = lambda _report: False,
        take_question: TakeQuestion = lambda _question: False,
        check_room: Callable[[], None] = lambda: None,
        record_all: Callable[[], None] = lambda: None,
        prepare: Callable[[], None] = lambda: None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._open_reception = open_reception
        self._take_commitment = take_commitment
        self._take_question = take_question
        self._check_room = check_room
        self._record_all = record_all
        self._prepare = prepare
        self._close = close
        self._callers: dict[Association, Caller] = {}
        self._callers_lock = threading.Lock()
        self._ae = _entity(settings, transfer_syntaxes)
        self._server: GuardedServer | None = None
        self.set_callers(settings, peers)

    def set_callers(self, settings: NodeSettings, peers: Sequence[PeerSettings]) -> None:
        """Set who may connect and with which certificates, also while it listens.

        Raises
        ------
        SetupError
            ``settings.callers-unknown``, ``settings.wrong-value``, ``settings.tls-unusable``.
        """
        self._peers = frozenset(peer.ae_title for peer in peers)
        callers, self._may_connect = calling_aes(settings, peers), address_check(settings.allowed_addresses)
        self._tls = server_context(settings)
        self._ae.require_calling_aet = callers
        if self._server is not None:
            self._server.may_connect, self._server.tls = self._may_connect, self._tls

    def start(self, others: Sequence[Receiver] = ()) -> int:
        """Listen; returns the port.

        Parameters
        ----------
        others
            Processes that serve connections too: one goes where the fewest are.

        Raises
        ------
        SetupError
            ``net.port-taken``: another program listens there. ``net.no-such-address``.
        """
        server = self._begin(GuardedServer, others)
        return int(server.server_address[1])

    def start_behind(self, channel: socket.socket, ended: Counter) -> None:
        """Serve the connections that another process hands over (`HandedServer`)."""
        self._begin(partial(HandedServer, channel=channel, ended=ended))

    def _begin(self, make: Callable[..., GuardedServer], others: Sequence[Receiver] = ()) -> GuardedServer:
        address = (self._settings.host, self._settings.port)
        handlers: list[Any] = [
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_C_STORE, self._on_c_store),
            (evt.EVT_N_EVENT_REPORT, self._on_n_event_report),
            (evt.EVT_N_ACTION, self._on_n_action),
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ACCEPTED, _on_accepted),
            (evt.EVT_REJECTED, _on_rejected),
            (evt.EVT_RELEASED, self._on_end, ["released"]),
            (evt.EVT_ABORTED, self._on_end, ["aborted"]),
            (evt.EVT_CONN_CLOSE, self._on_end, ["closed"]),
        ]
        try:
            server = cast(
                GuardedServer,
                self._ae.make_server(
                    address,
                    contexts=[SharedContext.of(one) for one in self._ae.supported_contexts],
                    evt_handlers=handlers,
                    server_class=cast(Any, make),
                ),
            )
        except OSError as error:
            raise SetupError(
                "net.port-taken",
                f"found {address[0]}:{address[1]} not free to listen on (error {error.errno}); "
                "stop the program that uses it, or choose another with --host and --port",
            ) from error
        server.may_connect, server.tls = self._may_connect, self._tls
        server.max_associations, server.others = self._settings.max_associations, others
        server.prepare = self._prepare
        server.make_ready()
        threading.Thread(target=server.serve_forever, name="listener", daemon=True).start()
        self._server = server
        return server

    def stop(self, patience_s: float) -> None:
        """Take no more associations, let the open ones end for a while, then abort the rest."""
        if self._server is None:
            return
        server, self._server = self._server, None
        open_associations = server.active_associations
        server.shutdown()
        deadline = time.monotonic() + patience_s
        for association in open_associations:
            association.join(max(deadline - time.monotonic(), 0.0))
        for association in open_associations:
            if association.is_alive():
                association.abort()
        with self._callers_lock:
            callers, self._callers = list(self._callers.values()), {}
        for caller in callers:
            caller.close()
        self._close()
        self.record_all()

    def record_all(self) -> None:
        """Record what was stored and not recorded yet; what cannot be is recorded at the next start."""
        try:
            self._record_all()
        except OsteoscribeError as error:
            LOGGER.error("instances not recorded yet code=%s", error.code)

    def _on_connection(self, event: Event) -> None:
        transport = event.assoc.dul.socket
        if transport is None or transport.socket is None:
            return
        # Without it each answer to a peer that delays its acknowledgements costs 40 ms.
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        patience_s, largest = self._settings.idle_timeout_s, int(self._settings.largest_object_mb * 1e6)
        if self._settings.fast_receive:
            take_over(
                event.assoc,
                ReadAhead(transport.socket, patience_s=patience_s, largest_object=largest),
                begin=partial(self._begin_store, event.assoc),
            )
        else:
            cast(Any, transport).recv = GuardedReceive(
                transport.socket, patience_s=patience_s, largest_object=largest
            )

    def _on_requested(self, event: Event) -> None:
        """Refuse an association that wants to store while there is no room; others may go on."""
        request: Any = event.assoc.requestor.primitive
        proposed = {str(context.abstract_syntax) for context in request.presentation_context_definition_list}
        if not proposed.intersection(STORED_SOP_CLASSES):
            return
        try:
            self._check_room()
        except OsteoscribeError as error:
            LOGGER.error("association refused calling=%s code=%s", _calling_ae(event.assoc), error.code)
            event.assoc.acse.send_reject(*TEMPORARY_CONGESTION)
            event.assoc.kill()

    def _on_c_store(self, event: Event) -> int:
        """Take a C-STORE that the library has received."""
        if isinstance(guard := getattr(event.assoc.dul.socket, "recv", None), GuardedReceive):
            guard.received = 0
        request: Any = event.request
        storing = self._begin_store(
            event.assoc,
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
        )
        storing.write([request.DataSet.getbuffer()])
        return storing.finish()

    def _begin_store(self, association: Association, **announced: str) -> Storing:
        with self._callers_lock:
            if association not in self._callers:
                reception = self._open_reception(datetime.now(UTC))
                self._callers[association] = Caller(reception, _calling_ae(association))
            caller = self._callers[association]
        return caller.begin(**announced)

    def _on_n_event_report(self, event: Event) -> tuple[int, None]:
        try:
            status = take_report(event, self._take_commitment)
        except OsteoscribeError as error:
            LOGGER.warning("commitment report not taken code=%s", error.code)
            return PROCESSING_FAILURE_N, None
        except Exception as error:  # noqa: BLE001  a bug must not end the association
            LOGGER.error("bug while taking a commitment report: %s", trace_of(error))
            return PROCESSING_FAILURE_N, None
        LOGGER.info("commitment report calling=%s status=0x%04X", _calling_ae(event.assoc), status)
        return status, None

    def _on_n_action(self, event: Event) -> tuple[int | Dataset, None]:
        calling_ae = _calling_ae(event.assoc)
        try:
            status = take_question(
                event, calling_ae, is_known=calling_ae in self._peers, take=self._take_question
            )
        except OsteoscribeError as error:
            LOGGER.warning("safekeeping question not taken code=%s", error.code)
            return PROCESSING_FAILURE_N, None
        except Exception as error:  # noqa: BLE001  a bug must not end the association
            LOGGER.error("bug while taking a safekeeping question: %s", trace_of(error))
            return PROCESSING_FAILURE_N, None
        shown = status if isinstance(status, int) else int(status.Status)
        LOGGER.info("safekeeping question calling=%s status=0x%04X", calling_ae, shown)
        return status, None

    def _on_end(self, event: Event, how: str) -> None:
        with self._callers_lock:
            caller = self._callers.pop(event.assoc, None)
        if caller is None:
            return
        caller.close()
        LOGGER.info(
            "association %s calling=%s stored=%d refused=%d",
            how,
            caller.calling_ae,
            caller.stored,
            caller.refused,
        )


def _entity(settings: NodeSettings, transfer_syntaxes: tuple[str, ...]) -> SparingEntity:
    # The library's own log lines quote received text, and cost time for every message.
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    ae = SparingEntity(ae_title=settings.ae_title)
    ae.maximum_pdu_size = LARGEST_PDU
    ae.maximum_associations = settings.max_associations
    ae.network_timeout = settings.idle_timeout_s
    ae.dimse_timeout = settings.idle_timeout_s
    # A connection that is closed before it associates holds its thread for so long.
    ae.acse_timeout = min(settings.idle_timeout_s, LONGEST_ASSOCIATING_S)
    ae.require_called_aet = settings.check_called_ae
    ae.add_supported_context(VERIFICATION, list(UNCOMPRESSED[:2]))
    # A destination that reports on an association of its own does so as SCP (PS3.4 J.3.3).
    ae.add_supported_context(PUSH_MODEL, list(UNCOMPRESSED[:2]), scu_role=True, scp_role=True)
    for sop_class in STORED_SOP_CLASSES:
        of_masks = MASK_TRANSFER_SYNTAXES if sop_class in MASK_SOP_CLASSES else ()
        ae.add_supported_context(sop_class, list(dict.fromkeys((*transfer_syntaxes, *of_masks))))
    return ae


def _on_accepted(event: Event) -> None:
    LOGGER.info(
        "association accepted calling=%s address=%s contexts=%d",
        _calling_ae(event.assoc),
        printable(str(event.assoc.requestor.address), 45),
        len(event.assoc.accepted_contexts),
    )
    refused = event.assoc.rejected_contexts
    for code, result in (("net.sop-class-refused", 3), ("net.transfer-syntax-refused", 4)):
        classes = {uid_for_log(one.abstract_syntax) for one in refused if one.result == result}
        if classes:
            LOGGER.info(
                "%s calling=%s found=%s expected=CT, SEG, RTSTRUCT, SR, presentation states in a readable "
                "transfer syntax; leave the others out of the routing rule",
                code,
                _calling_ae(event.assoc),
                ",".join(sorted(classes)[:20]),
            )


def _on_rejected(event: Event) -> None:
    LOGGER.warning(
        "association rejected calling=%s called=%s address=%s; see node.allowed_calling_aes, "
        "node.check_called_ae and node.max_associations",
        _calling_ae(event.assoc),
        printable(str(getattr(event.assoc.requestor.primitive, "called_ae_title", "")), 16),
        printable(str(event.assoc.requestor.address), 45),
    )


def _calling_ae(association: Association) -> str:
    return printable(str(association.requestor.ae_title), 16)
