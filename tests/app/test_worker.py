"""The round of a worker: everything that is due is handed to the engine, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from osteoscribe.app.plan import MarkObject
from osteoscribe.app.work import measure
from osteoscribe.app.worker import Rounds
from osteoscribe.store.planning import PlanTable
from osteoscribe.store.questions import QuestionTable
from osteoscribe.store.segments import MADE
from tests.fakes.dicom import ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place

ARCHIVE = "PACS@127.0.0.1:104"


class Recorder:
    """An engine that only notes what it is given."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, int]] = []
        self.deliveries: list[tuple[str, str, int]] = []
        self.questions: list[str] = []
        self.given_up: tuple[tuple[str, int], ...] = ()

    def submit_job(self, key: str, run: int) -> None:
        self.jobs.append((key, run))

    def submit_delivery(self, key: str, destination: str, round_: int) -> None:
        self.deliveries.append((key, destination, round_))

    def submit_errand(self, kind: str, about: str, peer: str, attempt: str) -> None:
        self.questions.append(attempt)

    @property
    def submitted(self) -> int:
        return len(self.jobs) + len(self.deliveries) + len(self.questions)

    def given_up_jobs(self) -> tuple[tuple[str, int], ...]:
        return self.given_up


class Bench:
    def __init__(self, folder: Path) -> None:
        self.ledger = FilledLedger(folder)
        self.engine = Recorder()
        self.clock_s = 0.0
        self.wait_s = 0.0
        self.rounds = self.new_rounds()

    def new_rounds(self) -> Rounds:
        return Rounds(
            plans=self.ledger.plans,
            jobs=self.ledger.jobs,
            questions=QuestionTable(self.ledger.engine),
            engine=self.engine,
            newest_id=self.ledger.instances.newest_id,
            settings=self.ledger.settings,
            clock=lambda: self.clock_s,
        )

    def run(self, at_s: float, *, has_news: bool = False) -> int:
        """Run a round; how much it submitted."""
        before = self.engine.submitted
        self.wait_s = self.rounds.run(START + timedelta(seconds=at_s), has_news=has_news, has_progress=False)
        return self.engine.submitted - before

    def measure(self, key: str) -> None:
        segment = self.ledger.segments.writer(MADE, START)
        measure(
            key,
            ledger=self.ledger.jobs,
            pipeline=one_report,
            segment=segment,
            destinations_for=lambda _calling: [place(ARCHIVE)],
            now=lambda: START + timedelta(seconds=5),
        )
        segment.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    yield made
    made.ledger.engine.dispose()


def test_what_is_due_is_submitted_once(bench: Bench) -> None:
    assert [bench.run(at_s) for at_s in (0.2, 2, 3)] == [0, 1, 0]
    ((key, run),) = bench.engine.jobs
    assert run == 0
    bench.measure(key)
    assert [bench.run(at_s) for at_s in (6, 7)] == [1, 0]
    assert bench.engine.deliveries == [(key, ARCHIVE, 0)]


def test_the_rest_of_a_round_is_put_off_once_however_many_jobs_begin(bench: Bench) -> None:
    bench.run(2)
    bench.measure(bench.engine.jobs[0][0])
    bench.ledger.receive(2.05, mark_object(2, [ct_uid(1)]))
    bench.run(3.2)
    assert len(bench.engine.jobs) == 2
    assert len(bench.engine.deliveries) == 1


def test_after_a_restart_everything_open_is_submitted_again(bench: Bench) -> None:
    bench.run(2)
    bench.rounds = bench.new_rounds()
    assert bench.run(3) == 1
    assert len(set(bench.engine.jobs)) == 1, "the same name: the engine knows it"


def test_a_job_that_the_engine_gave_up_is_parked_with_its_reason(bench: Bench) -> None:
    bench.run(2)
    ((key, run),) = bench.engine.jobs
    bench.engine.given_up = ((key, run), ("other", 0))
    bench.run(90)
    assert bench.ledger.jobs.state(key) == "failed"


def test_late_images_open_an_incomplete_mark_again(tmp_path: Path, bench: Bench) -> None:
    bench.ledger.receive(0, mark_object(2, [ct_uid(1), ct_uid(2)]))
    bench.run(2)
    bench.measure(bench.engine.jobs[0][0])
    bench.run(110)
    bench.measure(bench.engine.jobs[1][0])
    bench.ledger.receive(200, ct_slice(2))
    bench.run(202)
    assert len(bench.engine.jobs) == 3
    assert ct_uid(2) in bench.ledger.uids_of(bench.engine.jobs[2][0])


def test_planning_rests_for_a_multiple_of_the_time_that_it_took(bench: Bench) -> None:
    times = iter([0.0, 1.0, 4.9, 5.0, 5.0])
    bench.rounds = Rounds(
        plans=bench.ledger.plans,
        jobs=bench.ledger.jobs,
        questions=QuestionTable(bench.ledger.engine),
        engine=bench.engine,
        newest_id=bench.ledger.instances.newest_id,
        settings=bench.ledger.settings,
        clock=lambda: next(times),
    )
    assert [bench.run(at_s) for at_s in (0.2, 2, 3)] == [0, 0, 1]


def test_a_round_says_when_a_waiting_mark_will_have_waited_enough(bench: Bench) -> None:
    bench.run(0.2)
    assert bench.wait_s == pytest.approx(0.8)
    bench.ledger.receive(0.5, ct_slice(2))
    bench.run(0.6)
    assert bench.wait_s == pytest.approx(0.6), "the look at what is to be sent comes first"
    bench.run(1.2)
    assert bench.wait_s == pytest.approx(0.3)
    bench.run(1.5)
    assert len(bench.engine.jobs) == 1
    assert bench.wait_s == pytest.approx(0.1), "the rest of the round lets the job begin"
    bench.run(1.6)
    assert bench.wait_s == pytest.approx(0.6)


def test_nothing_is_planned_again_where_nothing_has_changed(bench: Bench) -> None:
    class Counting(PlanTable):
        plans = 0

        def open_marks(self) -> tuple[MarkObject, ...]:
            self.plans += 1
            return super().open_marks()

    bench.ledger.plans = counting = Counting(bench.ledger.engine)
    bench.rounds = bench.new_rounds()
    bench.ledger.receive(0, mark_object(2, [ct_uid(1), ct_uid(9)]))
    bench.run(2)
    planned = counting.plans
    for at_s in (3, 4, 5):
        bench.run(at_s)
    assert counting.plans == planned
    bench.run(6, has_news=True)
    assert counting.plans == planned + 1
    bench.ledger.receive(6, ct_slice(9))
    bench.run(7)
    assert counting.plans > planned + 1


def test_a_clock_that_was_set_back_does_not_stop_the_planning(bench: Bench) -> None:
    bench.run(0.2)
    bench.run(-864000)
    assert len(bench.engine.jobs) == 1


def test_news_bring_nothing_to_be_sent_but_the_look_at_it_is_not_put_off(bench: Bench) -> None:
    bench.run(1.9)
    bench.run(2)
    bench.measure(bench.engine.jobs[0][0])
    assert bench.run(2.4, has_news=True) == 0
    assert bench.wait_s == pytest.approx(0.6)
    assert bench.run(2.9, has_news=True) == 0
    assert bench.wait_s == pytest.approx(0.1)
    assert [bench.run(at_s, has_news=True) for at_s in (3.0, 3.1, 4.5)] == [1, 0, 0]
    assert len(bench.engine.deliveries) == 1
