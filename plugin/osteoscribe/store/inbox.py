"""A folder that received objects are written to as Part 10 files: the small archive of the demo."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from pathlib import Path

from osteoscribe.app.ports import Envelope
from osteoscribe.errors import InputError
from osteoscribe.readers.values import is_uid
from osteoscribe.store.part10 import file_head


class FolderInbox:
    """Writes every received object to a file of its own.

    Parameters
    ----------
    folder
        Made if absent. A received UID never becomes a path: files are numbered.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def accept(self, encoded: bytes | memoryview, envelope: Envelope) -> None:
        """Write one object; its file is complete when this returns.

        Raises
        ------
        InputError
            ``instance.bad-uid``.
        """
        if not is_uid(envelope.sop_instance_uid):
            raise InputError("instance.bad-uid", "the SOP Instance UID is no UID; expected digits and dots")
        with self._lock:
            number = next(self._numbers)
        path = self._folder / f"{number:06d}.dcm"
        beside = path.with_suffix(".part")
        beside.write_bytes(file_head(envelope) + bytes(encoded))
        beside.replace(path)

    def begin(self, transfer_syntax_uid: str) -> InboxObject:
        """Begin an object."""
        del transfer_syntax_uid  # its envelope says it too
        return InboxObject(self)

    def close(self) -> None:
        """Nothing stays open between two objects."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files received so far, oldest first."""
        return tuple(sorted(self._folder.glob("*.dcm")))


class InboxObject:
    """One object on its way into the folder, in memory until it is whole.

    Parameters
    ----------
    inbox
        The folder.
    """

    def __init__(self, inbox: FolderInbox) -> None:
        self._inbox = inbox
        self._encoded = bytearray()

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next pieces of the object."""
        for piece in pieces:
            self._encoded += piece

    def let_go(self) -> None:
        """Nothing: what was taken was copied."""

    def finish(self, envelope: Envelope) -> None:
        """Write the object; its file is complete when this returns.

        Raises
        ------
        InputError
            ``instance.bad-uid``.
        """
        self._inbox.accept(bytes(self._encoded), envelope)

    def abandon(self) -> None:
        """Keep nothing of it."""
        self._encoded.clear()
