"""The receiving side of one association: one segment, one thread at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from osteoscribe.app.intake import Incoming
from osteoscribe.app.ports import WrittenMark
from osteoscribe.readers.repeated import HeaderReader
from osteoscribe.store.folder import DataFolder
from osteoscribe.store.places import Segments
from osteoscribe.store.recorder import Recorder
from osteoscribe.store.segments import RECEIVED


class AssociationReception:
    """Stores the instances of one association.

    Parameters
    ----------
    folder
        Its reserve decides whether more is taken.
    segments
        Gets a new segment.
    recorder
        Records the instances.
    on_mark
        Told of a mark object that came whole and is about to be stored.
    opened_at
        Time with zone; names the segment.
    readers
        Readers of headers that earlier associations left: what comes resembles what they brought.
    """

    def __init__(
        self,
        *,
        folder: DataFolder,
        segments: Segments,
        recorder: Recorder,
        opened_at: datetime,
        readers: deque[HeaderReader] | None = None,
        on_mark: Callable[[WrittenMark], None] = lambda _mark: None,
    ) -> None:
        self._folder = folder
        self._recorder = recorder
        self._on_mark = on_mark
        self._segment = segments.writer(RECEIVED, opened_at)
        self._readers = deque[HeaderReader]() if readers is None else readers
        self._headers = HeaderReader()
        with suppress(IndexError):
            self._headers = self._readers.pop()
        self._incoming: Incoming | None = None

    def begin(self, transfer_syntax_uid: str) -> Incoming:
        """Begin an instance; one at a time.

        Raises
        ------
        StoreError
            ``store.reserve-reached``.
        """
        self._incoming = Incoming(
            self._segment.begin(),
            self._recorder,
            check_room=self._folder.check_reserve,
            headers=self._headers,
            transfer_syntax_uid=transfer_syntax_uid,
            on_mark=self._on_mark,
        )
        return self._incoming

    def close(self) -> None:
        """Close the segment, and record that nothing more comes over this association."""
        if self._incoming is not None:
            self._incoming.abandon()
        self._segment.close()
        self._readers.append(self._headers)
        if self._segment.end:
            self._recorder.close_segment(self._segment.name)
