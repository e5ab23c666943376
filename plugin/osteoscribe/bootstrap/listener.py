"""Receiver and store, joined: in the listener, and in the processes to which it hands connections."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from multiprocessing.connection import Connection

import pydicom.config

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.ports import WrittenMark
from osteoscribe.app.settings import Settings
from osteoscribe.bootstrap.worker import NEWS, start_logging, told, utc_now
from osteoscribe.errors import OsteoscribeError
from osteoscribe.net.scp import Listener
from osteoscribe.net.share import Counter
from osteoscribe.readers.ct import READABLE_TRANSFER_SYNTAXES
from osteoscribe.readers.repeated import HeaderReader
from osteoscribe.store.folder import DataFolder, FolderLock, open_folder
from osteoscribe.store.identity import node_name
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.jobs import JobTable
from osteoscribe.store.places import open_segments
from osteoscribe.store.questions import QuestionTable
from osteoscribe.store.reception import AssociationReception
from osteoscribe.store.recorder import Recorder
from osteoscribe.store.recovery import every_segment, recover_instances, remove_unused
from osteoscribe.store.schema import open_database
from osteoscribe.store.segments import node_of, process_of

LOGGER = logging.getLogger(__name__)

SWITCH_S = 0.002
"""How long a thread of the listener may compute while another waits for its turn."""

READERS_KEPT = 8
"""Readers of headers that wait for the next association; each remembers a few headers."""

STOP_PATIENCE_S = 4.0
"""How long open associations may take to end by themselves when the node stops."""

READY = b"\1"
"""What a receiver says when it takes connections."""


def begin_receiving() -> None:
    """Set up this process for threads that receive."""
    # A thread that computes (rows, headers) would else hold up every read and answer by 5 ms.
    sys.setswitchinterval(SWITCH_S)
    # pydicom would look at each UID of an association three times, and its warnings quote what was received.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def open_listener(
    settings: Settings,
    folder: DataFolder,
    on_recorded: Callable[[], None] = lambda: None,
    on_mark: Callable[[WrittenMark], None] = lambda _mark: None,
) -> Listener:
    """Join receiver and store.

    Parameters
    ----------
    on_recorded
        Called from any thread after a mark object, or the end of an association, was recorded.
    on_mark
        Told from any thread of a mark object that came whole and is about to be stored.
    """
    segments = open_segments(folder, node_name(settings.node.name))
    database = open_database(folder.ledger_url)
    jobs = JobTable(database)
    is_alone = settings.node.receivers == 1 and not folder.is_server
    recorder = Recorder(InstanceTable(database), on_recorded, is_alone=is_alone)
    readers: deque[HeaderReader] = deque(maxlen=READERS_KEPT)

    def open_reception(opened_at: datetime) -> AssociationReception:
        return AssociationReception(
            folder=folder,
            segments=segments,
            recorder=recorder,
            opened_at=opened_at,
            readers=readers,
            on_mark=on_mark,
        )

    return Listener(
        settings.node,
        transfer_syntaxes=tuple(READABLE_TRANSFER_SYNTAXES),
        open_reception=open_reception,
        record_all=recorder.flush,
        prepare=lambda: segments.prepare(utc_now()),
        close=segments.close,
        peers=settings.peer,
        check_room=folder.check_reserve,
        take_commitment=lambda report: jobs.take_commitment(report, utc_now()),
        take_question=QuestionTable(database).take,
    )


def record_left(settings: Settings, folder: DataFolder, process: int = 0) -> None:
    """Record what a process of this node has stored and not recorded, and that it receives no more.

    Parameters
    ----------
    process
        Number of the process that has ended; 0: all of an earlier run.

    Raises
    ------
    StoreError
        ``store.locked``: the ledger does not answer.
    """
    name = node_name(settings.node.name)
    segments, table = open_segments(folder, name), InstanceTable(open_database(folder.ledger_url))

    def is_ours(segment: str) -> bool:
        return node_of(segment) == name and process in (0, process_of(segment))

    # In a shared place the segments of other nodes are theirs, or of who takes over from them (`app.watch`).
    ours = is_ours if folder.is_shared or process else every_segment
    recover_instances(segments, table, ours)
    remove_unused(segments, table, ours)
    table.close_segments(ours)


def run_receiver(
    settings: Settings, control: Connection, channel: socket.socket, ended: Counter, lock: FolderLock
) -> None:
    """Serve the connections that the listener hands over, until it says that it is enough.

    Parameters
    ----------
    control
        Brings changed settings, and None at the end.
    channel
        Brings connections, and takes what workers are told.
    ended
        Counts the connections that have ended.
    lock
        Held as long as this process lives: nobody else takes its segments for left ones.
    """
    del lock  # its descriptor is open to the end
    start_logging()
    begin_receiving()
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)

    def tell(message: bytes) -> None:
        # Full means that the listener has enough to read, closed that it has gone.
        with suppress(OSError):
            channel.send(message, socket.MSG_DONTWAIT)

    try:
        folder = open_folder(settings.store, node_name(settings.node.name))
        listener = open_listener(settings, folder, lambda: tell(NEWS), lambda mark: tell(told(mark)))
        listener.start_behind(channel, ended)
        gc.freeze()
        tell(READY)
        LOGGER.info("%s ready process=%d", multiprocessing.current_process().name, os.getpid())
        while (changed := _next(control)) is not None:
            listener.set_callers(changed.node, changed.peer)
        listener.stop(STOP_PATIENCE_S)
    except OsteoscribeError as error:
        LOGGER.error("receiver cannot work: %s", error)
        os._exit(1)
    except EOFError:
        # The listener has gone without a word. What is not recorded yet, its successor will record.
        os._exit(1)
    except Exception as error:  # noqa: BLE001  the edge of the process
        LOGGER.error("receiver failed: %s", trace_of(error))
        os._exit(1)
    os._exit(0)


def _next(control: Connection) -> Settings | None:
    try:
        changed: Settings | None = control.recv()
    except OSError as error:
        raise EOFError from error
    return changed
