"""A file that is written in whole blocks, a slice in one go (docs/decisions/082)."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from osteoscribe.core.digest import new_digest

BLOCK = 4096
"""Bytes; each run begins at a multiple of it: no write touches what an earlier one has put on disk."""

WRITTEN_OUT_AT_ONCE = 4 << 20
"""Bytes of a long run that go to the disk while more of it comes: its last byte waits for fewer."""

HASHED_AT_ONCE = 128 << 10
"""Bytes of which the digest is made while they are in the processor's cache."""

MOST_PIECES = 1000
"""Pieces that wait to be written; one call writes them all (Linux takes 1024)."""


_WRITE_OUT = ThreadPoolExecutor(max_workers=2, thread_name_prefix="write-out")

_Piece = bytes | memoryview


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

    Pieces are written from where they stand, without a copy; the digest is made of them as they come. What
    begins a run is written with the rest or last, for it is known at its end. Its last block is filled with
    zeros.

    Parameters
    ----------
    path
        Where it is made; its name, and those of new folders, are on disk when it is there.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = _create(path)
        self._start = self._next = self._sent_out = 0
        self._pieces: list[_Piece] = []
        self._waiting = self._hashed = self._not_hashed = 0
        self._digest = new_digest()
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
        self._start, self._next, self._sent_out = start, start + reserved, start
        self._forget()
        self._digest = new_digest()

    def put(self, pieces: Sequence[_Piece]) -> int:
        """Take the next bytes of the run; their memory stays as it is until `let_go` or `end`.

        Returns
        -------
        int
            How many they are.

        Raises
        ------
        OSError
            They could not be written.
        """
        length = sum(map(len, pieces))
        self._pieces += pieces
        self._waiting += length
        self._not_hashed += length
        if self._not_hashed >= HASHED_AT_ONCE:
            self._hash()
        if len(self._pieces) > MOST_PIECES:
            self.let_go()
        return length

    def let_go(self) -> None:
        """Write what was taken: its memory may be used again.

        Raises
        ------
        OSError
            It could not be written.
        """
        self._hash()
        self._write(self._pieces, self._next, self._waiting)
        self._next += self._waiting
        self._forget()
        if self._next - self._sent_out >= WRITTEN_OUT_AT_ONCE:
            self._sent_out = self._next
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
        self._hash()
        stop = self._next + self._waiting
        filled = next_block(stop)
        rest = [*self._pieces, bytes(filled - stop)]
        if self._next == self._start + len(beginning):
            self._write([beginning, *rest], self._start, filled - self._start)
        else:
            self._write(rest, self._next, filled - self._next)
            self._write([beginning], self._start, len(beginning))
        self._next = stop
        self._forget()

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
        self._forget()
        os.ftruncate(self._descriptor, length)

    def close(self) -> None:
        """Close it."""
        self._forget()
        if self._write_out is not None:
            # Its descriptor must not become another file's meanwhile.
            self._write_out.exception()
        os.close(self._descriptor)

    def _begin_write_out(self) -> None:
        if self._write_out is None or (self._write_out.done() and self._write_out.exception() is None):
            self._write_out = _WRITE_OUT.submit(os.fdatasync, self._descriptor)

    def _hash(self) -> None:
        for piece in self._pieces[self._hashed :]:
            self._digest.update(piece)
        self._hashed, self._not_hashed = len(self._pieces), 0

    def _forget(self) -> None:
        self._pieces = []
        self._waiting = self._hashed = self._not_hashed = 0

    def _write(self, pieces: list[_Piece], offset: int, length: int) -> None:
        if len(pieces) > MOST_PIECES:
            pieces = [b"".join(pieces)]
        written = os.pwritev(self._descriptor, pieces, offset)
        if written < length:
            left = memoryview(b"".join(pieces))[written:]
            self._write([left], offset + written, len(left))


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
