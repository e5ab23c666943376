"""Storage commitment as SCP: take a peer's question, and report to it on an association of our own.

References
----------
PS3.4 J.3, PS3.7 10.1.4 and annex C
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pynetdicom import build_role
from pynetdicom.events import Event

from osteoscribe.app.safekeep import Question, Verdict
from osteoscribe.app.settings import Destination
from osteoscribe.errors import PeerError, RefusedError
from osteoscribe.net.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, REQUEST_COMMITMENT
from osteoscribe.net.scu import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, associate
from osteoscribe.readers.values import is_uid

MOST_OBJECTS = 10_000
"""Objects of one question; a study has a few thousand."""

_SUCCESS = 0x0000
_NO_SUCH_INSTANCE = 0x0112
_INVALID_ARGUMENT = 0x0115
_NO_SUCH_ACTION = 0x0123
_NOT_AUTHORISED = 0x0124
_RESOURCE_LIMITATION = 0x0213

_ALL_KEPT, _SOME_FAILED = 1, 2
"""Event types of the report (PS3.4 J.3.3.1)."""
_FOR_GOOD = frozenset({0x0112, 0x0113, 0x0114, 0x0115, 0x0117, 0x0118, 0x0119, 0x0124, 0x0211, 0x0212})
"""Answers to a report that repeat themselves, however often it is sent (PS3.7 C.5)."""

TakeQuestion = Callable[[Question], bool]
"""Records a question, on disk when it returns; False where too many are open."""


def take_question(event: Event, calling_ae: str, *, is_known: bool, take: TakeQuestion) -> int | Dataset:
    """Understand and record a peer's question; returns the status to answer.

    Parameters
    ----------
    is_known
        Whether the address of the peer is known: without it nobody can be answered.
    """
    if not is_known:
        # PS3.7 C.5.26; the comment is what its administrator gets to see.
        status = Dataset()
        status.Status = _NOT_AUTHORISED
        status.ErrorComment = "address of calling AE not configured here (peer)"
        return status
    if event.action_type != REQUEST_COMMITMENT:
        return _NO_SUCH_ACTION
    request: Any = event.request
    if str(request.RequestedSOPInstanceUID) != PUSH_MODEL_INSTANCE:
        return _NO_SUCH_INSTANCE
    information: Any = event.action_information
    transaction_uid = str(information.get("TransactionUID", ""))
    items = information.get("ReferencedSOPSequence") or ()
    if len(items) > MOST_OBJECTS:
        return _RESOURCE_LIMITATION
    objects = {
        str(item.get("ReferencedSOPInstanceUID", "")): str(item.get("ReferencedSOPClassUID", ""))
        for item in items
    }
    if not objects or not all(map(is_uid, (transaction_uid, *objects, *objects.values()))):
        return _INVALID_ARGUMENT
    now = datetime.now(UTC)
    question = Question(
        calling_ae=calling_ae, transaction_uid=transaction_uid, objects=objects, asked_at=now, due_at=now
    )
    return _SUCCESS if take(question) else _RESOURCE_LIMITATION


class SafekeepingReporter:
    """Reports by N-EVENT-REPORT (`app.safekeep.Reporter`).

    Parameters
    ----------
    ae_title
        How this node calls itself.
    timeout_s
        Patience with a silent peer.
    """

    def __init__(self, *, ae_title: str, timeout_s: float) -> None:
        self._ae_title = ae_title
        self._timeout_s = timeout_s

    def report(self, destination: Destination, transaction_uid: str, verdict: Verdict) -> None:
        """Send the report and have it acknowledged.

        Raises
        ------
        PeerError
            The peer cannot be reached now, or does not take the report now.
        RefusedError
            ``peer.report-refused``, ``peer.no-context``, ``peer.rejected-permanently``: it never will.
        """
        association = associate(
            destination,
            [(PUSH_MODEL, (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN))],
            ae_title=self._ae_title,
            timeout_s=self._timeout_s,
            # We are its SCP, although we open the association (PS3.7 D.3.3.4).
            roles=[build_role(PUSH_MODEL, scp_role=True)],
        )
        try:
            event_type = _SOME_FAILED if verdict.failed else _ALL_KEPT
            answer, _ = association.send_n_event_report(
                _report(transaction_uid, verdict), event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE
            )
        except ValueError as error:
            raise RefusedError(
                "peer.no-context",
                f"found {destination} without the SCP role for us in storage commitment; enable it there",
            ) from error
        except RuntimeError as error:
            raise PeerError("peer.aborted", f"found the association aborted by {destination}") from error
        finally:
            association.release()
        _check(answer, destination)


def _report(transaction_uid: str, verdict: Verdict) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    if verdict.kept:
        ds.ReferencedSOPSequence = DicomSequence([_item(*one) for one in verdict.kept.items()])
    if verdict.failed:
        failed = []
        for uid, (sop_class_uid, reason) in verdict.failed.items():
            item = _item(uid, sop_class_uid)
            item.FailureReason = reason
            failed.append(item)
        ds.FailedSOPSequence = DicomSequence(failed)
    return ds


def _item(sop_instance_uid: str, sop_class_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def _check(answer: Mapping[Any, Any] | Dataset, destination: Destination) -> None:
    status = answer.get("Status") if isinstance(answer, Dataset) else None
    if status is None:
        raise PeerError("peer.silent", f"found no answer of {destination} to a commitment report")
    if int(status) != _SUCCESS:
        kind = RefusedError if int(status) in _FOR_GOOD else PeerError
        raise kind(
            "peer.report-refused",
            f"found status 0x{int(status):04X} of {destination} to a commitment report, expected 0x0000",
        )
