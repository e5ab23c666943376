"""How it stands with each destination, at a glance."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from osteoscribe.store.schema import DELIVERIES, DESTINATIONS, from_us

_WAITING = ("queued", "waiting")


def destinations_at_a_glance(connection: sa.Connection) -> list[dict[str, Any]]:
    """State, and what waits and is parked, of every destination that something was ever to go to.

    ``state`` is ``reachable``, ``resting`` (not reached, tried again at ``next_try_at``), ``refusing`` (it
    refuses us, for a person), or ``untried``.
    """
    is_waiting = DELIVERIES.c.state.in_(_WAITING)
    counted = sa.select(
        DELIVERIES.c.destination,
        sa.func.sum(sa.case((is_waiting, 1), else_=0)).label("waiting"),
        sa.func.sum(sa.case((DELIVERIES.c.state == "parked", 1), else_=0)).label("parked"),
        sa.func.min(sa.case((is_waiting, DELIVERIES.c.queued_us))).label("oldest_us"),
    ).group_by(DELIVERIES.c.destination)
    seen = {row["name"]: row for row in connection.execute(sa.select(*DESTINATIONS.c)).mappings()}
    return [
        _glance(row, seen.get(row["destination"]))
        for row in connection.execute(counted.order_by(DELIVERIES.c.destination)).mappings()
    ]


def ends(
    connection: sa.Connection, table: sa.Table, is_good: sa.ColumnElement[bool], good: str
) -> dict[str, int]:
    """Count what is open (has a due time), and how the rest ended."""
    state = sa.case((table.c.due_us.is_not(None), "open"), (is_good, good), else_="parked")
    query = sa.select(state, sa.func.count()).select_from(table).group_by(state)
    return dict(sorted((str(name), int(count)) for name, count in connection.execute(query)))


def _glance(row: sa.RowMapping, reach: sa.RowMapping | None) -> dict[str, Any]:
    return {
        "name": row["destination"],
        "state": _state(reach),
        "waiting": int(row["waiting"]),
        "parked": int(row["parked"]),
        "oldest_waiting_since": _time(row["oldest_us"]),
        "last_answer_at": None if reach is None else _time(reach["reached_us"]),
        "failed_tries": 0 if reach is None else reach["tries"],
        "next_try_at": None if reach is None else _time(reach["due_us"]),
        "code": "" if reach is None else reach["code"],
        "message": "" if reach is None else reach["message"],
    }


def _state(reach: sa.RowMapping | None) -> str:
    if reach is None:
        return "untried"
    if reach["tries"]:
        return "resting"
    return "refusing" if reach["code"] else "reachable"


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else from_us(microseconds).isoformat(timespec="seconds")
