"""Received bytes in append-only files, one for each association, on disk before success is answered.

Each record describes itself, so that the ledger can be rebuilt from the segments alone. No received string
ever becomes part of a path.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TypeVar

from osteoscribe.app.ports import Envelope
from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import StoreError
from osteoscribe.store.blocks import BlockFile, next_block
from osteoscribe.store.records import EPOCH, HEADER_LENGTH, MICROSECOND, Record, pack_header, unpack_header

RECEIVED = "received"
"""Folder of the segments that peers filled."""
MADE = "made"
"""Folder of the segments with our own reports."""

NODE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,30}[a-z0-9])?")
"""What a node may be called: its name becomes part of the names of its segments."""

_NAME = re.compile(
    rf"(?:{RECEIVED}|{MADE})/[0-9]{{8}}/[0-9a-f]+-(?:(?P<node>{NODE_NAME.pattern})-)?(?P<process>[0-9]+)-[0-9]+\.seg"
)
T = TypeVar("T")

_NO_HEADER = bytes(HEADER_LENGTH)
_COUNTER = itertools.count()

MADE_AHEAD_FOR = timedelta(minutes=10)
"""How long before its first record the file of a segment may have been made: so much older it passes for."""


def node_of(name: str) -> str:
    """Name of the node that wrote a segment; empty where it had none.

    Examples
    --------
    >>> node_of("received/20261122/64c5-site-a-71-3.seg"), node_of("received/20261122/64c5-71-3.seg")
    ('site-a', '')
    """
    found = _NAME.fullmatch(name)
    return (found["node"] or "") if found else ""


def process_of(name: str) -> int:
    """Give the number of the process that wrote a segment; 0 where it is no segment.

    Examples
    --------
    >>> process_of("received/20261122/64c5-site-a-71-3.seg")
    71
    """
    found = _NAME.fullmatch(name)
    return int(found["process"]) if found else 0


def new_name(kind: str, opened_at: datetime, node: str) -> str:
    """Name of a new segment: no other process, of whatever node, gives the same.

    Parameters
    ----------
    kind
        `RECEIVED` or `MADE`.
    opened_at
        Time with zone.
    """
    stamp = (opened_at - EPOCH) // MICROSECOND
    day = opened_at.astimezone(UTC).strftime("%Y%m%d")
    mine = f"{node}-{os.getpid()}" if node else str(os.getpid())
    return f"{kind}/{day}/{stamp:x}-{mine}-{next(_COUNTER)}.seg"


def renewed(name: str) -> str:
    """Another new name for a segment that must not go on under its own."""
    return f"{name.rpartition('-')[0]}-{next(_COUNTER)}.seg"


def made_at(name: str) -> datetime:
    """When a segment was made, as its name says.

    Examples
    --------
    >>> made_at("received/20261122/660dc3778d000-a-71-3.seg").isoformat()
    '2026-11-22T12:00:00+00:00'
    """
    stamp = name.rpartition("/")[2].partition("-")[0]
    return EPOCH + int(stamp, 16) * MICROSECOND


def is_name(name: str) -> bool:
    """Whether this is a name that nodes give to segments."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Refuse a name that could lead elsewhere.

    Raises
    ------
    StoreError
        ``store.unreadable``.
    """
    if not is_name(name):
        raise StoreError("store.unreadable", "found a segment name that this node never gives")


class SegmentStore:
    """All segments below one folder.

    Parameters
    ----------
    folder
        The folder; made if absent.
    node
        Name of the node that writes: several may share the folder, and process numbers repeat from machine
        to machine. Empty where it only reads.
    """

    def __init__(self, folder: Path, node: str = "") -> None:
        self.folder = folder
        self._path = os.path.join(folder, "")  # noqa: PTH118  a mark reads thirty slices, each in 10 us
        self._node = node
        self._ahead: deque[SegmentWriter] = deque()
        self._latest = EPOCH

    def writer(self, kind: str, opened_at: datetime) -> SegmentWriter:
        """Return a new segment; its file is made with the first record, unless it was made ahead.

        Parameters
        ----------
        kind
            `RECEIVED` or `MADE`.
        opened_at
            Time with zone; names the file.
        """
        ahead = self._taken() if kind == RECEIVED else None
        if ahead is not None:
            made = made_at(ahead.name)
            # Names are in the order in which they were given out, and near the time at which they were.
            if self._latest <= made <= opened_at <= made + MADE_AHEAD_FOR:
                return ahead
            ahead.close()
        self._latest = max(self._latest, opened_at)
        return SegmentWriter(self.folder, new_name(kind, opened_at, self._node))

    def prepare(self, now: datetime) -> None:
        """Make the file of the next segment of received bytes: it takes longer than storing a small object.

        Where it cannot be made, its writer will say so.
        """
        if not self._ahead:
            writer = SegmentWriter(self.folder, new_name(RECEIVED, now, self._node))
            with suppress(OSError):
                writer.open()
                self._ahead.append(writer)

    def close(self) -> None:
        """Leave nothing behind that was made ahead."""
        while (ahead := self._taken()) is not None:
            ahead.close()

    def _taken(self) -> SegmentWriter | None:
        with suppress(IndexError):
            return self._ahead.popleft()
        return None

    def read_bytes(self, blob: BlobRef, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a stored data set, counted from its first byte.

        Raises
        ------
        StoreError
            ``store.unreadable``: the segment is gone or shorter than the ledger says.
        """
        check_name(blob.segment)
        stop = min(stop, blob.length)
        length = max(stop - start, 0)
        try:
            descriptor = os.open(self._path + blob.segment, os.O_RDONLY)
            try:
                read = os.pread(descriptor, length, blob.offset + start)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(
                "store.unreadable",
                f"found segment {blob.segment} unreadable (error {error.errno}); restore it",
            ) from error
        if len(read) != length:
            raise StoreError(
                "store.unreadable",
                f"found segment {blob.segment} cut short, expected {blob.offset + stop} bytes; restore it",
            )
        return read

    def lengths(self, kind: str, since: str = "") -> dict[str, int]:
        """Length of each segment of a kind in bytes, by name, in the order of their making.

        Parameters
        ----------
        kind
            `RECEIVED` or `MADE`.
        since
            Only those that were opened on this day (``20261122``) or later.
        """
        days = sorted(one.name for one in (self.folder / kind).glob("*") if one.name >= since)
        found: dict[str, int] = {}
        for day in days:
            for path in sorted((self.folder / kind / day).glob("*.seg")):
                # One that was never used, or is too old, may go meanwhile.
                with suppress(FileNotFoundError):
                    if is_name(name := f"{kind}/{day}/{path.name}"):
                        found[name] = path.stat().st_size
        return found

    def remove(self, name: str) -> None:
        """Remove a segment for good; one that is gone already is none of our worry.

        Raises
        ------
        StoreError
            ``store.write-failed``.
        """
        check_name(name)
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                "store.write-failed",
                f"found no way to remove segment {name} (error {error.errno}); check its folder",
            ) from error

    def scan(self, name: str, start: int = 0) -> Iterator[Record]:
        """Yield the records of a segment from a byte offset on; a torn tail ends it.

        Parameters
        ----------
        name
            Name of the segment; one that is gone has none.
        start
            Offset of a record's header, or behind a record.
        """
        with suppress(FileNotFoundError), (self.folder / name).open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            while record := _record_at(file, name, start) or _record_at(file, name, next_block(start)):
                if record.end > total:
                    return
                file.seek(record.blob.offset)
                if new_digest(file.read(record.blob.length)).hexdigest() != record.digest:
                    return
                yield record
                start = record.end


def _record_at(file: BinaryIO, name: str, start: int) -> Record | None:
    """Record whose header stands at an offset; None where none stands there."""
    file.seek(start)
    header = file.read(HEADER_LENGTH)
    return unpack_header(header, name, start) if len(header) == HEADER_LENGTH else None


class SegmentWriter:
    """Appends the data sets of one association to one file. For one thread.

    Each record begins at a block of its own (`store.blocks`); zeros fill what is left of its last.

    Parameters
    ----------
    folder
        Folder of the store.
    name
        Name of the segment in it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.end = 0
        self._path = folder / name
        self._file: BlockFile | None = None

    def begin(self) -> SegmentRecord:
        """Begin a data set whose length is not known yet; one at a time."""
        return SegmentRecord(self)

    def append(self, encoded: Sequence[bytes | memoryview], envelope: Envelope) -> BlobRef:
        """Store one data set; it is on disk when this returns.

        Parameters
        ----------
        encoded
            The data set, in pieces, without preamble and file meta group.
        envelope
            What is known of it; becomes the record's header.

        Raises
        ------
        StoreError
            ``store.disk-full`` or ``store.write-failed``; nothing of the data set is kept.
        """
        record = self.begin()
        record.write(encoded)
        return record.commit(envelope)

    def open(self) -> BlockFile:
        """Open the file, made if absent."""
        if self._file is None:
            self._file = BlockFile(self._path)
        return self._file

    def undo(self) -> None:
        """Take back what was written behind the last whole record."""
        if self._file is None:
            return
        try:
            self._file.cut(self.end)
        except OSError:
            # Without the truncation the next record would stand behind a torn one: leave this file for good.
            self.close()
            self.name = renewed(self.name)
            self._path = self._path.parent / Path(self.name).name
            self.end = 0

    def close(self) -> None:
        """Close the file; nothing can be appended afterwards. One without a record is removed."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        if not self.end:
            with suppress(OSError):
                self._path.unlink()


class SegmentRecord:
    """One data set on its way into a segment.

    It is written as it comes, behind room for its header. The header is written last: until then, and
    after any crash before its sync, the record does not look whole to `SegmentStore.scan`.

    Parameters
    ----------
    writer
        The segment; nothing else is written to it before this record is committed or abandoned.
    """

    def __init__(self, writer: SegmentWriter) -> None:
        self._writer = writer
        self._file: BlockFile | None = None
        self.length = 0

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next pieces of the data set; their memory stays as it is until `let_go`, or the end.

        Raises
        ------
        StoreError
            ``store.disk-full`` or ``store.write-failed``; nothing of the data set is kept.
        """
        self.length += self._in_file(lambda file: file.put(pieces))

    def let_go(self) -> None:
        """Need the memory of what was taken no more: it is in the file.

        Raises
        ------
        StoreError
            ``store.disk-full`` or ``store.write-failed``; nothing of the data set is kept.
        """
        self._in_file(BlockFile.let_go)

    def content(self) -> memoryview:
        """Give what was written so far, without a copy of it.

        Raises
        ------
        StoreError
            ``store.write-failed``: it cannot be read back.
        """
        if self._file is None or not self.length:
            return memoryview(b"")
        file, place = self._file, self.readable()
        try:
            return file.read(place.offset, place.length)
        except OSError as error:
            raise self._fault(error) from error

    def digest(self) -> bytes:
        """Digest of what was written so far, 32 bytes."""
        return self._begun().digest()

    def readable(self) -> BlobRef:
        """Have what was written so far in the file, for other processes too; give where.

        Raises
        ------
        StoreError
            ``store.disk-full`` or ``store.write-failed``; nothing of the data set is kept.
        """
        self._in_file(lambda file: file.end(_NO_HEADER))
        return self._place

    def commit(self, envelope: Envelope) -> BlobRef:
        """Write the header; the record is on disk when this returns.

        Parameters
        ----------
        envelope
            What is known of the data set.

        Raises
        ------
        StoreError
            ``store.disk-full`` or ``store.write-failed``; nothing of the data set is kept.
        """
        self._in_file(lambda file: file.end(pack_header(envelope, self.length, file.digest())))
        self._in_file(BlockFile.sync)
        place = self._place
        self._writer.end = next_block(place.offset + self.length)
        self._file = None
        return place

    def abandon(self) -> None:
        """Keep nothing of it."""
        if self._file is not None:
            self._file = None
            self._writer.undo()

    @property
    def _place(self) -> BlobRef:
        writer = self._writer
        return BlobRef(segment=writer.name, offset=writer.end + HEADER_LENGTH, length=self.length)

    def _in_file(self, act: Callable[[BlockFile], T]) -> T:
        """Do something in the file; a fault of the disk is stated as our own."""
        file = self._begun()
        try:
            return act(file)
        except OSError as error:
            raise self._fault(error) from error

    def _begun(self) -> BlockFile:
        if self._file is None:
            try:
                self._file = self._writer.open()
            except OSError as error:
                raise self._fault(error) from error
            self._file.begin(self._writer.end, HEADER_LENGTH)
        return self._file

    def _fault(self, error: OSError) -> StoreError:
        """State a fault of the disk as our own error, and keep nothing of the record."""
        self._file = None
        self._writer.undo()
        return StoreError(
            "store.disk-full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "store.write-failed",
            f"found no way to write a segment (error {error.errno}), expected free space and a healthy "
            "disk; free space or repair it, then send again",
        )
