"""The ledger's record of received instances; what the listener process writes."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from osteoscribe.app.ports import Stored
from osteoscribe.core.series import BlobRef
from osteoscribe.readers.headers import InstanceHeader, StoredInstance
from osteoscribe.store.schema import (
    AWAITED,
    INSTANCES,
    MARKS,
    REPORTS,
    SEGMENTS,
    header_from_json,
    header_to_json,
    to_us,
)
from osteoscribe.store.statements import Row, Statement

NEWEST_ID = Statement(sa.select(sa.func.max(INSTANCES.c.id)))
_OF_OBJECT = INSTANCES.c.sop_instance_uid == sa.bindparam("uid")
_SAME = Statement(
    sa.select(INSTANCES.c.id, INSTANCES.c.segment).where(
        _OF_OBJECT, INSTANCES.c.digest == sa.bindparam("digest")
    )
)
_OLDER = sa.select(INSTANCES.c.id).where(_OF_OBJECT, INSTANCES.c.id != sa.bindparam("newest_id"))
_OWN_REPORT = Statement(sa.select(REPORTS.c.id).where(REPORTS.c.sop_instance_uid == sa.bindparam("uid")))
_SUPERSEDED = MARKS.update().where(MARKS.c.instance_id.in_(_OLDER)).values(state="superseded")
_NO_LONGER_AWAITED = AWAITED.delete().where(AWAITED.c.instance_id.in_(_OLDER))
_IN_SERIES = Statement(
    sa.select(INSTANCES.c.sop_instance_uid, INSTANCES.c.digest).where(
        INSTANCES.c.series_instance_uid == sa.bindparam("series"), INSTANCES.c.segment != ""
    )
)
_ANY_OLDER = Statement(_OLDER)
_NEW, _NEW_MARK = Statement(INSTANCES.insert()), Statement(MARKS.insert())
_SEGMENT = sa.bindparam("segment", type_=sa.Text)
_CLOSE = SEGMENTS.update().where(SEGMENTS.c.name == _SEGMENT).values(closed=True)
_INSERT_NEW = {
    "postgresql": postgresql.insert(INSTANCES).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(INSTANCES).on_conflict_do_nothing(),
}
"""Insert rows, without those of known instances; by the database's name."""


def _advance(insert: Any, greatest: Callable[..., Any]) -> Any:
    """Record how far a segment is in the ledger now, and whether its association has ended."""
    end, closed = insert.excluded.indexed_bytes, insert.excluded.closed
    return insert.on_conflict_do_update(
        index_elements=[SEGMENTS.c.name],
        set_={
            "indexed_bytes": greatest(SEGMENTS.c.indexed_bytes, end),
            "closed": sa.or_(SEGMENTS.c.closed, closed),
        },
    )


_ADVANCE = {
    "postgresql": Statement(_advance(postgresql.insert(SEGMENTS), sa.func.greatest)),
    "sqlite": Statement(_advance(sqlite.insert(SEGMENTS), sa.func.max)),
}


class InstanceTable:
    """Received instances. Safe to share between threads.

    Parameters
    ----------
    engine
        An opened database (`store.schema.open_database`).
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reads = engine.execution_options(reads=True)
        # SQLite's own waiting polls with pauses; threads of one process wait for each other here instead.
        self._lock = threading.Lock()

    def has_instance(self, header: InstanceHeader, digest: str) -> bool:
        """Whether these very bytes are known under this UID."""
        wanted = {"uid": header.sop_instance_uid, "digest": digest}
        with self._reads.begin() as connection:
            return any(segment for _, segment in _SAME.tuples(connection, wanted))

    def instances_of(self, series_instance_uid: str) -> list[tuple[str, str]]:
        """SOP Instance UID and digest of every instance of a series."""
        with self._reads.begin() as connection:
            rows = _IN_SERIES.tuples(connection, {"series": series_instance_uid})
            return [(uid, digest) for uid, digest in rows]

    def add(self, stored: Sequence[Stored], *, ended: Sequence[str] = ()) -> None:
        """Record instances in one transaction; known ones are left as they are.

        Parameters
        ----------
        ended
            Segments whose association has ended.

        Raises
        ------
        StoreError
            ``store.locked``: the database could not be written in time.
        """
        # What a power cut takes back here is recorded again from the segments.
        unsynced = self._engine.execution_options(unsynced=True)
        with self._lock, unsynced.begin() as connection:
            for is_mark, some in itertools.groupby(stored, lambda one: one.is_mark):
                if is_mark:
                    for one in some:
                        _add_mark_object(connection, one)
                else:
                    connection.execute(_INSERT_NEW[connection.dialect.name], [_row(one) for one in some])
            if segments := _segments(stored, ended):
                _ADVANCE[connection.dialect.name].change(connection, *segments)

    def close_segment(self, name: str) -> None:
        """Record that the association of a segment has ended."""
        with self._lock, self._engine.begin() as connection:
            connection.execute(_CLOSE, {"segment": name})

    def close_segments(self, of: Callable[[str], bool]) -> None:
        """Record that no association that wrote one of these segments is open.

        Parameters
        ----------
        of
            Whether a segment is meant, by its name.
        """
        with self._lock, self._engine.begin() as connection:
            open_ones = connection.execute(sa.select(SEGMENTS.c.name).where(~SEGMENTS.c.closed)).scalars()
            for name in [one for one in open_ones if of(one)]:
                connection.execute(_CLOSE, {"segment": name})

    def known_segments(self) -> dict[str, tuple[int, bool]]:
        """How far each received segment is recorded, by its name, and whether its association has ended."""
        with self._reads.begin() as connection:
            rows = connection.execute(sa.select(SEGMENTS.c.name, SEGMENTS.c.indexed_bytes, SEGMENTS.c.closed))
            return {row.name: (row.indexed_bytes, row.closed) for row in rows}

    def newest_id(self) -> int:
        """Return the id of the newest instance; 0 where there is none."""
        with self._reads.begin() as connection:
            return NEWEST_ID.value(connection) or 0


def _row(one: Stored) -> dict[str, Any]:
    header, blob = one.header, one.blob
    return {
        "sop_instance_uid": header.sop_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "study_instance_uid": header.study_instance_uid,
        "series_instance_uid": header.series_instance_uid,
        "modality": header.modality[:16],
        "frame_of_reference_uid": header.frame_of_reference_uid,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "digest": one.digest,
        "segment": blob.segment,
        "offset": blob.offset,
        "length": blob.length,
        "calling_ae": one.envelope.calling_ae,
        "received_us": to_us(one.envelope.received_at),
        "header": header_to_json(header),
    }


def _add_mark_object(connection: sa.Connection, one: Stored) -> None:
    known = _SAME.first(connection, {"uid": one.header.sop_instance_uid, "digest": one.digest})
    if known is None:
        _add_mark(connection, _NEW.insert(connection, _row(one)), one.header.sop_instance_uid)
        return
    instance_id, segment = known
    if segment == "":
        _bring_back_mark(connection, instance_id, one)


def _bring_back_mark(connection: sa.Connection, instance_id: int, one: Stored) -> None:
    """Take a mark object again that retention removed, and that its sender still has."""
    connection.execute(INSTANCES.update().where(INSTANCES.c.id == instance_id).values(_row(one)))
    connection.execute(
        MARKS.update()
        .where(MARKS.c.instance_id == instance_id, MARKS.c.state == "removed")
        .values(state="open")
    )


def _add_mark(connection: sa.Connection, instance_id: int, sop_instance_uid: str) -> None:
    """Record a mark object; an older version of it is superseded; our own report is no mark."""
    own = _OWN_REPORT.first(connection, {"uid": sop_instance_uid})
    older = {"uid": sop_instance_uid, "newest_id": instance_id}
    if _ANY_OLDER.first(connection, older) is not None:
        connection.execute(_SUPERSEDED, older)
        connection.execute(_NO_LONGER_AWAITED, older)
    _NEW_MARK.change(connection, {"instance_id": instance_id, "state": "own" if own else "open"})


def _segments(stored: Sequence[Stored], ended: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the segments: how far they are recorded, and whether their association has ended."""
    ends = dict.fromkeys(ended, 0)
    for one in stored:
        ends[one.blob.segment] = max(ends.get(one.blob.segment, 0), one.blob.offset + one.blob.length)
    closed = set(ended)
    return [{"name": name, "indexed_bytes": end, "closed": name in closed} for name, end in ends.items()]


def stored_instance(row: Row) -> StoredInstance:
    """Make the instance of a row of the table."""
    return StoredInstance(
        header=header_from_json(row["header"]),
        blob=BlobRef(segment=row["segment"], offset=row["offset"], length=row["length"]),
        digest=row["digest"],
    )
