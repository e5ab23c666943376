"""The listener process of a node, and the worker processes beside it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from multiprocessing.connection import Connection

import pydicom.config

from osteoscribe.app.ports import WrittenMark
from osteoscribe.app.practice import check_profiles, load_practice
from osteoscribe.app.settings import Settings
from osteoscribe.bootstrap.forking import CONTEXT
from osteoscribe.bootstrap.heart import Heart
from osteoscribe.bootstrap.worker import NEWS, UnderWay, run_worker, start_logging, told, utc_now
from osteoscribe.errors import SetupError, StoreError
from osteoscribe.net.scp import Listener
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
from osteoscribe.store.recovery import every_node, recover_instances, remove_unused
from osteoscribe.store.schema import open_database

LOGGER = logging.getLogger(__name__)

SWITCH_S = 0.002
"""How long a thread of the listener may compute while another waits for its turn."""

READERS_KEPT = 8
"""Readers of headers that wait for the next association; each remembers a few headers."""

STOP_PATIENCE_S = 4.0
"""How long open associations may take to end by themselves when the node stops."""

__all__ = ["open_listener", "serve", "start_logging"]


def open_listener(
    settings: Settings,
    folder: DataFolder,
    on_recorded: Callable[[], None] = lambda: None,
    on_mark: Callable[[WrittenMark], None] = lambda _mark: None,
) -> Listener:
    """Join receiver and store; records first what a crash left unrecorded.

    Parameters
    ----------
    on_recorded
        Called from any thread after a mark object, or the end of an association, was recorded.
    on_mark
        Told from any thread of a mark object that came whole and is about to be stored.
    """
    name = node_name(settings.node.name)
    segments = open_segments(folder, name)
    database = open_database(folder.ledger_url)
    table, jobs = InstanceTable(database), JobTable(database)
    # In a shared place the segments of other nodes are theirs, or of who takes over from them (`app.watch`).
    ours = name.__eq__ if folder.is_shared else every_node
    recover_instances(segments, table, ours)
    remove_unused(segments, table, ours)
    table.close_segments(ours)
    recorder = Recorder(table, on_recorded)

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


def serve(read_settings: Callable[[], Settings], on_listening: Callable[[Settings, int], None]) -> None:
    """Run a node until it is told to stop (SIGTERM, SIGINT); SIGHUP reads the settings again.

    Parameters
    ----------
    read_settings
        Gives the settings, now and after each SIGHUP.
    on_listening
        Called with the settings and the port once associations are accepted.

    Raises
    ------
    SetupError
        The folder is in use, the port is taken, or a setting, rule table or label file cannot be used.
    """
    # A thread that computes (rows, headers) would else hold up every read and answer by 5 ms.
    sys.setswitchinterval(SWITCH_S)
    # pydicom would look at each UID of an association three times, and its warnings quote what was received.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    stop, reload = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    signal.signal(signal.SIGHUP, lambda _number, _frame: reload.set())
    settings = _checked(read_settings)
    folder = open_folder(settings.store, node_name(settings.node.name))
    lock = FolderLock(folder, "node")
    workers: list[WorkerProcess] = []
    try:
        heart = Heart(settings, folder)
        listener = open_listener(
            settings, folder, lambda: _wake(workers), lambda mark: _tell_first(workers, mark)
        )
        try:
            note_death = _death_noter(folder)
            workers += [WorkerProcess(settings, n, note_death) for n in range(settings.jobs.workers)]
            # What is imported stays: else the collection that pynetdicom asks for now and then takes 0.1 s.
            gc.freeze()
            on_listening(settings, listener.start())
            while not stop.wait(0.5):
                if reload.is_set():
                    reload.clear()
                    _reload(read_settings, listener, workers)
                for worker in workers:
                    worker.revive()
        finally:
            for worker in workers:
                worker.ask_to_stop()
            listener.stop(STOP_PATIENCE_S)
            for worker in workers:
                worker.join(STOP_PATIENCE_S)
            heart.stop()
    finally:
        lock.close()


def _death_noter(folder: DataFolder) -> Callable[[str], None]:
    jobs = JobTable(open_database(folder.ledger_url))

    def note(key: str) -> None:
        try:
            jobs.note_death(key, utc_now())
        except StoreError as error:
            LOGGER.warning("end of a worker not noted key=%s code=%s", key[:12], error.code)

    return note


def _wake(workers: Sequence[WorkerProcess]) -> None:
    for worker in workers:
        worker.wake()


def _tell_first(workers: Sequence[WorkerProcess], mark: WrittenMark) -> None:
    """Tell the worker that is woken first, and begins most jobs, of a mark object to read."""
    for worker in workers[:1]:
        worker.tell(mark)


def _checked(read_settings: Callable[[], Settings]) -> Settings:
    settings = read_settings()
    load_practice(settings.practice)
    check_profiles(settings)
    return settings


def _reload(
    read_settings: Callable[[], Settings], listener: Listener, workers: Sequence[WorkerProcess]
) -> None:
    """Take up changed settings: callers at once, everything of the workers by starting them again."""
    try:
        settings = _checked(read_settings)
        listener.set_callers(settings.node, settings.peer)
    except SetupError as error:
        LOGGER.error("settings not taken up, the former stay: %s", error)
        return
    for worker in workers:
        worker.restart(settings)
    LOGGER.info("settings taken up; a changed host, port, AE title or folder needs a new start")


class WorkerProcess:
    """A measuring process, started again when it ends by itself. It ends when this process does.

    Parameters
    ----------
    number
        Its number from 0: names its lock and its executor.
    on_death
        Called with the key of the job during whose measuring it ended by itself.
    run
        What it runs.
    """

    _FIRST_PAUSE_S = 1.0
    _LONGEST_PAUSE_S = 60.0

    def __init__(
        self,
        settings: Settings,
        number: int,
        on_death: Callable[[str], None] = lambda _key: None,
        run: Callable[[Settings, int, Connection, UnderWay], None] = run_worker,
    ) -> None:
        self._settings = settings
        self._on_death = on_death
        self._run = run
        self._under_way = UnderWay(CONTEXT)
        self._number = number
        self._pause_s = self._FIRST_PAUSE_S
        self._revive_at = 0.0
        self._control_lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        ours, theirs = CONTEXT.Pipe()
        # A worker that does not read must not hold up an association.
        os.set_blocking(ours.fileno(), False)
        with self._control_lock:
            self._control = ours
        self._process = CONTEXT.Process(
            target=self._run,
            args=(self._settings, self._number, theirs, self._under_way),
            name=f"osteoscribe-{self._number}",
        )
        self._started = time.monotonic()
        self._process.start()
        theirs.close()

    def wake(self) -> None:
        """Have it look at the ledger; from any thread."""
        self._write(NEWS)

    def tell(self, mark: WrittenMark) -> None:
        """Tell it of a mark object that it may read before its job does; from any thread."""
        self._write(told(mark))

    def _write(self, message: bytes) -> None:
        with self._control_lock, suppress(OSError):
            os.write(self._control.fileno(), message)

    def revive(self) -> None:
        """Start it again, after a growing pause, where it has ended."""
        now = time.monotonic()
        if self._process.is_alive():
            return
        if not self._revive_at:
            if now - self._started > self._LONGEST_PAUSE_S:
                self._pause_s = self._FIRST_PAUSE_S
            LOGGER.error("worker ended number=%d exit=%s", self._number, self._process.exitcode)
            self._note_death()
            self._revive_at = now + self._pause_s
            self._pause_s = min(self._pause_s * 2, self._LONGEST_PAUSE_S)
        elif now >= self._revive_at:
            self._revive_at = 0.0
            self.ask_to_stop()
            self._start()

    def _note_death(self) -> None:
        """Tell of the job that was under way, unless the worker ended itself in good order."""
        key = self._under_way.take()
        if key and self._process.exitcode not in (0, 1):
            self._on_death(key)

    def restart(self, settings: Settings) -> None:
        """End it, and start it with other settings."""
        self.ask_to_stop()
        self.join(STOP_PATIENCE_S)
        self._settings = settings
        self._revive_at = 0.0
        self._start()

    def ask_to_stop(self) -> None:
        """Let it end after what it is doing."""
        with self._control_lock:
            self._control.close()

    def join(self, patience_s: float) -> None:
        """Wait for its end, and end it where it takes too long; its work is resumed at the next start."""
        self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
