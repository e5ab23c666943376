"""Durable work on DBOS Transact: measure a job, deliver its reports; resumed after a crash.

The ledger says what is to be done, the engine sees to it that it is done: payloads are keys only. Steps may
run twice after a crash and are made so that this changes nothing.

References
----------
Traps of the library: ``docs/decisions/001-durable-engine.md``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig, Serializer, SetEnqueueOptions, SetWorkflowID

WORKFLOWS_VERSION = "1"
"""Fixed, for the library would otherwise leave interrupted work untouched after every change of the code."""

RECOVERY_ATTEMPTS = 4
"""A job that takes its process down with it is left alone after so many times."""

DELIVERY_RECOVERY_ATTEMPTS = 1000
"""Sending cannot take the process down, and a delivery may live through many restarts."""

JOBS_QUEUE = "jobs"
DELIVERY, COMMITMENT, PROOF, ANSWER = "delivery", "commitment", "proof", "answer"
ERRANDS = {
    DELIVERY: ("deliveries", 0.1),
    COMMITMENT: ("commitments", 1.0),
    PROOF: ("proofs", 1.0),
    ANSWER: ("answers", 1.0),
}
"""What is done at a peer, one at a time for each: its queue, and seconds between two looks at that."""

Errand = Callable[[str, str], float | None]
"""Tries once, given what it is about and which peer."""


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
    errands
        Tries what is done at a peer, by kind: ``delivery``, ``commitment`` and ``proof`` (key, destination),
        ``answer`` (transaction UID, AE title).

    Each gives the pause in seconds before another try, or None at the end, and raises nothing.

    parallel
        Jobs measured at a time in this process.
    """

    def __init__(
        self,
        *,
        database_url: str,
        executor_id: str,
        measure: Callable[[str], float | None],
        errands: Mapping[str, Errand],
        parallel: int = 1,
    ) -> None:
        _prefer_wal(database_url)
        self._parallel = parallel
        config: DBOSConfig = {
            "name": "osteoscribe",
            "system_database_url": database_url,
            "application_version": WORKFLOWS_VERSION,
            "executor_id": executor_id,
            "serializer": JsonSerializer(),
            "log_level": "ERROR",
            "enable_otlp": False,
        }
        DBOS(config=config)
        self._job = _define_job(measure)
        self._errands = {kind: _define_errand(kind, work) for kind, work in errands.items()}

    def start(self) -> None:
        """Begin; what a crash interrupted is resumed."""
        DBOS.launch()
        DBOS.register_queue(JOBS_QUEUE, worker_concurrency=self._parallel, polling_interval_sec=0.1)
        for queue, polling_s in ERRANDS.values():
            DBOS.register_queue(queue, partition_concurrency=1, polling_interval_sec=polling_s)

    def submit_job(self, key: str, run: int) -> None:
        """Have a job measured; the same key and run twice is one workflow."""
        with SetWorkflowID(f"job/{key}/{run}"):
            DBOS.enqueue_workflow(JOBS_QUEUE, self._job, key)

    def submit_delivery(self, key: str, destination: str, round_: int) -> None:
        """Have a delivery made; one at a time for each destination, in the order of submission."""
        self.submit_errand(DELIVERY, key, destination, str(round_))

    def submit_commitment(self, key: str, destination: str, question: str) -> None:
        """Have a destination asked for commitment; the same question twice is one workflow."""
        self.submit_errand(COMMITMENT, key, destination, question)

    def submit_errand(self, kind: str, about: str, peer: str, attempt: str) -> None:
        """Have something done at a peer; the same attempt twice is one workflow."""
        with (
            SetWorkflowID(f"{kind}/{about}/{peer}/{attempt}"),
            SetEnqueueOptions(queue_partition_key=peer),
        ):
            DBOS.enqueue_workflow(ERRANDS[kind][0], self._errands[kind], about, peer)

    def given_up_jobs(self) -> tuple[tuple[str, int], ...]:
        """Jobs that are not run again: they took their process down too often, or ended with an error."""
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

        It goes back to its queue, so the queue's limits hold. What such an executor finishes all the same is
        recorded once: the library fences it off, and the steps ask the ledger.
        """
        found = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        left = [one for one in found if one.executor_id not in living and one.queue_name]
        for one in left:
            DBOS.resume_workflow(one.workflow_id, queue_name=one.queue_name)
        return len(left)

    def stop(self) -> None:
        """Take no more work; what is under way is resumed at the next start."""
        DBOS.destroy()


def _define_job(measure: Callable[[str], float | None]) -> Callable[[str], None]:
    measure_step = DBOS.step(name="measure")(measure)

    @DBOS.workflow(name="job", max_recovery_attempts=RECOVERY_ATTEMPTS)
    def job(key: str) -> None:
        while (wait_s := measure_step(key)) is not None:
            DBOS.sleep(wait_s)

    return job


def _define_errand(kind: str, work: Errand) -> Callable[[str, str], None]:
    step = DBOS.step(name=f"try_{kind}")(work)

    @DBOS.workflow(name=kind, max_recovery_attempts=DELIVERY_RECOVERY_ATTEMPTS)
    def errand(about: str, peer: str) -> None:
        while (wait_s := step(about, peer)) is not None:
            DBOS.sleep(wait_s)

    return errand


def _prefer_wal(database_url: str) -> None:
    """Set an SQLite file to write-ahead logging; the library leaves the slow default."""
    if database_url.startswith("sqlite:///"):
        path = Path(database_url.removeprefix("sqlite:///"))
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
