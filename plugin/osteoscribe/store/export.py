"""Stored instances as DICOM files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from osteoscribe.app.ports import Envelope
from osteoscribe.core.series import BlobRef
from osteoscribe.store.part10 import file_head
from osteoscribe.store.places import Segments
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
            target = folder / name.split("/")[0] / f"{number:08d}.dcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, record.envelope, segments, record.blob)
            yield target


def _write(target: Path, envelope: Envelope, segments: Segments, blob: BlobRef) -> None:
    beside = target.with_suffix(".part")
    with beside.open("wb") as file:
        file.write(file_head(envelope))
        for start in range(0, blob.length, _CHUNK):
            file.write(segments.read_bytes(blob, start, start + _CHUNK))
    beside.replace(target)
