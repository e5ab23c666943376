"""Jobs, reports and deliveries in the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from osteoscribe.app.assure import after_commitment
from osteoscribe.app.ports import (
    CommitmentReport,
    Delivery,
    JobRequest,
    JobResult,
    MadeReport,
    StoredObject,
)
from osteoscribe.core.report import Predecessor, Problem
from osteoscribe.core.series import BlobRef
from osteoscribe.readers.headers import StoredInstance
from osteoscribe.store.instances import stored_instance
from osteoscribe.store.lesions import earlier_lesions, insert_lesions
from osteoscribe.store.outbox import Outbox, delivery_of, settle
from osteoscribe.store.schema import (
    COMMITMENTS,
    DELIVERIES,
    INSTANCES,
    JOB_MARKS,
    JOB_SERIES,
    JOBS,
    REPORTS,
    from_us,
    to_us,
)


class JobTable(Outbox):
    """Jobs and what became of them (`app.ports.JobLedger`).

    Parameters
    ----------
    engine
        An opened database.
    """

    def ready(self) -> tuple[tuple[str, int], ...]:
        """Jobs that wait to be measured, oldest first: key and number of the run."""
        query = sa.select(JOBS.c.key, JOBS.c.run).where(JOBS.c.state == "ready")
        with self._reads.begin() as connection:
            rows = connection.execute(query.order_by(JOBS.c.planned_us, JOBS.c.key))
            return tuple((key, run) for key, run in rows)

    def state(self, key: str) -> str:
        """State of a job; empty where there is none of that key."""
        with self._reads.begin() as connection:
            return connection.execute(sa.select(JOBS.c.state).where(JOBS.c.key == key)).scalar() or ""

    def request(self, key: str) -> JobRequest:
        """Everything a job is made from."""
        with self._reads.begin() as connection:
            job = connection.execute(sa.select(*JOBS.c).where(JOBS.c.key == key)).mappings().one()
            series = list(
                connection.execute(
                    sa.select(JOB_SERIES.c.series_instance_uid).where(JOB_SERIES.c.job_key == key)
                ).scalars()
            )
            marks = connection.execute(
                sa.select(*INSTANCES.c)
                .join(JOB_MARKS, JOB_MARKS.c.instance_id == INSTANCES.c.id)
                .where(JOB_MARKS.c.job_key == key)
                .order_by(INSTANCES.c.id)
            ).mappings()
            images = _images(connection, series, job["through_id"])
            return JobRequest(
                key=key,
                instances=(*(stored_instance(row) for row in marks), *images),
                accepted_at=from_us(job["accepted_us"]),
                calling_ae=job["calling_ae"],
                predecessors=_predecessors(connection, key, series),
                earlier=earlier_lesions(self._reads, key, job["accepted_us"]),
            )

    def record(
        self,
        key: str,
        result: JobResult,
        blobs: Mapping[str, BlobRef],
        destinations: Sequence[str],
        now: datetime,
    ) -> None:
        """Record what a job came to, and queue its delivery, in one transaction.

        A job that could write nothing at all has failed: nobody but its administrator is told.

        Parameters
        ----------
        blobs
            Where the bytes of each report object lie, by SOP Instance UID.
        destinations
            Where the reports go.
        """
        with self._engine.begin() as connection:
            state = connection.execute(sa.select(JOBS.c.state).where(JOBS.c.key == key)).scalar_one()
            if state != "ready":
                return
            new = [_insert_report(connection, key, report, blobs) for report in result.reports]
            for report in result.reports:
                insert_lesions(
                    connection, key, report.ct_series_instance_uid, report.patient_key, report.lesions
                )
            for destination in destinations if any(new) else ():
                _queue(connection, key, destination, now)
            stranded = any(new) and not destinations
            ended = not any(new)
            unseen = bool(result.problems) and not result.reports
            connection.execute(
                JOBS.update()
                .where(JOBS.c.key == key)
                .values(
                    state="failed" if unseen else "parked" if stranded else "done" if ended else "measured",
                    measured_us=to_us(now),
                    finished_us=to_us(now) if ended else None,
                    findings=sum(report.findings for report in result.reports),
                    problems=_problems_json(result.problems),
                )
            )

    def fail(self, key: str, problem: Problem, now: datetime) -> None:
        """Park a job that cannot be measured, with its reason."""
        with self._engine.begin() as connection:
            connection.execute(
                JOBS.update()
                .where(JOBS.c.key == key, JOBS.c.state == "ready")
                .values(state="failed", finished_us=to_us(now), problems=_problems_json([problem]))
            )

    def due_deliveries(self) -> tuple[Delivery, ...]:
        """Deliveries that are not at an end, in the order of their jobs."""
        query = (
            sa.select(*DELIVERIES.c)
            .join(JOBS, JOBS.c.key == DELIVERIES.c.job_key)
            .where(DELIVERIES.c.state.in_(("queued", "waiting")))
            .order_by(JOBS.c.measured_us, DELIVERIES.c.job_key)
        )
        with self._reads.begin() as connection:
            return tuple(delivery_of(row) for row in connection.execute(query).mappings())

    def delivery(self, key: str, destination: str) -> Delivery:
        """One delivery."""
        query = sa.select(*DELIVERIES.c).where(
            DELIVERIES.c.job_key == key, DELIVERIES.c.destination == destination
        )
        with self._reads.begin() as connection:
            return delivery_of(connection.execute(query).mappings().one())

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
        query = sa.select(*DELIVERIES.c).where(
            DELIVERIES.c.state == "stored", DELIVERIES.c.due_us <= to_us(now)
        )
        with self._reads.begin() as connection:
            return tuple(delivery_of(row) for row in connection.execute(query).mappings())

    def begin_commitment(self, transaction_uid: str, delivery: Delivery, now: datetime) -> None:
        """Record a question before it is asked."""
        row = {"job_key": delivery.job_key, "destination": delivery.destination, "round": delivery.round}
        with self._engine.begin() as connection:
            known = sa.select(COMMITMENTS.c.asked_us).where(COMMITMENTS.c.transaction_uid == transaction_uid)
            if connection.execute(known).first() is None:
                question = {"transaction_uid": transaction_uid, "asked_us": to_us(now), **row}
                connection.execute(COMMITMENTS.insert().values(question))

    def take_commitment(self, report: CommitmentReport, now: datetime) -> bool:
        """Record a destination's answer; False where nobody asked."""
        with self._reads.begin() as connection:
            query = sa.select(*COMMITMENTS.c).where(COMMITMENTS.c.transaction_uid == report.transaction_uid)
            asked = connection.execute(query).mappings().first()
        if asked is None:
            return False
        delivery = self.delivery(asked["job_key"], asked["destination"])
        uids = {one.sop_instance_uid for one in self.objects(delivery.job_key)}
        if delivery.state == "stored" and delivery.round == asked["round"]:
            self.update_delivery(after_commitment(delivery, report, uids), now)
        return True

    def objects(self, key: str) -> tuple[StoredObject, ...]:
        """Return the report objects of a job, in the order of their making."""
        query = sa.select(*REPORTS.c).where(REPORTS.c.job_key == key).order_by(REPORTS.c.id)
        with self._reads.begin() as connection:
            return tuple(_stored_object(row) for row in connection.execute(query).mappings())

    def is_made(self, sop_instance_uid: str) -> bool:
        """Whether a report object of this UID is recorded."""
        query = sa.select(REPORTS.c.id).where(REPORTS.c.sop_instance_uid == sop_instance_uid)
        with self._reads.begin() as connection:
            return connection.execute(query).first() is not None

    def says_nothing_new(self, report: MadeReport) -> bool:
        """Whether the newest recorded report of the same CT series says the same."""
        with self._reads.begin() as connection:
            return _says_nothing_new(connection, report)


def _says_nothing_new(connection: sa.Connection, report: MadeReport) -> bool:
    newest = (
        sa.select(REPORTS.c.content_key)
        .where(REPORTS.c.ct_series_instance_uid == report.ct_series_instance_uid)
        .order_by(REPORTS.c.id.desc())
        .limit(1)
    )
    return bool(report.content_key) and connection.execute(newest).scalar() == report.content_key


def _images(connection: sa.Connection, series: Sequence[str], through_id: int) -> tuple[StoredInstance, ...]:
    """Newest version of each instance of the series that was there when the job was planned."""
    newest = (
        sa.select(sa.func.max(INSTANCES.c.id))
        .where(INSTANCES.c.series_instance_uid.in_(series), INSTANCES.c.id <= through_id)
        .group_by(INSTANCES.c.series_instance_uid, INSTANCES.c.sop_instance_uid)
    )
    query = sa.select(*INSTANCES.c).where(INSTANCES.c.id.in_(newest)).order_by(INSTANCES.c.id)
    return tuple(stored_instance(row) for row in connection.execute(query).mappings())


def _predecessors(connection: sa.Connection, key: str, series: Sequence[str]) -> dict[str, Predecessor]:
    query = (
        sa.select(*REPORTS.c)
        .where(REPORTS.c.ct_series_instance_uid.in_(series), REPORTS.c.job_key != key, REPORTS.c.role == "sr")
        .order_by(REPORTS.c.id)
    )
    return {
        row["ct_series_instance_uid"]: Predecessor(
            sop_class_uid=row["sop_class_uid"],
            sop_instance_uid=row["sop_instance_uid"],
            series_instance_uid=row["series_instance_uid"],
            study_instance_uid=row["study_instance_uid"],
            instance_number=row["instance_number"],
        )
        for row in connection.execute(query).mappings()
    }


def _insert_report(
    connection: sa.Connection, key: str, report: MadeReport, blobs: Mapping[str, BlobRef]
) -> bool:
    """Record one report; False where another job made it before, or one that says the same."""
    if _says_nothing_new(connection, report):
        return False
    new = False
    for one in report.objects:
        known = sa.select(REPORTS.c.id).where(REPORTS.c.sop_instance_uid == one.sop_instance_uid)
        if connection.execute(known).first() is not None:
            continue
        blob = blobs[one.sop_instance_uid]
        connection.execute(
            REPORTS.insert().values(
                job_key=key,
                sop_class_uid=one.sop_class_uid,
                sop_instance_uid=one.sop_instance_uid,
                transfer_syntax_uid=one.transfer_syntax_uid,
                study_instance_uid=report.study_instance_uid,
                ct_series_instance_uid=report.ct_series_instance_uid,
                series_instance_uid=report.series_instance_uid,
                instance_number=report.instance_number,
                role=one.role,
                content_key=report.content_key,
                segment=blob.segment,
                offset=blob.offset,
                length=blob.length,
                summary=json.dumps(report.summary) if one is report.objects[0] else "{}",
            )
        )
        new = True
    return new


def _queue(connection: sa.Connection, key: str, destination: str, now: datetime) -> None:
    connection.execute(
        DELIVERIES.insert().values(
            job_key=key,
            destination=destination,
            state="queued",
            round=0,
            tries=0,
            refusals=0,
            asks=0,
            queued_us=to_us(now),
            updated_us=to_us(now),
            code="",
            message="",
        )
    )


def _problems_json(problems: Sequence[Problem]) -> str:
    return json.dumps([{"code": one.code, "message": one.message, "where": one.where} for one in problems])


def _stored_object(row: sa.RowMapping) -> StoredObject:
    return StoredObject(
        sop_class_uid=row["sop_class_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        blob=BlobRef(segment=row["segment"], offset=row["offset"], length=row["length"]),
    )
