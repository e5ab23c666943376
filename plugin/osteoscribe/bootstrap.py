"""The one place where parts are chosen and joined."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.ports import Pipeline
from osteoscribe.app.offline import file_entries, single_versions
from osteoscribe.app.pipeline import Outcome, Request, Show, run
from osteoscribe.app.practice import load_practice
from osteoscribe.app.settings import Settings, load_settings
from osteoscribe.app.work import deliver, measure
from osteoscribe.app.worker import Rounds
from osteoscribe.core.delivery import Patience
from osteoscribe.core.series import ReadBytes
from osteoscribe.errors import OsteoscribeError, StoreError
from osteoscribe.store.files import read_bytes, scan
from osteoscribe.store.folder import DataFolder, FolderLock, open_folder
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.jobs import JobTable
from osteoscribe.store.planning import PlanTable
from osteoscribe.store.reception import AssociationReception
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.schema import open_database
from osteoscribe.store.segments import MADE, SegmentStore

if TYPE_CHECKING:
    from osteoscribe.engine.dbos import DurableEngine
    from osteoscribe.net.scp import Listener

ROUND_S = 0.2
"""Pause between two looks of a worker at the ledger."""

LOGGER = logging.getLogger(__name__)

STOP_PATIENCE_S = 4.0
"""How long open associations may take to end by themselves when the node stops."""


def start_logging() -> None:
    """Log lines go to standard error, with UTC time."""
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )


def open_listener(settings: Settings, folder: DataFolder) -> Listener:
    """Join receiver and store; records first what a crash left unrecorded."""
    from osteoscribe.net.scp import Listener
    from osteoscribe.readers.ct import READABLE_TRANSFER_SYNTAXES

    segments = SegmentStore(folder.segments)
    table = InstanceTable(open_database(folder.ledger_url))
    recover_instances(segments, table)

    def open_reception(opened_at: datetime) -> AssociationReception:
        return AssociationReception(folder=folder, segments=segments, table=table, opened_at=opened_at)

    return Listener(
        settings.node, transfer_syntaxes=tuple(READABLE_TRANSFER_SYNTAXES), open_reception=open_reception
    )


def process_paths(
    paths: Sequence[Path],
    *,
    config: Path | None = None,
    label_patterns: Sequence[str] = (),
    calling_ae: str = "",
    show: Show = lambda *_: None,
) -> Outcome:
    """Reports of all marks in files and folders, without a network, a store or a clock.

    Parameters
    ----------
    config
        Settings of a site; None takes the defaults.
    label_patterns
        Where there are any, the ROIs of these labels are the marks.
    calling_ae
        The sender whose site policy holds.

    Raises
    ------
    SetupError
        The settings, the rule table or the label rules are not usable.
    """
    practice = load_practice((load_settings(config) if config else Settings()).practice)
    found = scan(paths, lambda done, total: show("reading headers", done, total))
    instances, doubled = single_versions(found.instances)
    request = Request(
        instances=instances, read=read_bytes, calling_ae=calling_ae, label_patterns=label_patterns
    )
    outcome = run(request, practice, show)
    problems, left_out = file_entries(found.problems, named=paths)
    return dataclasses.replace(
        outcome,
        problems=(*problems, *doubled, *outcome.problems),
        ignored=(*left_out, *outcome.ignored),
    )


def open_pipeline(settings: Settings, read: ReadBytes) -> Pipeline:
    """Join the pipeline with settings, rule table and stored bytes."""
    from osteoscribe.app.job import report_job

    practice = load_practice(settings.practice)
    return lambda job: report_job(job, read, practice)


def serve(settings: Settings, on_listening: Callable[[int], None]) -> None:
    """Run a node until it is told to stop (SIGTERM, SIGINT).

    Parameters
    ----------
    on_listening
        Called with the port once associations are accepted.

    Raises
    ------
    SetupError
        The folder is in use, the port is taken, or a setting cannot be used.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    folder = open_folder(settings.store)
    lock = FolderLock(folder, "node")
    try:
        workers = [WorkerProcess(settings, number) for number in range(settings.jobs.workers)]
        listener = open_listener(settings, folder)
        try:
            on_listening(listener.start())
            while not stop.wait(0.5):
                for worker in workers:
                    worker.revive()
        finally:
            for worker in workers:
                worker.ask_to_stop()
            listener.stop(STOP_PATIENCE_S)
            for worker in workers:
                worker.join(STOP_PATIENCE_S)
    finally:
        lock.close()


class WorkerProcess:
    """A measuring process, started again when it ends by itself. It ends when this process does.

    Parameters
    ----------
    number
        Its number from 0: names its lock and its executor.
    """

    _FIRST_PAUSE_S = 1.0
    _LONGEST_PAUSE_S = 60.0

    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._number = number
        self._pause_s = self._FIRST_PAUSE_S
        self._revive_at = 0.0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._control = ours
        self._process = context.Process(
            target=run_worker, args=(self._settings, self._number, theirs), name=f"osteoscribe-{self._number}"
        )
        self._started = time.monotonic()
        self._process.start()
        theirs.close()

    def revive(self) -> None:
        """Start it again, after a growing pause, where it has ended."""
        now = time.monotonic()
        if self._process.is_alive():
            return
        if not self._revive_at:
            if now - self._started > self._LONGEST_PAUSE_S:
                self._pause_s = self._FIRST_PAUSE_S
            LOGGER.error("worker ended number=%d exit=%s", self._number, self._process.exitcode)
            self._revive_at = now + self._pause_s
            self._pause_s = min(self._pause_s * 2, self._LONGEST_PAUSE_S)
        elif now >= self._revive_at:
            self._revive_at = 0.0
            self._control.close()
            self._start()

    def ask_to_stop(self) -> None:
        """Let it end after what it is doing."""
        self._control.close()

    def join(self, patience_s: float) -> None:
        """Wait for its end, and end it where it takes too long; its work is resumed at the next start."""
        self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def run_worker(settings: Settings, number: int, control: Connection) -> None:
    """Measure and deliver until the other end of the control pipe is closed. Runs in a process of its own."""
    start_logging()
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        rounds, engine = _open_worker(settings, number)
        while not control.poll(ROUND_S):
            try:
                rounds.run(datetime.now(UTC))
            except StoreError as error:
                LOGGER.warning("round postponed code=%s", error.code)
        # Steps under way are left where they are: the engine resumes them at the next start.
        engine.stop()
    except OsteoscribeError as error:
        LOGGER.error("worker cannot work: %s", error)
        os._exit(1)
    except Exception as error:  # noqa: BLE001  the edge of the worker process
        LOGGER.error("worker failed: %s", trace_of(error))
        os._exit(1)
    os._exit(0)


def _open_worker(settings: Settings, number: int) -> tuple[Rounds, DurableEngine]:
    from osteoscribe.engine.dbos import DurableEngine
    from osteoscribe.net.scu import StoreSender

    folder = open_folder(settings.store)
    # Held to the end of the process: two workers of one number would run each step twice.
    FolderLock(folder, f"worker-{number}", patience_s=30.0)
    database = open_database(folder.ledger_url)
    segments = SegmentStore(folder.segments)
    jobs = JobTable(database)
    sender = StoreSender(ae_title=settings.node.ae_title, timeout_s=settings.delivery.timeout_s)
    pipeline = open_pipeline(settings, segments.read_bytes)
    patience = Patience(
        first_pause_s=settings.delivery.first_pause_s,
        longest_pause_s=settings.delivery.longest_pause_s,
        give_up_after_s=settings.delivery.give_up_after_h * 3600,
        refusals=settings.delivery.refusals,
    )

    def measure_job(key: str) -> float | None:
        segment = segments.writer(MADE, utc_now())
        try:
            return measure(
                key,
                ledger=jobs,
                pipeline=pipeline,
                segment=segment,
                destinations_for=lambda calling: [str(one) for one in settings.destinations_for(calling)],
                now=utc_now,
            )
        finally:
            segment.close()

    def deliver_job(key: str, destination: str) -> float | None:
        return deliver(
            key,
            destination,
            ledger=jobs,
            sender=sender,
            read=segments.read_bytes,
            patience=patience,
            now=utc_now,
        )

    engine = DurableEngine(
        database_url=folder.engine_url,
        executor_id=f"worker-{number}",
        measure=measure_job,
        deliver=deliver_job,
    )
    engine.start()
    rounds = Rounds(
        plans=PlanTable(database),
        jobs=jobs,
        engine=engine,
        newest_id=InstanceTable(database).newest_id,
        settings=settings.jobs,
    )
    return rounds, engine


def utc_now() -> datetime:
    """Return the time, with zone."""
    return datetime.now(UTC)
