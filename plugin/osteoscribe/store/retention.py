"""What is old, or too much, goes: whole segments, and never what is still to be measured or delivered.

What the ledger knows of findings, reports and lesions stays; of removed images it keeps one row for a series.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from osteoscribe.store.places import Segments
from osteoscribe.store.schema import (
    AWAITED,
    INSTANCES,
    JOB_MARKS,
    JOB_SERIES,
    JOBS,
    MARK_SERIES,
    MARKS,
    QUARANTINE,
    REMOVED_SERIES,
    REPORTS,
    SEGMENTS,
    to_us,
)
from osteoscribe.store.segments import MADE, made_at

LOGGER = logging.getLogger(__name__)

YOUNGEST = timedelta(hours=1)
"""Nothing younger is removed for want of space: the marks of a series come after its images."""

WRITTEN_FOR = timedelta(hours=1)
"""How long a worker adds reports to a segment: it is as old as the last of them may be."""

REMOVING = 1 << 62
"""Stands for the recorded length of a segment that the ledger has given up and whose bytes are to go."""

_ENDED = ("done", "cancelled")


class Retention:
    """Removes segments by age and space. Run by one process at a time.

    Parameters
    ----------
    engine
        An opened database.
    segments
        Where the bytes are.
    keep
        Older segments go; None keeps them.
    keep_below_bytes
        The oldest go while there are more bytes of received instances; None has no limit.
    """

    def __init__(
        self,
        engine: sa.Engine,
        segments: Segments,
        *,
        keep: timedelta | None = None,
        keep_below_bytes: int | None = None,
    ) -> None:
        self._engine = engine
        self._reads = engine.execution_options(reads=True)
        self._segments = segments
        self._keep = keep
        self._keep_below_bytes = keep_below_bytes

    def run(self, now: datetime) -> int:
        """Remove what may go; returns how many segments.

        Raises
        ------
        StoreError
            The ledger or the place of the segments does not answer; the next run goes on from there.
        """
        if self._keep is None and self._keep_below_bytes is None:
            return 0
        self._finish()
        removed = 0
        for name in self._too_old_made(now):
            removed += self._give_up_made(name)
        received = self._received()
        bytes_kept = sum(received.values())
        for name, length in received.items():
            age = now - made_at(name)
            too_old = self._keep is not None and age > self._keep
            too_much = self._keep_below_bytes is not None and bytes_kept > self._keep_below_bytes
            if (too_old or (too_much and age > YOUNGEST)) and self._give_up_received(name, now):
                removed += 1
                bytes_kept -= length
        self._finish()
        if removed:
            LOGGER.info("retention removed segments=%d", removed)
        return removed

    def _finish(self) -> None:
        """Remove the bytes that the ledger has given up, also before a crash."""
        with self._reads.begin() as connection:
            given_up = sa.select(SEGMENTS.c.name).where(SEGMENTS.c.indexed_bytes == REMOVING)
            names = list(connection.execute(given_up).scalars())
        for name in names:
            self._segments.remove(name)
            with self._engine.begin() as connection:
                connection.execute(SEGMENTS.delete().where(SEGMENTS.c.name == name))

    def _received(self) -> dict[str, int]:
        """Recorded length of every segment whose association has ended, the oldest first."""
        query = sa.select(SEGMENTS.c.name, SEGMENTS.c.indexed_bytes).where(
            SEGMENTS.c.closed, SEGMENTS.c.indexed_bytes != REMOVING
        )
        with self._reads.begin() as connection:
            found = {row.name: row.indexed_bytes for row in connection.execute(query)}
        return dict(sorted(found.items(), key=lambda item: made_at(item[0])))

    def _too_old_made(self, now: datetime) -> Iterator[str]:
        if self._keep is not None:
            yield from (
                one for one in self._segments.lengths(MADE) if now - made_at(one) > self._keep + WRITTEN_FOR
            )

    def _give_up_received(self, name: str, now: datetime) -> bool:
        """Strike a segment from the ledger; False where something in it is still needed."""
        with self._engine.begin() as connection:
            if connection.execute(_needed(name)).first() is not None:
                return False
            inside = INSTANCES.c.segment == name
            marks = sa.select(MARKS.c.instance_id).join(INSTANCES, INSTANCES.c.id == MARKS.c.instance_id)
            _note_series(connection, name, now)
            connection.execute(
                MARKS.update()
                .where(
                    MARKS.c.instance_id.in_(marks.where(inside)), MARKS.c.state.in_(("planned", "incomplete"))
                )
                .values(state="removed")
            )
            connection.execute(AWAITED.delete().where(AWAITED.c.instance_id.in_(marks.where(inside))))
            connection.execute(
                INSTANCES.delete().where(inside, INSTANCES.c.id.not_in(sa.select(MARKS.c.instance_id)))
            )
            connection.execute(INSTANCES.update().where(inside).values(segment=""))
            connection.execute(
                SEGMENTS.update().where(SEGMENTS.c.name == name).values(indexed_bytes=REMOVING)
            )
        return True

    def _give_up_made(self, name: str) -> bool:
        """Strike the reports of a segment from the ledger; False where one may still be sent or looked at."""
        with self._engine.begin() as connection:
            unfinished = (
                sa.select(REPORTS.c.id)
                .join(JOBS, JOBS.c.key == REPORTS.c.job_key)
                .where(REPORTS.c.segment == name, JOBS.c.state.not_in(_ENDED))
            )
            held_back = sa.select(QUARANTINE.c.number).where(QUARANTINE.c.segment == name)
            if any(connection.execute(query).first() for query in (unfinished, held_back)):
                return False
            connection.execute(REPORTS.update().where(REPORTS.c.segment == name).values(segment=""))
            connection.execute(SEGMENTS.delete().where(SEGMENTS.c.name == name))
            connection.execute(SEGMENTS.insert().values(name=name, indexed_bytes=REMOVING, closed=True))
        return True


def _needed(name: str) -> sa.CompoundSelect[tuple[int]]:
    """Gives rows where an instance of a segment is to be measured, or its job is not at an end.

    An open mark holds its whole study: nobody has looked yet which images it means.
    """
    inside = INSTANCES.c.segment == name
    one = sa.literal(1)
    study = sa.select(INSTANCES.c.study_instance_uid).where(inside)
    series = sa.select(INSTANCES.c.series_instance_uid).where(inside)
    instances = sa.select(INSTANCES.c.id).where(inside)
    unfinished = JOBS.c.state.not_in(_ENDED)
    open_marks = (
        sa.select(one)
        .select_from(MARKS.join(INSTANCES, INSTANCES.c.id == MARKS.c.instance_id))
        .where(MARKS.c.state == "open", INSTANCES.c.study_instance_uid.in_(study))
    )
    linked = (
        sa.select(one)
        .select_from(MARKS.join(MARK_SERIES, MARK_SERIES.c.instance_id == MARKS.c.instance_id))
        .where(MARKS.c.state == "open", MARK_SERIES.c.series_instance_uid.in_(series))
    )
    of_marks = (
        sa.select(one)
        .select_from(JOBS.join(JOB_MARKS, JOB_MARKS.c.job_key == JOBS.c.key))
        .where(unfinished, JOB_MARKS.c.instance_id.in_(instances))
    )
    of_series = (
        sa.select(one)
        .select_from(JOBS.join(JOB_SERIES, JOB_SERIES.c.job_key == JOBS.c.key))
        .where(unfinished, JOB_SERIES.c.series_instance_uid.in_(series))
    )
    still_open = sa.select(one).where(SEGMENTS.c.name == name, ~SEGMENTS.c.closed)
    return sa.union_all(open_marks, linked, of_marks, of_series, still_open)


def _note_series(connection: sa.Connection, name: str, now: datetime) -> None:
    """Keep in mind which series were here, so that a mark on them can be told."""
    query = (
        sa.select(
            INSTANCES.c.series_instance_uid,
            sa.func.max(INSTANCES.c.study_instance_uid).label("study_instance_uid"),
            sa.func.count().label("instances"),
            sa.func.sum(INSTANCES.c.length).label("bytes"),
        )
        .where(INSTANCES.c.segment == name, INSTANCES.c.id.not_in(sa.select(MARKS.c.instance_id)))
        .group_by(INSTANCES.c.series_instance_uid)
    )
    for row in connection.execute(query).mappings().all():
        at = REMOVED_SERIES.c.series_instance_uid == row["series_instance_uid"]
        more = {one: REMOVED_SERIES.c[one] + row[one] for one in ("instances", "bytes")}
        known = connection.execute(REMOVED_SERIES.update().where(at).values(removed_us=to_us(now), **more))
        if known.rowcount == 0:
            connection.execute(REMOVED_SERIES.insert().values(removed_us=to_us(now), **row))
