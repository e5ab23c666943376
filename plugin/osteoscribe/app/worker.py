"""The round of a worker: plan what can begin, and hand everything that is due to the engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from osteoscribe.app.plan import PlanLedger, plan
from osteoscribe.app.ports import Delivery, Proof
from osteoscribe.app.safekeep import Question
from osteoscribe.app.settings import JobSettings
from osteoscribe.core.report import Problem

PLANNING_PAUSE = 5.0
"""Pause after planning, as a multiple of the time that it took."""

GIVEN_UP_EVERY = timedelta(seconds=10)
"""Pause between two questions to the engine about jobs that it gave up."""


class RoundPlanLedger(PlanLedger, Protocol):
    """Planning, with what the round needs besides."""

    def reopen(self) -> int:
        """Open the incomplete marks again whose images have come since."""
        ...


class RoundJobLedger(Protocol):
    """What waits for the engine."""

    def ready(self) -> tuple[tuple[str, int], ...]:
        """Jobs that wait to be measured, oldest first: key and number of the run."""
        ...

    def due_deliveries(self) -> tuple[Delivery, ...]:
        """Deliveries that are not at an end, in the order of their jobs."""
        ...

    def due_commitments(self, now: datetime) -> tuple[Delivery, ...]:
        """Stored deliveries whose commitment is to be asked for now."""
        ...

    def due_proofs(self, now: datetime) -> tuple[Proof, ...]:
        """Proofs whose next look is due."""
        ...

    def fail(self, key: str, problem: Problem, now: datetime) -> None:
        """Park a job that cannot be measured, with its reason."""
        ...


class RoundQuestions(Protocol):
    """Questions of peers for storage commitment."""

    def due_questions(self, now: datetime) -> tuple[Question, ...]:
        """Questions that are to be answered now."""
        ...


class Engine(Protocol):
    """Does what it is given, once, through crashes."""

    def submit_job(self, key: str, run: int) -> None:
        """Have a job measured."""
        ...

    def submit_delivery(self, key: str, destination: str, round_: int) -> None:
        """Have a delivery made."""
        ...

    def submit_commitment(self, key: str, destination: str, question: str) -> None:
        """Have a destination asked for commitment."""
        ...

    def submit_errand(self, kind: str, about: str, peer: str, attempt: str) -> None:
        """Have something else done at a peer."""
        ...

    def given_up_jobs(self) -> tuple[tuple[str, int], ...]:
        """Jobs that took their process down too often: key and number of the run."""
        ...


class Rounds:
    """Plans and submits. What was submitted once is not submitted again by this process.

    Parameters
    ----------
    newest_id
        The id of the newest instance: whether anything came since the last round.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        *,
        plans: RoundPlanLedger,
        jobs: RoundJobLedger,
        questions: RoundQuestions,
        engine: Engine,
        newest_id: Callable[[], int],
        settings: JobSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plans = plans
        self._jobs = jobs
        self._questions = questions
        self._engine = engine
        self._newest_id = newest_id
        self._settings = settings
        self._clock = clock
        self._seen_id = -1
        self._given_up_seen_at: datetime | None = None
        self._plan_not_before = 0.0
        self._submitted: set[tuple[str, ...]] = set()

    def run(self, now: datetime) -> int:
        """Run one round; returns how much was submitted."""
        newest = self._newest_id()
        if newest != self._seen_id:
            self._plans.reopen()
            self._seen_id = newest
        self._plan(now)
        self._park_given_up(now)
        before = len(self._submitted)
        for key, run in self._jobs.ready():
            name: tuple[str, ...] = ("job", key, str(run))
            if name not in self._submitted:
                self._engine.submit_job(key, run)
                self._submitted.add(name)
        for one in self._jobs.due_deliveries():
            name = ("delivery", one.job_key, one.destination, str(one.round))
            if name not in self._submitted:
                self._engine.submit_delivery(one.job_key, one.destination, one.round)
                self._submitted.add(name)
        for one in self._jobs.due_commitments(now):
            question = f"{one.round}.{one.asks}.{one.tries}"
            name = ("commitment", one.job_key, one.destination, question)
            if name not in self._submitted:
                self._engine.submit_commitment(one.job_key, one.destination, question)
                self._submitted.add(name)
        for proof in self._jobs.due_proofs(now):
            self._submit("proof", proof.job_key, proof.destination, f"{proof.round}.{proof.looks}")
        for asked in self._questions.due_questions(now):
            attempt = f"{asked.asked_at.timestamp():.6f}.{asked.tries}"
            self._submit("answer", asked.transaction_uid, asked.calling_ae, attempt)
        return len(self._submitted) - before

    def _submit(self, kind: str, about: str, peer: str, attempt: str) -> None:
        name = (kind, about, peer, attempt)
        if name not in self._submitted:
            self._engine.submit_errand(*name)
            self._submitted.add(name)

    def _plan(self, now: datetime) -> None:
        """Plan, but spend no more than a share of the time on it where many marks wait for images."""
        began = self._clock()
        if began >= self._plan_not_before:
            plan(self._plans, self._settings, now)
            self._plan_not_before = began + (self._clock() - began) * PLANNING_PAUSE

    def _park_given_up(self, now: datetime) -> None:
        if self._given_up_seen_at is not None and now - self._given_up_seen_at < GIVEN_UP_EVERY:
            return
        self._given_up_seen_at = now
        ready = set(self._jobs.ready())
        for key, _ in ready.intersection(self._engine.given_up_jobs()):
            message = (
                "found that measuring this job ends its process each time; report it, then run "
                f"osteoscribe jobs retry {key[:12]}"
            )
            self._jobs.fail(key, Problem(code="job.ends-its-process", message=message), now)
