"""The ledger's record of received instances; what the listener process writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import sqlalchemy as sa

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
from osteoscribe.store.segments import node_of


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

    def has_instance(self, header: InstanceHeader, sha256: str) -> bool:
        """Whether these very bytes are known under this UID."""
        query = sa.select(INSTANCES.c.id).where(
            INSTANCES.c.sop_instance_uid == header.sop_instance_uid, INSTANCES.c.sha256 == sha256
        )
        with self._reads.begin() as connection:
            return connection.execute(query).first() is not None

    def add(self, stored: Sequence[Stored]) -> None:
        """Record instances in one transaction; known ones are left as they are.

        Raises
        ------
        StoreError
            ``store.locked``: the database could not be written in time.
        """
        with self._lock, self._engine.begin() as connection:
            for one in stored:
                _add_one(connection, one)

    def close_segment(self, name: str) -> None:
        """Record that the association of a segment has ended."""
        with self._lock, self._engine.begin() as connection:
            connection.execute(SEGMENTS.update().where(SEGMENTS.c.name == name).values(closed=True))

    def close_segments(self, of: Callable[[str], bool]) -> None:
        """Record that no association of an earlier run of these nodes is open.

        Parameters
        ----------
        of
            Whether the segments of a node are meant, by its name.
        """
        with self._lock, self._engine.begin() as connection:
            open_ones = connection.execute(sa.select(SEGMENTS.c.name).where(~SEGMENTS.c.closed)).scalars()
            for name in [one for one in open_ones if of(node_of(one))]:
                connection.execute(SEGMENTS.update().where(SEGMENTS.c.name == name).values(closed=True))

    def indexed_bytes(self) -> dict[str, int]:
        """How far each segment is recorded, by its name."""
        with self._reads.begin() as connection:
            rows = connection.execute(sa.select(SEGMENTS.c.name, SEGMENTS.c.indexed_bytes))
            return {row.name: row.indexed_bytes for row in rows}

    def newest_id(self) -> int:
        """Return the id of the newest instance; 0 where there is none."""
        with self._reads.begin() as connection:
            return connection.execute(sa.select(sa.func.max(INSTANCES.c.id))).scalar_one() or 0


def _add_one(connection: sa.Connection, one: Stored) -> None:
    header, blob = one.header, one.blob
    known = sa.select(INSTANCES.c.id).where(
        INSTANCES.c.sop_instance_uid == header.sop_instance_uid, INSTANCES.c.sha256 == one.sha256
    )
    if connection.execute(known).first() is None:
        row = {
            "sop_instance_uid": header.sop_instance_uid,
            "sop_class_uid": header.sop_class_uid,
            "study_instance_uid": header.study_instance_uid,
            "series_instance_uid": header.series_instance_uid,
            "modality": header.modality[:16],
            "frame_of_reference_uid": header.frame_of_reference_uid,
            "transfer_syntax_uid": header.transfer_syntax_uid,
            "sha256": one.sha256,
            "segment": blob.segment,
            "offset": blob.offset,
            "length": blob.length,
            "calling_ae": one.envelope.calling_ae,
            "received_us": to_us(one.envelope.received_at),
            "header": header_to_json(header),
        }
        inserted = connection.execute(INSTANCES.insert().values(row)).inserted_primary_key
        if one.is_mark and inserted is not None:
            _add_mark(connection, inserted[0], header.sop_instance_uid)
    _advance(connection, blob)


def _add_mark(connection: sa.Connection, instance_id: int, sop_instance_uid: str) -> None:
    """Record a mark object; an older version of it is superseded; our own report is no mark."""
    own = connection.execute(
        sa.select(REPORTS.c.id).where(REPORTS.c.sop_instance_uid == sop_instance_uid)
    ).first()
    older = (
        sa.select(INSTANCES.c.id)
        .where(INSTANCES.c.sop_instance_uid == sop_instance_uid, INSTANCES.c.id != instance_id)
        .scalar_subquery()
    )
    connection.execute(MARKS.update().where(MARKS.c.instance_id.in_(older)).values(state="superseded"))
    connection.execute(AWAITED.delete().where(AWAITED.c.instance_id.in_(older)))
    connection.execute(MARKS.insert().values(instance_id=instance_id, state="own" if own else "open"))


def _advance(connection: sa.Connection, blob: BlobRef) -> None:
    end = blob.offset + blob.length
    moved = connection.execute(
        SEGMENTS.update()
        .where(SEGMENTS.c.name == blob.segment)
        .values(indexed_bytes=sa.case((SEGMENTS.c.indexed_bytes < end, end), else_=SEGMENTS.c.indexed_bytes))
    )
    if moved.rowcount == 0:
        connection.execute(SEGMENTS.insert().values(name=blob.segment, indexed_bytes=end, closed=False))


def stored_instance(row: sa.RowMapping) -> StoredInstance:
    """Make the instance of a row of the table."""
    return StoredInstance(
        header=header_from_json(row["header"]),
        blob=BlobRef(segment=row["segment"], offset=row["offset"], length=row["length"]),
        sha256=row["sha256"],
    )
