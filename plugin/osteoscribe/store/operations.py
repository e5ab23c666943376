"""What a person may do to jobs and deliveries. The worker takes it up in its next round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import sqlalchemy as sa

from osteoscribe.app.settings import Destination
from osteoscribe.errors import SetupError
from osteoscribe.store.jobs import queue_delivery
from osteoscribe.store.outbox import settle
from osteoscribe.store.removed import is_removed
from osteoscribe.store.schema import DELIVERIES, JOBS, REPORTS, to_us

REMOVED = (
    "nothing: what it needs was removed after the time it is kept (store.keep_days, store.keep_below_mb); "
    "the destinations have its reports, or send CT and marks again"
)
"""What is done with a job whose bytes are gone."""

SHORTEST_KEY = 6
"""Characters of a job's key that are asked for at least."""


class JobActions:
    """Retry, resend and cancel.

    Parameters
    ----------
    engine
        An opened database.
    destinations_for
        Destinations of marks of a calling AE, as the settings say now.
    """

    def __init__(self, engine: sa.Engine, destinations_for: Callable[[str], Sequence[Destination]]) -> None:
        self._engine = engine
        self._destinations_for = destinations_for

    def find(self, start: str) -> str:
        """Return the key of the one job whose key starts so.

        Raises
        ------
        SetupError
            ``job.unknown``, ``job.ambiguous``.
        """
        if len(start) < SHORTEST_KEY:
            raise SetupError(
                "job.unknown", f"found {start!r}, expected {SHORTEST_KEY} or more characters of a key"
            )
        query = sa.select(JOBS.c.key).where(JOBS.c.key.startswith(start, autoescape=True))
        with self._engine.execution_options(reads=True).begin() as connection:
            keys = list(connection.execute(query.limit(2)).scalars())
        if len(keys) != 1:
            code = "job.ambiguous" if keys else "job.unknown"
            raise SetupError(
                code, f"found {'several jobs' if keys else 'no job'} for {start!r}, expected one"
            )
        return str(keys[0])

    def retry(self, key: str, now: datetime) -> str:
        """Measure a failed or cancelled job again, or deliver again what is parked; returns what is done."""
        with self._engine.begin() as connection:
            state = _state(connection, key)
            if is_removed(connection, key):
                return REMOVED
            measured = connection.execute(sa.select(REPORTS.c.id).where(REPORTS.c.job_key == key)).first()
            if state in ("failed", "cancelled") and measured is None:
                connection.execute(
                    JOBS.update()
                    .where(JOBS.c.key == key)
                    .values(state="ready", run=JOBS.c.run + 1, problems="[]", finished_us=None)
                )
                return "measured again"
            return self._queue(connection, key, now, ("parked", "waiting", "cancelled"))

    def parked_for(self, destination: str) -> tuple[str, ...]:
        """Keys of the jobs whose delivery to a destination is parked, the oldest first."""
        query = (
            sa.select(JOBS.c.key)
            .join(DELIVERIES, DELIVERIES.c.job_key == JOBS.c.key)
            .where(DELIVERIES.c.destination == destination, DELIVERIES.c.state == "parked")
            .order_by(JOBS.c.measured_us, JOBS.c.key)
        )
        with self._engine.execution_options(reads=True).begin() as connection:
            return tuple(connection.execute(query).scalars())

    def resend(self, key: str, now: datetime) -> str:
        """Send the reports of a job again, to all its destinations; returns what is done.

        Those that the settings have named since are among them, those that the node no longer finds there
        are not.
        """
        with self._engine.begin() as connection:
            return self._queue(
                connection, key, now, ("parked", "waiting", "cancelled", "stored", "committed")
            )

    def cancel(self, key: str, now: datetime) -> str:
        """Take a job or its deliveries back, as far as they are not done; returns what is done."""
        with self._engine.begin() as connection:
            deliveries = connection.execute(
                DELIVERIES.update()
                .where(DELIVERIES.c.job_key == key, DELIVERIES.c.state.in_(("queued", "waiting", "parked")))
                .values(state="cancelled", due_us=None, updated_us=to_us(now))
            ).rowcount
            open_states = ("ready", "measured", "parked", "failed")
            jobs = connection.execute(
                JOBS.update()
                .where(JOBS.c.key == key, JOBS.c.state.in_(open_states))
                .values(state="cancelled", finished_us=to_us(now))
            ).rowcount
        return "cancelled" if jobs or deliveries else "nothing to cancel"

    def _queue(self, connection: sa.Connection, key: str, now: datetime, states: Sequence[str]) -> str:
        has_reports = connection.execute(sa.select(REPORTS.c.id).where(REPORTS.c.job_key == key)).first()
        if has_reports is None:
            return "nothing to send"
        if is_removed(connection, key):
            return REMOVED
        calling = connection.execute(sa.select(JOBS.c.calling_ae).where(JOBS.c.key == key)).scalar_one()
        names = [destination.name for destination in self._destinations_for(calling)]
        of_job = DELIVERIES.c.job_key == key
        gone = sa.and_(
            sa.literal(bool(names)),
            DELIVERIES.c.code == "delivery.unknown-destination",
            DELIVERIES.c.destination.not_in(names),
        )
        connection.execute(DELIVERIES.update().where(of_job, gone).values(state="cancelled"))
        fresh = {"state": "queued", "tries": 0, "refusals": 0, "asks": 0, "due_us": None}
        times = {"queued_us": to_us(now), "updated_us": to_us(now)}
        again = connection.execute(
            DELIVERIES.update()
            .where(of_job, DELIVERIES.c.state.in_(states), sa.not_(gone))
            .values(round=DELIVERIES.c.round + 1, code="", message="", **fresh, **times)
        ).rowcount
        new = [name for name in names if queue_delivery(connection, key, name, now)]
        if not (again or new):
            settle(connection, key, now)
            return "nothing to send"
        connection.execute(JOBS.update().where(JOBS.c.key == key).values(state="measured", finished_us=None))
        return "queued for delivery"


def _state(connection: sa.Connection, key: str) -> str:
    return str(connection.execute(sa.select(JOBS.c.state).where(JOBS.c.key == key)).scalar_one())
