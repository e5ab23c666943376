"""Worker processes: what ends them is told apart."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from osteoscribe.app.ports import WrittenMark
from osteoscribe.app.settings import Settings
from osteoscribe.bootstrap.processes import WorkerProcess
from osteoscribe.bootstrap.worker import NEWS, Bell, MadeSegments, UnderWay, told
from osteoscribe.core.series import BlobRef
from osteoscribe.store.jobs import MOST_DEATHS
from osteoscribe.store.retention import WRITTEN_FOR
from osteoscribe.store.segments import SegmentStore
from osteoscribe.store.status import StatusView
from tests.fakes.dicom import ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger
from tests.fakes.processes import wait_until

KEY = "a" * 64


def killed_by_a_job(_settings: Settings, _number: int, _control: Connection, under_way: UnderWay) -> None:
    with under_way.job(KEY):
        os.kill(os.getpid(), signal.SIGSEGV)


def killed_after_a_job(_settings: Settings, _number: int, _control: Connection, under_way: UnderWay) -> None:
    with under_way.job(KEY):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def waiting_in_a_job(_settings: Settings, _number: int, control: Connection, under_way: UnderWay) -> None:
    with under_way.job(KEY):
        control.poll(60)
        os._exit(0)


def deaths_of(run: object, end: bool = False) -> list[str]:
    deaths: list[str] = []
    worker = WorkerProcess(Settings(), 0, deaths.append, run)  # type: ignore[arg-type]
    if end:
        time.sleep(1.0)
        worker.ask_to_stop()
    worker.join(60.0)
    worker.revive()
    return deaths


@pytest.mark.slow
def test_a_job_that_ends_its_worker_is_named() -> None:
    assert deaths_of(killed_by_a_job) == [KEY]


@pytest.mark.slow
def test_a_worker_that_measures_nothing_or_is_asked_to_end_blames_no_job() -> None:
    assert deaths_of(killed_after_a_job) == []
    assert deaths_of(waiting_in_a_job, end=True) == []


@pytest.mark.slow
def test_a_wake_reaches_the_worker_and_never_waits_for_it() -> None:
    worker = WorkerProcess(Settings(), 0, run=waiting_in_a_job)
    for _ in range(100_000):
        worker.wake()
    wait_until(lambda: not worker._process.is_alive(), "the end of the worker")
    worker.wake()


def test_a_job_that_ended_its_worker_too_often_is_left_alone_until_a_person_retries(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    (key,) = ledger.plan(1)
    for _ in range(MOST_DEATHS - 1):
        ledger.jobs.note_death(key, START)
    assert ledger.jobs.state(key) == "ready"
    ledger.jobs.note_death(key, START)
    assert ledger.jobs.state(key) == "failed"
    (shown,) = StatusView(ledger.engine).jobs()
    assert [one["code"] for one in shown["problems"]] == ["job.ends-its-process"]
    ledger.jobs.note_death("unknown", START)
    ledger.engine.dispose()


def test_a_worker_hears_of_marks_while_it_waits_and_survives_what_was_cut_off() -> None:
    ours, theirs = multiprocessing.Pipe()
    heard: list[WrittenMark] = []
    bell = Bell()
    blob = BlobRef(segment="received/20261122/64c5-site-a-71-3.seg", offset=512, length=7)
    mark = WrittenMark(blob=blob, digest="0f" * 32, transfer_syntax_uid="1.2.840.10008.1.2.1")
    whole = told(mark)

    def wait(seconds: float = 5.0) -> tuple[bool, bool, bool]:
        return bell.wait(theirs, seconds, heard.append)

    os.write(ours.fileno(), whole)
    assert wait(0.05) == (False, False, False), "no row of it is there: nothing to plan"
    os.write(ours.fileno(), whole[:20] + NEWS + whole + NEWS)
    assert wait() == (True, False, False)
    assert heard == [mark] * 2
    bell.ring()
    assert wait() == (False, True, False)
    ours.close()
    assert wait() == (False, False, True)


def test_reports_of_half_an_hour_share_a_segment_and_no_clock_makes_it_longer(tmp_path: Path) -> None:
    now = [START]
    made = MadeSegments(SegmentStore(tmp_path), lambda: now[0])
    first = made.for_job()
    now[0] += WRITTEN_FOR / 2 - timedelta(seconds=1)
    assert made.for_job() is first
    now[0] += timedelta(seconds=1)
    second = made.for_job()
    assert second is not first
    now[0] -= timedelta(days=1)
    assert made.for_job() is not second
