"""Record what is on disk but not in the ledger: after a crash, or after the ledger was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

from osteoscribe.app.intake import recover
from osteoscribe.errors import InputError
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.segments import RECEIVED, SegmentStore, node_of

LOGGER = logging.getLogger(__name__)

BATCH = 200
"""Instances in one transaction."""


def every_node(_node: str) -> bool:
    """Whether segments of a node are meant: those of all are."""
    return True


def recover_instances(
    segments: SegmentStore, table: InstanceTable, of: Callable[[str], bool] = every_node
) -> int:
    """Record the received instances that the ledger does not know; returns how many.

    Parameters
    ----------
    of
        Which nodes' segments are looked at, by name. What another node records at the same time is recorded
        once.

    A torn record at the end of a segment was never answered with success, and is left out.
    """
    indexed = table.indexed_bytes()
    recovered = 0
    for name in segments.names():
        start = indexed.get(name, 0)
        if not name.startswith(f"{RECEIVED}/") or not of(node_of(name)) or segments.length(name) <= start:
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
