"""Read-only questions of the faces to the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from osteoscribe.app.past import ReportedCases
from osteoscribe.store.reach import destinations_at_a_glance, ends
from osteoscribe.store.removed import removed_counts
from osteoscribe.store.schema import (
    DELIVERIES,
    INSTANCES,
    JOBS,
    MARKS,
    NODES,
    PROOFS,
    QUARANTINE,
    QUESTIONS,
    REPORTS,
    from_us,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are listed.

    Parameters
    ----------
    state
        Of the job, or of one of its deliveries; empty: any.
    destination
        Where a delivery of it goes; empty: anywhere or nowhere.
    code
        Of one of its problems or deliveries; empty: any or none.
    most
        How many are listed.
    """

    state: str = ""
    destination: str = ""
    code: str = ""
    most: int = 1000


class StatusView:
    """What the ledger holds, in numbers and lists.

    Parameters
    ----------
    engine
        An opened database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._reads = engine.execution_options(reads=True)

    def counts(self) -> dict[str, Any]:
        """Count instances, marks, findings, problems, and jobs and deliveries by state; name the nodes."""
        with self._reads.begin() as connection:
            problems = connection.execute(sa.select(JOBS.c.problems)).scalars()
            return {
                "instances": connection.execute(
                    sa.select(sa.func.count()).select_from(INSTANCES).where(INSTANCES.c.segment != "")
                ).scalar_one(),
                "marks": connection.execute(
                    sa.select(sa.func.count()).select_from(MARKS).where(MARKS.c.state != "own")
                ).scalar_one(),
                "findings": connection.execute(sa.select(sa.func.sum(JOBS.c.findings))).scalar_one() or 0,
                "problems": sum(len(json.loads(text)) for text in problems),
                "reports": _count(connection, REPORTS),
                "quarantined": _count(connection, QUARANTINE),
                "jobs": _by_state(connection, JOBS),
                "deliveries": _by_state(connection, DELIVERIES),
                "proofs": ends(connection, PROOFS, PROOFS.c.proved_us.is_not(None), "proved"),
                "safekeeping": ends(connection, QUESTIONS, QUESTIONS.c.code == "", "answered"),
                "destinations": destinations_at_a_glance(connection),
                "marks_by_state": _by_state(connection, MARKS),
                "removed": removed_counts(connection),
                "nodes": [
                    {"name": row["name"], "workers": row["workers"], "last_beat_at": _time(row["beat_us"])}
                    for row in connection.execute(sa.select(*NODES.c).order_by(NODES.c.name)).mappings()
                ],
            }

    def jobs(self, wanted: JobFilter | None = None) -> list[dict[str, Any]]:
        """List jobs, the newest first."""
        wanted = wanted or JobFilter()
        query = sa.select(*JOBS.c).where(*_conditions(wanted))
        query = query.order_by(JOBS.c.planned_us.desc(), JOBS.c.key).limit(wanted.most)
        with self._reads.begin() as connection:
            rows = list(connection.execute(query).mappings())
            return [_job(connection, row) for row in rows]

    def job(self, key: str) -> dict[str, Any]:
        """Show one job."""
        with self._reads.begin() as connection:
            row = connection.execute(sa.select(*JOBS.c).where(JOBS.c.key == key)).mappings().one()
            return _job(connection, row)

    def reported_cases(self) -> tuple[ReportedCases, ...]:
        """Findings of the newest report of each CT series, in the order of their making."""
        query = sa.select(*REPORTS.c).where(REPORTS.c.summary != "{}").order_by(REPORTS.c.id.desc())
        newest: dict[str, ReportedCases] = {}
        with self._reads.begin() as connection:
            for row in connection.execute(query).mappings():
                newest.setdefault(
                    row["ct_series_instance_uid"],
                    ReportedCases(
                        job_key=row["job_key"],
                        study_instance_uid=row["study_instance_uid"],
                        findings=tuple(json.loads(row["summary"]).get("findings", ())),
                    ),
                )
        return tuple(reversed(newest.values()))


def _conditions(wanted: JobFilter) -> list[sa.ColumnElement[bool]]:
    def has_delivery(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return sa.exists().where(DELIVERIES.c.job_key == JOBS.c.key, *conditions)

    at = [DELIVERIES.c.destination == wanted.destination] if wanted.destination else []
    conditions = [has_delivery(*at)] if at else []
    if wanted.state:
        of_delivery = has_delivery(DELIVERIES.c.state == wanted.state, *at)
        conditions.append(of_delivery if at else sa.or_(JOBS.c.state == wanted.state, of_delivery))
    if wanted.code:
        of_delivery = has_delivery(DELIVERIES.c.code == wanted.code, *at)
        in_problems = JOBS.c.problems.contains(json.dumps(wanted.code), autoescape=True)
        conditions.append(of_delivery if at else sa.or_(in_problems, of_delivery))
    return conditions


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _by_state(connection: sa.Connection, table: sa.Table) -> dict[str, int]:
    query = sa.select(table.c.state, sa.func.count()).group_by(table.c.state).order_by(table.c.state)
    return {row[0]: row[1] for row in connection.execute(query)}


def _job(connection: sa.Connection, row: sa.RowMapping) -> dict[str, Any]:
    deliveries = connection.execute(
        sa.select(*DELIVERIES.c).where(DELIVERIES.c.job_key == row["key"]).order_by(DELIVERIES.c.destination)
    ).mappings()
    reports = connection.execute(
        sa.select(*REPORTS.c).where(REPORTS.c.job_key == row["key"]).order_by(REPORTS.c.id)
    ).mappings()
    quarantined = connection.execute(
        sa.select(*QUARANTINE.c).where(QUARANTINE.c.job_key == row["key"]).order_by(QUARANTINE.c.number)
    ).mappings()
    return {
        "key": row["key"],
        "state": row["state"],
        "calling_ae": row["calling_ae"],
        "accepted_at": _time(row["accepted_us"]),
        "planned_at": _time(row["planned_us"]),
        "measured_at": _time(row["measured_us"]),
        "finished_at": _time(row["finished_us"]),
        "findings": row["findings"],
        "problems": json.loads(row["problems"]),
        "reports": [
            {
                "profile": one["profile"],
                "role": one["role"],
                "sop_instance_uid": one["sop_instance_uid"],
                "study_instance_uid": one["study_instance_uid"],
                "ct_series_instance_uid": one["ct_series_instance_uid"],
                **json.loads(one["summary"]),
            }
            for one in reports
        ],
        "quarantined": [
            {
                "profile": one["profile"],
                "role": one["role"],
                "sop_instance_uid": one["sop_instance_uid"],
                "code": one["code"],
                "message": one["message"],
                "bytes": one["length"] or 0,
            }
            for one in quarantined
        ],
        "deliveries": [
            {
                "destination": one["destination"],
                "state": one["state"],
                "tries": one["tries"],
                "next_try_at": _time(one["due_us"]),
                **_proof(connection, one),
                "code": one["code"],
                "message": one["message"],
            }
            for one in deliveries
        ],
    }


def _proof(connection: sa.Connection, delivery: sa.RowMapping) -> dict[str, Any]:
    """When the destination showed what it stored, or why not yet; nothing where it is not asked."""
    query = sa.select(*PROOFS.c).where(
        PROOFS.c.job_key == delivery["job_key"],
        PROOFS.c.destination == delivery["destination"],
        PROOFS.c.round == delivery["round"],
    )
    found = connection.execute(query).mappings().first()
    if found is None:
        return {}
    return {
        "proved_at": _time(found["proved_us"]),
        "looks": found["looks"],
        "next_look_at": _time(found["due_us"]),
        "not_proved": found["message"],
    }


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else from_us(microseconds).isoformat(timespec="milliseconds")
