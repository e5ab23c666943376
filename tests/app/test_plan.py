"""When a job begins, and what belongs to it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from osteoscribe.app.plan import plan
from osteoscribe.app.ports import JobResult
from osteoscribe.app.settings import JobSettings
from osteoscribe.core.report import Problem
from osteoscribe.store.planning import PlanTable
from tests.fakes.dicom import ROOT, SERIES, ct_slice, ct_uid, mark_object, sr_object
from tests.fakes.ledger import START, FilledLedger, one_report, place

OTHER_SERIES = f"{ROOT}.20"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[FilledLedger]:
    filled = FilledLedger(tmp_path)
    yield filled
    filled.engine.dispose()


def finish(ledger: FilledLedger, key: str, at_s: float = 50) -> JobResult:
    result = one_report(ledger.jobs.request(key))
    blobs = {
        one.sop_instance_uid: ledger.jobs.request(key).instances[0].blob
        for report in result.reports
        for one in report.objects
    }
    ledger.jobs.record(key, result, blobs, [place("PACS@127.0.0.1:1")], START + timedelta(seconds=at_s))
    return result


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 2])))
def test_any_order_of_arrival_gives_one_job_with_everything(
    ledger: FilledLedger, order: tuple[int, ...]
) -> None:
    arrivals = [
        [ct_slice(1), ct_slice(2)],
        [mark_object(1, [ct_uid(1), ct_uid(2)])],
        [mark_object(2, [ct_uid(2)])],
    ]
    for at_s, index in enumerate(order):
        ledger.receive(at_s * 0.5, *arrivals[index])
        assert ledger.plan(at_s * 0.5) == ()
    (key,) = ledger.plan(2.5)
    assert ledger.uids_of(key) == {ct_uid(1), ct_uid(2), f"{ROOT}.7.1", f"{ROOT}.7.2"}
    assert ledger.plan(200) == ()


def test_a_job_waits_for_the_images_its_mark_refers_to(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1), ct_uid(2)]))
    assert ledger.plan(50) == ()
    ledger.receive(60, ct_slice(2))
    assert ledger.plan(60.5) == ()
    assert len(ledger.plan(61)) == 1


def test_a_job_waits_until_the_series_is_quiet(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    ledger.receive(0.8, ct_slice(2))
    assert ledger.plan(1.5) == ()
    (key,) = ledger.plan(1.8)
    assert ct_uid(2) in ledger.uids_of(key)


def test_after_waiting_in_vain_the_job_goes_on_and_late_images_give_another(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1), ct_uid(2)]))
    (first,) = ledger.plan(100)
    assert ledger.uids_of(first) == {ct_uid(1), f"{ROOT}.7.1"}
    finish(ledger, first)
    assert ledger.plan(200) == ()
    ledger.receive(300, ct_slice(2))
    (second,) = ledger.plan(301)
    assert second != first
    assert ledger.uids_of(second) == {ct_uid(1), ct_uid(2), f"{ROOT}.7.1"}


def test_a_mark_whose_ct_never_comes_becomes_a_job_without_images(ledger: FilledLedger) -> None:
    ledger.receive(0, mark_object(1, [ct_uid(1)]))
    assert ledger.plan(99) == ()
    (key,) = ledger.plan(100)
    assert ledger.uids_of(key) == {f"{ROOT}.7.1"}


def test_a_new_mark_on_the_same_series_gives_a_new_job_that_names_the_earlier_report(
    ledger: FilledLedger,
) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    (first,) = ledger.plan(1)
    ledger.receive(2, mark_object(2, [ct_uid(1)]))
    assert ledger.plan(3) == (), "the first job of the series is not measured yet"
    made = finish(ledger, first).reports[0].objects[0].sop_instance_uid
    (second,) = ledger.plan(3)
    request = ledger.jobs.request(second)
    assert ledger.uids_of(second) == {ct_uid(1), f"{ROOT}.7.1", f"{ROOT}.7.2"}
    assert [one.sop_instance_uid for one in request.revisions[SERIES].predecessors.values()] == [made]
    assert request.accepted_at == START + timedelta(seconds=2)


def test_the_same_mark_sent_again_gives_nothing_new(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    (key,) = ledger.plan(1)
    finish(ledger, key)
    ledger.receive(10, ct_slice(1), mark_object(1, [ct_uid(1)]), calling_ae="OTHER")
    assert ledger.plan(20) == ()


def test_a_mark_on_two_series_binds_them_into_one_job(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), ct_slice(1, series=OTHER_SERIES))
    ledger.receive(0, mark_object(1, [ct_uid(1)]), mark_object(2, [ct_uid(1, OTHER_SERIES)]))
    assert len(ledger.plan(1)) == 2
    ledger.receive(2, mark_object(3, [ct_uid(1), ct_uid(1, OTHER_SERIES)]))
    for key, _ in ledger.jobs.ready():
        finish(ledger, key)
    (key,) = ledger.plan(4)
    assert len(ledger.uids_of(key)) == 5


def test_two_workers_never_have_two_jobs_of_one_series_under_way(ledger: FilledLedger) -> None:
    class Overtaken(PlanTable):
        """Between this worker's look and its deed, another one plans more."""

        def last_received(self, series: Sequence[str]) -> datetime | None:
            before = super().last_received(series)
            ledger.receive(1, mark_object(2, [ct_uid(1)]))
            assert len(ledger.plan(4)) == 1
            return before

    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    assert plan(Overtaken(ledger.engine), ledger.settings, START + timedelta(seconds=2)).keys == ()
    ((key, _run),) = ledger.jobs.ready()
    assert {f"{ROOT}.7.1", f"{ROOT}.7.2"} < ledger.uids_of(key)


def test_two_series_give_two_jobs(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), ct_slice(1, series=OTHER_SERIES))
    ledger.receive(0, mark_object(1, [ct_uid(1)]), mark_object(2, [ct_uid(1, OTHER_SERIES)]))
    keys = ledger.plan(1)
    assert sorted(len(ledger.uids_of(key)) for key in keys) == [2, 2]


def test_our_own_report_coming_back_is_no_mark(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    (key,) = ledger.plan(1)
    made = finish(ledger, key).reports[0].objects[0].sop_instance_uid
    ledger.receive(5, sr_object(made, references=[ct_uid(1)]))
    assert ledger.plan(300) == ()


def test_a_mark_without_image_references_takes_the_series_of_its_frame_of_reference(
    ledger: FilledLedger,
) -> None:
    other = ct_slice(1, series=OTHER_SERIES)
    other.FrameOfReferenceUID = f"{ROOT}.999"
    ledger.receive(0, ct_slice(1), other, mark_object(1, [], series=f"{ROOT}.404"))
    (key,) = ledger.plan(1)
    assert ledger.uids_of(key) == {ct_uid(1), f"{ROOT}.7.1"}


def test_a_mark_without_image_references_is_measured_when_its_ct_comes_late(ledger: FilledLedger) -> None:
    ledger.receive(0, mark_object(1, []))
    (empty,) = ledger.plan(100)
    assert ledger.uids_of(empty) == {f"{ROOT}.7.1"}
    ledger.receive(500, ct_slice(1, study=f"{ROOT}.999", series=OTHER_SERIES))
    assert ledger.plan(600) == ()
    ledger.receive(1000, ct_slice(1), ct_slice(2))
    assert ledger.plan(1000.5) == ()
    (late,) = ledger.plan(1002)
    assert ledger.uids_of(late) == {f"{ROOT}.7.1", ct_uid(1), ct_uid(2)}
    assert ledger.plan(1003) == ()


def test_a_newer_version_of_an_image_is_used(ledger: FilledLedger) -> None:
    changed = ct_slice(1)
    changed.KVP = 120
    ledger.receive(0, ct_slice(1), changed, mark_object(1, [ct_uid(1)]))
    (key,) = ledger.plan(1)
    ((image,),) = [one.instances for one in ledger.jobs.request(key).series]
    assert image.header.kvp_kv == 120


def test_a_clock_that_was_set_back_does_not_stop_the_work(ledger: FilledLedger) -> None:
    ledger.receive(3600, ct_slice(1), mark_object(1, [ct_uid(1)]))
    assert len(ledger.plan(5)) == 1


def test_a_failed_job_does_not_block_its_series(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    (key,) = ledger.plan(1)
    ledger.jobs.fail(key, Problem(code="job.bug", message="found a fault"), START)
    ledger.receive(2, mark_object(2, [ct_uid(1)]))
    assert len(ledger.plan(4)) == 1


def test_a_mark_of_an_ended_association_on_a_quiet_series_is_taken_up_sooner(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), released=True)
    ledger.receive(10, mark_object(1, [ct_uid(1)]), released=True)
    assert ledger.plan(10.2) == ()
    assert len(ledger.plan(10.3)) == 1


def test_a_study_of_one_ended_association_is_taken_up_sooner(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), ct_slice(2), mark_object(1, [ct_uid(1)]), released=True)
    assert len(ledger.plan(0.3)) == 1


def test_images_that_come_one_by_one_over_many_associations_are_waited_for(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]), released=True)
    ledger.receive(0.5, ct_slice(2), released=True)
    assert ledger.plan(1.0) == ()
    assert len(ledger.plan(1.5)) == 1


def test_an_open_association_is_waited_for(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), released=True)
    ledger.receive(10, mark_object(1, [ct_uid(1)]))
    assert ledger.plan(10.9) == ()
    assert len(ledger.plan(11)) == 1


def test_a_mark_whose_images_never_come_does_not_hold_up_the_others(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]), mark_object(2, [ct_uid(1), ct_uid(9)]))
    (first,) = ledger.plan(1)
    assert ledger.uids_of(first) == {ct_uid(1), f"{ROOT}.7.1"}
    finish(ledger, first)
    assert ledger.plan(99) == ()
    (second,) = ledger.plan(100)
    assert ledger.uids_of(second) == {ct_uid(1), f"{ROOT}.7.1", f"{ROOT}.7.2"}
    finish(ledger, second)
    assert ledger.plan(1000) == ()


def test_the_first_mark_begins_at_once_and_a_burst_of_others_together(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path, settings=JobSettings())
    ledger.receive(0, ct_slice(1), released=True)
    ledger.receive(10, mark_object(1, [ct_uid(1)]), released=True)
    (first,) = ledger.plan(10)
    finish(ledger, first)
    for number in range(2, 10):
        at_s = 10 + 0.1 * number
        ledger.receive(at_s, mark_object(number, [ct_uid(1)]), released=True)
        assert ledger.plan(at_s) == ()
        assert ledger.plan(at_s + 0.09) == ()
    assert ledger.plan(11.8) == ()
    (second,) = ledger.plan(11.9)
    assert len(ledger.uids_of(second)) == 10
    ledger.engine.dispose()


def test_two_new_marks_on_one_series_are_one_job_though_nothing_links_them_yet(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), ct_slice(1, series=OTHER_SERIES))
    ledger.receive(0, mark_object(1, [ct_uid(1)]), mark_object(2, [ct_uid(1), ct_uid(1, OTHER_SERIES)]))
    ledger.receive(0, mark_object(3, [ct_uid(1, OTHER_SERIES)]))
    (key,) = ledger.plan(2)
    assert len(ledger.uids_of(key)) == 5
