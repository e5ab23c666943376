"""The beat by which a node shows the others that it lives, and its watch over them."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.settings import Settings
from osteoscribe.app.watch import Heartbeat, Watch
from osteoscribe.errors import StoreError
from osteoscribe.store.folder import MEGABYTE, DataFolder
from osteoscribe.store.identity import NODE_ID, identity_of, node_name
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.nodes import BEAT_S, NodeTable
from osteoscribe.store.places import open_segments, place_id
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.retention import Retention
from osteoscribe.store.schema import open_database
from osteoscribe.store.segments import node_of

RETENTION_S = 600.0
"""Pause between two looks for what is to be removed."""

ALONE_S = 60.0
"""Pause between two looks where no other node can share the ledger: only a restart changes anything."""

LOGGER = logging.getLogger(__name__)


class Heart:
    """Beats in a thread of its own as long as the node lives, where others can share its ledger.

    Parameters
    ----------
    settings, folder
        The node.

    Raises
    ------
    SetupError
        ``node.name-in-use``, ``store.not-shared``.
    """

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        self._name = node_name(settings.node.name)
        self._nodes = NodeTable(open_database(folder.ledger_url))
        self._stopped = threading.Event()
        beat = Heartbeat(
            name=self._name,
            folder_id=identity_of(folder.path, NODE_ID),
            store_id=place_id(folder),
            workers=settings.jobs.workers,
        )
        self._nodes.register(
            beat, datetime.now(UTC), patience_s=settings.node.dead_after_s if folder.is_server else 0.0
        )
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)
        if folder.is_server:
            self._thread.start()

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_S):
            try:
                self._nodes.beat(self._name, datetime.now(UTC))
            except Exception as error:  # noqa: BLE001  the edge of a thread: without a beat the node seems dead
                LOGGER.warning("heartbeat postponed by %s", trace_of(error))

    def stop(self) -> None:
        """Leave: the others need not wait to take over what is unfinished."""
        self._stopped.set()
        try:
            self._nodes.leave(self._name)
        except StoreError as error:
            LOGGER.warning("no leave taken of the other nodes code=%s", error.code)


def start_watch(
    settings: Settings, folder: DataFolder, name: str, take_over: Callable[[Collection[str]], int]
) -> None:
    """Watch the other nodes in a thread of its own, and remove what is old where it is this node's turn."""
    database = open_database(folder.ledger_url)
    segments, table = open_segments(folder, name), InstanceTable(database)

    def record_stored(dead: Collection[str]) -> int:
        if not folder.is_shared:
            return 0  # all segments are ours, and the listener has looked

        def is_theirs(segment: str) -> bool:
            return node_of(segment) in dead

        recorded = recover_instances(segments, table, is_theirs)
        table.close_segments(is_theirs)
        return recorded

    watch = Watch(
        name=name,
        nodes=NodeTable(database),
        looks=math.ceil(settings.node.dead_after_s / BEAT_S) if folder.is_server else 0,
        take_over=take_over,
        record_stored=record_stored,
    )
    retention = Retention(
        database,
        segments,
        keep=timedelta(days=settings.store.keep_days) if settings.store.keep_days else None,
        keep_below_bytes=int(settings.store.keep_below_mb * MEGABYTE) or None,
    )
    pause_s = BEAT_S if folder.is_server else ALONE_S
    threading.Thread(target=_look, args=(watch, retention, pause_s), name="watch", daemon=True).start()


def _look(watch: Watch, retention: Retention, pause_s: float) -> None:
    due = 0.0
    while True:
        next_s = pause_s
        try:
            if watch.look() and time.monotonic() >= due:
                due = time.monotonic() + RETENTION_S
                retention.run(datetime.now(UTC))
        except Exception as error:  # noqa: BLE001  the edge of a thread: the engine's database may be away
            LOGGER.warning("watch postponed by %s", trace_of(error))
            next_s = BEAT_S
        time.sleep(next_s)
