"""A mark object that was read before its job: the job takes what was read, once, and gets the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from osteoscribe.app.ahead import LARGEST, MOST_KEPT, open_object, read_ahead
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import InputError
from tests.fakes.dicom import EXPLICIT, ct_uid, mark_object
from tests.fakes.ledger import FilledLedger


class Reading:
    """A `ReadBytes` that counts."""

    def __init__(self, ledger: FilledLedger) -> None:
        self.ledger = ledger
        self.count = 0

    def __call__(self, blob: BlobRef, start: int, stop: int) -> bytes:
        self.count += 1
        return self.ledger.segments.read_bytes(blob, start, stop)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[FilledLedger]:
    made = FilledLedger(tmp_path)
    yield made
    made.engine.dispose()


def received(ledger: FilledLedger, number: int) -> BlobRef:
    ledger.receive(0, mark_object(number, [ct_uid(1)]))
    return ledger.plans.open_marks() and next(
        one.blob
        for key in ledger.plan(200)
        for one in ledger.jobs.request(key).instances
        if one.header.modality != "CT"
    )


def test_a_job_takes_what_was_read_ahead_and_only_one_job_does(ledger: FilledLedger) -> None:
    blob, reading = received(ledger, 1), Reading(ledger)
    read_ahead(blob, EXPLICIT, reading)
    assert reading.count == 1
    early = open_object(blob, EXPLICIT, reading)
    assert reading.count == 1
    late = open_object(blob, EXPLICIT, reading)
    assert reading.count == 2
    assert early.dataset == late.dataset


def test_bytes_of_another_store_or_syntax_are_read_anew(ledger: FilledLedger) -> None:
    blob, reading = received(ledger, 1), Reading(ledger)
    read_ahead(blob, EXPLICIT, reading)
    other = Reading(ledger)
    open_object(blob, EXPLICIT, other)
    assert other.count == 1
    open_object(blob, "1.2.840.10008.1.2", reading)
    assert reading.count == 2


def test_what_waits_for_its_job_is_bounded(ledger: FilledLedger) -> None:
    blobs = [received(ledger, number) for number in range(1, MOST_KEPT + 2)]
    reading = Reading(ledger)
    for blob in blobs:
        read_ahead(blob, EXPLICIT, reading)
    before = reading.count
    for blob in blobs:
        open_object(blob, EXPLICIT, reading)
    assert reading.count == before + 1
    read_ahead(BlobRef(segment="none", offset=0, length=LARGEST + 1), EXPLICIT, reading)
    assert reading.count == before + 1


def test_a_damaged_object_is_left_to_its_job(ledger: FilledLedger) -> None:
    blob = received(ledger, 1)
    half = BlobRef(segment=blob.segment, offset=blob.offset, length=blob.length // 2 + 1)
    reading = Reading(ledger)
    read_ahead(half, EXPLICIT, reading)
    with pytest.raises(InputError):
        open_object(half, EXPLICIT, reading)
    assert reading.count == 2
