"""A worker process: measures and delivers. Its libraries are imported before the first mark comes."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import re
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import TYPE_CHECKING

from osteoscribe.app.assure import ask_commitment, prove
from osteoscribe.app.bugs import trace_of
from osteoscribe.app.deliver import deliver, is_open, send_waiting
from osteoscribe.app.desk import Desk
from osteoscribe.app.ports import Pipeline, SegmentAppender, WrittenMark
from osteoscribe.app.safekeep import answer_question
from osteoscribe.app.settings import Settings
from osteoscribe.app.watch import executor_id
from osteoscribe.app.work import measure
from osteoscribe.app.worker import Rounds
from osteoscribe.bootstrap.heart import start_watch
from osteoscribe.core.delivery import Patience
from osteoscribe.core.series import BlobRef, ReadBytes
from osteoscribe.errors import OsteoscribeError, StoreError
from osteoscribe.store.folder import FolderLock, open_folder
from osteoscribe.store.identity import node_name
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.jobs import JobTable
from osteoscribe.store.metrics import metrics_text
from osteoscribe.store.places import Segments, open_segments
from osteoscribe.store.planning import PlanTable
from osteoscribe.store.questions import QuestionTable
from osteoscribe.store.retention import WRITTEN_FOR
from osteoscribe.store.schema import open_database
from osteoscribe.store.segments import MADE
from osteoscribe.store.turns import Turns

if TYPE_CHECKING:
    # Heavy libraries: the listener process, which imports this module to start workers, must not load them.
    from osteoscribe.app.prepare import Preparation
    from osteoscribe.engine.dbos import DurableEngine

LOGGER = logging.getLogger(__name__)

POSTPONED_S = 1.0
"""Pause before another round where the ledger does not answer."""


YOUNG_OBJECTS = 50_000
"""New objects between two looks for garbage; a mark makes a few thousand, of which hardly any are."""


SWITCH_S = 0.0005
"""How long a busy thread may keep the others of this process waiting: the default is 5 ms at each turn."""


NEWS = b"\0"
"""What the listener writes into the control pipe when something was recorded."""

_TOLD = re.compile(rb"([\x21-\x7e]+) ([0-9]+) ([0-9]+) ([0-9a-f]+) ([0-9.]*)\n")


def told(mark: WrittenMark) -> bytes:
    """What the listener writes of a mark object that has come: one line; what is cut off is no line."""
    blob = mark.blob
    line = f"{blob.segment} {blob.offset} {blob.length} {mark.digest} {mark.transfer_syntax_uid}\n"
    return line.encode("ascii")


OnMark = Callable[[WrittenMark], None]
"""Told of a mark object that has come."""


class Bell:
    """Wakes a waiting thread of this process; rung from any thread, any number of times."""

    def __init__(self) -> None:
        self._hears, self._rings = os.pipe()
        for end in (self._hears, self._rings):
            os.set_blocking(end, False)

    def ring(self) -> None:
        """Wake; a bell that rings already needs no more."""
        with suppress(BlockingIOError):
            os.write(self._rings, b"\0")

    def wait(self, control: Connection, seconds: float, on_mark: OnMark) -> tuple[bool, bool, bool]:
        """Wait for the bell or the control pipe: news came, the bell rang, the pipe was closed.

        Parameters
        ----------
        on_mark
            Called meanwhile with each mark object that has come but is not recorded yet.
        """
        until = time.monotonic() + seconds
        while True:
            left_s = max(until - time.monotonic(), 0.0)
            ready, _, _ = select.select([self._hears, control.fileno()], [], [], left_s)
            read = {end: os.read(end, 65536) for end in ready}
            heard = read.get(control.fileno())
            for segment, offset, length, digest, syntax in _TOLD.findall(heard or b""):
                blob = BlobRef(segment=segment.decode(), offset=int(offset), length=int(length))
                mark = WrittenMark(blob=blob, digest=digest.decode(), transfer_syntax_uid=syntax.decode())
                on_mark(mark)
            has_news, rings, is_ended = NEWS in (heard or b""), bool(read.get(self._hears)), heard == b""
            if has_news or rings or is_ended or not ready:
                return has_news, rings, is_ended


def start_logging() -> None:
    """Log lines go to standard error, with UTC time; none of them quotes received text.

    Warnings of the libraries do quote it, and Python remembers each text; so they are not shown. What ends
    a thread is logged without its message.
    """
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    warnings.simplefilter("ignore")
    threading.excepthook = _on_thread_ended


def _on_thread_ended(ended: threading.ExceptHookArgs) -> None:
    """Log why a thread ended: the network library's do where a peer breaks the protocol."""
    if ended.exc_value is not None:
        LOGGER.warning("thread ended by %s", trace_of(ended.exc_value))


def open_pipeline(settings: Settings, read: ReadBytes) -> Pipeline:
    """Join the pipeline with settings, rule table and stored bytes."""
    from osteoscribe.app.job import report_job
    from osteoscribe.app.practice import load_practice

    practice = load_practice(settings.practice)
    return lambda job: report_job(job, read, practice)


class UnderWay:
    """The job that a worker measures now, in memory that outlives it: what ended it can be told."""

    _LENGTH = 64

    def __init__(self, context: ForkServerContext) -> None:
        self._memory = context.RawArray("c", self._LENGTH)

    @contextmanager
    def job(self, key: str) -> Iterator[None]:
        """Note a job, but for one that an exception ends: the worker lives on."""
        self._memory.value = key.encode("ascii")
        try:
            yield
        finally:
            self._memory.value = b""

    def take(self) -> str:
        """Key of the job that was under way, and forget it; empty where none was."""
        key: bytes = self._memory.value
        self._memory.value = b""
        return key.decode("ascii")


class MadeSegments:
    """The segment that a worker writes its reports to, a new one now and then. For one job at a time."""

    def __init__(self, segments: Segments, now: Callable[[], datetime]) -> None:
        self._segments = segments
        self._now = now
        self._opened_at = now()
        self._writer = segments.writer(MADE, self._opened_at)

    def for_job(self) -> SegmentAppender:
        """Give the segment for the next job."""
        now = self._now()
        if not self._opened_at <= now < self._opened_at + WRITTEN_FOR / 2:
            self._writer.close()
            self._writer, self._opened_at = self._segments.writer(MADE, now), now
        return self._writer


def run_worker(settings: Settings, number: int, control: Connection, under_way: UnderWay) -> None:
    """Measure and deliver until the other end of the control pipe is closed. Runs in a process of its own.

    Parameters
    ----------
    under_way
        Where it notes what it measures.
    """
    start_logging()
    sys.setswitchinterval(SWITCH_S)
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        bell = Bell()
        rounds, engine, preparation, on_mark = _open_worker(settings, number, bell, under_way)
        if number == 0 and settings.node.health_port:
            _open_health(settings)
        # What the libraries have made stays: a full collection need not walk through it while a mark waits.
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        has_news, has_progress, is_ended = True, True, False
        while not is_ended:
            try:
                wait_s = rounds.run(utc_now(), has_news=has_news, has_progress=has_progress)
                if rounds.is_idle:
                    engine.rest()
                    if has_news:
                        preparation.run()
            except StoreError as error:
                LOGGER.warning("round postponed code=%s", error.code)
                wait_s = POSTPONED_S
            has_news, has_progress, is_ended = bell.wait(control, wait_s, on_mark)
            engine.check()
        # Steps under way are left where they are: the engine resumes them at the next start.
    except OsteoscribeError as error:
        LOGGER.error("worker cannot work: %s", error)
        os._exit(1)
    except Exception as error:  # noqa: BLE001  the edge of the worker process
        LOGGER.error("worker failed: %s", trace_of(error))
        os._exit(1)
    os._exit(0)


def _open_worker(
    settings: Settings, number: int, bell: Bell, under_way: UnderWay
) -> tuple[Rounds, DurableEngine, Preparation, OnMark]:
    from osteoscribe.app.prepare import Preparation
    from osteoscribe.engine.dbos import DurableEngine
    from osteoscribe.net.commitment import CommitmentAsker
    from osteoscribe.net.query import QueryProver
    from osteoscribe.net.safekeeping import SafekeepingReporter
    from osteoscribe.net.scu import StoreSender
    from osteoscribe.net.senders import Senders
    from osteoscribe.net.stow import StowSender

    folder = open_folder(settings.store, node_name(settings.node.name))
    # Held to the end of the process: two workers of one number would run each step twice.
    FolderLock(folder, f"worker-{number}", patience_s=30.0, is_wanted=_listener_lives)
    database = open_database(folder.ledger_url)
    name = node_name(settings.node.name)
    segments = open_segments(folder, name)
    jobs, questions = JobTable(database), QuestionTable(database)
    ae_title, timeout_s = settings.node.ae_title, settings.delivery.timeout_s
    sender = Senders(
        dimse=StoreSender(
            ae_title=ae_title, timeout_s=timeout_s, keep_s=settings.delivery.keep_association_s
        ),
        web=StowSender(timeout_s=timeout_s),
    )
    prover = QueryProver(ae_title=ae_title, timeout_s=timeout_s)
    reporter = SafekeepingReporter(ae_title=ae_title, timeout_s=timeout_s)
    committer = CommitmentAsker(
        ae_title=ae_title,
        timeout_s=timeout_s,
        take=lambda report: jobs.take_commitment(report, utc_now()),
    )
    pipeline = open_pipeline(settings, segments.read_bytes)
    patience = Patience(
        first_pause_s=settings.delivery.first_pause_s,
        longest_pause_s=settings.delivery.longest_pause_s,
        give_up_after_s=settings.delivery.give_up_after_h * 3600,
        refusals=settings.delivery.refusals,
        commitment_wait_s=settings.delivery.commitment_wait_h * 3600,
        commitment_asks=settings.delivery.commitment_asks,
        proof_wait_s=settings.delivery.proof_wait_h * 3600,
    )

    made = MadeSegments(segments, utc_now)

    def measure_job(key: str) -> float | None:
        with under_way.job(key):
            return measure(
                key,
                ledger=jobs,
                pipeline=pipeline,
                segment=made.for_job(),
                destinations_for=settings.destinations_for,
                hand_over=lambda destination: engine.hand_over(destination),
                now=utc_now,
            )

    def desk(destination: str) -> Desk:
        return Desk(
            name=destination,
            destination_named=settings.destination_named,
            ledger=jobs,
            patience=patience,
            now=utc_now,
        )

    def deliver_job(key: str, destination: str) -> float | None:
        return deliver(key, desk(destination), sender=sender, read=segments.read_bytes)

    def send_what_waits(destination: str) -> None:
        try:
            send_waiting(desk(destination), sender=sender, read=segments.read_bytes)
        except StoreError as error:
            LOGGER.warning("deliveries postponed destination=%s code=%s", destination, error.code)

    def is_delivery_open(key: str, destination: str) -> bool:
        try:
            return is_open(key, destination, jobs)
        except StoreError:
            return True  # the delivery itself knows what to do then

    def ask_job_commitment(key: str, destination: str) -> float | None:
        return ask_commitment(key, desk(destination), committer=committer)

    def prove_delivery(key: str, destination: str) -> float | None:
        return prove(key, desk(destination), prover=prover, read=segments.read_bytes)

    def answer_peer(transaction_uid: str, calling_ae: str) -> float | None:
        return answer_question(
            calling_ae,
            transaction_uid,
            ledger=questions,
            reporter=reporter,
            peer_named=settings.peer_named,
            patience=patience,
            now=utc_now,
        )

    engine = DurableEngine(
        database_url=folder.engine_url,
        executor_id=executor_id(name, number),
        measure=measure_job,
        is_open=is_delivery_open,
        send_waiting=send_what_waits,
        errands={
            "delivery": deliver_job,
            "commitment": ask_job_commitment,
            "proof": prove_delivery,
            "answer": answer_peer,
        },
        turn=Turns(folder).at,
        on_progress=bell.ring,
        shares_work=number == 0 and folder.is_server,
        is_alone=settings.jobs.workers == 1 and not folder.is_server,
    )
    engine.start()
    if number == 0:
        start_watch(settings, folder, name, engine.take_over)
    rounds = Rounds(
        plans=PlanTable(database),
        jobs=jobs,
        questions=questions,
        engine=engine,
        newest_id=InstanceTable(database).newest_id,
        settings=settings.jobs,
    )
    preparation = Preparation(jobs.series, segments.read_bytes)

    def hear_mark(mark: WrittenMark) -> None:
        engine.make_ready(lambda: _read_ahead(mark, segments.read_bytes))

    return rounds, engine, preparation, hear_mark


def _read_ahead(mark: WrittenMark, read: ReadBytes) -> None:
    """Read a mark object for the job that comes; whatever stops that, the job meets and says."""
    from osteoscribe.app.ahead import read_ahead

    try:
        read_ahead(mark, read)
    except Exception as error:  # noqa: BLE001  nobody waits for it
        LOGGER.warning("mark object not read ahead: %s", trace_of(error))


def _listener_lives() -> bool:
    listener = multiprocessing.parent_process()
    return listener is None or listener.is_alive()


def _open_health(settings: Settings) -> None:
    from osteoscribe.net.health import HealthServer

    folder = open_folder(settings.store, node_name(settings.node.name))
    database = open_database(folder.ledger_url)

    def ready() -> tuple[int, str]:
        InstanceTable(database).newest_id()
        if folder.free_bytes() < folder.reserve_bytes:
            return 503, "disk reserve reached\n"
        return 200, "ready\n"

    HealthServer(
        settings.node.health_port,
        {
            "/healthz": lambda: (200, "ok\n"),
            "/readyz": ready,
            "/metrics": lambda: (200, metrics_text(database, folder)),
        },
    )


def utc_now() -> datetime:
    """Return the time, with zone."""
    return datetime.now(UTC)
