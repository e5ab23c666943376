"""Measure one job, and push one delivery on. Both may be repeated at any point without doubling anything."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Sequence, Set
from datetime import datetime, timedelta

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.ports import (
    QUARANTINED,
    CommitmentReport,
    Committer,
    Delivery,
    EncodedObject,
    Envelope,
    JobLedger,
    JobResult,
    MadeObject,
    Pipeline,
    RefusedObject,
    SegmentAppender,
    Sender,
    StoredObject,
    StoreReply,
)
from osteoscribe.app.settings import Destination, Form
from osteoscribe.core.delivery import Patience, Reply, pause_s, reply_of_status
from osteoscribe.core.report import Problem
from osteoscribe.core.series import BlobRef, ReadBytes
from osteoscribe.errors import InputError, PeerError, RefusedError, SetupError, StoreError

LOGGER = logging.getLogger(__name__)


STORE_PAUSE_S = 15.0
"""Pause before another try when the store cannot be read or written."""


def measure(
    key: str,
    *,
    ledger: JobLedger,
    pipeline: Pipeline,
    segment: SegmentAppender,
    destinations_for: Callable[[str], Sequence[Destination]],
    now: Callable[[], datetime],
) -> float | None:
    """Measure a job and record its reports; nothing happens where that was done before.

    Returns
    -------
    float or None
        Seconds to wait before another try (the store cannot be read or written), or None at the end.
    """
    try:
        try:
            if ledger.state(key) == "ready":
                _measure(key, ledger, pipeline, segment, destinations_for, now)
        except StoreError:
            raise
        except SetupError as error:
            LOGGER.error("job failed key=%s code=%s", key[:12], error.code)
            ledger.fail(key, Problem(code=error.code, message=error.message), now())
        except Exception as error:  # noqa: BLE001  a bug parks this job and leaves the others alone
            _park_bug(key, error, ledger, now())
    except StoreError as error:
        LOGGER.warning("job postponed key=%s code=%s", key[:12], error.code)
        return STORE_PAUSE_S
    return None


def _measure(
    key: str,
    ledger: JobLedger,
    pipeline: Pipeline,
    segment: SegmentAppender,
    destinations_for: Callable[[str], Sequence[Destination]],
    now: Callable[[], datetime],
) -> None:
    began = now()
    request = ledger.request(key)
    destinations = tuple(destinations_for(request.calling_ae))
    request = dataclasses.replace(
        request, forms=request.forms.union(*(destination.forms for destination in destinations))
    )
    try:
        result = pipeline(request)
    except InputError as error:
        problem = Problem(code=error.code, message=error.message, where=error.where)
        result = JobResult(problems=(problem,))
    if result.reports and not destinations:
        result = dataclasses.replace(result, problems=(*result.problems, _nowhere(request.calling_ae)))
    blobs = _store_objects(result, ledger, segment, began)
    done = now()
    ledger.record(key, result, blobs, destinations, done)
    LOGGER.info(
        "job measured key=%s instances=%d reports=%d findings=%d problems=%s seconds=%.2f",
        key[:12],
        len(request.instances),
        len(result.reports),
        sum(report.findings for report in result.reports),
        ",".join(sorted({one.code for one in result.problems})) or "none",
        (done - began).total_seconds(),
    )
    for one in result.quarantined:
        LOGGER.error(
            "object quarantined key=%s profile=%s role=%s code=%s",
            key[:12],
            one.profile,
            one.role,
            one.problem.code,
        )


def _park_bug(key: str, error: Exception, ledger: JobLedger, now: datetime) -> None:
    trace = trace_of(error)
    LOGGER.error("job failed key=%s bug=%s", key[:12], trace)
    message = (
        f"found a fault of this software ({trace}); report it, then run osteoscribe jobs retry {key[:12]}"
    )
    ledger.fail(key, Problem(code="job.bug", message=message), now)


def deliver(
    key: str,
    destination: str,
    *,
    destination_named: Callable[[str], Destination],
    ledger: JobLedger,
    sender: Sender,
    read: ReadBytes,
    patience: Patience,
    now: Callable[[], datetime],
) -> float | None:
    """Try once to deliver a job's reports to one destination.

    Returns
    -------
    float or None
        Seconds to wait before the next try, or None where the delivery is at its end.
    """
    try:
        try:
            return _deliver(key, destination, destination_named, ledger, sender, read, patience, now)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  a bug parks this delivery and leaves the others alone
            _park_delivery_bug(key, destination, error, ledger, now())
    except StoreError as error:
        LOGGER.warning("delivery postponed key=%s code=%s", key[:12], error.code)
        return STORE_PAUSE_S
    return None


def _park_delivery_bug(
    key: str, destination: str, error: Exception, ledger: JobLedger, now: datetime
) -> None:
    LOGGER.error("delivery failed key=%s destination=%s bug=%s", key[:12], destination, trace_of(error))
    message = f"found a fault of this software ({trace_of(error)}); report it"
    ledger.update_delivery(_parked(ledger.delivery(key, destination), "delivery.bug", message), now)


def _deliver(
    key: str,
    name: str,
    destination_named: Callable[[str], Destination],
    ledger: JobLedger,
    sender: Sender,
    read: ReadBytes,
    patience: Patience,
    now: Callable[[], datetime],
) -> float | None:
    delivery = ledger.delivery(key, name)
    if delivery.state not in ("queued", "waiting") or ledger.state(key) == "ready":
        return None
    sent = 0
    try:
        destination = destination_named(name)
        if missing := destination.forms - ledger.forms(key):
            _make_again(key, destination, missing, ledger, now())
            return None
        objects = [_encoded(one, read) for one in _objects_for(destination, key, ledger)]
        sent = len(objects)
        replies = sender.send(destination, objects) if objects else ()
    except (RefusedError, SetupError) as error:
        after, wait_s = _parked(delivery, error.code, error.message), None
    except PeerError as error:
        after, wait_s = _after_failure(delivery, error.code, error.message, patience, now())
    else:
        after, wait_s = _after_replies(
            delivery, replies, patience, now(), ask_commitment=bool(destination.ask_commitment)
        )
        if not objects:
            after = dataclasses.replace(delivery, state="cancelled", code="delivery.nothing-wanted")
    ledger.update_delivery(after, now(), was=delivery)
    LOGGER.info(
        "delivery key=%s destination=%s objects=%d state=%s tries=%d code=%s next_try_s=%s",
        key[:12],
        name,
        sent,
        after.state,
        after.tries,
        after.code or "none",
        "none" if wait_s is None else round(wait_s, 1),
    )
    return wait_s


def ask_commitment(
    key: str,
    destination: str,
    *,
    destination_named: Callable[[str], Destination],
    ledger: JobLedger,
    committer: Committer,
    patience: Patience,
    now: Callable[[], datetime],
) -> float | None:
    """Ask once for the safekeeping of a job's reports; the answer is recorded when it comes.

    Returns
    -------
    float or None
        Seconds to wait before another try (the store cannot be read or written), or None at the end.
    """
    try:
        try:
            _ask_commitment(key, destination, destination_named, ledger, committer, patience, now)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  a bug parks this delivery and leaves the others alone
            _park_delivery_bug(key, destination, error, ledger, now())
    except StoreError as error:
        LOGGER.warning("commitment postponed key=%s code=%s", key[:12], error.code)
        return STORE_PAUSE_S
    return None


def _ask_commitment(
    key: str,
    name: str,
    destination_named: Callable[[str], Destination],
    ledger: JobLedger,
    committer: Committer,
    patience: Patience,
    now: Callable[[], datetime],
) -> None:
    delivery = ledger.delivery(key, name)
    if delivery.state != "stored" or delivery.due_at is None or delivery.due_at > now():
        return
    if delivery.asks >= patience.commitment_asks:
        message = (
            f"found no answer to {delivery.asks} questions for storage commitment; ask the administrator of "
            "the destination, or turn ask_commitment off for it"
        )
        ledger.update_delivery(_parked(delivery, "peer.commitment-silent", message), now())
        return
    # A new transaction for each question, on disk before it is asked: the answer can come first.
    asked = dataclasses.replace(
        delivery, asks=delivery.asks + 1, due_at=now() + timedelta(seconds=patience.commitment_wait_s)
    )
    transaction_uid = _transaction_uid(asked)
    try:
        destination = destination_named(name)
        objects = _objects_for(destination, key, ledger)
        ledger.begin_commitment(transaction_uid, asked, objects, now())
        ledger.update_delivery(asked, now())
        committer.ask(destination, transaction_uid, objects)
    except (RefusedError, SetupError) as error:
        ledger.update_delivery(_parked(asked, error.code, error.message), now())
    except PeerError as error:
        wait_s = pause_s(patience, asked.tries + 1)
        again = dataclasses.replace(
            delivery,
            tries=asked.tries + 1,
            due_at=now() + timedelta(seconds=wait_s),
            code=error.code,
            message=error.message,
        )
        if (now() - delivery.queued_at).total_seconds() >= patience.give_up_after_s:
            again = _parked(delivery, error.code, error.message)
        ledger.update_delivery(again, now())
    after = ledger.delivery(key, name)
    LOGGER.info(
        "commitment key=%s destination=%s state=%s asks=%d code=%s",
        key[:12],
        name,
        after.state,
        after.asks,
        after.code or "none",
    )


def after_commitment(delivery: Delivery, report: CommitmentReport, uids: Set[str]) -> Delivery:
    """Give the delivery after a destination's answer.

    Parameters
    ----------
    uids
        SOP Instance UIDs that were asked for.
    """
    if uids <= report.committed:
        return dataclasses.replace(delivery, state="committed", due_at=None, code="", message="")
    reasons = ", ".join(f"0x{report.failed[uid]:04X} for {uid}" for uid in sorted(uids & set(report.failed)))
    message = (
        f"found the safekeeping refused ({reasons or 'without a reason'}); ask the administrator of the "
        "destination, then run osteoscribe jobs resend"
    )
    return _parked(delivery, "peer.not-committed", message)


def _make_again(
    key: str, destination: Destination, missing: frozenset[Form], ledger: JobLedger, now: datetime
) -> None:
    """Have made what a destination wants and the job was never asked for; it is delivered after that.

    Raises
    ------
    SetupError
        ``delivery.not-made``: it was tried, and the job failed.
    """
    wanted = ", ".join(f"{profile}/{role}" for profile, role in sorted(missing))
    if ledger.state(key) == "failed":
        raise SetupError(
            "delivery.not-made",
            f"found {wanted} wanted by {destination.name}, and no way to make it; osteoscribe jobs show "
            f"{key[:12]} says why",
        )
    ledger.make_again(key, missing, now)
    LOGGER.info(
        "job measured again key=%s destination=%s forms=%s",
        key[:12],
        destination.name,
        wanted.replace(" ", ""),
    )


def _objects_for(destination: Destination, key: str, ledger: JobLedger) -> tuple[StoredObject, ...]:
    """The objects of a job that go to a destination."""
    return tuple(one for one in ledger.objects(key) if (one.profile, one.role) in destination.forms)


def _transaction_uid(delivery: Delivery) -> str:
    """UID made from the question itself (PS3.5 B.2): repeated after a crash it is the same question."""
    text = f"{delivery.job_key} {delivery.destination} {delivery.round} {delivery.asks} {delivery.tries}"
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def _nowhere(calling_ae: str) -> Problem:
    return Problem(
        code="delivery.no-destination",
        message=f"found no destination for marks of {calling_ae!r}; add it as [[peer]] or add a "
        "[[destination]], then run osteoscribe jobs resend",
    )


def _store_objects(
    result: JobResult, ledger: JobLedger, segment: SegmentAppender, at: datetime
) -> dict[str, BlobRef]:
    """Put new objects and refused ones on disk; gives where, by SOP Instance UID."""
    new = [one for report in result.reports for one in report.objects if ledger.is_new(report, one)]
    kept: list[tuple[MadeObject | RefusedObject, str, str]]
    kept = [(one, one.transfer_syntax_uid, "") for one in new]
    kept += [(one, "", QUARANTINED) for one in result.quarantined if one.encoded]
    blobs: dict[str, BlobRef] = {}
    for one, transfer_syntax_uid, mark in kept:
        envelope = Envelope(
            sop_class_uid=one.sop_class_uid,
            sop_instance_uid=one.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            calling_ae=mark,
            received_at=at,
        )
        blobs[one.sop_instance_uid] = segment.append(
            [one.encoded], envelope, hashlib.sha256(one.encoded).digest()
        )
    return blobs


def _encoded(stored: StoredObject, read: ReadBytes) -> EncodedObject:
    return EncodedObject(
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        transfer_syntax_uid=stored.transfer_syntax_uid,
        encoded=read(stored.blob, 0, stored.blob.length),
    )


def _parked(delivery: Delivery, code: str, message: str) -> Delivery:
    return dataclasses.replace(
        delivery, state="parked", tries=delivery.tries + 1, due_at=None, code=code, message=message
    )


def _after_failure(
    delivery: Delivery, code: str, message: str, patience: Patience, now: datetime
) -> tuple[Delivery, float | None]:
    tries = delivery.tries + 1
    if (now - delivery.queued_at).total_seconds() >= patience.give_up_after_s:
        return _parked(delivery, code, message), None
    wait_s = pause_s(patience, tries)
    after = dataclasses.replace(
        delivery,
        state="waiting",
        tries=tries,
        due_at=now + timedelta(seconds=wait_s),
        code=code,
        message=message,
    )
    return after, wait_s


def _after_replies(
    delivery: Delivery,
    replies: Sequence[StoreReply],
    patience: Patience,
    now: datetime,
    *,
    ask_commitment: bool,
) -> tuple[Delivery, float | None]:
    judged = [(_judge(reply), reply) for reply in replies]
    worst = [reply for kind, reply in judged if kind is Reply.REFUSED_FOR_GOOD]
    if worst:
        return _parked(delivery, *_reason(worst[0])), None
    refused = [reply for kind, reply in judged if kind is Reply.REFUSED]
    if not refused:
        due_at = now if ask_commitment else None
        return dataclasses.replace(delivery, state="stored", due_at=due_at, code="", message=""), None
    refusals = delivery.refusals + 1
    delivery = dataclasses.replace(delivery, refusals=refusals)
    if refusals >= patience.refusals:
        return _parked(delivery, *_reason(refused[0])), None
    return _after_failure(delivery, *_reason(refused[0]), patience, now)


def _judge(reply: StoreReply) -> Reply:
    return Reply.REFUSED_FOR_GOOD if reply.status is None else reply_of_status(reply.status)


def _reason(reply: StoreReply) -> tuple[str, str]:
    if reply.status is None:
        return reply.code, reply.message
    return "peer.refused", (
        f"found status 0x{reply.status:04X} for {reply.sop_instance_uid}, expected 0x0000; "
        "ask the administrator of the destination, then run osteoscribe jobs retry"
    )
