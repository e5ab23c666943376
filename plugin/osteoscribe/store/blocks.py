"""A file that is written in whole blocks, a slice in one go (docs/decisions/082)."""

from __future__ import annotations

import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from osteoscribe.core.digest import new_digest

BLOCK = 4096
"""Bytes; each run begins at a multiple of it: no write touches what an earlier one has put on disk."""

AT_ONCE = 1 << 20
"""Bytes that are written at once: a slice in one go."""

WRITTEN_OUT_AT_ONCE = 4 << 20
"""Bytes of a long run that go to the disk while more of it comes: its last byte waits for fewer."""

HASHED_AT_ONCE = 128 << 10
"""Bytes of which the digest is made while they are in the processor's cache."""


_WRITE_OUT = ThreadPoolExecutor(max_workers=2, thread_name_prefix="write-out")


def next_block(offset: int) -> int:
    """Give the first offset from here on at which a run can begin.

    Examples
    --------
    >>> next_block(4096), next_block(4097)
    (4096, 8192)
    """
    return -(-offset // BLOCK) * BLOCK


class BlockFile:
    """A new file to which one run of bytes after the other is written. For one thread.

    Of each run the first block is written last: what begins it is known at its end. The last block is
    filled with zeros. The digest is made of what stands in memory for writing, in pieces as large.

    Parameters
    ----------
    path
        Where it is made; its name, and those of new folders, are on disk when it is there.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = _create(path)
        self._buffer = memoryview(bytearray(BLOCK + AT_ONCE))
        self._start = self._next = self._filled = self._hashed = 0
        self._digest = new_digest()
        self._is_ended = False
        self._write_out: Future[None] | None = None

    def begin(self, start: int, reserved: int) -> None:
        """Begin a run.

        Parameters
        ----------
        start
            Offset in the file, a multiple of `BLOCK`.
        reserved
            Bytes at its beginning that come last, less than a block.
        """
        self._start, self._next = start, start + BLOCK
        self._filled = self._hashed = reserved
        self._digest = new_digest()
        self._is_ended = False

    def put(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the run; their memory may be used again afterwards.

        Raises
        ------
        OSError
            They could not be written.
        """
        taken, length = 0, len(piece)
        self._is_ended = False
        while taken < length:
            count = min(length - taken, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = piece[taken : taken + count]
            self._filled += count
            taken += count
            if self._filled - self._hashed >= HASHED_AT_ONCE or self._filled == len(self._buffer):
                self._hash()
            if self._filled == len(self._buffer):
                self._write(self._buffer[BLOCK:], self._next)
                self._next += AT_ONCE
                self._filled = self._hashed = BLOCK
                if (self._next - self._start - BLOCK) % WRITTEN_OUT_AT_ONCE == 0:
                    self._begin_write_out()

    def digest(self) -> bytes:
        """Digest of the run so far, without what was reserved."""
        self._hash()
        return self._digest.digest()

    def end(self, beginning: bytes) -> None:
        """Write what is left of the run; where it was ended before, its beginning.

        Parameters
        ----------
        beginning
            The bytes that were reserved.

        Raises
        ------
        OSError
            They could not be written.
        """
        self._buffer[: len(beginning)] = beginning
        stop = next_block(self._filled)
        self._buffer[self._filled : stop] = bytes(stop - self._filled)
        if self._is_ended:
            self._write(self._buffer[:BLOCK], self._start)
        elif self._next == self._start + BLOCK:
            self._write(self._buffer[:stop], self._start)
        else:
            self._write(self._buffer[BLOCK:stop], self._next)
            self._write(self._buffer[:BLOCK], self._start)
        self._is_ended = True

    def sync(self) -> None:
        """Have everything on disk when this returns.

        Raises
        ------
        OSError
            It is not.
        """
        begun, self._write_out = self._write_out, None
        if begun is not None:
            # Linux states a fault of the disk once: the sync below would know nothing of one stated there.
            begun.result()
        os.fdatasync(self._descriptor)

    def read(self, start: int, length: int) -> memoryview:
        """Give bytes that were written, without a copy of them."""
        before = start % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(self._descriptor, before + length, prot=mmap.PROT_READ, offset=start - before)
        return memoryview(mapped)[before:]

    def cut(self, length: int) -> None:
        """Take back what was written from here on."""
        os.ftruncate(self._descriptor, length)

    def close(self) -> None:
        """Close it."""
        if self._write_out is not None:
            # Its descriptor must not become another file's meanwhile.
            self._write_out.exception()
        os.close(self._descriptor)

    def _begin_write_out(self) -> None:
        if self._write_out is None or (self._write_out.done() and self._write_out.exception() is None):
            self._write_out = _WRITE_OUT.submit(os.fdatasync, self._descriptor)

    def _hash(self) -> None:
        self._digest.update(self._buffer[self._hashed : self._filled])
        self._hashed = self._filled

    def _write(self, content: memoryview, offset: int) -> None:
        while content:
            written = os.pwrite(self._descriptor, content, offset)
            content, offset = content[written:], offset + written


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
