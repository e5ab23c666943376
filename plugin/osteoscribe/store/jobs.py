"""Jobs, reports and deliveries in the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from osteoscribe.app.assure import after_commitment
from osteoscribe.app.ports import (
    CommitmentReport,
    Delivery,
    JobRequest,
    JobResult,
    MadeObject,
    MadeReport,
    RefusedObject,
    StoredObject,
)
from osteoscribe.app.settings import Destination, Form
from osteoscribe.core.report import Problem
from osteoscribe.core.series import BlobRef
from osteoscribe.store.instances import stored_instance
from osteoscribe.store.lesions import earlier_lesions, insert_lesions
from osteoscribe.store.outbox import Outbox, delivery_of, settle, settled_state
from osteoscribe.store.removed import ct_removed_at, removed_marks
from osteoscribe.store.reports import has_objects, insert_reports, new_objects, objects_of, revision
from osteoscribe.store.schema import (
    COMMITMENTS,
    DEATHS,
    DELIVERIES,
    INSTANCES,
    JOB_MARKS,
    JOB_SERIES,
    JOBS,
    QUARANTINE,
    from_us,
    to_us,
)
from osteoscribe.store.series import SeriesTable
from osteoscribe.store.statements import Statement

MOST_DEATHS = 4
"""A job during whose measuring the worker ended so often is left alone; an end from outside hits another."""

DUE_AT_A_TIME = 20
"""Due deliveries of one destination that are looked at: an archive that was away for days has thousands."""

_READY = Statement(
    sa.select(JOBS.c.key, JOBS.c.run).where(JOBS.c.state == "ready").order_by(JOBS.c.planned_us, JOBS.c.key)
)
_STATE = Statement(sa.select(JOBS.c.state).where(JOBS.c.key == sa.bindparam("key")))
_DELIVERY = Statement(
    sa.select(*DELIVERIES.c).where(
        DELIVERIES.c.job_key == sa.bindparam("key"), DELIVERIES.c.destination == sa.bindparam("destination")
    )
)
_PLACED = (
    sa.select(
        *DELIVERIES.c,
        sa.func.row_number()
        .over(partition_by=DELIVERIES.c.destination, order_by=(JOBS.c.measured_us, DELIVERIES.c.job_key))
        .label("place"),
    )
    .join(JOBS, JOBS.c.key == DELIVERIES.c.job_key)
    .where(DELIVERIES.c.state.in_(("queued", "waiting")), JOBS.c.state != "ready")
    .subquery()
)
_DUE = Statement(
    sa.select(_PLACED)
    .where(_PLACED.c.place <= DUE_AT_A_TIME)
    .order_by(_PLACED.c.place, _PLACED.c.destination)
)
_TO_ASK = Statement(
    sa.select(*DELIVERIES.c).where(
        DELIVERIES.c.state == "stored", DELIVERIES.c.due_us <= sa.bindparam("now_us")
    )
)
_JOB = Statement(sa.select(*JOBS.c).where(JOBS.c.key == sa.bindparam("key")))
_SERIES = Statement(
    sa.select(JOB_SERIES.c.series_instance_uid)
    .where(JOB_SERIES.c.job_key == sa.bindparam("key"))
    .order_by(JOB_SERIES.c.series_instance_uid)
)
_MARKS = Statement(
    sa.select(*INSTANCES.c)
    .join(JOB_MARKS, JOB_MARKS.c.instance_id == INSTANCES.c.id)
    .where(JOB_MARKS.c.job_key == sa.bindparam("key"))
    .order_by(INSTANCES.c.id)
)
_RESUMED = Statement(
    JOBS.update()
    .where(JOBS.c.key == sa.bindparam("job_key"), JOBS.c.state.in_(("parked", "done")))
    .values(state="measured", finished_us=None)
)
_MEASURED = Statement(JOBS.update().where(JOBS.c.key == sa.bindparam("job_key")))
_NEW_DELIVERY = {
    "postgresql": Statement(postgresql.insert(DELIVERIES).on_conflict_do_nothing()),
    "sqlite": Statement(sqlite.insert(DELIVERIES).on_conflict_do_nothing()),
}
"""By the database's name; one that is there is left as it is."""
_ASKED = Statement(sa.select(JOBS.c.state, JOBS.c.forms).where(JOBS.c.key == sa.bindparam("key")))


class JobTable(Outbox):
    """Jobs and what became of them (`app.ports.JobLedger`).

    Parameters
    ----------
    engine
        An opened database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(engine)
        self.series = SeriesTable(self._reads)

    def ready(self) -> tuple[tuple[str, int], ...]:
        """Jobs that wait to be measured, oldest first: key and number of the run."""
        with self._reads.begin() as connection:
            return tuple((key, run) for key, run in _READY.tuples(connection))

    def state(self, key: str) -> str:
        """State of a job; empty where there is none of that key."""
        with self._reads.begin() as connection:
            return _STATE.value(connection, {"key": key}) or ""

    def request(self, key: str) -> JobRequest:
        """Everything a job is made from."""
        with self._reads.together(), self._reads.begin() as connection:
            (job,) = _JOB.rows(connection, {"key": key})
            series = _SERIES.column(connection, {"key": key})
            marks = _MARKS.rows(connection, {"key": key})
            images = (self.series.images(uid, job["through_id"]) for uid in series)
            return JobRequest(
                key=key,
                instances=tuple(map(stored_instance, marks)),
                series=tuple(one for one in images if one is not None),
                accepted_at=from_us(job["accepted_us"]),
                calling_ae=job["calling_ae"],
                revisions={uid: revision(connection, key, uid) for uid in series},
                earlier=earlier_lesions(self._reads, key, job["accepted_us"]),
                ct_removed_at=ct_removed_at(connection, key),
                removed_marks=removed_marks(connection, series),
                forms=_forms(job["wanted"]),
            )

    def record(
        self,
        key: str,
        result: JobResult,
        blobs: Mapping[str, BlobRef],
        destinations: Sequence[Destination],
        now: datetime,
    ) -> tuple[str, ...]:
        """Record what a job came to, and queue its delivery, in one transaction.

        A job that could write nothing at all has failed: nobody but its administrator is told. What another
        job has said in the same form is not said again, but goes from there to a destination that lacks it.

        Parameters
        ----------
        blobs
            Where the bytes of each report object lie, by SOP Instance UID.
        destinations
            Where the reports go.

        Returns
        -------
        tuple[str, ...]
            The destinations for which something was queued.
        """
        queued = []
        with self._engine.begin() as connection:
            ((state, forms),) = _ASKED.tuples(connection, {"key": key})
            if state != "ready":
                return ()
            holders = insert_reports(connection, key, result.reports, blobs)
            for report in result.reports:
                insert_lesions(
                    connection, key, report.ct_series_instance_uid, report.patient_key, report.lesions
                )
            for destination in destinations:
                for holder in sorted(set().union(*(holders.get(form, ()) for form in destination.forms))):
                    if queue_delivery(connection, holder, destination.name, now, is_ready=holder == key):
                        queued.append(destination.name)
            if result.quarantined:
                _insert_quarantined(connection, key, result.quarantined, blobs, now)
            is_new = key in set().union(*holders.values()) or has_objects(connection, key)
            values = _outcome(result, is_new=is_new, is_sent=bool(destinations))
            if values["state"] == "measured":
                values["state"] = settled_state(connection, key)
            values["finished_us"] = to_us(now) if values["state"] == "done" else None
            values["forms"] = json.dumps(sorted(_forms(forms) | set(result.forms)))
            _MEASURED.change(connection, {"job_key": key, "measured_us": to_us(now), **values})
        return tuple(queued)

    def fail(self, key: str, problem: Problem, now: datetime) -> None:
        """Park a job that cannot be measured, with its reason."""
        with self._engine.begin() as connection:
            connection.execute(
                JOBS.update()
                .where(JOBS.c.key == key, JOBS.c.state == "ready")
                .values(state="failed", finished_us=to_us(now), problems=_problems_json([problem]))
            )

    def note_death(self, key: str, now: datetime) -> None:
        """Record that a worker ended while it measured a job; park the job that did so too often.

        A worker that was ended together with its node, or to be started again, is none of these.
        """
        with self._engine.begin() as connection:
            run = connection.execute(sa.select(JOBS.c.run).where(JOBS.c.key == key)).scalar()
            if run is None:
                return
            one = (DEATHS.c.job_key == key, DEATHS.c.run == run)
            count = connection.execute(sa.select(DEATHS.c.count).where(*one)).scalar()
            if count is None:
                connection.execute(DEATHS.insert().values(job_key=key, run=run, count=1))
            else:
                connection.execute(DEATHS.update().where(*one).values(count=count + 1))
        if (count or 0) + 1 >= MOST_DEATHS:
            message = (
                f"found that measuring this job ended its process {MOST_DEATHS} times; report it, then run "
                f"osteoscribe jobs retry {key[:12]}"
            )
            self.fail(key, Problem(code="job.ends-its-process", message=message), now)

    def due_deliveries(self) -> tuple[Delivery, ...]:
        """Deliveries that are not at an end, in the order of their jobs; a few of each destination."""
        with self._reads.begin() as connection:
            return tuple(delivery_of(row) for row in _DUE.rows(connection))

    def delivery(self, key: str, destination: str) -> Delivery:
        """One delivery."""
        with self._reads.begin() as connection:
            (row,) = _DELIVERY.rows(connection, {"key": key, "destination": destination})
            return delivery_of(row)

    def update_delivery(self, delivery: Delivery, now: datetime, was: Delivery | None = None) -> None:
        """Record how far a delivery is; ends its job with the last one.

        Parameters
        ----------
        was
            Where the delivery is another now, nothing is recorded: a worker that was taken for dead and comes
            back must not undo what was done in its place.
        """
        unchanged = (
            ()
            if was is None
            else (
                DELIVERIES.c.state == was.state,
                DELIVERIES.c.tries == was.tries,
                DELIVERIES.c.asks == was.asks,
            )
        )
        with self._engine.begin() as connection:
            connection.execute(
                DELIVERIES.update()
                .where(
                    DELIVERIES.c.job_key == delivery.job_key,
                    DELIVERIES.c.destination == delivery.destination,
                    DELIVERIES.c.round == delivery.round,
                    DELIVERIES.c.state != "cancelled",
                    *unchanged,
                )
                .values(
                    state=delivery.state,
                    tries=delivery.tries,
                    refusals=delivery.refusals,
                    asks=delivery.asks,
                    due_us=None if delivery.due_at is None else to_us(delivery.due_at),
                    updated_us=to_us(now),
                    code=delivery.code,
                    message=delivery.message,
                )
            )
            settle(connection, delivery.job_key, now)

    def due_commitments(self, now: datetime) -> tuple[Delivery, ...]:
        """Stored deliveries whose commitment is to be asked for now."""
        with self._reads.begin() as connection:
            return tuple(delivery_of(row) for row in _TO_ASK.rows(connection, {"now_us": to_us(now)}))

    def begin_commitment(
        self, transaction_uid: str, delivery: Delivery, objects: Sequence[StoredObject], now: datetime
    ) -> None:
        """Record a question before it is asked."""
        uids = json.dumps([one.sop_instance_uid for one in objects])
        row = {"job_key": delivery.job_key, "destination": delivery.destination, "round": delivery.round}
        with self._engine.begin() as connection:
            known = sa.select(COMMITMENTS.c.asked_us).where(COMMITMENTS.c.transaction_uid == transaction_uid)
            if connection.execute(known).first() is None:
                times = {"asked_us": to_us(now), "sop_instance_uids": uids}
                connection.execute(
                    COMMITMENTS.insert().values(transaction_uid=transaction_uid, **row, **times)
                )

    def take_commitment(self, report: CommitmentReport, now: datetime) -> bool:
        """Record a destination's answer; False where nobody asked."""
        with self._reads.begin() as connection:
            query = sa.select(*COMMITMENTS.c).where(COMMITMENTS.c.transaction_uid == report.transaction_uid)
            asked = connection.execute(query).mappings().first()
        if asked is None:
            return False
        delivery = self.delivery(asked["job_key"], asked["destination"])
        uids = set(json.loads(asked["sop_instance_uids"]))
        if delivery.state == "stored" and delivery.round == asked["round"]:
            self.update_delivery(after_commitment(delivery, report, uids), now)
        return True

    def objects(self, key: str) -> tuple[StoredObject, ...]:
        """Return the report objects of a job, in the order of their making."""
        with self._reads.begin() as connection:
            return objects_of(connection, key)

    def new_objects(self, report: MadeReport) -> tuple[MadeObject, ...]:
        """Those objects of a report that are not recorded yet, nor one of their form that says the same."""
        with self._reads.begin() as connection:
            return new_objects(connection, report)

    def forms(self, key: str) -> frozenset[Form]:
        """In which forms a job's reports were asked for."""
        with self._reads.begin() as connection:
            ((_state, forms),) = _ASKED.tuples(connection, {"key": key})
            return _forms(forms)

    def make_again(self, key: str, forms: frozenset[Form], now: datetime) -> None:
        """Have a job measured again for forms that it was not asked for; its deliveries wait for that."""
        with self._engine.begin() as connection:
            begun = connection.execute(
                JOBS.update()
                .where(JOBS.c.key == key, JOBS.c.state.in_(("measured", "parked", "done")))
                .values(state="ready", run=JOBS.c.run + 1, finished_us=None, wanted=json.dumps(sorted(forms)))
            ).rowcount
            if begun:
                connection.execute(
                    DELIVERIES.update()
                    .where(DELIVERIES.c.job_key == key, DELIVERIES.c.state.in_(("queued", "waiting")))
                    .values(round=DELIVERIES.c.round + 1, updated_us=to_us(now))
                )


def _insert_quarantined(
    connection: sa.Connection,
    key: str,
    refused: Sequence[RefusedObject],
    blobs: Mapping[str, BlobRef],
    now: datetime,
) -> None:
    """Record what is never sent; what an earlier run of the job recorded stays."""
    of_job = QUARANTINE.c.job_key == key
    known = {
        (row.profile, row.role, row.sop_instance_uid)
        for row in connection.execute(sa.select(*QUARANTINE.c).where(of_job))
    }
    new = [one for one in refused if (one.profile, one.role, one.sop_instance_uid) not in known]
    for number, one in enumerate(new, start=len(known) + 1):
        blob = blobs.get(one.sop_instance_uid) if one.encoded else None
        connection.execute(
            QUARANTINE.insert().values(
                job_key=key,
                number=number,
                profile=one.profile,
                role=one.role,
                sop_instance_uid=one.sop_instance_uid,
                code=one.problem.code,
                message=one.problem.message,
                segment=blob.segment if blob else None,
                offset=blob.offset if blob else None,
                length=blob.length if blob else None,
                made_us=to_us(now),
            )
        )


def _forms(text: str) -> frozenset[Form]:
    return frozenset((profile, role) for profile, role in json.loads(text))


def _outcome(result: JobResult, *, is_new: bool, is_sent: bool) -> dict[str, Any]:
    """State of a job by what it came to, with its findings and problems."""
    if result.problems and not result.reports:
        state = "failed"
    elif is_new:
        state = "measured" if is_sent else "parked"
    else:
        state = "done"
    return {
        "state": state,
        "findings": sum(report.findings for report in result.reports),
        "problems": _problems_json(result.problems),
    }


def queue_delivery(
    connection: sa.Connection, key: str, destination: str, now: datetime, *, is_ready: bool = False
) -> bool:
    """Queue a job's reports for a destination that has no delivery of them yet; False where it has.

    Parameters
    ----------
    is_ready
        Whether the job is just being recorded: another one that was at its end waits for this delivery again.
    """
    values = {
        "job_key": key,
        "destination": destination,
        "state": "queued",
        "round": 0,
        "tries": 0,
        "refusals": 0,
        "asks": 0,
        "queued_us": to_us(now),
        "updated_us": to_us(now),
        "code": "",
        "message": "",
    }
    if not _NEW_DELIVERY[connection.dialect.name].change(connection, values):
        return False
    if not is_ready:
        _RESUMED.change(connection, {"job_key": key})
    return True


def _problems_json(problems: Sequence[Problem]) -> str:
    return json.dumps([{"code": one.code, "message": one.message, "where": one.where} for one in problems])
