"""Durable work on DBOS Transact: measure a job, deliver its reports; resumed after a crash.

The ledger says what is to be done, the engine sees to it that it is done: payloads are keys only. Steps may
run twice after a crash and are made so that this changes nothing. Work is started at once by lanes of our
own, each a thread that does one thing after the other; the library's queues are polled, which would cost
0.1 s for each step of the way.

References
----------
Traps of the library: ``docs/decisions/001-durable-engine.md``. Lanes: ``060-from-mark-to-report.md`` there.
"""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, Serializer, SetWorkflowID
from dbos import error as dbos_error

from osteoscribe.app.bugs import trace_of

LOGGER = logging.getLogger(__name__)

WORKFLOWS_VERSION = "3"
"""Fixed, for the library would otherwise leave interrupted work untouched after every change of the code."""

RECOVERY_ATTEMPTS = 1000
"""The ledger counts what a job does to its process; the library counts any end of it, and must not decide."""

FIRST_SENT_S = 0.005
"""How long the end of a job waits to be noted while what it made is sent, for which somebody waits."""

OTHERS_PATIENCE_S = 60.0
"""How long a delivery waits for an earlier one that another process began and may never finish."""


Errand = Callable[[str, str], float | None]
"""Tries once, given what it is about and at which peer; gives the pause before another try, or None."""


class JsonSerializer(Serializer):
    """Plain JSON: nothing in the engine's tables is ever unpickled."""

    def serialize(self, data: Any) -> str:
        """JSON text; an exception becomes its type only, for a message may quote received text."""
        return json.dumps(data, default=lambda value: {"type": type(value).__name__})

    def deserialize(self, serialized_data: str) -> Any:
        """Value of the JSON text."""
        return json.loads(serialized_data)

    def name(self) -> str:
        """Name in the engine's tables."""
        return "osteoscribe_json"


class _Connection(sqlite3.Connection):
    """A connection to the engine's own file, whose commits need not survive a power cut.

    They survive every kill. After a power cut the ledger, which is synced, says what is still to be done.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA synchronous=NORMAL")


class _Lane:
    """Does what it is given, one thing after the other, in a thread of its own."""

    def __init__(
        self,
        name: str,
        turn: Callable[[], AbstractContextManager[None]],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._turn = turn
        self._on_failure = on_failure
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._works = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, work: Callable[[], None]) -> None:
        self._waiting.put(work)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, nor waits."""
        return not self._works and self._waiting.empty()

    def _run(self) -> None:
        while True:
            self._works = False
            work = self._waiting.get()
            self._works = True
            try:
                with self._turn():
                    work()
                    while not self._waiting.empty():
                        self._waiting.get()()
            except Exception as error:  # noqa: BLE001  the edge of a thread
                self._on_failure(error)


class DurableEngine:
    """Runs jobs and deliveries durably. One in each worker process.

    Parameters
    ----------
    database_url
        SQLite or PostgreSQL.
    executor_id
        Stable name of this process; no two running processes may share it.
    measure
        Measures the job of a key.
    is_open
        Whether a delivery (key, destination) is not at its end.
    send_waiting
        Tries once to send what waits for a destination.
    errands
        Tries what is done at a peer, by kind: ``delivery``, ``commitment`` and ``proof`` (key, destination),
        ``answer`` (transaction UID, AE title).

    `measure` and each errand give the pause in seconds before another try, or None at the end, and raise
    nothing.

    turn
        Holds the turn at a destination against all other processes.
    on_progress
        Called from any thread when something came to an end, so that what follows from it may be due.
    parallel
        Jobs measured at a time in this process.
    shares_work
        Whether `take_over` may find work at any time, left by other machines: then it never rests.
    is_alone
        Whether no other process measures jobs of this ledger: nothing need be claimed before measuring.
    """

    def __init__(
        self,
        *,
        database_url: str,
        executor_id: str,
        measure: Callable[[str], float | None],
        errands: Mapping[str, Errand],
        is_open: Callable[[str, str], bool] = lambda _key, _destination: True,
        send_waiting: Callable[[str], None] = lambda _destination: None,
        turn: Callable[[str], AbstractContextManager[None]] = lambda _destination: nullcontext(),
        on_progress: Callable[[], None] = lambda: None,
        parallel: int = 1,
        shares_work: bool = False,
        is_alone: bool = False,
    ) -> None:
        _prefer_wal(database_url)
        self._executor_id = executor_id
        self._turn = turn
        self._on_progress = on_progress
        self._measuring = threading.BoundedSemaphore(parallel)
        self._is_open = is_open
        self._send_waiting = send_waiting
        self._handed_over: dict[str, threading.Event] = {}
        self._hand_overs = 0
        self._has_begun = False
        self._lanes: dict[str, _Lane] = {}
        self._making_lanes = threading.Lock()
        self._failure: Exception | None = None
        config: DBOSConfig = {
            "name": "osteoscribe",
            "system_database_url": database_url,
            "application_version": WORKFLOWS_VERSION,
            "executor_id": executor_id,
            "serializer": JsonSerializer(),
            "log_level": "ERROR",
            "enable_otlp": False,
            # Messages between workflows are not used here.
            "notification_listener_polling_interval_sec": 60.0,
        }
        if database_url.startswith("sqlite"):
            config["db_engine_kwargs"] = {"connect_args": {"factory": _Connection}}
        elif "application_name=" in database_url:
            # The library's own name for its sessions would hide whose they are (`NodeTable.fence`).
            config["db_engine_kwargs"] = {"connect_args": {}}
        self._library = DBOS(config=config)
        self._shares_work = shares_work
        self._is_alone = is_alone
        self._rests = False
        self._measure = measure
        self._job = self._define_job()
        self._errands = {kind: _define_errand(kind, work) for kind, work in errands.items()}

    def _measure_in_turn(self, key: str) -> float | None:
        with self._measuring:
            return self._measure(key)

    def _define_job(self) -> Callable[[str], None]:
        # No step in it: what one would record, whether the job is measured, the ledger says.
        @DBOS.workflow(name="job", max_recovery_attempts=RECOVERY_ATTEMPTS)
        def job(key: str) -> None:
            while (wait_s := self._measure_in_turn(key)) is not None:
                time.sleep(wait_s)
            for sent in tuple(self._handed_over.values()):
                sent.wait(FIRST_SENT_S)

        return job

    def start(self) -> None:
        """Begin; what a crash interrupted is resumed.

        The library would look each second for delayed work and time limits, which are not used here.
        """
        DBOS.launch()
        self._library._background_jobs_stop_event.set()

    def rest(self) -> None:
        """End the library's polling for what is to be resumed, once nothing is.

        Only what was interrupted, and what `take_over` found, goes through its queue.
        """
        if self._rests or self._shares_work:
            return
        unfinished = ["PENDING", "ENQUEUED"]
        self._rests = not DBOS.list_workflows(status=unfinished, limit=1, load_input=False, load_output=False)
        if self._rests:
            for stop in self._library.background_thread_stop_events:
                stop.set()

    def submit_job(self, key: str, run: int) -> None:
        """Have a job measured; the same key and run twice is one workflow.

        Where no other process could measure it, it is tried before its workflow begins, which costs a tenth
        of the job: the ledger holds what is to be measured, and knows what was.
        """
        self._has_begun = True
        name = _workflow_id("job", key, str(run))

        def work() -> None:
            before = self._hand_overs
            if self._is_alone and self._is_measured_now(key):
                # What was handed over tells of itself when it is sent; a round needs the interpreter as well.
                if self._hand_overs == before:
                    self._on_progress()
            else:
                self._do(name, lambda: self._job(key))

        self._lane("jobs", nullcontext).put(work)

    def _is_measured_now(self, key: str) -> bool:
        """Try a job once; what this try does not end, by a fault too, is left to its workflow."""
        try:
            return self._measure_in_turn(key) is None
        except Exception:  # noqa: BLE001  the workflow meets it again, and states it
            return False

    def make_ready(self, work: Callable[[], None]) -> None:
        """Do something at once that the next job finds done; nothing where a job is under way."""
        lane = self._lane("jobs", nullcontext)
        if lane.is_idle:
            lane.put(work)

    def submit_delivery(self, key: str, destination: str, round_: int) -> None:
        """Have a delivery made; one at a time for each destination, in the order of submission."""
        name = _workflow_id("delivery", key, destination, str(round_))
        deliver = self._errands["delivery"]

        def work() -> None:
            # With an earlier one, or at once when its job was measured, it may have gone out meanwhile.
            if self._is_open(key, destination):
                self._do(name, lambda: deliver(key, destination), is_ordered=True)

        self._delivering(destination).put(work)

    def hand_over(self, destination: str) -> None:
        """Try at once to send what a job of this process has just recorded for a destination.

        No workflow is begun for that: the ledger holds what waits, and what this try leaves is submitted as
        any other delivery.
        """
        sent = threading.Event()

        def work() -> None:
            self._handed_over.pop(destination)
            try:
                self._send_waiting(destination)
            finally:
                sent.set()
            self._on_progress()

        # What resumed jobs record waits for the first round: that of the last process comes before.
        if self._has_begun:
            self._hand_overs += 1
            if self._handed_over.setdefault(destination, sent) is sent:
                self._delivering(destination).put(work)

    def _delivering(self, destination: str) -> _Lane:
        return self._lane(f"delivery {destination}", lambda: self._turn(destination))

    def submit_errand(self, kind: str, about: str, peer: str, attempt: str) -> None:
        """Have something else done at a peer, one at a time; the same attempt twice is one workflow."""
        name = _workflow_id(kind, about, peer, attempt)
        lane = self._lane(f"{kind} {peer}", lambda: self._turn(f"{kind} {peer}"))
        errand = self._errands[kind]
        lane.put(lambda: self._do(name, lambda: errand(about, peer)))

    def _lane(self, name: str, turn: Callable[[], AbstractContextManager[None]]) -> _Lane:
        with self._making_lanes:
            if name not in self._lanes:
                self._lanes[name] = _Lane(name, turn, self._fail)
            return self._lanes[name]

    def _do(self, workflow_id: str, begin: Callable[[], object], *, is_ordered: bool = False) -> None:
        """Run a workflow to its end, unless it was begun before: then who began it, or recovery, ends it."""
        try:
            with SetWorkflowID(workflow_id, workflow_id_reuse_policy="reject"):
                begin()
        except dbos_error.DBOSWorkflowIDInUseError:
            if is_ordered:
                self._wait_for(workflow_id)
        self._on_progress()

    def _fail(self, error: Exception) -> None:
        """Note that the engine's database did not answer: what was begun may stand still now."""
        LOGGER.error("engine interrupted by %s", trace_of(error))
        self._failure = error
        self._on_progress()

    def check(self) -> None:
        """Raise what stopped the engine, if anything did: started again, the process resumes its work."""
        if self._failure is not None:
            raise self._failure

    def _wait_for(self, workflow_id: str) -> None:
        """Wait for what is under way elsewhere: in this process's recovery, or in another one for a while."""
        deadline = time.monotonic() + OTHERS_PATIENCE_S
        while (status := DBOS.get_workflow_status(workflow_id)) is not None:
            is_ours = status.executor_id == self._executor_id
            if status.status not in ("PENDING", "ENQUEUED") or not (is_ours or time.monotonic() < deadline):
                return
            time.sleep(0.2)

    def given_up_jobs(self) -> tuple[tuple[str, int], ...]:
        """Jobs that the engine does not run again: key and number of the run."""
        found = DBOS.list_workflows(
            status=["MAX_RECOVERY_ATTEMPTS_EXCEEDED", "ERROR"],
            name="job",
            load_input=False,
            load_output=False,
        )
        names = (one.workflow_id.split("/") for one in found)
        return tuple((key, int(run)) for _, key, run in names)

    def take_over(self, living: Collection[str]) -> int:
        """Have everything resumed that is under way with executors other than these; returns how much.

        It was at the head of its lane there, and stays at the head of that lane everywhere. What such an
        executor finishes all the same is recorded once: the library fences it off, the steps ask the ledger.
        """
        found = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        left = [one for one in found if one.executor_id not in living]
        for one in left:
            DBOS.resume_workflow(one.workflow_id)
        return len(left)


def _define_errand(kind: str, work: Errand) -> Callable[[str, str], None]:
    step = DBOS.step(name=f"try_{kind}")(work)

    @DBOS.workflow(name=kind, max_recovery_attempts=RECOVERY_ATTEMPTS)
    def errand(about: str, peer: str) -> None:
        while (wait_s := step(about, peer)) is not None:
            DBOS.sleep(wait_s)

    return errand


def _workflow_id(*words: str) -> str:
    """Name of a workflow; those of earlier versions of the workflows are others and stay as they are."""
    return "/".join((f"{words[0]}.{WORKFLOWS_VERSION}", *words[1:]))


def _prefer_wal(database_url: str) -> None:
    """Set an SQLite file to write-ahead logging; the library leaves the slow default."""
    if database_url.startswith("sqlite:///"):
        path = Path(database_url.removeprefix("sqlite:///"))
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
