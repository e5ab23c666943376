"""Measuring and delivering: repeated at any point, nothing is lost or doubled."""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from osteoscribe.app.deliver import deliver
from osteoscribe.app.desk import Desk
from osteoscribe.app.ports import EncodedObject, JobRequest, JobResult, StoreReply
from osteoscribe.app.settings import Destination
from osteoscribe.app.work import STORE_PAUSE_S, measure
from osteoscribe.core.delivery import Patience
from osteoscribe.errors import InputError, PeerError, RefusedError, StoreError
from osteoscribe.store.segments import MADE
from osteoscribe.store.status import StatusView
from tests.fakes.dicom import ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place

ARCHIVE = "PACS@127.0.0.1:104"
PATIENCE = Patience(first_pause_s=5, longest_pause_s=60, give_up_after_s=3600, refusals=3)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.time = START + timedelta(seconds=10)

    def __call__(self) -> datetime:
        return self.time


class Archive:
    """A destination that answers what it is told to, and keeps what it took."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.kept: list[str] = []

    def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> tuple[StoreReply, ...]:
        assert destination == place(ARCHIVE)
        answer = self.answers.pop(0) if self.answers else 0
        if isinstance(answer, Exception):
            raise answer
        if answer == 0:
            self.kept += [one.sop_instance_uid for one in objects]
        return tuple(StoreReply(sop_instance_uid=one.sop_instance_uid, status=answer) for one in objects)


class Bench:
    """A ledger with one job that is ready, and the means to work on it."""

    def __init__(self, folder: Path) -> None:
        self.ledger = FilledLedger(folder)
        self.clock = Clock()
        self.handed_over: list[str] = []
        self.ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
        (self.key,) = self.ledger.plan(1)

    def measure(
        self,
        pipeline: Callable[[JobRequest], JobResult] = one_report,
        destinations: Sequence[str] = (ARCHIVE,),
    ) -> float | None:
        segment = self.ledger.segments.writer(MADE, START)
        try:
            return measure(
                self.key,
                ledger=self.ledger.jobs,
                pipeline=pipeline,
                segment=segment,
                destinations_for=lambda _calling: [place(one) for one in destinations],
                hand_over=self.handed_over.append,
                now=self.clock,
            )
        finally:
            segment.close()

    def deliver(self, archive: Archive) -> float | None:
        return deliver(
            self.key,
            Desk(
                name=ARCHIVE,
                destination_named=place,
                ledger=self.ledger.jobs,
                patience=PATIENCE,
                now=self.clock,
            ),
            sender=archive,
            read=self.ledger.segments.read_bytes,
        )

    def deliver_and_wait(self, archive: Archive) -> float | None:
        wait_s = self.deliver(archive)
        self.clock.time += timedelta(seconds=wait_s or 0)
        return wait_s

    @property
    def state(self) -> tuple[str, str]:
        jobs = self.ledger.jobs
        return jobs.state(self.key), jobs.delivery(self.key, ARCHIVE).state


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.ledger.engine.dispose()


def test_a_job_is_measured_once_however_often_it_is_run(bench: Bench) -> None:
    assert bench.measure() is None
    first = bench.ledger.jobs.objects(bench.key)
    assert bench.measure() is None
    assert bench.ledger.jobs.objects(bench.key) == first
    assert len(first) == 1


def test_a_delivery_that_succeeded_is_not_repeated(bench: Bench) -> None:
    bench.measure()
    archive = Archive()
    assert bench.deliver(archive) is None
    assert bench.deliver(archive) is None
    assert len(archive.kept) == 1
    assert bench.state == ("done", "stored")


def test_a_worker_that_was_taken_for_dead_does_not_undo_a_delivery(bench: Bench) -> None:
    bench.measure()

    class SilentForOne(Archive):
        """While the first worker waits for its answer, another is given its work and does it."""

        def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> tuple[StoreReply, ...]:
            assert bench.deliver(Archive()) is None
            raise PeerError("peer.silent", "found no answer")

    assert bench.deliver(SilentForOne()) is None, "there is nothing left to try"
    assert bench.state == ("done", "stored")
    assert bench.deliver(Archive(PeerError("peer.silent", "nobody should ask"))) is None


def test_an_unreachable_destination_is_tried_with_growing_pauses_and_then_parked(bench: Bench) -> None:
    bench.measure()
    archive = Archive(*(PeerError("peer.unreachable", "found no connection") for _ in range(9)))
    assert [bench.deliver_and_wait(archive) for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    assert bench.state == ("measured", "waiting")
    bench.clock.time += timedelta(hours=2)
    assert bench.deliver(archive) is None
    assert bench.state == ("parked", "parked")
    assert bench.ledger.jobs.delivery(bench.key, ARCHIVE).code == "peer.unreachable"


@pytest.mark.parametrize("status", [0x0000, 0x0111, 0xB000, 0xB006, 0xB007])
def test_success_warnings_and_duplicates_count_as_stored(bench: Bench, status: int) -> None:
    bench.measure()
    assert bench.deliver(Archive(status)) is None
    assert bench.state == ("done", "stored")


@pytest.mark.parametrize("answer", [0xA900, 0xC000, 0x0122, RefusedError("peer.rejected-permanently", "no")])
def test_a_refusal_for_good_is_parked_at_once_with_its_reason(bench: Bench, answer: int | Exception) -> None:
    bench.measure()
    assert bench.deliver(Archive(answer)) is None
    delivery = bench.ledger.jobs.delivery(bench.key, ARCHIVE)
    assert bench.state == ("parked", "parked")
    assert delivery.code == ("peer.refused" if isinstance(answer, int) else "peer.rejected-permanently")
    if isinstance(answer, int):
        assert f"0x{answer:04X}" in delivery.message


def test_a_passing_refusal_is_tried_a_few_times(bench: Bench) -> None:
    bench.measure()
    archive = Archive(0xA700, 0xA700, 0xA700)
    assert [bench.deliver_and_wait(archive) for _ in range(3)] == [5, 10, None]
    assert bench.state == ("parked", "parked")


def test_a_job_without_a_destination_is_kept_and_says_so(bench: Bench) -> None:
    bench.measure(destinations=())
    assert bench.ledger.jobs.state(bench.key) == "parked"
    assert len(bench.ledger.jobs.objects(bench.key)) == 1


def test_a_bug_parks_its_job_without_a_word_of_received_text(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_job: JobRequest) -> JobResult:
        raise ValueError("Canary^Name is no number")

    with caplog.at_level(logging.INFO):
        assert bench.measure(broken) is None
    assert bench.ledger.jobs.state(bench.key) == "failed"
    assert "ValueError" in caplog.text
    assert "Canary" not in caplog.text


def test_a_job_that_can_write_nothing_has_failed_with_its_problem(bench: Bench) -> None:
    def refuses(_job: JobRequest) -> JobResult:
        raise InputError("ct.uneven-slices", "found uneven slices")

    assert bench.measure(refuses) is None
    assert bench.ledger.jobs.state(bench.key) == "failed"
    (shown,) = StatusView(bench.ledger.engine).jobs()
    assert [one["code"] for one in shown["problems"]] == ["ct.uneven-slices"]


def test_an_unreadable_store_postpones_the_job(bench: Bench) -> None:
    def unreadable(_job: JobRequest) -> JobResult:
        raise StoreError("store.unreadable", "found a segment cut short")

    assert bench.measure(unreadable) == STORE_PAUSE_S
    assert bench.ledger.jobs.state(bench.key) == "ready"
    assert bench.measure() is None


@contextmanager
def locked(engine: sa.Engine) -> Iterator[None]:
    """The ledger's database, held by somebody else for longer than anybody waits."""
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=1"))
    engine.dispose()
    holder = sqlite3.connect(str(engine.url.database))
    holder.execute("BEGIN EXCLUSIVE")
    yield
    holder.rollback()
    holder.close()


def test_a_ledger_that_does_not_answer_postpones_and_gives_nothing_up(bench: Bench) -> None:
    with locked(bench.ledger.engine):
        assert bench.measure() == STORE_PAUSE_S
    assert bench.measure() is None
    with locked(bench.ledger.engine):
        assert bench.deliver(Archive()) == STORE_PAUSE_S
    assert bench.deliver(Archive()) is None
    assert bench.state == ("done", "stored")


def test_a_bug_that_cannot_be_recorded_is_recorded_later(bench: Bench) -> None:
    def broken(_job: JobRequest) -> JobResult:
        holding.__enter__()
        raise ValueError("a bug while the ledger is locked")

    holding = locked(bench.ledger.engine)
    assert bench.measure(broken) == STORE_PAUSE_S
    assert bench.ledger.jobs.state(bench.key) == "ready"
    holding.__exit__(None, None, None)
    assert bench.measure() is None


def saying(content_key: str) -> Callable[[JobRequest], JobResult]:
    def pipeline(job: JobRequest) -> JobResult:
        made = one_report(job)
        (report,) = made.reports
        return dataclasses.replace(made, reports=(dataclasses.replace(report, content_key=content_key),))

    return pipeline


def test_an_object_that_adds_nothing_gives_no_second_report(bench: Bench) -> None:
    bench.measure(saying("a"))
    keys = [bench.key]
    for number, content in ((2, "a"), (3, "b"), (4, "a")):
        bench.ledger.receive(number * 10, mark_object(number, [ct_uid(1)]))
        (bench.key,) = bench.ledger.plan(number * 10 + 5)
        bench.measure(saying(content))
        keys.append(bench.key)
    assert [len(bench.ledger.jobs.objects(key)) for key in keys] == [1, 0, 1, 1]
    assert [bench.ledger.jobs.state(key) for key in keys] == ["measured", "done", "measured", "measured"]
