"""The receiving side of one association: one segment, one thread at a time."""

from __future__ import annotations

from datetime import datetime

from osteoscribe.app.intake import Incoming
from osteoscribe.store.folder import DataFolder
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.segments import RECEIVED, SegmentStore


class AssociationReception:
    """Stores the instances of one association.

    Parameters
    ----------
    folder
        Its reserve decides whether more is taken.
    segments
        Gets a new segment.
    table
        Where the instances are recorded.
    opened_at
        Time with zone; names the segment.
    """

    def __init__(
        self, *, folder: DataFolder, segments: SegmentStore, table: InstanceTable, opened_at: datetime
    ) -> None:
        self._folder = folder
        self._table = table
        self._segment = segments.writer(RECEIVED, opened_at)
        self._incoming: Incoming | None = None

    def begin(self) -> Incoming:
        """Begin an instance; one at a time.

        Raises
        ------
        StoreError
            ``store.reserve-reached``.
        """
        self._incoming = Incoming(self._segment.begin(), self._table, check_room=self._folder.check_reserve)
        return self._incoming

    def close(self) -> None:
        """Close the segment, and record that nothing more comes over this association."""
        if self._incoming is not None:
            self._incoming.abandon()
        self._segment.close()
        if self._segment.end:
            self._table.close_segment(self._segment.name)
