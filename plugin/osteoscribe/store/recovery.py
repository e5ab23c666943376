"""Record what is on disk but not in the ledger: after a crash, or after the ledger was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from osteoscribe.app.intake import recover
from osteoscribe.errors import InputError
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.places import Segments
from osteoscribe.store.segments import RECEIVED

LOGGER = logging.getLogger(__name__)

MARGIN = timedelta(days=2)
"""An association is named after the day it began, and may go on for a while."""

BATCH = 200
"""Instances in one transaction."""


def every_segment(_name: str) -> bool:
    """Whether a segment is meant: all are."""
    return True


def recover_instances(
    segments: Segments, table: InstanceTable, of: Callable[[str], bool] = every_segment
) -> int:
    """Record the received instances that the ledger does not know; returns how many.

    Parameters
    ----------
    of
        Which segments are looked at, by name. What another process records at the same time is recorded
        once.

    A torn record at the end of a segment was never answered with success, and is left out.
    """
    known = {name: known for name, known in table.known_segments().items() if of(name)}
    recovered = 0
    for name, length in segments.lengths(RECEIVED, _first_day(known)).items():
        start, _ = known.get(name, (0, False))
        if not of(name) or length <= start:
            continue
        batch = []
        for record in segments.scan(name, start):
            try:
                batch.append(recover(segments.read_bytes(record.blob, 0, record.blob.length), record))
            except InputError as error:
                LOGGER.warning("store.unreadable-record segment=%s code=%s", name, error.code)
            if len(batch) == BATCH:
                table.add(batch)
                recovered, batch = recovered + len(batch), []
        if batch:
            table.add(batch)
        recovered += len(batch)
    if recovered:
        LOGGER.info("recovered instances=%d", recovered)
    return recovered


def remove_unused(
    segments: Segments, table: InstanceTable, of: Callable[[str], bool] = every_segment
) -> None:
    """Remove segments without a byte: made ahead by a process that was killed.

    Parameters
    ----------
    of
        Which segments are looked at, by name: none of the processes that write them may be running.
    """
    for name, length in segments.lengths(RECEIVED, _first_day(table.known_segments())).items():
        if not length and of(name):
            segments.remove(name)


def _first_day(known: Mapping[str, tuple[int, bool]]) -> str:
    """Day of the oldest segment that can hold something unrecorded; empty where all must be looked at."""
    open_ones = [name for name, (_, closed) in known.items() if not closed]
    if not known:
        return ""
    oldest = min(open_ones, default=max(known))
    return (datetime.strptime(oldest.split("/")[1], "%Y%m%d") - MARGIN).strftime("%Y%m%d")  # noqa: DTZ007  a day
