"""Storage commitment: asking a destination to take over the safekeeping, and understanding its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pynetdicom import evt
from pynetdicom.events import Event
from pynetdicom.pdu import P_DATA_TF

from osteoscribe.app.ports import CommitmentReport, StoredObject
from osteoscribe.app.settings import Destination
from osteoscribe.errors import PeerError, RefusedError
from osteoscribe.net.scu import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, associate

PUSH_MODEL = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class (PS3.4 J.3.5)."""
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Its well-known SOP Instance."""

REQUEST_COMMITMENT = 1
"""Action type of the N-ACTION (PS3.4 J.3.2.1)."""
_SUCCESS = 0x0000
_NO_SUCH_OBJECT = 0x0112
_FOR_GOOD = frozenset({0x0118, 0x0119, 0x0122, 0x0123, 0x0124, 0x0211})
"""No such SOP class, class-instance conflict, class not supported, no such action, not authorised,
unrecognized operation (PS3.7 C.5)."""

Take = Callable[[CommitmentReport], bool]
"""Records an answer; False where nobody asked."""


class CommitmentAsker:
    """Asks for storage commitment (`app.ports.Committer`).

    Parameters
    ----------
    take
        Records an answer that comes on the same association.
    answer_wait_s
        How long the association is held open for that.
    """

    def __init__(self, *, ae_title: str, timeout_s: float, take: Take, answer_wait_s: float = 3.0) -> None:
        self._ae_title = ae_title
        self._timeout_s = timeout_s
        self._take = take
        self._answer_wait_s = answer_wait_s

    def ask(self, destination: Destination, transaction_uid: str, objects: Sequence[StoredObject]) -> None:
        """Ask; the answer comes as a report, over this or another association.

        Raises
        ------
        PeerError
            The destination cannot be reached now, or does not take the question now.
        RefusedError
            It does not offer storage commitment.
        """
        reported, answered = threading.Event(), threading.Event()

        def on_report(event: Event) -> tuple[int, None]:
            status = take_report(event, self._take)
            reported.set()
            return status, None

        def on_sent(event: Event) -> None:
            # A release before our response to the report is out: the library loses its connection over it.
            if reported.is_set() and isinstance(event.pdu, P_DATA_TF):
                answered.set()

        association = associate(
            destination,
            [(PUSH_MODEL, (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN))],
            ae_title=self._ae_title,
            timeout_s=self._timeout_s,
            handlers=[(evt.EVT_N_EVENT_REPORT, on_report), (evt.EVT_PDU_SENT, on_sent)],
        )
        try:
            answer, _ = association.send_n_action(
                _question(transaction_uid, objects), REQUEST_COMMITMENT, PUSH_MODEL, PUSH_MODEL_INSTANCE
            )
            _check(answer, destination)
            answered.wait(self._answer_wait_s)
        except (RuntimeError, ValueError) as error:
            raise PeerError(
                "peer.aborted", f"found the association aborted by {destination}; tried again"
            ) from error
        finally:
            association.release()


def take_report(event: Event, take: Take) -> int:
    """Understand and record a destination's report; returns the status to answer."""
    transaction_uid, committed, failed = "", set(), {}
    information: Any = event.event_information
    transaction_uid = str(information.get("TransactionUID", ""))
    for item in information.get("ReferencedSOPSequence") or ():
        committed.add(str(item.get("ReferencedSOPInstanceUID", "")))
    for item in information.get("FailedSOPSequence") or ():
        failed[str(item.get("ReferencedSOPInstanceUID", ""))] = int(item.get("FailureReason") or 0)
    report = CommitmentReport(transaction_uid=transaction_uid, committed=frozenset(committed), failed=failed)
    return _SUCCESS if take(report) else _NO_SUCH_OBJECT


def _question(transaction_uid: str, objects: Sequence[StoredObject]) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = DicomSequence()
    for one in objects:
        item = Dataset()
        item.ReferencedSOPClassUID = one.sop_class_uid
        item.ReferencedSOPInstanceUID = one.sop_instance_uid
        ds.ReferencedSOPSequence.append(item)
    return ds


def _check(answer: Dataset, destination: Destination) -> None:
    if "Status" not in answer:
        raise PeerError("peer.silent", f"found no answer of {destination} to the question for commitment")
    status = int(answer.Status)
    if status == _SUCCESS:
        return
    kind = RefusedError if status in _FOR_GOOD else PeerError
    raise kind(
        "peer.commitment-refused",
        f"found status 0x{status:04X} of {destination} to the question for commitment, expected 0x0000; ask "
        "its administrator, or turn ask_commitment off for it",
    )
