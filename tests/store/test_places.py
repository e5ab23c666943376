"""A folder and an object store keep the same promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from osteoscribe.app import intake
from osteoscribe.app.intake import Incoming
from osteoscribe.app.ports import Envelope, WrittenMark
from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import StoreError
from osteoscribe.store.blocks import BLOCK
from osteoscribe.store.export import export_files
from osteoscribe.store.objects import ObjectStore
from osteoscribe.store.places import Segments
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.segments import MADE, RECEIVED, SegmentStore
from osteoscribe.store.status import StatusView
from tests.fakes.dicom import EXPLICIT, ct_slice, ct_uid, encode, mark_object
from tests.fakes.ledger import START, FilledLedger
from tests.objects import S3Server, running_s3

NewPlace = Callable[[str], Segments]
"""Opens the same place again, for a node of that name."""


@pytest.fixture(params=["folder", pytest.param("objects", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> NewPlace:
    if request.param == "folder":
        return lambda node: SegmentStore(tmp_path / "segments", node)
    server: S3Server = request.getfixturevalue("s3")
    url = server.new_bucket()
    return lambda node: ObjectStore(url, endpoint_url=server.endpoint_url, spool=tmp_path, node=node)


def envelope(number: int) -> Envelope:
    return Envelope(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=f"1.2.3.{number}",
        transfer_syntax_uid=EXPLICIT,
        calling_ae="SENDER",
        received_at=START,
    )


def envelope_of(ds: Dataset) -> Envelope:
    return Envelope(
        sop_class_uid=ds.SOPClassUID,
        sop_instance_uid=ds.SOPInstanceUID,
        transfer_syntax_uid=EXPLICIT,
        calling_ae="SENDER",
        received_at=START,
    )


def fill(store: Segments, payloads: list[bytes], kind: str = RECEIVED) -> list[BlobRef]:
    writer = store.writer(kind, START)
    blobs = [writer.append([one[:3], one[3:]], envelope(number)) for number, one in enumerate(payloads)]
    writer.close()
    return blobs


PAYLOADS = [b"first", b"", b"0123456789" * 10_000]


def test_what_one_process_stores_another_reads(place: NewPlace) -> None:
    blobs = fill(place("a"), PAYLOADS)
    store = place("b")
    (name,) = {blob.segment for blob in blobs}
    records = list(store.scan(name))
    assert [record.blob for record in records] == blobs
    assert [record.envelope for record in records] == [envelope(number) for number in range(3)]
    assert [store.read_bytes(blob, 0, blob.length) for blob in blobs] == PAYLOADS
    assert [record.blob for record in store.scan(name, blobs[0].offset + blobs[0].length)] == blobs[1:]


def test_a_part_of_a_data_set_is_read(place: NewPlace) -> None:
    store = place("")
    blob = fill(store, PAYLOADS)[2]
    assert store.read_bytes(blob, 3, 6) == b"345"
    assert store.read_bytes(blob, 99_998, 200_000) == b"89"
    assert store.read_bytes(blob, 7, 7) == b""


def test_segments_are_listed_with_their_lengths_by_kind_and_day(place: NewPlace) -> None:
    store = place("a")
    received, made = fill(store, PAYLOADS), fill(store, PAYLOADS[:1], MADE)
    for kind, blobs in ((RECEIVED, received), (MADE, made)):
        ((name, length),) = store.lengths(kind).items()
        assert name == blobs[0].segment
        assert 0 <= length - blobs[-1].offset - blobs[-1].length < BLOCK
    day = START.strftime("%Y%m%d")
    assert store.lengths(RECEIVED, day) == store.lengths(RECEIVED)
    assert store.lengths(RECEIVED, (START + timedelta(days=1)).strftime("%Y%m%d")) == {}


def test_of_an_abandoned_data_set_nothing_is_seen(place: NewPlace) -> None:
    store = place("a")
    writer = store.writer(RECEIVED, START)
    for given_up in (True, False):
        record = writer.begin()
        record.write([b"abc", b"def"])
        assert bytes(record.content()) == b"abcdef"
        assert record.length == 6
        if given_up:
            record.abandon()
            assert [list(store.scan(name)) for name in store.lengths(RECEIVED)] in ([], [[]])
        else:
            blob = record.commit(envelope(1))
    writer.close()
    assert [one.blob for one in store.scan(writer.name)] == [blob]


def test_an_unfinished_data_set_is_not_seen_by_others(place: NewPlace) -> None:
    writer = place("a").writer(RECEIVED, START)
    record = writer.begin()
    record.write([b"x" * 100_000])
    other = place("b")
    assert [list(other.scan(name)) for name in other.lengths(RECEIVED)] in ([], [[]])
    record.abandon()
    writer.close()


def test_what_others_may_read_already_is_no_record_yet(place: NewPlace) -> None:
    store = place("a")
    writer = store.writer(RECEIVED, START)
    first = writer.append([b"x" * 5000], envelope(1))
    record = writer.begin()
    record.write([b"x" * 5000])
    where = record.readable()
    assert where is None or place("b").read_bytes(where, 0, 5000) == b"x" * 5000
    assert [one.blob for one in place("b").scan(first.segment)] == [first]
    record.abandon()
    assert [one.blob for one in place("b").scan(first.segment)] == [first]
    writer.close()


@pytest.mark.parametrize("told_when_safe", [0, 1 << 20])
def test_a_mark_object_is_told_of_once_when_it_can_be_read(
    place: NewPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told_when_safe: int
) -> None:
    monkeypatch.setattr(intake, "TOLD_WHEN_SAFE", told_when_safe)
    ledger, told = FilledLedger(tmp_path), list[WrittenMark]()
    writer = place("a").writer(RECEIVED, START)
    mark = mark_object(1, [ct_uid(1)])
    for ds in (ct_slice(1), mark):
        incoming = Incoming(writer.begin(), ledger.instances, on_mark=told.append)
        incoming.write([encode(ds)])
        incoming.finish(envelope_of(ds))
    (one,) = told
    assert place("b").read_bytes(one.blob, 0, one.blob.length) == encode(mark)
    assert one.digest == new_digest(encode(mark)).hexdigest()
    assert one.transfer_syntax_uid == EXPLICIT
    writer.close()
    ledger.engine.dispose()


def test_a_removed_segment_is_gone_and_may_be_removed_again(place: NewPlace) -> None:
    store = place("a")
    kept, gone = fill(store, PAYLOADS), fill(store, PAYLOADS)
    for _ in range(2):
        store.remove(gone[0].segment)
    assert list(store.lengths(RECEIVED)) == [kept[0].segment]
    with pytest.raises(StoreError, match=r"store\.unreadable"):
        store.read_bytes(gone[0], 0, 1)


@pytest.mark.parametrize("name", ["../../etc/passwd", "received/20261122/../x.seg", "/etc/passwd"])
def test_a_name_that_is_not_ours_is_never_opened(place: NewPlace, name: str) -> None:
    with pytest.raises(StoreError, match=r"store.unreadable"):
        place("").read_bytes(BlobRef(segment=name, offset=0, length=1), 0, 1)
    with pytest.raises(StoreError, match=r"store.unreadable"):
        place("").remove(name)


def test_a_lost_ledger_is_rebuilt_from_the_place_alone(place: NewPlace, tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    before, after = FilledLedger(tmp_path / "before"), FilledLedger(tmp_path / "after")
    writer = place("a").writer(RECEIVED, START)
    for ds in (ct_slice(1), ct_slice(2), mark_object(1, [ct_uid(1)])):
        incoming = Incoming(writer.begin(), before.instances)
        incoming.write([encode(ds)])
        incoming.finish(envelope_of(ds))
    writer.close()
    assert recover_instances(place("b"), before.instances) == 0
    assert recover_instances(place("b"), after.instances) == 3
    assert StatusView(after.engine).counts() == StatusView(before.engine).counts()
    assert before.plan(100) == after.plan(100)
    assert len(list(export_files(place("b"), tmp_path / "out"))) == 3
    before.engine.dispose()
    after.engine.dispose()


@pytest.fixture
def own_s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.mark.slow
def test_an_object_store_that_is_gone_refuses_and_names_nobody(own_s3: S3Server, tmp_path: Path) -> None:
    url = own_s3.new_bucket()
    store = ObjectStore(url, endpoint_url=own_s3.endpoint_url, spool=tmp_path, node="a")
    writer = store.writer(RECEIVED, START)
    blob = writer.append([b"kept"], envelope(1))
    own_s3.end()
    with pytest.raises(StoreError, match=r"store\.write-failed") as refused:
        writer.append([b"SECRET^NAME"], envelope(2))
    assert refused.value.dimse_status == 0xA700
    assert "SECRET" not in str(refused.value)
    with pytest.raises(StoreError, match=r"store\.unreadable"):
        store.read_bytes(blob, 0, 1)
    assert list(tmp_path.iterdir()) == [], "nothing is left of what was refused"
