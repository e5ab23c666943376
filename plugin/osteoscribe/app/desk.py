"""What all work on the deliveries of a destination shares."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.ports import Delivery, JobLedger, StoredObject
from osteoscribe.app.settings import Destination
from osteoscribe.app.work import STORE_PAUSE_S
from osteoscribe.core.delivery import Patience
from osteoscribe.errors import StoreError

LOGGER = logging.getLogger(__name__)

WARNED = "peer.stored-with-warning"
"""Code of a delivery that is stored, and of which the destination said more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where the deliveries of one destination are worked on.

    Parameters
    ----------
    name
        Of the destination.
    destination_named
        Gives the destination of a name.
    """

    name: str
    destination_named: Callable[[str], Destination]
    ledger: JobLedger
    patience: Patience
    now: Callable[[], datetime]


def postponed(what: str, key: str, work: Callable[[], float | None]) -> float | None:
    """Do some work, or say when to try again where the store does not answer."""
    try:
        return work()
    except StoreError as error:
        LOGGER.warning("%s postponed key=%s code=%s", what, key[:12], error.code)
        return STORE_PAUSE_S


def parked(delivery: Delivery, code: str, message: str) -> Delivery:
    """Give the delivery that a person must look at."""
    return dataclasses.replace(
        delivery,
        state="parked",
        tries=delivery.tries + 1,
        due_at=None,
        code=code,
        message=message,
    )


def answered(delivery: Delivery, state: str) -> Delivery:
    """Give the delivery after a destination's good answer; a warning stays to be seen."""
    warned = delivery.code == WARNED
    return dataclasses.replace(
        delivery,
        state=state,
        due_at=None,
        code=delivery.code if warned else "",
        message=delivery.message if warned else "",
    )


def park_bug(desk: Desk, delivery: Delivery, error: Exception) -> None:
    """Park a delivery at which this software failed, and leave the others alone."""
    trace = trace_of(error)
    LOGGER.error("delivery failed key=%s destination=%s bug=%s", delivery.job_key[:12], desk.name, trace)
    message = f"found a fault of this software ({trace}); report it"
    desk.ledger.update_delivery(parked(delivery, "delivery.bug", message), desk.now())


def is_given_up(desk: Desk, delivery: Delivery) -> bool:
    """Whether a delivery has been tried for as long as one is tried."""
    return (desk.now() - delivery.queued_at).total_seconds() >= desk.patience.give_up_after_s


def objects_for(destination: Destination, key: str, ledger: JobLedger) -> tuple[StoredObject, ...]:
    """Give the objects of a job that go to a destination."""
    return tuple(one for one in ledger.objects(key) if (one.profile, one.role) in destination.forms)
