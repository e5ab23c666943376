"""The receiving side of one association: one segment, one thread at a time."""

from __future__ import annotations

from datetime import datetime

from osteoscribe.app.intake import accept
from osteoscribe.app.ports import Envelope
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
        self._stored = False

    def accept(self, encoded: memoryview, envelope: Envelope) -> None:
        """Store one instance; it is on disk when this returns.

        Raises
        ------
        InputError, StoreError
            As `app.intake.accept`; ``store.reserve-reached``.
        """
        self._folder.check_reserve(len(encoded))
        accepted = accept(encoded, envelope, segment=self._segment, ledger=self._table)
        self._stored = self._stored or accepted.is_new

    def close(self) -> None:
        """Close the segment, and record that nothing more comes over this association."""
        self._segment.close()
        if self._stored:
            self._table.close_segment(self._segment.name)
