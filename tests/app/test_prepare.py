"""CT series that came are made ready for a mark, within a share of the time."""

from __future__ import annotations

from pathlib import Path

from osteoscribe.app.prepare import PAUSE, Preparation
from osteoscribe.app.shelf import parted
from osteoscribe.core.series import BlobRef
from tests.fakes.dicom import SERIES, ct_slice
from tests.fakes.ledger import FilledLedger


class Reading:
    """A `ReadBytes` that counts, and a clock that moves only while bytes are read."""

    def __init__(self, ledger: FilledLedger) -> None:
        self.ledger = ledger
        self.count = 0
        self.now = 0.0

    def __call__(self, blob: BlobRef, start: int, stop: int) -> bytes:
        self.count += 1
        self.now += 1.0
        return self.ledger.segments.read_bytes(blob, start, stop)

    def clock(self) -> float:
        return self.now


def test_the_next_job_on_a_series_that_came_finds_all_of_it_ready(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    reading = Reading(ledger)
    preparation = Preparation(ledger.jobs.series, reading, reading.clock)
    preparation.run()
    ledger.receive(0, *(ct_slice(n) for n in (3, 1, 2)))
    preparation.run()
    assert reading.count == 1
    images = ledger.jobs.series.images(SERIES, 1000)
    assert images is not None
    series, _ = parted(images)
    assert series is not None
    assert {"_usual_index", "evidence", "sop_instance_uids"} <= vars(series).keys()
    series.context(reading)
    assert reading.count == 1


def test_what_was_there_before_is_left_alone(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, ct_slice(1))
    reading = Reading(ledger)
    preparation = Preparation(ledger.jobs.series, reading, reading.clock)
    preparation.run()
    preparation.run()
    assert reading.count == 0


def test_preparing_takes_a_share_of_the_time_only(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    reading = Reading(ledger)
    preparation = Preparation(ledger.jobs.series, reading, reading.clock)
    preparation.run()
    for number in range(1, 4):
        ledger.receive(number, ct_slice(number))
        preparation.run()
    assert reading.count == 1, "each took a second"
    reading.now += PAUSE
    preparation.run()
    assert reading.count == 2


def test_a_series_without_geometry_is_nothing_to_stop_at(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    reading = Reading(ledger)
    preparation = Preparation(ledger.jobs.series, reading, reading.clock)
    preparation.run()
    bad = ct_slice(1, series=f"{SERIES}.1")
    del bad.ImagePositionPatient
    ledger.receive(0, ct_slice(1), bad)
    preparation.run()
    assert reading.count == 1
