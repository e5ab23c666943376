"""Received bytes in append-only files, one for each association, on disk before success is answered.

Each record describes itself, so that the ledger can be rebuilt from the segments alone. No received string
ever becomes part of a path.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from osteoscribe.app.ports import Envelope
from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import StoreError

MAGIC = b"OSTEOSG2"
_FIELDS = struct.Struct("<8sQ64s64s64s32s16sq")
_CRC = struct.Struct("<I")
HEADER_LENGTH = _FIELDS.size + _CRC.size
"""Bytes in front of each data set: magic, length, three UIDs, digest, AE title, time in us, CRC-32."""

RECEIVED = "received"
"""Folder of the segments that peers filled."""
MADE = "made"
"""Folder of the segments with our own reports."""

NODE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,30}[a-z0-9])?")
"""What a node may be called: its name becomes part of the names of its segments."""

_NAME = re.compile(
    rf"(?:{RECEIVED}|{MADE})/[0-9]{{8}}/[0-9a-f]+-(?:(?P<node>{NODE_NAME.pattern})-)?[0-9]+-[0-9]+\.seg"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COUNTER = itertools.count()


def node_of(name: str) -> str:
    """Name of the node that wrote a segment; empty where it had none.

    Examples
    --------
    >>> node_of("received/20261122/64c5-site-a-71-3.seg"), node_of("received/20261122/64c5-71-3.seg")
    ('site-a', '')
    """
    found = _NAME.fullmatch(name)
    return (found["node"] or "") if found else ""


def new_name(kind: str, opened_at: datetime, node: str) -> str:
    """Name of a new segment: no other process, of whatever node, gives the same.

    Parameters
    ----------
    kind
        `RECEIVED` or `MADE`.
    opened_at
        Time with zone.
    """
    stamp = (opened_at - _EPOCH) // _MICROSECOND
    day = opened_at.astimezone(UTC).strftime("%Y%m%d")
    mine = f"{node}-{os.getpid()}" if node else str(os.getpid())
    return f"{kind}/{day}/{stamp:x}-{mine}-{next(_COUNTER)}.seg"


def renewed(name: str) -> str:
    """Another new name for a segment that must not go on under its own."""
    return f"{name.rpartition('-')[0]}-{next(_COUNTER)}.seg"


def opened_at(name: str) -> datetime:
    """When a segment was opened, as its name says.

    Examples
    --------
    >>> opened_at("received/20261122/660dc3778d000-a-71-3.seg").isoformat()
    '2026-11-22T12:00:00+00:00'
    """
    stamp = name.rpartition("/")[2].partition("-")[0]
    return _EPOCH + int(stamp, 16) * _MICROSECOND


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a segment, as its own header describes it."""

    envelope: Envelope
    blob: BlobRef
    digest: str

    @property
    def end(self) -> int:
        """Byte offset behind the record."""
        return self.blob.offset + self.blob.length


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

    def writer(self, kind: str, opened_at: datetime) -> SegmentWriter:
        """Return a new segment; its file is made with the first record.

        Parameters
        ----------
        kind
            `RECEIVED` or `MADE`.
        opened_at
            Time with zone; names the file.
        """
        return SegmentWriter(self.folder, new_name(kind, opened_at, self._node))

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
            Name of the segment.
        start
            Offset of a record's header.
        """
        with (self.folder / name).open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            while start + HEADER_LENGTH <= total:
                file.seek(start)
                record = unpack_header(file.read(HEADER_LENGTH), name, start)
                if record is None or record.end > total:
                    return
                if new_digest(file.read(record.blob.length)).hexdigest() != record.digest:
                    return
                yield record
                start = record.end


class SegmentWriter:
    """Appends the data sets of one association to one file. For one thread.

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
        self._descriptor: int | None = None

    def begin(self) -> SegmentRecord:
        """Begin a data set whose length is not known yet; one at a time."""
        return SegmentRecord(self)

    def append(self, encoded: Sequence[bytes | memoryview], envelope: Envelope, digest: bytes) -> BlobRef:
        """Store one data set; it is on disk when this returns.

        Parameters
        ----------
        encoded
            The data set, in pieces, without preamble and file meta group.
        envelope
            What is known of it; becomes the record's header.
        digest
            Digest of the data set, 32 bytes.

        Raises
        ------
        StoreError
            ``store.disk-full`` or ``store.write-failed``; nothing of the data set is kept.
        """
        record = self.begin()
        record.write(encoded)
        return record.commit(envelope, digest)

    def open_at(self, offset: int) -> int:
        """Open the file, made if absent, for writing at an offset; returns its descriptor."""
        if self._descriptor is None:
            self._descriptor = _create(self._path)
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        return self._descriptor

    def undo(self) -> None:
        """Take back what was written behind the last whole record."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self.end)
        except OSError:
            # Without the truncation the next record would stand behind a torn one: leave this file for good.
            self.close()
            self.name = renewed(self.name)
            self._path = self._path.parent / Path(self.name).name
            self.end = 0

    def close(self) -> None:
        """Close the file; nothing can be appended afterwards."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


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
        self._descriptor: int | None = None
        self.length = 0

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write the next pieces of the data set; the caller may use their memory again afterwards.

        Raises
        ------
        StoreError
            ``store.disk-full`` or ``store.write-failed``; nothing of the data set is kept.
        """
        with self._stated():
            if self._descriptor is None:
                self._descriptor = self._writer.open_at(self._writer.end + HEADER_LENGTH)
            self.length += _write_all(self._descriptor, pieces)

    def content(self) -> memoryview:
        """Give what was written so far, without a copy of it.

        Raises
        ------
        StoreError
            ``store.write-failed``: it cannot be read back.
        """
        if self._descriptor is None or not self.length:
            return memoryview(b"")
        before = (self._writer.end + HEADER_LENGTH) % mmap.ALLOCATIONGRANULARITY
        start = self._writer.end + HEADER_LENGTH - before
        with self._stated():
            mapped = mmap.mmap(self._descriptor, before + self.length, prot=mmap.PROT_READ, offset=start)
        return memoryview(mapped)[before:]

    def commit(self, envelope: Envelope, digest: bytes) -> BlobRef:
        """Write the header; the record is on disk when this returns.

        Parameters
        ----------
        envelope
            What is known of the data set.
        digest
            Digest of it, 32 bytes.

        Raises
        ------
        StoreError
            ``store.disk-full`` or ``store.write-failed``; nothing of the data set is kept.
        """
        writer, start = self._writer, self._writer.end
        with self._stated():
            descriptor = self._descriptor if self._descriptor is not None else writer.open_at(start)
            os.lseek(descriptor, start, os.SEEK_SET)
            _write_all(descriptor, [pack_header(envelope, self.length, digest)])
            os.fdatasync(descriptor)
        writer.end = start + HEADER_LENGTH + self.length
        self._descriptor = None
        return BlobRef(segment=writer.name, offset=start + HEADER_LENGTH, length=self.length)

    def abandon(self) -> None:
        """Keep nothing of it."""
        if self._descriptor is not None:
            self._descriptor = None
            self._writer.undo()

    @contextmanager
    def _stated(self) -> Iterator[None]:
        """State a fault of the disk as our own error, and keep nothing of the record."""
        try:
            yield
        except OSError as error:
            self._descriptor = None
            self._writer.undo()
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise StoreError(
                "store.disk-full" if full else "store.write-failed",
                f"found no way to write a segment (error {error.errno}), expected free space and a healthy "
                "disk; free space or repair it, then send again",
            ) from error


def _create(path: Path) -> int:
    """Make the file and put its name, and those of new folders, on disk."""
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    for folder in (path.parent, *(folder.parent for folder in missing)):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return descriptor


def _write_all(descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
    """Write all pieces at the file's position; returns how many bytes they are."""
    waiting = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    length = sum(map(len, waiting))
    while waiting:
        written = os.writev(descriptor, waiting[:512])
        while written:
            if written < len(waiting[0]):
                waiting[0] = waiting[0][written:]
                break
            written -= len(waiting.pop(0))
    return length


def pack_header(envelope: Envelope, length: int, digest: bytes) -> bytes:
    """Header of a record, `HEADER_LENGTH` bytes."""
    fields = _FIELDS.pack(
        MAGIC,
        length,
        envelope.sop_class_uid.encode("ascii"),
        envelope.sop_instance_uid.encode("ascii"),
        envelope.transfer_syntax_uid.encode("ascii"),
        digest,
        envelope.calling_ae.encode("ascii", "replace"),
        (envelope.received_at - _EPOCH) // _MICROSECOND,
    )
    return fields + _CRC.pack(zlib.crc32(fields))


def unpack_header(header: bytes, name: str, start: int) -> Record | None:
    """Record of a header that stands at an offset of a segment; None where it is none."""
    fields, (crc,) = header[: _FIELDS.size], _CRC.unpack(header[_FIELDS.size :])
    if zlib.crc32(fields) != crc or not fields.startswith(MAGIC):
        return None
    _, length, sop_class, sop_instance, syntax, digest, calling, stamp = _FIELDS.unpack(fields)
    sop_class_uid, sop_instance_uid, transfer_syntax_uid, calling_ae = (
        text.rstrip(b"\0").decode("ascii") for text in (sop_class, sop_instance, syntax, calling)
    )
    envelope = Envelope(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        calling_ae=calling_ae,
        received_at=_EPOCH + stamp * _MICROSECOND,
    )
    blob = BlobRef(segment=name, offset=start + HEADER_LENGTH, length=length)
    return Record(envelope=envelope, blob=blob, digest=digest.hex())
