"""The ledger as planning sees it: which marks are open, what they refer to, and the jobs made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa

from osteoscribe.app.plan import MarkObject, PlannedJob
from osteoscribe.readers.ct import CT_SOP_CLASSES
from osteoscribe.store.schema import (
    AWAITED,
    INSTANCES,
    JOB_MARKS,
    JOB_SERIES,
    JOBS,
    MARK_SERIES,
    MARKS,
    SEGMENTS,
    from_us,
    header_from_json,
    to_us,
)

CHUNK = 500
"""Values in one IN list; SQLite takes a limited number of bound parameters."""

_T = TypeVar("_T")

CURRENT = ("open", "planned", "incomplete")


class PlanTable:
    """What planning asks of the ledger (`app.plan.PlanLedger`).

    Parameters
    ----------
    engine
        An opened database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reads = engine.execution_options(reads=True)

    def reopen(self) -> int:
        """Open the incomplete marks again whose images have come since; returns how many."""
        with self._reads.begin() as connection:
            came = sa.select(AWAITED.c.instance_id).join(
                INSTANCES, INSTANCES.c.sop_instance_uid == AWAITED.c.sop_instance_uid
            )
            marks = sorted({row[0] for query in (came, _with_late_ct()) for row in connection.execute(query)})
        if marks:
            with self._engine.begin() as connection:
                for chunk in _chunks(marks):
                    connection.execute(
                        MARKS.update()
                        .where(MARKS.c.instance_id.in_(chunk), MARKS.c.state == "incomplete")
                        .values(state="open")
                    )
                    connection.execute(AWAITED.delete().where(AWAITED.c.instance_id.in_(chunk)))
        return len(marks)

    def open_marks(self) -> tuple[MarkObject, ...]:
        """Mark objects that stand in no job yet."""
        with self._reads.begin() as connection:
            query = _mark_query().where(MARKS.c.state == "open").order_by(INSTANCES.c.id)
            return tuple(_mark_object(row) for row in connection.execute(query).mappings())

    def ct_series_of(self, sop_instance_uids: Sequence[str]) -> Mapping[str, str]:
        """CT Series Instance UID of each of these instances that is there as CT."""
        found: dict[str, str] = {}
        with self._reads.begin() as connection:
            for chunk in _chunks(sorted(set(sop_instance_uids))):
                query = (
                    sa.select(INSTANCES.c.sop_instance_uid, INSTANCES.c.series_instance_uid)
                    .where(
                        INSTANCES.c.sop_instance_uid.in_(chunk), INSTANCES.c.sop_class_uid.in_(CT_SOP_CLASSES)
                    )
                    .order_by(INSTANCES.c.id)
                )
                found.update((row[0], row[1]) for row in connection.execute(query))
        return found

    def present(self, sop_instance_uids: Sequence[str]) -> frozenset[str]:
        """Those of these instances that are there, CT or not."""
        found: set[str] = set()
        with self._reads.begin() as connection:
            for chunk in _chunks(sorted(set(sop_instance_uids))):
                query = sa.select(INSTANCES.c.sop_instance_uid).where(INSTANCES.c.sop_instance_uid.in_(chunk))
                found.update(connection.execute(query).scalars())
        return frozenset(found)

    def fitting_ct_series(self, mark: MarkObject) -> tuple[str, ...]:
        """CT series that a mark object may mean whose images are not named or not there."""
        ct = INSTANCES.c.sop_class_uid.in_(CT_SOP_CLASSES)
        query = sa.select(INSTANCES.c.series_instance_uid).distinct().where(ct)
        with self._reads.begin() as connection:
            if mark.series_instance_uid is not None:
                named = query.where(INSTANCES.c.series_instance_uid == mark.series_instance_uid)
                found = connection.execute(named).scalars().all()
                if found:
                    return tuple(found)
            in_study = query.where(INSTANCES.c.study_instance_uid == mark.study_instance_uid)
            if mark.frame_of_reference_uid is not None:
                same = INSTANCES.c.frame_of_reference_uid == mark.frame_of_reference_uid
                found = connection.execute(in_study.where(same)).scalars().all()
                if found:
                    return tuple(sorted(found))
            return tuple(sorted(connection.execute(in_study).scalars()))

    def link(self, instance_id: int, series: Sequence[str]) -> None:
        """Record the CT series of a mark object."""
        new = sorted(set(series) - self.linked_series([instance_id]))
        if new:
            with self._engine.begin() as connection:
                known = connection.execute(
                    sa.select(MARK_SERIES.c.series_instance_uid).where(
                        MARK_SERIES.c.instance_id == instance_id
                    )
                ).scalars()
                for uid in sorted(set(new) - set(known)):
                    connection.execute(
                        MARK_SERIES.insert().values(instance_id=instance_id, series_instance_uid=uid)
                    )

    def marks_on(self, series: Sequence[str]) -> tuple[MarkObject, ...]:
        """All current mark objects that are linked to any of these series."""
        with self._reads.begin() as connection:
            linked = sa.select(MARK_SERIES.c.instance_id).where(MARK_SERIES.c.series_instance_uid.in_(series))
            query = (
                _mark_query()
                .where(MARKS.c.state.in_(CURRENT), MARKS.c.instance_id.in_(linked))
                .order_by(INSTANCES.c.id)
            )
            return tuple(_mark_object(row) for row in connection.execute(query).mappings())

    def linked_series(self, instance_ids: Sequence[int]) -> frozenset[str]:
        """CT series that these mark objects are linked to."""
        with self._reads.begin() as connection:
            query = sa.select(MARK_SERIES.c.series_instance_uid).where(
                MARK_SERIES.c.instance_id.in_(instance_ids)
            )
            return frozenset(connection.execute(query).scalars())

    def last_received(self, series: Sequence[str]) -> datetime | None:
        """When the last instance of these CT series came."""
        with self._reads.begin() as connection:
            query = sa.select(sa.func.max(INSTANCES.c.received_us)).where(
                INSTANCES.c.series_instance_uid.in_(series)
            )
            last = connection.execute(query).scalar_one()
            return None if last is None else from_us(last)

    def has_settled(self, series: Sequence[str], marks: Sequence[int], since: datetime) -> bool:
        """Whether what came since came over associations that ended: the images over one, the marks too.

        Objects that come one by one over an association each are about to be followed by more.
        """
        query = (
            sa.select(INSTANCES.c.segment, MARKS.c.instance_id.is_not(None), SEGMENTS.c.closed)
            .distinct()
            .join(SEGMENTS, SEGMENTS.c.name == INSTANCES.c.segment)
            .outerjoin(MARKS, MARKS.c.instance_id == INSTANCES.c.id)
            .where(
                INSTANCES.c.received_us > to_us(since),
                sa.or_(INSTANCES.c.series_instance_uid.in_(series), INSTANCES.c.id.in_(marks)),
            )
        )
        with self._reads.begin() as connection:
            rows = connection.execute(query).all()
        kinds = [is_mark for _, is_mark, _ in rows]
        return all(closed for _, _, closed in rows) and max(map(kinds.count, (True, False))) <= 1

    def busy(self, series: Sequence[str]) -> bool:
        """Whether an earlier job of any of these series is not measured yet."""
        with self._reads.begin() as connection:
            return _is_busy(connection, series)

    def add_job(self, job: PlannedJob, now: datetime) -> bool:
        """Record the job and take its marks off the open ones.

        False where it was there already, or where another worker has just planned one of its series: the
        next round looks again.
        """
        with self._engine.begin() as connection:
            known = connection.execute(sa.select(JOBS.c.key).where(JOBS.c.key == job.key)).first()
            if known is None and _is_busy(connection, job.series):
                return False
            if known is None:
                _insert_job(connection, job, now)
            for mark in job.marks:
                missing = job.missing.get(mark.instance_id, ())
                incomplete = bool(missing) or not job.series
                connection.execute(
                    MARKS.update()
                    .where(MARKS.c.instance_id == mark.instance_id, MARKS.c.state.in_(CURRENT))
                    .values(state="incomplete" if incomplete else "planned")
                )
                connection.execute(AWAITED.delete().where(AWAITED.c.instance_id == mark.instance_id))
                for uid in missing:
                    connection.execute(
                        AWAITED.insert().values(instance_id=mark.instance_id, sop_instance_uid=uid)
                    )
            return known is None


def _is_busy(connection: sa.Connection, series: Sequence[str]) -> bool:
    query = (
        sa.select(JOBS.c.key)
        .join(JOB_SERIES, JOB_SERIES.c.job_key == JOBS.c.key)
        .where(JOBS.c.state == "ready", JOB_SERIES.c.series_instance_uid.in_(series))
    )
    return connection.execute(query).first() is not None


def _insert_job(connection: sa.Connection, job: PlannedJob, now: datetime) -> None:
    connection.execute(
        JOBS.insert().values(
            key=job.key,
            state="ready",
            accepted_us=to_us(job.accepted_at),
            planned_us=to_us(now),
            calling_ae=job.calling_ae,
            through_id=connection.execute(sa.select(sa.func.max(INSTANCES.c.id))).scalar_one(),
            run=0,
            findings=0,
            problems=json.dumps([]),
        )
    )
    for mark in job.marks:
        connection.execute(JOB_MARKS.insert().values(job_key=job.key, instance_id=mark.instance_id))
    for uid in job.series:
        connection.execute(JOB_SERIES.insert().values(job_key=job.key, series_instance_uid=uid))


def _with_late_ct() -> sa.Select[tuple[int]]:
    """Incomplete marks that had no CT series at all, and whose study has CT now."""
    mark, ct = INSTANCES.alias("mark"), INSTANCES.alias("ct")
    linked = sa.select(MARK_SERIES.c.instance_id)
    return (
        sa.select(MARKS.c.instance_id)
        .join(mark, mark.c.id == MARKS.c.instance_id)
        .join(ct, ct.c.study_instance_uid == mark.c.study_instance_uid)
        .where(
            MARKS.c.state == "incomplete",
            MARKS.c.instance_id.not_in(linked),
            MARKS.c.instance_id.not_in(sa.select(AWAITED.c.instance_id)),
            ct.c.sop_class_uid.in_(CT_SOP_CLASSES),
        )
        .distinct()
    )


def _mark_query() -> sa.Select[tuple[object, ...]]:
    return sa.select(*INSTANCES.c).join(MARKS, MARKS.c.instance_id == INSTANCES.c.id)


def _mark_object(row: sa.RowMapping) -> MarkObject:
    header = header_from_json(row["header"])
    return MarkObject(
        instance_id=row["id"],
        sop_instance_uid=row["sop_instance_uid"],
        digest=row["digest"],
        study_instance_uid=row["study_instance_uid"],
        references=header.referenced_instances,
        series_instance_uid=header.referenced_series_uid,
        frame_of_reference_uid=header.frame_of_reference_uid,
        received_at=from_us(row["received_us"]),
        calling_ae=row["calling_ae"],
    )


def _chunks(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
