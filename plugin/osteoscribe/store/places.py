"""Where segments lie: in a folder, or in an object store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from osteoscribe.app.ports import Envelope, OpenRecord
from osteoscribe.core.series import BlobRef
from osteoscribe.store.folder import DataFolder
from osteoscribe.store.identity import identity_of
from osteoscribe.store.objects import ObjectStore
from osteoscribe.store.records import Record
from osteoscribe.store.segments import SegmentStore


class Segment(Protocol):
    """A segment that is being filled, by one thread."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def end(self) -> int:
        """How many bytes are in it; 0 before the first record."""
        ...

    def begin(self) -> OpenRecord:
        """Begin a data set whose length is not known yet; one at a time."""
        ...

    def append(self, encoded: Sequence[bytes | memoryview], envelope: Envelope) -> BlobRef:
        """Store one data set; it is safe when this returns."""
        ...

    def close(self) -> None:
        """Stop; nothing more comes."""
        ...


class Segments(Protocol):
    """All segments of one place. What they promise is tested for every place by the same tests."""

    def writer(self, kind: str, opened_at: datetime) -> Segment:
        """Return a new segment; there is nothing of it before its first record."""
        ...

    def prepare(self, now: datetime) -> None:
        """Make the next segment of received bytes ahead, where that gains time."""
        ...

    def close(self) -> None:
        """Leave nothing behind that was made ahead."""
        ...

    def read_bytes(self, blob: BlobRef, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a stored data set, counted from its first byte."""
        ...

    def lengths(self, kind: str, since: str = "") -> dict[str, int]:
        """Length of each segment of a kind in bytes, by name, opened on that day (``20261122``) or later."""
        ...

    def scan(self, name: str, start: int = 0) -> Iterator[Record]:
        """Yield the whole records of a segment from a byte offset on."""
        ...

    def remove(self, name: str) -> None:
        """Remove a segment for good."""
        ...


def open_segments(folder: DataFolder, node: str = "") -> Segments:
    """Open the place that the settings name.

    Parameters
    ----------
    node
        Name of the node that writes; empty where it only reads.

    Raises
    ------
    SetupError
        ``store.no-object-store``, ``store.unusable``.
    """
    if not folder.objects_url:
        return SegmentStore(folder.segments, node)
    return ObjectStore(
        folder.objects_url, endpoint_url=folder.objects_endpoint_url, spool=folder.path, node=node
    )


def place_id(folder: DataFolder) -> str:
    """Identity of the place: nodes that share a ledger must find the same."""
    if not folder.objects_url:
        return identity_of(folder.segments, "store-id")
    place = f"{folder.objects_endpoint_url} {folder.objects_url}"
    return hashlib.sha256(place.encode()).hexdigest()[:32]
