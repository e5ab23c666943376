"""What is old goes, and nothing that is still needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from osteoscribe.app.ports import JobRequest
from osteoscribe.app.settings import StoreSettings
from osteoscribe.app.work import measure
from osteoscribe.errors import StoreError
from osteoscribe.readers.headers import read_header
from osteoscribe.store.folder import open_folder
from osteoscribe.store.metrics import metrics_text
from osteoscribe.store.operations import REMOVED, JobActions
from osteoscribe.store.recorder import Recorder
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.retention import WRITTEN_FOR, Retention
from osteoscribe.store.segments import MADE, RECEIVED
from osteoscribe.store.status import StatusView
from tests.fakes.dicom import EXPLICIT, ct_slice, ct_uid, encode, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place

ARCHIVE = "PACS@127.0.0.1:104"
LATER = START + timedelta(days=31)
DAYS_30 = timedelta(days=30)


class Bench:
    """A ledger whose segments are removed."""

    def __init__(self, folder: Path, url: str) -> None:
        self.ledger = FilledLedger(folder, url)

    def receive(self, *datasets: Dataset, at_s: float = 0) -> None:
        self.ledger.receive(at_s, *datasets, released=True)

    def measured(self) -> str:
        """Plan and measure what was received; the key of the job."""
        (key,) = self.ledger.plan(200)
        segment = self.ledger.segments.writer(MADE, START)
        measure(
            key,
            ledger=self.ledger.jobs,
            pipeline=one_report,
            segment=segment,
            destinations_for=lambda _calling: [place(ARCHIVE)],
            now=lambda: START + timedelta(seconds=201),
        )
        segment.close()
        return key

    def delivered(self, key: str, state: str = "stored") -> None:
        delivery = self.ledger.jobs.delivery(key, ARCHIVE)
        self.ledger.jobs.update_delivery(replace(delivery, state=state), START)

    def run(self, now: datetime = LATER, **limits: object) -> int:
        keep = limits or {"keep": DAYS_30}
        return Retention(self.ledger.engine, self.ledger.segments, **keep).run(now)  # type: ignore[arg-type]

    @property
    def counts(self) -> dict[str, object]:
        return StatusView(self.ledger.engine).counts()

    @property
    def segments(self) -> int:
        return sum(len(self.ledger.segments.lengths(kind)) for kind in (RECEIVED, MADE))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.peer])])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    url = request.getfixturevalue("new_postgresql")() if request.param == "postgresql" else ""
    made = Bench(tmp_path, url)
    yield made
    made.ledger.engine.dispose()


def test_images_without_a_mark_go_after_their_time(bench: Bench) -> None:
    bench.receive(ct_slice(1), ct_slice(2))
    assert bench.run(START + timedelta(days=29)) == 0
    assert bench.run() == 1
    assert (bench.segments, bench.counts["instances"]) == (0, 0)
    assert bench.counts["removed"]["images"] == 2  # type: ignore[index]
    assert bench.run() == 0


def test_a_segment_of_reports_is_as_young_as_the_last_that_a_worker_may_have_added(bench: Bench) -> None:
    bench.receive(ct_slice(1), mark_object(1, [ct_uid(1)]))
    bench.delivered(bench.measured())
    bench.run(START + DAYS_30 + WRITTEN_FOR)
    assert len(bench.ledger.segments.lengths(MADE)) == 1
    bench.run(START + DAYS_30 + WRITTEN_FOR + timedelta(seconds=1))
    assert not bench.ledger.segments.lengths(MADE)


def test_nothing_goes_where_nobody_asked_for_it(bench: Bench) -> None:
    bench.receive(ct_slice(1))
    assert Retention(bench.ledger.engine, bench.ledger.segments).run(LATER) == 0
    assert bench.segments == 1


def test_what_is_delivered_goes_and_its_findings_stay(bench: Bench) -> None:
    bench.receive(ct_slice(1), mark_object(1, [ct_uid(1)]))
    bench.delivered(bench.measured())
    before = bench.counts
    assert bench.run() == 2
    assert bench.segments == 0
    after = bench.counts
    assert [after[name] for name in ("findings", "reports", "jobs", "marks")] == [
        before[name] for name in ("findings", "reports", "jobs", "marks")
    ]
    assert after["removed"]["reports"] == 1  # type: ignore[index]


@pytest.mark.parametrize("state", ["queued", "waiting", "parked"])
def test_what_is_not_delivered_stays(bench: Bench, state: str) -> None:
    bench.receive(ct_slice(1), mark_object(1, [ct_uid(1)]))
    bench.delivered(bench.measured(), state)
    assert bench.run() == 0
    assert bench.run(keep_below_bytes=1) == 0
    assert bench.segments == 2


def test_what_is_not_measured_stays_with_its_whole_study(bench: Bench) -> None:
    bench.receive(ct_slice(1))
    bench.receive(mark_object(1, [ct_uid(1)]))
    assert bench.run() == 0, "the mark is open"
    assert len(bench.ledger.plan(200)) == 1
    assert bench.run() == 0, "the job is ready"
    assert bench.segments == 2


def test_an_open_association_is_not_touched(bench: Bench) -> None:
    bench.ledger.receive(0, ct_slice(1))
    assert bench.run() == 0
    assert bench.segments == 1


def test_for_want_of_space_the_oldest_go_first_and_only_until_there_is_room(bench: Bench) -> None:
    sizes = []
    for number in range(4):
        bench.receive(ct_slice(number), at_s=number)
        segments = bench.ledger.segments
        sizes.append(max(one.end for name in segments.lengths(RECEIVED) for one in segments.scan(name)))
    oldest = next(iter(bench.ledger.segments.lengths(RECEIVED)))
    assert bench.run(START + timedelta(minutes=59), keep_below_bytes=1) == 0, "too young"
    assert bench.run(START + timedelta(hours=2), keep_below_bytes=4 * sizes[0] - 1) == 1
    assert oldest not in bench.ledger.segments.lengths(RECEIVED)
    assert bench.segments == 3


def test_a_crash_between_ledger_and_place_is_made_good(bench: Bench) -> None:
    bench.receive(ct_slice(1))
    broken = bench.ledger.segments

    class Broken:
        """A place that cannot remove just now."""

        lengths, scan, read_bytes, writer = broken.lengths, broken.scan, broken.read_bytes, broken.writer

        def remove(self, name: str) -> None:
            raise StoreError("store.write-failed", "found no way to remove")

    with pytest.raises(StoreError):
        Retention(bench.ledger.engine, Broken(), keep=DAYS_30).run(LATER)
    assert recover_instances(broken, bench.ledger.instances) == 0, "it does not come back"
    assert bench.segments == 1
    bench.run()
    assert bench.segments == 0


def test_the_same_images_again_are_stored_again_although_the_listener_remembers_them(bench: Bench) -> None:
    recorder = Recorder(bench.ledger.instances)
    bench.receive(ct_slice(1))
    (record,) = (
        one for name in bench.ledger.segments.lengths(RECEIVED) for one in bench.ledger.segments.scan(name)
    )
    bench.receive(ct_slice(2))
    header = read_header(encode(ct_slice(1)), transfer_syntax_uid=EXPLICIT)
    assert recorder.has_instance(header, record.digest)
    bench.run()
    assert not recorder.has_instance(header, record.digest)
    bench.receive(ct_slice(1))
    assert bench.counts["instances"] == 1


def test_a_mark_on_removed_images_is_told_so(bench: Bench) -> None:
    bench.receive(ct_slice(1))
    bench.run()
    bench.receive(mark_object(1, [ct_uid(1)]))
    (key,) = bench.ledger.plan(200)
    removed_at = bench.ledger.jobs.request(key).ct_removed_at
    assert removed_at is not None
    assert removed_at.date() == LATER.date()


def test_a_new_mark_on_images_that_came_again_names_the_removed_one(bench: Bench) -> None:
    bench.receive(ct_slice(1), mark_object(1, [ct_uid(1)]))
    bench.delivered(bench.measured())
    bench.run()
    bench.receive(ct_slice(1), mark_object(2, [ct_uid(1)]))
    (key,) = bench.ledger.plan(200)
    request: JobRequest = bench.ledger.jobs.request(key)
    first = mark_object(1, [ct_uid(1)])
    assert request.removed_marks == {ct_slice(1).SeriesInstanceUID: (first.SOPInstanceUID,)}
    assert len(request.instances) == len(request.series) == len(request.series[0].instances) == 1
    assert next(iter(request.revisions.values())).number == 2, "the earlier report is still known"


def test_the_same_mark_and_images_again_are_the_same_job(bench: Bench) -> None:
    study = ct_slice(1), mark_object(1, [ct_uid(1)])
    bench.receive(*study)
    bench.delivered(bench.measured())
    bench.run()
    bench.receive(*study)
    assert bench.counts["instances"] == 2
    assert bench.ledger.plan(200) == (), "its report was sent"
    assert bench.counts["marks_by_state"] == {"planned": 1}


@pytest.mark.parametrize("action", ["resend", "retry"])
def test_a_removed_report_is_not_sent_again_and_it_says_why(bench: Bench, action: str) -> None:
    bench.receive(ct_slice(1), mark_object(1, [ct_uid(1)]))
    key = bench.measured()
    bench.delivered(key)
    bench.run()
    actions = JobActions(bench.ledger.engine, lambda _calling: [place(ARCHIVE)])
    assert getattr(actions, action)(key, LATER) == REMOVED
    assert bench.ledger.jobs.state(key) == "done"


def test_metrics_count_what_was_removed(bench: Bench, tmp_path: Path) -> None:
    bench.receive(ct_slice(1), ct_slice(2))
    bench.run()
    text = metrics_text(bench.ledger.engine, open_folder(StoreSettings(folder=tmp_path)))
    assert 'osteoscribe_removed{kind="images"} 2' in text
