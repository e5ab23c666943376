"""A mark object that was read before its job: the job takes what was read, once, and gets the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from osteoscribe.app.ahead import LARGEST, MOST_KEPT, open_object, read_ahead
from osteoscribe.app.ports import WrittenMark
from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import StoredInstance
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


def received(ledger: FilledLedger, number: int) -> StoredInstance:
    ledger.receive(0, mark_object(number, [ct_uid(1)]))
    return ledger.plans.open_marks() and next(
        one for key in ledger.plan(200) for one in ledger.jobs.request(key).instances
    )


def written(one: StoredInstance) -> WrittenMark:
    return WrittenMark(blob=one.blob, digest=one.digest, transfer_syntax_uid=EXPLICIT)


def test_a_job_takes_what_was_read_ahead_and_only_one_job_does(ledger: FilledLedger) -> None:
    one, reading = received(ledger, 1), Reading(ledger)
    read_ahead(written(one), reading)
    assert reading.count == 1
    early = open_object(one, reading)
    assert reading.count == 1
    late = open_object(one, reading)
    assert reading.count == 2
    assert early.dataset == late.dataset


def test_the_same_bytes_in_another_syntax_are_read_anew(ledger: FilledLedger) -> None:
    one, reading = received(ledger, 20), Reading(ledger)
    read_ahead(written(one), reading)
    other = dataclasses.replace(one.header, transfer_syntax_uid="1.2.840.10008.1.2")
    open_object(dataclasses.replace(one, header=other), reading)
    assert reading.count == 2


def test_of_bytes_that_others_took_the_place_of_nothing_is_kept(ledger: FilledLedger) -> None:
    one, reading = received(ledger, 21), Reading(ledger)
    given_up = dataclasses.replace(written(one), digest=new_digest(b"other bytes").hexdigest())
    read_ahead(given_up, reading)
    open_object(one, reading)
    open_object(dataclasses.replace(one, digest=given_up.digest), reading)
    assert reading.count == 3


def test_what_waits_for_its_job_is_bounded(ledger: FilledLedger) -> None:
    marks = [received(ledger, number) for number in range(1, MOST_KEPT + 2)]
    reading = Reading(ledger)
    for one in marks:
        read_ahead(written(one), reading)
    before = reading.count
    for one in marks:
        open_object(one, reading)
    assert reading.count == before + 1
    large = BlobRef(segment="none", offset=0, length=LARGEST + 1)
    read_ahead(dataclasses.replace(written(marks[0]), blob=large), reading)
    assert reading.count == before + 1


def test_a_damaged_object_is_left_to_its_job(ledger: FilledLedger) -> None:
    one = received(ledger, 1)
    half = dataclasses.replace(one.blob, length=one.blob.length // 2 + 1)
    reading = Reading(ledger)
    digest = new_digest(reading(half, 0, half.length)).hexdigest()
    damaged = dataclasses.replace(one, blob=half, digest=digest)
    read_ahead(written(damaged), reading)
    with pytest.raises(InputError):
        open_object(damaged, reading)
    assert reading.count == 3
