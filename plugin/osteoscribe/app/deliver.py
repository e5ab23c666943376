"""Send what waits for a destination. It may be repeated at any point without doubling anything."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.desk import WARNED, Desk, is_given_up, objects_for, park_bug, parked, postponed
from osteoscribe.app.ports import (
    Delivery,
    EncodedObject,
    JobLedger,
    Proof,
    Reach,
    Sender,
    StoredObject,
    StoreReply,
)
from osteoscribe.app.settings import Destination, Form
from osteoscribe.app.work import STORE_PAUSE_S
from osteoscribe.core.delivery import Reply, is_warning, meaning_of_status, pause_s
from osteoscribe.core.series import ReadBytes
from osteoscribe.errors import BusyError, PeerError, RefusedError, SetupError, StoreError

LOGGER = logging.getLogger(__name__)

MOST_JOBS = 100
"""Jobs whose reports go over one association."""
MOST_BYTES = 64_000_000
"""Reports that are held in memory to be sent."""
LONGEST_REST_S = 3600.0
"""A destination rests no longer, whatever it asks for and however the clock was set meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    """A delivery with what it has to bring."""

    delivery: Delivery
    objects: tuple[EncodedObject, ...]


def deliver(
    key: str,
    desk: Desk,
    *,
    sender: Sender,
    read: ReadBytes,
) -> float | None:
    """Try once to deliver what waits for a destination, the oldest first, over one association.

    After a failed try the destination rests, with all that waits for it: however much that is, there is one
    try for each pause.

    Parameters
    ----------
    key
        The job whose delivery comes to its end by this, sooner or later.

    Returns
    -------
    float or None
        Seconds to wait before the next try, or None where the delivery of this job is at its end.
    """

    def work() -> float | None:
        if not is_open(key, desk.name, desk.ledger):
            return None
        wait_s = send_waiting(desk, sender=sender, read=read)
        return wait_s if is_open(key, desk.name, desk.ledger) else None

    return postponed("delivery", key, work)


def is_open(key: str, destination: str, ledger: JobLedger) -> bool:
    """Whether there is something to deliver; a job that is measured again gets a new round after that."""
    with ledger.reading():
        state = ledger.delivery(key, destination).state
        return state in ("queued", "waiting") and ledger.state(key) != "ready"


def send_waiting(desk: Desk, *, sender: Sender, read: ReadBytes) -> float:
    """Try once to deliver what waits for a destination, unless it rests; gives the pause before another try.

    Raises
    ------
    StoreError
        The ledger does not answer.
    """
    with desk.ledger.reading():
        reach = desk.ledger.reach(desk.name)
        rest_s = _rest_s(reach, desk.now())
        if rest_s > 0:
            return rest_s
        # Whether it is back, one report shows as well as a hundred.
        batch = _loaded(desk, read, most=1 if reach.tries else MOST_JOBS)
    return _push(desk, batch, sender) if batch else STORE_PAUSE_S


def _rest_s(reach: Reach, now: datetime) -> float:
    rest_s = 0.0 if reach.due_at is None else (reach.due_at - now).total_seconds()
    # A longer one comes of a clock that was set back.
    return rest_s if rest_s <= LONGEST_REST_S else 0.0


def _loaded(desk: Desk, read: ReadBytes, *, most: int) -> list[_Load]:
    """What goes next; what cannot be sent now is dealt with on the way."""
    batch: list[_Load] = []
    size = 0
    for delivery in desk.ledger.waiting(desk.name, MOST_JOBS):
        if len(batch) == most:
            break
        try:
            load = _load(desk, delivery, read)
        except StoreError as error:
            LOGGER.warning("delivery postponed key=%s code=%s", delivery.job_key[:12], error.code)
            continue
        except SetupError as error:
            empty = _Load(delivery=delivery, objects=())
            _record(desk, empty, parked(delivery, error.code, error.message))
            continue
        if load is None:
            continue
        size += sum(len(one.encoded) for one in load.objects)
        if batch and size > MOST_BYTES:
            break
        batch.append(load)
    return batch


def _load(desk: Desk, delivery: Delivery, read: ReadBytes) -> _Load | None:
    """A delivery with its objects; None where they are made first, or nothing of them is wanted.

    Raises
    ------
    SetupError
        ``delivery.unknown-destination``, ``delivery.not-made``.
    StoreError
        They cannot be read now.
    """
    destination = desk.destination_named(desk.name)
    if missing := destination.forms - desk.ledger.forms(delivery.job_key):
        _make_again(delivery.job_key, destination, missing, desk.ledger, desk.now())
        return None
    stored = objects_for(destination, delivery.job_key, desk.ledger)
    load = _Load(delivery=delivery, objects=tuple(_encoded(one, read) for one in stored))
    if stored:
        return load
    nothing = dataclasses.replace(delivery, state="cancelled", due_at=None, code="delivery.nothing-wanted")
    _record(desk, load, nothing)
    return None


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


def _push(desk: Desk, batch: Sequence[_Load], sender: Sender) -> float:
    """Send a batch and record what comes of it, job by job; returns the pause before the next."""
    left = list(batch)
    pauses = [0.0]
    try:
        destination = desk.destination_named(desk.name)
        for replies in _replies(destination, batch, sender):
            after, wait_s = _after_replies(left[0].delivery, replies, destination, desk)
            pauses.append(wait_s)
            if after.state == "stored" and destination.prove_by_query:
                desk.ledger.begin_proof(_proof(after, desk.now()))
            _record(desk, left.pop(0), after)
    except StoreError:
        raise
    except (RefusedError, SetupError) as error:
        for load in left:
            _record(desk, load, parked(load.delivery, error.code, error.message))
        return _note(desk, pauses, error)
    except PeerError as error:
        if left:
            return _rest(desk, left[0], error)
    except Exception as error:  # noqa: BLE001  a bug parks one delivery and leaves the others alone
        if not left:
            LOGGER.error("delivered, then destination=%s bug=%s", desk.name, trace_of(error))
        elif len(batch) > 1:
            return _push(desk, left[:1], sender)
        else:
            park_bug(desk, left[0].delivery, error)
    return _note(desk, pauses)


def _replies(
    destination: Destination, batch: Sequence[_Load], sender: Sender
) -> Iterator[tuple[StoreReply, ...]]:
    """Replies of each job's objects, as they come."""
    objects = [one for load in batch for one in load.objects]
    replies = iter(sender.send(destination, objects))
    for load in batch:
        of_job = tuple(itertools.islice(replies, len(load.objects)))
        if len(of_job) < len(load.objects):
            raise AssertionError("a sender gives one reply for each object")
        yield of_job
    # A sender takes its leave after the last reply: some archives take an abort for an incomplete study.
    for _ in replies:
        raise AssertionError("a sender gives one reply for each object")


def _record(desk: Desk, load: _Load, after: Delivery) -> None:
    desk.ledger.update_delivery(after, desk.now(), was=load.delivery)
    LOGGER.info(
        "delivery key=%s destination=%s objects=%d state=%s tries=%d code=%s",
        after.job_key[:12],
        desk.name,
        len(load.objects),
        after.state,
        after.tries,
        after.code or "none",
    )


def _note(desk: Desk, pauses: Sequence[float], error: PeerError | SetupError | None = None) -> float:
    """Note that a destination answered, or refuses us; returns the pause before it is tried again."""
    wait_s, now = max(pauses), desk.now()
    reach = Reach(reached_at=now, due_at=now + timedelta(seconds=wait_s) if wait_s else None)
    if error is not None:
        reached_at = desk.ledger.reach(desk.name).reached_at
        reach = dataclasses.replace(reach, reached_at=reached_at, code=error.code, message=error.message)
    desk.ledger.update_reach(desk.name, reach)
    return wait_s


def _rest(desk: Desk, load: _Load, error: PeerError) -> float:
    """Let a destination rest that cannot be reached; the delivery that found it so tells why."""
    before, now = desk.ledger.reach(desk.name), desk.now()
    wait_s = pause_s(desk.patience, before.tries + 1)
    if isinstance(error, BusyError):
        wait_s = min(max(wait_s, error.retry_after_s), LONGEST_REST_S)
    reach = Reach(
        tries=before.tries + 1,
        due_at=now + timedelta(seconds=wait_s),
        reached_at=before.reached_at,
        code=error.code,
        message=error.message,
    )
    _record(desk, load, _after_failure(load.delivery, error, wait_s, desk))
    desk.ledger.update_reach(desk.name, reach)
    LOGGER.info("destination rests destination=%s code=%s next_try_s=%.1f", desk.name, error.code, wait_s)
    return wait_s


def _after_failure(delivery: Delivery, error: PeerError, wait_s: float, desk: Desk) -> Delivery:
    if is_given_up(desk, delivery):
        return parked(delivery, error.code, error.message)
    return dataclasses.replace(
        delivery,
        state="waiting",
        tries=delivery.tries + 1,
        due_at=desk.now() + timedelta(seconds=wait_s),
        code=error.code,
        message=error.message,
    )


def _after_replies(
    delivery: Delivery, replies: Sequence[StoreReply], destination: Destination, desk: Desk
) -> tuple[Delivery, float]:
    """Delivery after the answers to its objects, and the pause that the destination needs."""
    judged = [(_judge(reply), reply) for reply in replies]
    worst = [reply for kind, reply in judged if kind is Reply.REFUSED_FOR_GOOD]
    if worst:
        return parked(delivery, *_reason(worst[0])), 0.0
    refused = [reply for kind, reply in judged if kind is Reply.REFUSED]
    if not refused:
        return _after_storing(delivery, replies, destination, desk.now()), 0.0
    code, message = _reason(refused[0])
    delivery = dataclasses.replace(delivery, refusals=delivery.refusals + 1)
    if delivery.refusals >= desk.patience.refusals:
        return parked(delivery, code, message), 0.0
    wait_s = pause_s(desk.patience, delivery.refusals)
    return _after_failure(delivery, PeerError(code, message), wait_s, desk), wait_s


def _after_storing(
    delivery: Delivery, replies: Sequence[StoreReply], destination: Destination, now: datetime
) -> Delivery:
    warnings = [reply for reply in replies if reply.status is not None and is_warning(reply.status)]
    asks = destination.ask_commitment and not destination.url
    return dataclasses.replace(
        delivery,
        state="stored",
        due_at=now if asks else None,
        code=WARNED if warnings else "",
        message="; ".join(_words(reply) for reply in warnings),
    )


def _proof(delivery: Delivery, now: datetime) -> Proof:
    return Proof(
        job_key=delivery.job_key,
        destination=delivery.destination,
        round=delivery.round,
        since=now,
        due_at=now,
    )


def _judge(reply: StoreReply) -> Reply:
    if reply.status is None:
        return Reply.REFUSED if reply.passing else Reply.REFUSED_FOR_GOOD
    return meaning_of_status(reply.status).reply


def _words(reply: StoreReply) -> str:
    status = reply.status or 0
    return f"found status 0x{status:04X} ({meaning_of_status(status).words}) for {reply.sop_instance_uid}"


def _reason(reply: StoreReply) -> tuple[str, str]:
    if reply.status is None:
        return reply.code, reply.message
    return "peer.refused", (
        f"{_words(reply)}, expected 0x0000; ask the administrator of the destination, then run osteoscribe "
        "jobs retry"
    )


def _encoded(stored: StoredObject, read: ReadBytes) -> EncodedObject:
    return EncodedObject(
        sop_class_uid=stored.sop_class_uid,
        sop_instance_uid=stored.sop_instance_uid,
        transfer_syntax_uid=stored.transfer_syntax_uid,
        encoded=read(stored.blob, 0, stored.blob.length),
    )
