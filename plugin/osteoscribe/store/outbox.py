"""What waits for each destination, how it was reached, and what it showed of what it stored."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from osteoscribe.app.ports import Delivery, Proof, Reach
from osteoscribe.store.reads import Reads
from osteoscribe.store.schema import DELIVERIES, DESTINATIONS, JOBS, PROOFS, from_us, to_us
from osteoscribe.store.statements import Row, Statement

_WAITING = Statement(
    sa.select(*DELIVERIES.c)
    .join(JOBS, JOBS.c.key == DELIVERIES.c.job_key)
    .where(DELIVERIES.c.destination == sa.bindparam("destination"))
    .where(DELIVERIES.c.state.in_(("queued", "waiting")), JOBS.c.state != "ready")
    .order_by(JOBS.c.measured_us, DELIVERIES.c.job_key)
    .limit(sa.bindparam("most"))
)
_REACH = Statement(sa.select(*DESTINATIONS.c).where(DESTINATIONS.c.name == sa.bindparam("destination")))
_NEW_REACH = Statement(DESTINATIONS.insert())
_REACHED = Statement(DESTINATIONS.update().where(DESTINATIONS.c.name == sa.bindparam("destination")))
_PROOFS = (
    sa.select(*PROOFS.c)
    .join(
        DELIVERIES,
        sa.and_(
            DELIVERIES.c.job_key == PROOFS.c.job_key,
            DELIVERIES.c.destination == PROOFS.c.destination,
            DELIVERIES.c.round == PROOFS.c.round,
        ),
    )
    .where(DELIVERIES.c.state.in_(("stored", "committed")))
    .order_by(PROOFS.c.due_us)
)
"""Proofs of deliveries that are stored, in their newest round."""
_DUE_PROOFS = Statement(_PROOFS.where(PROOFS.c.due_us <= sa.bindparam("now_us")))
_PROOF = Statement(
    _PROOFS.where(
        PROOFS.c.job_key == sa.bindparam("key"), PROOFS.c.destination == sa.bindparam("destination")
    )
)
_UNPROVED = Statement(_PROOFS.where(PROOFS.c.job_key == sa.bindparam("key"), PROOFS.c.due_us.is_not(None)))
_STATES = Statement(
    sa.select(DELIVERIES.c.state, DELIVERIES.c.due_us).where(DELIVERIES.c.job_key == sa.bindparam("key"))
)
_SETTLED = Statement(
    JOBS.update().where(
        JOBS.c.key == sa.bindparam("job_key"), JOBS.c.state.in_(("measured", "parked", "done"))
    )
)


class Outbox:
    """The part of `JobTable` that looks at deliveries by destination.

    Parameters
    ----------
    engine
        An opened database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reads = Reads(engine)

    def reading(self) -> AbstractContextManager[None]:
        """Read everything in the block in one transaction."""
        return self._reads.together()

    def waiting(self, destination: str, most: int) -> tuple[Delivery, ...]:
        """Deliveries to a destination that are not at an end, the oldest first."""
        with self._reads.begin() as connection:
            rows = _WAITING.rows(connection, {"destination": destination, "most": most})
            return tuple(map(delivery_of, rows))

    def reach(self, destination: str) -> Reach:
        """How a destination was reached last."""
        with self._reads.begin() as connection:
            rows = _REACH.rows(connection, {"destination": destination})
        if not rows:
            return Reach()
        (row,) = rows
        return Reach(
            tries=row["tries"],
            due_at=_time(row["due_us"]),
            reached_at=_time(row["reached_us"]),
            code=row["code"],
            message=row["message"],
        )

    def update_reach(self, destination: str, reach: Reach) -> None:
        """Record how a destination was reached."""
        values = {
            "tries": reach.tries,
            "due_us": _us(reach.due_at),
            "reached_us": _us(reach.reached_at),
            "code": reach.code,
            "message": reach.message,
        }
        with self._engine.begin() as connection:
            if not _REACHED.change(connection, {"destination": destination, **values}):
                _NEW_REACH.change(connection, {"name": destination, **values})

    def begin_proof(self, proof: Proof) -> None:
        """Record that a look is due once the delivery is stored; nothing where that is recorded."""
        with self._engine.begin() as connection:
            known = sa.select(PROOFS.c.looks).where(*_is_proof(proof))
            if connection.execute(known).first() is None:
                key = {"job_key": proof.job_key, "destination": proof.destination, "round": proof.round}
                connection.execute(PROOFS.insert().values(**key, **_values(proof)))

    def proof(self, key: str, destination: str) -> Proof | None:
        """The proof of a delivery's newest round."""
        with self._reads.begin() as connection:
            rows = _PROOF.rows(connection, {"key": key, "destination": destination})
        return next(map(_proof, rows), None)

    def update_proof(self, proof: Proof, now: datetime, *, is_parked: bool) -> None:
        """Record a look; parks the delivery with the same reason where it was the last."""
        with self._engine.begin() as connection:
            connection.execute(PROOFS.update().where(*_is_proof(proof)).values(_values(proof)))
            if is_parked:
                connection.execute(
                    DELIVERIES.update()
                    .where(
                        DELIVERIES.c.job_key == proof.job_key,
                        DELIVERIES.c.destination == proof.destination,
                        DELIVERIES.c.round == proof.round,
                        DELIVERIES.c.state.in_(("stored", "committed")),
                    )
                    .values(
                        state="parked",
                        due_us=None,
                        updated_us=to_us(now),
                        code=proof.code,
                        message=proof.message,
                    )
                )
            settle(connection, proof.job_key, now)

    def due_proofs(self, now: datetime) -> tuple[Proof, ...]:
        """Proofs whose next look is due."""
        with self._reads.begin() as connection:
            return tuple(map(_proof, _DUE_PROOFS.rows(connection, {"now_us": to_us(now)})))


def settle(connection: sa.Connection, key: str, now: datetime) -> None:
    """Set the state of a job by those of its deliveries, and end it with the last one."""
    state = settled_state(connection, key)
    finished_us = to_us(now) if state == "done" else None
    _SETTLED.change(connection, {"job_key": key, "state": state, "finished_us": finished_us})


def settled_state(connection: sa.Connection, key: str) -> str:
    """State of a measured job by those of its deliveries."""
    rows = _STATES.tuples(connection, {"key": key})
    states = {state for state, _ in rows}
    # A stored delivery with a due time still waits for its commitment.
    awaited = any(state == "stored" and due is not None for state, due in rows)
    if states & {"queued", "waiting"} or awaited or _UNPROVED.first(connection, {"key": key}) is not None:
        return "measured"
    return "parked" if "parked" in states else "done"


def delivery_of(row: Row) -> Delivery:
    """Delivery of its row."""
    return Delivery(
        job_key=row["job_key"],
        destination=row["destination"],
        state=row["state"],
        round=row["round"],
        tries=row["tries"],
        refusals=row["refusals"],
        asks=row["asks"],
        queued_at=from_us(row["queued_us"]),
        due_at=_time(row["due_us"]),
        code=row["code"],
        message=row["message"],
    )


def _is_proof(proof: Proof) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        PROOFS.c.job_key == proof.job_key,
        PROOFS.c.destination == proof.destination,
        PROOFS.c.round == proof.round,
    )


def _values(proof: Proof) -> dict[str, Any]:
    return {
        "since_us": to_us(proof.since),
        "due_us": _us(proof.due_at),
        "looks": proof.looks,
        "proved_us": _us(proof.proved_at),
        "code": proof.code,
        "message": proof.message,
    }


def _proof(row: Row) -> Proof:
    return Proof(
        job_key=row["job_key"],
        destination=row["destination"],
        round=row["round"],
        since=from_us(row["since_us"]),
        due_at=_time(row["due_us"]),
        looks=row["looks"],
        proved_at=_time(row["proved_us"]),
        code=row["code"],
        message=row["message"],
    )


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_us(microseconds)


def _us(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)
