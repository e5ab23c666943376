"""Stored instances as DICOM files, and the objects that are never sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from osteoscribe.app.ports import QUARANTINED
from osteoscribe.core.series import BlobRef
from osteoscribe.store.part10 import file_head
from osteoscribe.store.places import Segments
from osteoscribe.store.schema import QUARANTINE, Database
from osteoscribe.store.segments import MADE, RECEIVED

_CHUNK = 1 << 20


def export_files(segments: Segments, folder: Path) -> Iterator[Path]:
    """Write every stored data set, received and made, as a DICOM file; yields their paths.

    The segments alone are read, so that this works where the ledger is lost. Files are numbered: no
    received text becomes part of a path.
    """
    number = 0
    for name in (name for kind in (MADE, RECEIVED) for name in segments.lengths(kind)):
        for record in segments.scan(name):
            number += 1
            is_refused = record.envelope.calling_ae == QUARANTINED and name.startswith(f"{MADE}/")
            target = folder / ("quarantined" if is_refused else name.split("/")[0]) / f"{number:08d}.dcm"
            head = b"" if is_refused else file_head(record.envelope)
            _write(target, head, segments, record.blob)
            yield target


def export_quarantined(
    database: Database, segments: Segments, folder: Path
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Write every object that is never sent, as the gate read it; yields its path and its row."""
    query = sa.select(*QUARANTINE.c).where(QUARANTINE.c.segment.is_not(None))
    with database.execution_options(reads=True).begin() as connection:
        rows = list(connection.execute(query.order_by(QUARANTINE.c.made_us, QUARANTINE.c.number)).mappings())
    for row in rows:
        target = folder / f"{row['job_key'][:12]}-{row['number']}-{row['profile']}-{row['role']}.dcm"
        blob = BlobRef(segment=row["segment"], offset=row["offset"], length=row["length"])
        _write(target, b"", segments, blob)
        yield target, dict(row)


def _write(target: Path, head: bytes, segments: Segments, blob: BlobRef) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".part")
    with beside.open("wb") as file:
        file.write(head)
        for start in range(0, blob.length, _CHUNK):
            file.write(segments.read_bytes(blob, start, start + _CHUNK))
    beside.replace(target)
