"""Received bytes and reports in an S3-compatible object store: the same segments, one object for each record.

A record becomes visible whole or not at all, when its upload is answered; only then is success answered. The
objects of a segment are named by their offsets, so that a segment reads like the file it would be on a disk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from osteoscribe.app.ports import Envelope
from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import SetupError, StoreError
from osteoscribe.store.records import HEADER_LENGTH, Record, pack_header, unpack_header
from osteoscribe.store.segments import check_name, is_name, new_name, renewed

IN_ONE_PIECE = 64 << 20
"""Larger records are uploaded in parts; they too become visible all at once."""

PATIENCE_S = 20.0
"""With the store, for all tries of one request: a sender waits half a minute or more for its answer."""
SLOWEST_BYTES_PER_S = 2_000_000
"""A large record is given so much more time."""


class ObjectStore:
    """All segments below one URL (`store.places.Segments`).

    Parameters
    ----------
    url
        ``s3://BUCKET/PREFIX``. Who may use it is said by the environment or the files of the AWS tools.
    endpoint_url
        Where the store answers; empty: AWS.
    spool
        Folder in which a record is kept while it comes in; nothing of it outlives the process.
    node
        Name of the node that writes; empty where it only reads.

    Raises
    ------
    SetupError
        ``store.no-object-store``: the library for it is not installed.
    """

    def __init__(self, url: str, *, endpoint_url: str, spool: Path, node: str = "") -> None:
        try:
            self._files: Any = import_module("fsspec").filesystem(
                "s3",
                endpoint_url=endpoint_url or None,
                config_kwargs={"connect_timeout": 5, "read_timeout": PATIENCE_S},
                use_listings_cache=False,
                skip_instance_cache=True,
            )
        except ImportError as error:
            raise SetupError(
                "store.no-object-store",
                "found no library for object stores; install osteoscribe[objects]",
            ) from error
        self._root = url.removeprefix("s3://").rstrip("/")
        self._spool = spool
        self._node = node

    def writer(self, kind: str, opened_at: datetime) -> ObjectWriter:
        """Return a new segment, as `store.segments.SegmentStore.writer`."""
        return ObjectWriter(self._files, self._root, new_name(kind, opened_at, self._node), self._spool)

    def prepare(self, now: datetime) -> None:
        """Nothing: there are no files, each record is an object."""

    def close(self) -> None:
        """Nothing, as `prepare`."""

    def read_bytes(self, blob: BlobRef, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a stored data set, counted from its first byte.

        Raises
        ------
        StoreError
            ``store.unreadable``.
        """
        check_name(blob.segment)
        stop = min(stop, blob.length)
        if stop <= start:
            return b""
        key = _key(self._root, blob.segment, blob.offset - HEADER_LENGTH)
        with _reading(blob.segment):
            within = {"start": HEADER_LENGTH + start, "end": HEADER_LENGTH + stop}
            read = bytes(_wait_for(self._files, self._files._cat_file, key, **within))
        if len(read) != stop - start:
            raise StoreError(
                "store.unreadable",
                f"found segment {blob.segment} cut short, expected {blob.offset + stop} bytes; restore it",
            )
        return read

    def lengths(self, kind: str, since: str = "") -> dict[str, int]:
        """Length of each segment of a kind in bytes, as `store.segments.SegmentStore.lengths`."""
        found: dict[str, int] = {}
        with _reading(kind):
            days = self._days(kind)
            for day in (one for one in days if one >= since):
                for path, length in self._objects(f"{kind}/{day}"):
                    name, _, offset = path.removeprefix(f"{self._root}/").rpartition("/")
                    if is_name(name):
                        found[name] = max(found.get(name, 0), int(offset, 16) + length)
        return dict(sorted(found.items()))

    def scan(self, name: str, start: int = 0) -> Iterator[Record]:
        """Yield the records of a segment from a byte offset on; a damaged one is left out."""
        with _reading(name):
            objects = self._objects(name)
        for path, _ in sorted(objects):
            offset = int(path.rpartition("/")[2], 16)
            if offset < start:
                continue
            with _reading(name):
                content = bytes(_wait_for(self._files, self._files._cat_file, path))
            record = unpack_header(content[:HEADER_LENGTH], name, offset)
            if record and new_digest(content[HEADER_LENGTH:]).hexdigest() == record.digest:
                yield record

    def remove(self, name: str) -> None:
        """Remove a segment for good; one that is gone already is none of our worry.

        Raises
        ------
        StoreError
            ``store.write-failed``.
        """
        check_name(name)
        with _writing():
            paths = [path for path, _ in self._objects(name)]
            if paths:
                self._files.rm(paths)

    def _days(self, kind: str) -> list[str]:
        try:
            found = self._files.ls(f"{self._root}/{kind}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def _objects(self, below: str) -> list[tuple[str, int]]:
        """Path and length of every object below a folder; a name that is no number is not ours."""
        found = self._files.find(f"{self._root}/{below}", detail=True)
        return [(path, one["size"]) for path, one in found.items() if _is_offset(path.rpartition("/")[2])]


class ObjectWriter:
    """Uploads the data sets of one association. For one thread.

    Parameters
    ----------
    files
        The object store.
    root, name
        Where in it, and the segment.
    spool
        Folder in which a record is kept while it comes in.
    """

    def __init__(self, files: Any, root: str, name: str, spool: Path) -> None:
        self.name = name
        self.end = 0
        self._files = files
        self._root = root
        self._spool = spool

    def begin(self) -> ObjectRecord:
        """Begin a data set whose length is not known yet; one at a time."""
        return ObjectRecord(self, self._spool)

    def append(self, encoded: Sequence[bytes | memoryview], envelope: Envelope) -> BlobRef:
        """Store one data set; it is in the object store when this returns.

        Raises
        ------
        StoreError
            As `ObjectRecord.commit`.
        """
        record = self.begin()
        record.write(encoded)
        return record.commit(envelope)

    def upload(self, content: Any, length: int) -> None:
        """Upload a record, its header included, behind the last one.

        After a failure the segment goes on under another name: the failed upload may still arrive, and must
        not replace a later record. It is found whole at the next start, or it is not there.
        """
        key = _key(self._root, self.name, self.end)
        try:
            content.seek(0)
            if length <= IN_ONE_PIECE:
                asked = (self._files._pipe_file, key, content.read())
            else:
                asked = (self._files._put_file, f"/proc/self/fd/{content.fileno()}", key)
            _wait_for(self._files, *asked, patience_s=PATIENCE_S + length / SLOWEST_BYTES_PER_S)
        except BaseException:
            self.name = renewed(self.name)
            self.end = 0
            raise
        self.end += length

    def close(self) -> None:
        """Nothing stays open between two records."""


class ObjectRecord:
    """One data set on its way into the object store: kept in a file without a name until it is whole.

    Parameters
    ----------
    writer
        The segment.
    spool
        Folder of the file.
    """

    def __init__(self, writer: ObjectWriter, spool: Path) -> None:
        self._writer = writer
        self._spool = spool
        self._file: Any = None
        self._digest = new_digest()
        self.length = 0

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write the next pieces of the data set.

        Raises
        ------
        StoreError
            ``store.write-failed``: they cannot be kept.
        """
        with self._stated():
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._spool)  # noqa: SIM115  closed with the record
                self._file.write(bytes(HEADER_LENGTH))
            for piece in pieces:
                self._digest.update(piece)
                self.length += self._file.write(piece)

    def let_go(self) -> None:
        """Nothing: what was taken is in the file."""

    def content(self) -> memoryview:
        """Give what was written so far."""
        if self._file is None:
            return memoryview(b"")
        with self._stated():
            self._file.flush()
            return memoryview(os.pread(self._file.fileno(), self.length, HEADER_LENGTH))

    def digest(self) -> bytes:
        """Digest of what was written so far, 32 bytes."""
        return self._digest.digest()

    def readable(self) -> None:
        """Nowhere: it is in a file of this process until it is whole."""

    def commit(self, envelope: Envelope) -> BlobRef:
        """Upload the record; it is in the object store when this returns.

        Raises
        ------
        StoreError
            ``store.write-failed``: it was not stored, or nobody said so.
        """
        self.write([])
        start = self._writer.end
        with self._stated():
            self._file.seek(0)
            self._file.write(pack_header(envelope, self.length, self.digest()))
            self._writer.upload(self._file, HEADER_LENGTH + self.length)
        self.abandon()
        return BlobRef(segment=self._writer.name, offset=start + HEADER_LENGTH, length=self.length)

    def abandon(self) -> None:
        """Keep nothing of it here."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def _stated(self) -> Iterator[None]:
        try:
            with _writing():
                yield
        except StoreError:
            self.abandon()
            raise


def _wait_for(files: Any, ask: Any, *given: Any, patience_s: float = PATIENCE_S, **named: Any) -> Any:
    """Ask the store, with patience; the library's own methods would wait for ever."""
    return import_module("fsspec.asyn").sync(files.loop, ask, *given, timeout=patience_s, **named)


def _key(root: str, name: str, offset: int) -> str:
    return f"{root}/{name}/{offset:016x}"


def _is_offset(text: str) -> bool:
    return len(text) == 16 and set(text) <= set("0123456789abcdef")


@contextmanager
def _writing() -> Iterator[None]:
    """State whatever the library or its transport raises as our own error, without its text."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(
            "store.write-failed",
            f"found no way to write to the object store ({type(error).__name__}); check the store, its "
            "address and the rights of this node, then send again",
        ) from error


@contextmanager
def _reading(segment: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(
            "store.unreadable",
            f"found {segment} in the object store unreadable ({type(error).__name__}); check the store, or "
            "restore it",
        ) from error
