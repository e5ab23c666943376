"""CT series are made ready as they come: the first mark on one finds headers read and grid laid out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from osteoscribe.app.shelf import KEPT_SERIES, parted
from osteoscribe.core.series import ReadBytes
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import StoredSeries

PAUSE = 5.0
"""Pause after preparing, as a multiple of its time: some senders open an association for each image."""


class SeriesLedger(Protocol):
    """What preparation asks of the ledger."""

    def newest(self, since_id: int | None, most: int) -> tuple[int, tuple[StoredSeries, ...]]:
        """The highest id, and the CT series to which anything was added since an id: the newest `most`.

        Since None: no series.
        """
        ...


class Preparation:
    """Prepares what came since the last time, at first nothing. Jobs get the same without it, only later.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(
        self, ledger: SeriesLedger, read: ReadBytes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._read = read
        self._clock = clock
        self._seen_id: int | None = None
        self._not_before = 0.0

    def run(self) -> None:
        """Prepare the newest series, unless the last time is too near.

        Raises
        ------
        StoreError
            The store cannot be read.
        """
        began = self._clock()
        if began < self._not_before:
            return
        self._seen_id, series = self._ledger.newest(self._seen_id, KEPT_SERIES)
        for one in reversed(series):
            _prepare(one, self._read)
        self._not_before = began + (self._clock() - began) * (1 + PAUSE)


def _prepare(series: StoredSeries, read: ReadBytes) -> None:
    ct, _ = parted(series)
    if ct is not None:
        with suppress(InputError):  # it is the problem of the mark that needs it
            ct.prepare(read)
