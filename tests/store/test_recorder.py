"""Rows behind the answers: in batches, never lost, and the same bytes known at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import Dataset

from osteoscribe.app.intake import Incoming
from osteoscribe.app.ports import Envelope
from osteoscribe.errors import StoreError
from osteoscribe.store import recorder as recorder_module
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.recorder import Recorder
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.schema import INSTANCES, MARKS, SEGMENTS, open_database
from osteoscribe.store.segments import RECEIVED, SegmentStore, SegmentWriter
from tests.fakes.dicom import EXPLICIT, ct_slice, ct_uid, encode, mark_object


class Desk:
    """A ledger, a store and a recorder; associations are opened on it."""

    def __init__(
        self, folder: Path, on_recorded: Callable[[], None] = lambda: None, *, is_alone: bool = True
    ) -> None:
        self.engine = open_database(f"sqlite:///{folder / 'ledger.sqlite'}")
        self.table = InstanceTable(self.engine)
        self.segments = SegmentStore(folder / "segments")
        self.recorder = Recorder(self.table, on_recorded, is_alone=is_alone)

    def association(self) -> SegmentWriter:
        return self.segments.writer(RECEIVED, datetime.now(UTC))

    def take(self, segment: SegmentWriter, ds: Dataset) -> bool:
        """Whether the instance was new."""
        incoming = Incoming(segment.begin(), self.recorder)
        incoming.write([encode(ds)])
        envelope = Envelope(
            sop_class_uid=ds.SOPClassUID,
            sop_instance_uid=ds.SOPInstanceUID,
            transfer_syntax_uid=EXPLICIT,
            calling_ae="SENDER",
            received_at=datetime.now(UTC),
        )
        return incoming.finish(envelope).is_new

    def rows(self) -> list[str]:
        with self.engine.begin() as connection:
            return list(connection.execute(sa.select(INSTANCES.c.sop_instance_uid)).scalars())

    def wait_for(self, number: int) -> None:
        until = time.monotonic() + 60
        while len(self.rows()) < number and time.monotonic() < until:
            time.sleep(0.01)
        assert len(self.rows()) == number


def test_rows_come_by_themselves_again_and_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    segment = desk.association()
    for number in range(1, 6):
        assert desk.take(segment, ct_slice(number))
    desk.wait_for(5)
    assert desk.take(segment, ct_slice(6))
    desk.wait_for(6)


def test_a_mark_and_the_end_of_an_association_are_recorded_at_once_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "LONGEST_WAIT_S", 3600.0)
    told = threading.Event()
    desk = Desk(tmp_path, told.set)
    segment = desk.association()
    desk.take(segment, ct_slice(1))
    assert not told.wait(0.2)
    desk.take(segment, mark_object(1, [ct_uid(1)]))
    assert told.wait(60)
    with desk.engine.begin() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(MARKS)).scalar_one() == 1
    told.clear()
    desk.take(segment, ct_slice(2))
    desk.recorder.close_segment(segment.name)
    assert told.wait(60)
    with desk.engine.begin() as connection:
        assert connection.execute(sa.select(SEGMENTS.c.closed)).scalars().all() == [True]
    assert len(desk.rows()) == 3


def test_the_same_bytes_are_known_in_a_batch_on_another_association_and_after_a_restart(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    first, second = desk.association(), desk.association()
    assert desk.take(first, ct_slice(1))
    end = first.end
    assert not desk.take(first, ct_slice(1))
    assert not desk.take(second, ct_slice(1))
    assert (first.end, second.end) == (end, 0)
    changed = ct_slice(1)
    changed.KVP = 120
    assert desk.take(second, changed)
    desk.recorder.flush()
    assert desk.rows() == [ct_uid(1)] * 2
    again = Desk(tmp_path)
    assert not again.take(again.association(), ct_slice(1))
    assert not again.take(again.association(), changed)


def test_what_another_process_recorded_is_known_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Desk(tmp_path, is_alone=False), Desk(tmp_path, is_alone=False)
    ours, theirs = first.association(), second.association()
    assert first.take(ours, ct_slice(1))
    assert second.take(theirs, ct_slice(2))
    first.recorder.flush()
    second.recorder.flush()
    monkeypatch.setattr(recorder_module, "KNOWN_FOR_S", 0.0)
    assert not second.take(theirs, ct_slice(1))
    assert not first.take(ours, ct_slice(2))
    assert first.take(ours, ct_slice(3))
    first.recorder.flush()
    assert sorted(first.rows()) == sorted(ct_uid(number) for number in range(1, 4))


def test_what_was_not_recorded_before_a_crash_is_recorded_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "LONGEST_WAIT_S", 3600.0)
    desk = Desk(tmp_path)
    segment = desk.association()
    for number in range(1, 4):
        desk.take(segment, ct_slice(number))
    assert desk.rows() == []
    again = Desk(tmp_path)
    assert recover_instances(again.segments, again.table) == 3
    assert sorted(again.rows()) == sorted(ct_uid(number) for number in range(1, 4))
    assert not again.take(again.association(), ct_slice(2))


@pytest.mark.parametrize("error", [StoreError("store.locked", "locked"), ValueError("a bug")], ids=repr)
def test_a_ledger_that_does_not_answer_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(recorder_module, "RETRY_S", 0.05)
    desk = Desk(tmp_path)
    segment = desk.association()
    answers = [error] * 3
    add = desk.table.add

    def sometimes(*arguments: object, **named: object) -> None:
        if answers:
            raise answers.pop()
        add(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.table, "add", sometimes)
    assert desk.take(segment, ct_slice(1))
    assert desk.take(segment, ct_slice(2))
    desk.recorder.close_segment(segment.name)
    desk.wait_for(2)
    assert answers == []


def test_no_more_is_taken_where_too_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "LONGEST_WAIT_S", 3600.0)
    monkeypatch.setattr(recorder_module, "MOST_WAITING", 2)
    desk = Desk(tmp_path)
    segment = desk.association()
    for number in range(1, 4):
        assert desk.take(segment, ct_slice(number))
    end = segment.end
    with pytest.raises(StoreError, match=r"store.locked"):
        desk.take(segment, ct_slice(4))
    assert segment.end == end
    desk.recorder.flush()
    assert desk.take(segment, ct_slice(4))


def test_a_torn_record_never_looks_whole(tmp_path: Path) -> None:
    """Everything is written but the header: a crash before the sync."""
    desk = Desk(tmp_path)
    segment = desk.association()
    desk.take(segment, ct_slice(1))
    record = segment.begin()
    record.write([encode(ct_slice(2))])
    assert len(list(desk.segments.scan(segment.name))) == 1
    assert bytes(record.content()) == encode(ct_slice(2))
    record.abandon()
    assert desk.take(segment, ct_slice(3))
    assert [one.envelope.sop_instance_uid for one in desk.segments.scan(segment.name)] == [
        ct_uid(1),
        ct_uid(3),
    ]
