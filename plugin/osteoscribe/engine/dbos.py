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
from collections.abc import Callable, Collection
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
DELIVERIES_QUEUE = "deliveries"
COMMITMENTS_QUEUE = "commitments"
PROOFS_QUEUE = "proofs"


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
    deliver
        Tries one delivery (key, destination).
    ask_commitment, prove
        Asks a destination once (key, destination).

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
        deliver: Callable[[str, str], float | None],
        ask_commitment: Callable[[str, str], float | None],
        prove: Callable[[str, str], float | None],
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
        self._define(measure, deliver, ask_commitment, prove)

    def _define(
        self,
        measure: Callable[[str], float | None],
        deliver: Callable[[str, str], float | None],
        ask_commitment: Callable[[str, str], float | None],
        prove: Callable[[str, str], float | None],
    ) -> None:
        measure_step = DBOS.step(name="measure")(measure)
        deliver_step = DBOS.step(name="deliver")(deliver)

        @DBOS.workflow(name="job", max_recovery_attempts=RECOVERY_ATTEMPTS)
        def job(key: str) -> None:
            while (wait_s := measure_step(key)) is not None:
                DBOS.sleep(wait_s)

        @DBOS.workflow(name="delivery", max_recovery_attempts=DELIVERY_RECOVERY_ATTEMPTS)
        def delivery(key: str, destination: str) -> None:
            while (wait_s := deliver_step(key, destination)) is not None:
                DBOS.sleep(wait_s)

        commitment_step = DBOS.step(name="ask_commitment")(ask_commitment)

        @DBOS.workflow(name="commitment", max_recovery_attempts=DELIVERY_RECOVERY_ATTEMPTS)
        def commitment(key: str, destination: str) -> None:
            while (wait_s := commitment_step(key, destination)) is not None:
                DBOS.sleep(wait_s)

        proof_step = DBOS.step(name="prove")(prove)

        @DBOS.workflow(name="proof", max_recovery_attempts=DELIVERY_RECOVERY_ATTEMPTS)
        def proof(key: str, destination: str) -> None:
            while (wait_s := proof_step(key, destination)) is not None:
                DBOS.sleep(wait_s)

        self._proof = proof
        self._commitment = commitment
        self._job = job
        self._delivery = delivery

    def start(self) -> None:
        """Begin; what a crash interrupted is resumed."""
        DBOS.launch()
        DBOS.register_queue(JOBS_QUEUE, worker_concurrency=self._parallel, polling_interval_sec=0.1)
        DBOS.register_queue(DELIVERIES_QUEUE, partition_concurrency=1, polling_interval_sec=0.1)
        DBOS.register_queue(COMMITMENTS_QUEUE, partition_concurrency=1, polling_interval_sec=1.0)
        DBOS.register_queue(PROOFS_QUEUE, partition_concurrency=1, polling_interval_sec=1.0)

    def submit_job(self, key: str, run: int) -> None:
        """Have a job measured; the same key and run twice is one workflow."""
        with SetWorkflowID(f"job/{key}/{run}"):
            DBOS.enqueue_workflow(JOBS_QUEUE, self._job, key)

    def submit_delivery(self, key: str, destination: str, round_: int) -> None:
        """Have a delivery made; one at a time for each destination, in the order of submission."""
        with (
            SetWorkflowID(f"delivery/{key}/{destination}/{round_}"),
            SetEnqueueOptions(queue_partition_key=destination),
        ):
            DBOS.enqueue_workflow(DELIVERIES_QUEUE, self._delivery, key, destination)

    def submit_commitment(self, key: str, destination: str, question: str) -> None:
        """Have a destination asked for commitment; the same question twice is one workflow."""
        with (
            SetWorkflowID(f"commitment/{key}/{destination}/{question}"),
            SetEnqueueOptions(queue_partition_key=destination),
        ):
            DBOS.enqueue_workflow(COMMITMENTS_QUEUE, self._commitment, key, destination)

    def submit_proof(self, key: str, destination: str, question: str) -> None:
        """Have a destination queried; the same question twice is one workflow."""
        with (
            SetWorkflowID(f"proof/{key}/{destination}/{question}"),
            SetEnqueueOptions(queue_partition_key=destination),
        ):
            DBOS.enqueue_workflow(PROOFS_QUEUE, self._proof, key, destination)

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


def _prefer_wal(database_url: str) -> None:
    """Set an SQLite file to write-ahead logging; the library leaves the slow default."""
    if database_url.startswith("sqlite:///"):
        path = Path(database_url.removeprefix("sqlite:///"))
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
