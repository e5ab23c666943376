"""After storing: ask for safekeeping, and look whether the reports are where they belong.

Each may be repeated at any point without doubling anything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Sequence, Set
from datetime import timedelta

from osteoscribe.app.desk import Desk, answered, is_given_up, objects_for, park_bug, parked, postponed
from osteoscribe.app.ports import (
    CommitmentReport,
    Committer,
    Delivery,
    Place,
    Proof,
    Prover,
    StoredObject,
)
from osteoscribe.core.delivery import pause_s
from osteoscribe.core.series import ReadBytes
from osteoscribe.errors import PeerError, RefusedError, SetupError, StoreError
from osteoscribe.readers.headers import read_header

LOGGER = logging.getLogger(__name__)


def ask_commitment(
    key: str,
    desk: Desk,
    *,
    committer: Committer,
) -> float | None:
    """Ask once for the safekeeping of a job's reports; the answer is recorded when it comes.

    Returns
    -------
    float or None
        Seconds to wait before another try (the store cannot be read or written), or None at the end.
    """
    return _at_the_edge("commitment", key, desk, lambda: _ask_commitment(key, desk, committer))


def _at_the_edge(what: str, key: str, desk: Desk, work: Callable[[], None]) -> float | None:
    """Do some work; a store that does not answer postpones it, a bug parks its delivery."""

    def guarded() -> None:
        try:
            work()
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  a bug parks this delivery and leaves the others alone
            park_bug(desk, desk.ledger.delivery(key, desk.name), error)

    return postponed(what, key, guarded)


def _ask_commitment(key: str, desk: Desk, committer: Committer) -> None:
    ledger, patience, now = desk.ledger, desk.patience, desk.now
    delivery = ledger.delivery(key, desk.name)
    if delivery.state != "stored" or delivery.due_at is None or delivery.due_at > now():
        return
    if delivery.asks >= patience.commitment_asks:
        message = (
            f"found no answer to {delivery.asks} questions for storage commitment; ask the administrator of "
            "the destination, or turn ask_commitment off for it"
        )
        ledger.update_delivery(parked(delivery, "peer.commitment-silent", message), now())
        return
    # A new transaction for each question, on disk before it is asked: the answer can come first.
    asked = dataclasses.replace(
        delivery, asks=delivery.asks + 1, due_at=now() + timedelta(seconds=patience.commitment_wait_s)
    )
    transaction_uid = _transaction_uid(asked)
    try:
        destination = desk.destination_named(desk.name)
        objects = objects_for(destination, key, ledger)
        ledger.begin_commitment(transaction_uid, asked, objects, now())
        ledger.update_delivery(asked, now())
        committer.ask(destination, transaction_uid, objects)
    except (RefusedError, SetupError) as error:
        ledger.update_delivery(parked(asked, error.code, error.message), now())
    except PeerError as error:
        wait_s = pause_s(patience, asked.tries + 1)
        again = dataclasses.replace(
            delivery,
            tries=asked.tries + 1,
            due_at=now() + timedelta(seconds=wait_s),
            code=error.code,
            message=error.message,
        )
        if is_given_up(desk, delivery):
            again = parked(delivery, error.code, error.message)
        ledger.update_delivery(again, now())
    after = ledger.delivery(key, desk.name)
    LOGGER.info(
        "commitment key=%s destination=%s state=%s asks=%d code=%s",
        key[:12],
        desk.name,
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
        return answered(delivery, "committed")
    reasons = ", ".join(f"0x{report.failed[uid]:04X} for {uid}" for uid in sorted(uids & set(report.failed)))
    message = (
        f"found the safekeeping refused ({reasons or 'without a reason'}); ask the administrator of the "
        "destination, then run osteoscribe jobs resend"
    )
    return parked(delivery, "peer.not-committed", message)


def _transaction_uid(delivery: Delivery) -> str:
    """UID made from the question itself (PS3.5 B.2): repeated after a crash it is the same question."""
    text = f"{delivery.job_key} {delivery.destination} {delivery.round} {delivery.asks} {delivery.tries}"
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def prove(
    key: str,
    desk: Desk,
    *,
    prover: Prover,
    read: ReadBytes,
) -> float | None:
    """Look once whether a destination has a job's reports in the study and series that they belong to.

    Returns
    -------
    float or None
        Seconds to wait before another try (the store cannot be read or written), or None at the end.
    """
    return _at_the_edge("proof", key, desk, lambda: _prove(key, desk, prover, read))


def _prove(key: str, desk: Desk, prover: Prover, read: ReadBytes) -> None:
    proof = desk.ledger.proof(key, desk.name)
    if proof is None or proof.due_at is None:
        return
    proof = dataclasses.replace(proof, looks=proof.looks + 1)
    waited_s = (desk.now() - proof.since).total_seconds()
    try:
        destination = desk.destination_named(desk.name)
        places = [_place(one, read) for one in objects_for(destination, key, desk.ledger)]
        found = prover.found(destination, places)
    except (RefusedError, SetupError) as error:
        after = _unproved(proof, error.code, error.message, desk, is_last=True)
    except PeerError as error:
        is_last = waited_s >= desk.patience.give_up_after_s
        after = _unproved(proof, error.code, error.message, desk, is_last=is_last)
    else:
        absent = [one for one in places if one.sop_instance_uid not in found]
        after = _after_look(proof, absent, desk, is_last=waited_s >= desk.patience.proof_wait_s)
    desk.ledger.update_proof(after, desk.now(), is_parked=after.due_at is None and after.proved_at is None)
    LOGGER.info(
        "proof key=%s destination=%s proved=%s looks=%d code=%s",
        key[:12],
        desk.name,
        after.proved_at is not None,
        after.looks,
        after.code or "none",
    )


def _after_look(proof: Proof, absent: Sequence[Place], desk: Desk, *, is_last: bool) -> Proof:
    if not absent:
        return dataclasses.replace(proof, due_at=None, proved_at=desk.now(), code="", message="")
    one = absent[0]
    message = (
        f"found {len(absent)} of the stored objects missing: {one.sop_instance_uid} is not in series "
        f"{one.series_instance_uid} of study {one.study_instance_uid}; ask the administrator of the "
        "destination where it went, then run osteoscribe jobs retry"
    )
    return _unproved(proof, "peer.not-found-in-study", message, desk, is_last=is_last)


def _unproved(proof: Proof, code: str, message: str, desk: Desk, *, is_last: bool) -> Proof:
    """Proof after a look that proved nothing: another follows, after a growing pause."""
    due_at = desk.now() + timedelta(seconds=pause_s(desk.patience, proof.looks))
    return dataclasses.replace(proof, due_at=None if is_last else due_at, code=code, message=message)


def _place(stored: StoredObject, read: ReadBytes) -> Place:
    header = read_header(
        read(stored.blob, 0, stored.blob.length), transfer_syntax_uid=stored.transfer_syntax_uid
    )
    return Place(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
    )
