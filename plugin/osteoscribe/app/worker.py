"""The round of a worker: plan what can begin, and hand everything that is due to the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from osteoscribe.app.plan import PlanLedger, plan
from osteoscribe.app.ports import Delivery, Proof
from osteoscribe.app.safekeep import Question
from osteoscribe.app.settings import JobSettings
from osteoscribe.core.report import Problem

PLANNING_PAUSE = 5.0
"""Pause after long planning, as a multiple of the time that it took."""

LONG_PLANNING_S = 0.1
"""Planning that takes longer is long: many marks wait for their images."""

LOOK_EVERY = timedelta(seconds=1)
"""Pause between two looks at what other processes and administrators wrote, where nothing else wakes."""

PUT_OFF_S = 0.1
"""How long the rest of a round waits where it has begun a job: both need the interpreter."""

GIVEN_UP_EVERY = timedelta(seconds=60)
"""Pause between two questions to the engine about jobs that it gave up."""


Due = tuple[tuple[str, ...], Callable[[], None]]
"""Something due: its name, and what submits it."""


class RoundPlanLedger(PlanLedger, Protocol):
    """Planning, with what the round needs besides."""

    def reopen(self) -> int:
        """Open the incomplete marks again whose images have come since; returns how many."""
        ...


class RoundJobLedger(Protocol):
    """What waits for the engine."""

    def ready(self) -> tuple[tuple[str, int], ...]:
        """Jobs that wait to be measured, oldest first: key and number of the run."""
        ...

    def due_deliveries(self) -> tuple[Delivery, ...]:
        """Deliveries that are not at an end, in the order of their jobs; a few of each destination."""
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

    def submit_errand(self, kind: str, about: str, peer: str, attempt: str) -> None:
        """Have something else done at a peer: ``commitment``, ``proof`` or ``answer``."""
        ...

    def given_up_jobs(self) -> tuple[tuple[str, int], ...]:
        """Jobs that it does not run again: key and number of the run."""
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
        self._planned_at = datetime.max.replace(tzinfo=UTC)
        self._plan_at: datetime | None = None
        self._plan_not_before = 0.0
        self._may_reopen = False
        self._is_put_off = False
        self._sent_at = datetime.max.replace(tzinfo=UTC)
        self._sending: set[tuple[str, ...]] = set()
        self._submitted: set[tuple[str, ...]] = set()

    def run(self, now: datetime, *, has_news: bool = True, has_progress: bool = True) -> float:
        """Run one round.

        Parameters
        ----------
        has_news
            Whether something was received, or an association ended: planning looks again.
        has_progress
            Whether something came to its end here: what follows from it is first in turn.

        Returns
        -------
        float
            Seconds after which another round has something to do, unless it is woken before.
        """
        if has_progress:
            self._send(now)
        self._is_put_off = self._plan(now, is_woken=has_news or has_progress) and not self._is_put_off
        if self._is_put_off:
            return PUT_OFF_S
        self._submitted = self._submit(self._to_do(now), self._submitted)
        # After what can begin at once: the marks whose images were missing.
        if self._may_reopen:
            if self._plans.reopen():
                self._plan(now, is_woken=True)
                self._submitted = self._submit(self._to_do(now), self._submitted)
            self._may_reopen = False
        # What was received brings nothing to be sent before it is measured.
        if not has_progress and not self._sent_at <= now < self._sent_at + LOOK_EVERY:
            self._send(now)
        self._park_given_up(now)
        wait = self._sent_at + LOOK_EVERY - now
        if self._plan_at is not None:
            wait = min(wait, self._plan_at - now)
        return max(wait.total_seconds(), 0.0)

    @property
    def is_idle(self) -> bool:
        """Whether nothing was due in the last round."""
        return not self._submitted and not self._sending

    def _submit(self, due: Iterable[Due], before: Collection[tuple[str, ...]]) -> set[tuple[str, ...]]:
        """Submit what was not submitted before; the names of all."""
        names = set()
        for name, submit in due:
            names.add(name)
            if name not in before:
                submit()
        return names

    def _to_do(self, now: datetime) -> Iterator[Due]:
        """Jobs and answers: what comes of what was received."""
        for key, run in self._jobs.ready():
            yield ("job", key, str(run)), partial(self._engine.submit_job, key, run)
        for asked in self._questions.due_questions(now):
            attempt = f"{asked.asked_at.timestamp():.6f}.{asked.tries}"
            yield self._errand("answer", asked.transaction_uid, asked.calling_ae, attempt)

    def _send(self, now: datetime) -> None:
        self._sending = self._submit(self._to_send(now), self._sending)
        self._sent_at = now

    def _to_send(self, now: datetime) -> Iterator[Due]:
        for one in self._jobs.due_deliveries():
            name = ("delivery", one.job_key, one.destination, str(one.round))
            yield name, partial(self._engine.submit_delivery, one.job_key, one.destination, one.round)
        for one in self._jobs.due_commitments(now):
            question = f"{one.round}.{one.asks}.{one.tries}"
            yield self._errand("commitment", one.job_key, one.destination, question)
        for proof in self._jobs.due_proofs(now):
            yield self._errand("proof", proof.job_key, proof.destination, f"{proof.round}.{proof.looks}")

    def _errand(self, *name: str) -> tuple[tuple[str, ...], Callable[[], None]]:
        return name, partial(self._engine.submit_errand, *name)

    def _plan(self, now: datetime, *, is_woken: bool) -> bool:
        """Plan where something may have changed, but spend no more than a share of the time on it.

        Gives whether jobs begin by it.
        """
        newest = self._newest_id()
        has_news = newest != self._seen_id
        is_time = self._plan_at is not None and not self._planned_at <= now < self._plan_at
        if not (has_news or is_woken or is_time):
            return False
        began = self._clock()
        if began < self._plan_not_before:
            self._plan_at = now + timedelta(seconds=self._plan_not_before - began)
            return False
        planned = plan(self._plans, self._settings, now)
        for key in planned.keys:
            self._engine.submit_job(key, 0)
            self._submitted.add(("job", key, "0"))
        self._may_reopen |= has_news
        self._seen_id, self._planned_at, self._plan_at = newest, now, planned.again_at
        took_s = self._clock() - began
        self._plan_not_before = began + took_s * (PLANNING_PAUSE if took_s > LONG_PLANNING_S else 1)
        return bool(planned.keys)

    def _park_given_up(self, now: datetime) -> None:
        if self._given_up_seen_at is not None and now - self._given_up_seen_at < GIVEN_UP_EVERY:
            return
        self._given_up_seen_at = now
        ready = set(self._jobs.ready())
        for key, _ in ready.intersection(self._engine.given_up_jobs()):
            message = (
                "found a fault of the engine that measures this job; report it, then run "
                f"osteoscribe jobs retry {key[:12]}"
            )
            self._jobs.fail(key, Problem(code="job.bug", message=message), now)
