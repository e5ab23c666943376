"""The listener process of a node, and the processes beside it."""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Callable, Sequence

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.practice import check_profiles, load_practice
from osteoscribe.app.settings import Settings
from osteoscribe.bootstrap.heart import Heart
from osteoscribe.bootstrap.listener import STOP_PATIENCE_S, begin_receiving, open_listener, record_left
from osteoscribe.bootstrap.processes import ReceiverProcess, WorkerProcess
from osteoscribe.bootstrap.worker import NEWS, start_logging, told, utc_now
from osteoscribe.errors import SetupError, StoreError
from osteoscribe.net.scp import Listener
from osteoscribe.store.folder import DataFolder, FolderLock, open_folder
from osteoscribe.store.identity import node_name
from osteoscribe.store.jobs import JobTable
from osteoscribe.store.schema import open_database

LOGGER = logging.getLogger(__name__)

FORMER_PATIENCE_S = 10.0
"""How long the receivers of an earlier run, whose listener was killed, may take to notice that."""

RECORDING_PATIENCE_S = 2.0
"""How long a receiver may take to record what it has, after its associations have ended."""

__all__ = ["serve", "start_logging"]


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
    begin_receiving()
    stop, reload = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    signal.signal(signal.SIGHUP, lambda _number, _frame: reload.set())
    settings = _checked(read_settings)
    folder = open_folder(settings.store, node_name(settings.node.name))
    lock = FolderLock(folder, "node")
    workers: list[WorkerProcess] = []
    receivers: list[ReceiverProcess] = []
    ended: list[int] = []
    try:
        receiving = FolderLock(folder, "receivers", patience_s=FORMER_PATIENCE_S)
        heart = Heart(settings, folder)
        record_left(settings, folder)
        listener = open_listener(
            settings, folder, lambda: _pass_on(workers, NEWS), lambda mark: _pass_on(workers, told(mark))
        )
        try:
            note_death = _death_noter(folder)
            workers += [WorkerProcess(settings, n, note_death) for n in range(settings.jobs.workers)]
            receivers += [
                ReceiverProcess(
                    settings,
                    number,
                    lock=receiving,
                    on_news=lambda news: _pass_on(workers, news),
                    on_death=ended.append,
                )
                for number in range(1, settings.node.receivers)
            ]
            # What is imported stays: else the collection that pynetdicom asks for now and then takes 0.1 s.
            gc.freeze()
            on_listening(settings, listener.start(receivers))
            while not stop.wait(0.5):
                if reload.is_set():
                    reload.clear()
                    _reload(read_settings, listener, workers, receivers)
                for one in (*workers, *receivers):
                    one.revive()
                _record_left(settings, folder, ended, workers)
        finally:
            for one in (*workers, *receivers):
                one.ask_to_stop()
            listener.stop(STOP_PATIENCE_S)
            for worker in workers:
                worker.join(STOP_PATIENCE_S)
            for receiver in receivers:
                receiver.join(STOP_PATIENCE_S + RECORDING_PATIENCE_S)
            heart.stop()
            receiving.close()
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


def _pass_on(workers: Sequence[WorkerProcess], news: bytes) -> None:
    """Wake the workers; the one that begins most jobs learns of mark objects, to read them meanwhile."""
    for worker in workers[:1]:
        worker.write(news)
    if NEWS in news:
        for worker in workers[1:]:
            worker.wake()


def _record_left(
    settings: Settings, folder: DataFolder, ended: list[int], workers: Sequence[WorkerProcess]
) -> None:
    """Record what receivers that ended by themselves have stored; where that fails, in the next round."""
    try:
        while ended:
            record_left(settings, folder, ended[0])
            del ended[0]
            _pass_on(workers, NEWS)
    except (StoreError, OSError) as error:
        LOGGER.warning("instances of a receiver not recorded yet: %s", trace_of(error))


def _checked(read_settings: Callable[[], Settings]) -> Settings:
    settings = read_settings()
    load_practice(settings.practice)
    check_profiles(settings)
    return settings


def _reload(
    read_settings: Callable[[], Settings],
    listener: Listener,
    workers: Sequence[WorkerProcess],
    receivers: Sequence[ReceiverProcess],
) -> None:
    """Take up changed settings: callers at once, everything of the workers by starting them again."""
    try:
        settings = _checked(read_settings)
        listener.set_callers(settings.node, settings.peer)
    except SetupError as error:
        LOGGER.error("settings not taken up, the former stay: %s", error)
        return
    for receiver in receivers:
        receiver.take_up(settings)
    for worker in workers:
        worker.restart(settings)
    LOGGER.info("settings taken up; a changed host, port, AE title or folder needs a new start")
