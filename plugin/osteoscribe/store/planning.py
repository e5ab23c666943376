"""The ledger as planning sees it: which marks are open, what they refer to, and the jobs made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from osteoscribe.app.plan import MarkObject, PlannedJob
from osteoscribe.readers.ct import CT_SOP_CLASSES
from osteoscribe.store.instances import NEWEST_ID
from osteoscribe.store.reads import Reads
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
from osteoscribe.store.statements import Row, Statement

CHUNK = 500
"""Values in one IN list; SQLite takes a limited number of bound parameters."""

_T = TypeVar("_T")

CURRENT = ("open", "planned", "incomplete")


def _listed(name: str) -> sa.BindParameter[Any]:
    return sa.bindparam(name, expanding=True)


_MARK = sa.select(*INSTANCES.c).join(MARKS, MARKS.c.instance_id == INSTANCES.c.id).order_by(INSTANCES.c.id)
_OPEN_MARKS = Statement(_MARK.where(MARKS.c.state == "open"))
_MARKS_ON = Statement(
    _MARK.where(
        MARKS.c.state.in_(CURRENT),
        MARKS.c.instance_id.in_(
            sa.select(MARK_SERIES.c.instance_id).where(
                MARK_SERIES.c.series_instance_uid.in_(_listed("series"))
            )
        ),
    )
)
_CT_SERIES_OF = Statement(
    sa.select(INSTANCES.c.sop_instance_uid, INSTANCES.c.series_instance_uid)
    .where(
        INSTANCES.c.sop_instance_uid.in_(_listed("uids")),
        INSTANCES.c.sop_class_uid.in_(CT_SOP_CLASSES),
    )
    .order_by(INSTANCES.c.id)
)
_PRESENT = Statement(
    sa.select(INSTANCES.c.sop_instance_uid).where(INSTANCES.c.sop_instance_uid.in_(_listed("uids")))
)
_LINKS = Statement(
    sa.select(MARK_SERIES.c.instance_id, MARK_SERIES.c.series_instance_uid).where(
        MARK_SERIES.c.instance_id.in_(_listed("ids"))
    )
)
_NEW_LINK = {
    "postgresql": Statement(postgresql.insert(MARK_SERIES).on_conflict_do_nothing()),
    "sqlite": Statement(sqlite.insert(MARK_SERIES).on_conflict_do_nothing()),
}
"""By the database's name; another worker may have inserted it meanwhile."""
_NEW_JOB, _NEW_JOB_MARK, _NEW_JOB_SERIES = map(
    Statement, (JOBS.insert(), JOB_MARKS.insert(), JOB_SERIES.insert())
)
_KNOWN = Statement(sa.select(JOBS.c.key).where(JOBS.c.key == sa.bindparam("key")))
_PLANNED = Statement(
    MARKS.update()
    .where(MARKS.c.instance_id.in_(_listed("ids")), MARKS.c.state.in_(CURRENT))
    .values(state=sa.bindparam("new_state"))
)
_NO_LONGER_AWAITED = Statement(AWAITED.delete().where(AWAITED.c.instance_id.in_(_listed("ids"))))
_LAST_RECEIVED = Statement(
    sa.select(sa.func.max(INSTANCES.c.received_us)).where(
        INSTANCES.c.series_instance_uid.in_(_listed("series"))
    )
)
_CAME_SINCE = Statement(
    sa.select(INSTANCES.c.segment, MARKS.c.instance_id.is_not(None), SEGMENTS.c.closed)
    .distinct()
    .join(SEGMENTS, SEGMENTS.c.name == INSTANCES.c.segment)
    .outerjoin(MARKS, MARKS.c.instance_id == INSTANCES.c.id)
    .where(
        INSTANCES.c.received_us > sa.bindparam("since_us"),
        sa.or_(INSTANCES.c.series_instance_uid.in_(_listed("series")), INSTANCES.c.id.in_(_listed("marks"))),
    )
)
_BUSY = Statement(
    sa.select(JOBS.c.key)
    .join(JOB_SERIES, JOB_SERIES.c.job_key == JOBS.c.key)
    .where(JOBS.c.state == "ready", JOB_SERIES.c.series_instance_uid.in_(_listed("series")))
)
_CAME = Statement(
    sa.select(AWAITED.c.instance_id).join(
        INSTANCES, INSTANCES.c.sop_instance_uid == AWAITED.c.sop_instance_uid
    )
)
_MARK_INSTANCE, _CT_INSTANCE = INSTANCES.alias("mark"), INSTANCES.alias("ct")
_LATE_CT = Statement(
    sa.select(MARKS.c.instance_id)
    .join(_MARK_INSTANCE, _MARK_INSTANCE.c.id == MARKS.c.instance_id)
    .join(_CT_INSTANCE, _CT_INSTANCE.c.study_instance_uid == _MARK_INSTANCE.c.study_instance_uid)
    .where(
        MARKS.c.state == "incomplete",
        MARKS.c.instance_id.not_in(sa.select(MARK_SERIES.c.instance_id)),
        MARKS.c.instance_id.not_in(sa.select(AWAITED.c.instance_id)),
        _CT_INSTANCE.c.sop_class_uid.in_(CT_SOP_CLASSES),
    )
    .distinct()
)
"""Incomplete marks that had no CT series at all, and whose study has CT now."""


class PlanTable:
    """What planning asks of the ledger (`app.plan.PlanLedger`).

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

    def reopen(self) -> int:
        """Open the incomplete marks again whose images have come since; returns how many."""
        with self._reads.begin() as connection:
            marks = sorted({*_CAME.column(connection), *_LATE_CT.column(connection)})
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
            return tuple(_mark_object(row) for row in _OPEN_MARKS.rows(connection))

    def ct_series_of(self, sop_instance_uids: Sequence[str]) -> Mapping[str, str]:
        """CT Series Instance UID of each of these instances that is there as CT."""
        found: dict[str, str] = {}
        with self._reads.begin() as connection:
            for chunk in _chunks(sorted(set(sop_instance_uids))):
                found.update(
                    (uid, series) for uid, series in _CT_SERIES_OF.tuples(connection, {"uids": chunk})
                )
        return found

    def present(self, sop_instance_uids: Sequence[str]) -> frozenset[str]:
        """Those of these instances that are there, CT or not."""
        found: set[str] = set()
        with self._reads.begin() as connection:
            for chunk in _chunks(sorted(set(sop_instance_uids))):
                found.update(_PRESENT.column(connection, {"uids": chunk}))
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

    def links(self, instance_ids: Sequence[int]) -> Mapping[int, frozenset[str]]:
        """CT series that each of these mark objects is linked to."""
        found: dict[int, set[str]] = {instance_id: set() for instance_id in instance_ids}
        with self._reads.begin() as connection:
            for chunk in _chunks(instance_ids):
                for instance_id, uid in _LINKS.tuples(connection, {"ids": chunk}):
                    found[instance_id].add(uid)
        return {instance_id: frozenset(series) for instance_id, series in found.items()}

    def marks_on(self, series: Sequence[str]) -> tuple[MarkObject, ...]:
        """All current mark objects that are linked to any of these series."""
        with self._reads.begin() as connection:
            rows = _MARKS_ON.rows(connection, {"series": list(series)})
            return tuple(_mark_object(row) for row in rows)

    def last_received(self, series: Sequence[str]) -> datetime | None:
        """When the last instance of these CT series came."""
        with self._reads.begin() as connection:
            last = _LAST_RECEIVED.value(connection, {"series": list(series)})
            return None if last is None else from_us(last)

    def has_settled(self, series: Sequence[str], marks: Sequence[int], since: datetime) -> bool:
        """Whether what came since came over associations that ended: the images over one, the marks too.

        Objects that come one by one over an association each are about to be followed by more.
        """
        values = {"series": list(series), "marks": list(marks), "since_us": to_us(since)}
        with self._reads.begin() as connection:
            rows = _CAME_SINCE.tuples(connection, values)
        kinds = [is_mark for _, is_mark, _ in rows]
        return all(closed for _, _, closed in rows) and max(map(kinds.count, (True, False))) <= 1

    def record(
        self, links: Mapping[int, frozenset[str]], jobs: Sequence[PlannedJob], now: datetime
    ) -> tuple[str, ...]:
        """Link mark objects to CT series, record the jobs and take their marks off the open ones.

        Gives the keys of the new jobs: not those that were there already, nor those of a series of which an
        earlier job is not measured yet; what another worker has just planned, the next round looks at again.
        """
        # After a power cut it would be planned again from what was received.
        with self._engine.execution_options(unsynced=True).begin() as connection:
            _insert_links(connection, links)
            return tuple(job.key for job in jobs if _add_job(connection, job, now))


def _insert_links(connection: sa.Connection, links: Mapping[int, frozenset[str]]) -> None:
    rows = [
        {"instance_id": one, "series_instance_uid": uid}
        for one, series in sorted(links.items())
        for uid in sorted(series)
    ]
    if rows:
        _NEW_LINK[connection.dialect.name].change(connection, *rows)


def _add_job(connection: sa.Connection, job: PlannedJob, now: datetime) -> bool:
    known = _KNOWN.first(connection, {"key": job.key})
    if known is None and _is_busy(connection, job.series):
        return False
    if known is None:
        _insert_job(connection, job, now)
    for state, is_incomplete in (("planned", False), ("incomplete", True)):
        ids = [
            mark.instance_id
            for mark in job.marks
            if bool(job.missing.get(mark.instance_id) or not job.series) is is_incomplete
        ]
        for chunk in _chunks(ids):
            _PLANNED.change(connection, {"new_state": state, "ids": chunk})
            _NO_LONGER_AWAITED.change(connection, {"ids": chunk})
    awaited = [
        {"instance_id": mark.instance_id, "sop_instance_uid": uid}
        for mark in job.marks
        for uid in job.missing.get(mark.instance_id, ())
    ]
    if awaited:
        connection.execute(AWAITED.insert(), awaited)
    return known is None


def _is_busy(connection: sa.Connection, series: Sequence[str]) -> bool:
    return _BUSY.first(connection, {"series": list(series)}) is not None


def _insert_job(connection: sa.Connection, job: PlannedJob, now: datetime) -> None:
    values = {
        "key": job.key,
        "state": "ready",
        "accepted_us": to_us(job.accepted_at),
        "planned_us": to_us(now),
        "calling_ae": job.calling_ae,
        "through_id": NEWEST_ID.value(connection),
        "run": 0,
        "findings": 0,
        "problems": json.dumps([]),
        "forms": json.dumps([]),
        "wanted": json.dumps([]),
    }
    _NEW_JOB.change(connection, values)
    marks = [{"job_key": job.key, "instance_id": mark.instance_id} for mark in job.marks]
    _NEW_JOB_MARK.change(connection, *marks)
    if job.series:
        series = [{"job_key": job.key, "series_instance_uid": uid} for uid in job.series]
        _NEW_JOB_SERIES.change(connection, *series)


def _mark_object(row: Row) -> MarkObject:
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
