"""Segments: what is appended comes back, and a torn tail does no harm."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.app.ports import Envelope
from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import StoreError
from osteoscribe.store.blocks import BLOCK, MOST_PIECES, WRITTEN_OUT_AT_ONCE, BlockFile
from osteoscribe.store.records import HEADER_LENGTH, pack_header
from osteoscribe.store.segments import RECEIVED, SegmentStore, new_name

AT = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)


def envelope(number: int) -> Envelope:
    return Envelope(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=f"1.2.3.{number}",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        calling_ae="SENDER",
        received_at=AT,
    )


def fill(store: SegmentStore, payloads: list[bytes]) -> list[BlobRef]:
    writer = store.writer(RECEIVED, AT)
    blobs = [writer.append([one[:3], one[3:]], envelope(number)) for number, one in enumerate(payloads)]
    writer.close()
    return blobs


@given(payloads=st.lists(st.binary(max_size=2000), min_size=1, max_size=5), cut=st.integers(0, 1000))
def test_whole_records_survive_any_torn_tail(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], cut: int
) -> None:
    store = SegmentStore(tmp_path_factory.mktemp("segments"))
    blobs = fill(store, payloads)
    name = blobs[0].segment
    length = max(store.lengths(RECEIVED)[name] - cut, 0)
    os.truncate(store.folder / name, length)
    whole = [blob for blob in blobs if blob.offset + blob.length <= length]
    records = list(store.scan(name))
    assert [record.blob for record in records] == whole
    assert [record.envelope for record in records] == [envelope(number) for number in range(len(whole))]
    for blob, payload in zip(whole, payloads, strict=False):
        assert store.read_bytes(blob, 0, blob.length) == payload


ONE_BLOCK = BLOCK - HEADER_LENGTH
LENGTHS = [0, 1, ONE_BLOCK - 1, ONE_BLOCK, ONE_BLOCK + 1, 300_000, 2 * WRITTEN_OUT_AT_ONCE + 1]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("let_go_every", [0, 1, 3])
def test_data_sets_of_any_length_come_back(tmp_path: Path, length: int, let_go_every: int) -> None:
    """Also where memory that was let go of is overwritten: written in one go, or in several."""
    random = Random(length)
    payloads = [random.randbytes(length), b"after it", random.randbytes(BLOCK)]
    store = SegmentStore(tmp_path)
    writer = store.writer(RECEIVED, AT)
    blobs = []
    for number, payload in enumerate(payloads):
        record = writer.begin()
        memory = bytearray(payload)
        views = [memoryview(memory)[start : start + 65_521] for start in range(0, len(memory), 65_521)]
        for count, view in enumerate(views, start=1):
            record.write([view[:100], view[100:]])
            if let_go_every and count % let_go_every == 0:
                record.let_go()
                memory[: count * 65_521] = bytes(len(memory[: count * 65_521]))
        blobs.append(record.commit(envelope(number)))
    writer.close()
    assert [store.read_bytes(blob, 0, blob.length) for blob in blobs] == payloads
    assert [record.blob for record in store.scan(blobs[0].segment)] == blobs
    assert [record.digest for record in store.scan(blobs[0].segment)] == [
        new_digest(one).hexdigest() for one in payloads
    ]


def test_a_data_set_in_tiny_pieces_comes_back(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    content = Random(1).randbytes(3 * MOST_PIECES + 7)
    writer = store.writer(RECEIVED, AT)
    record = writer.begin()
    for one in content[:MOST_PIECES]:
        record.write([bytes([one])])
    record.write([content[at : at + 1] for at in range(MOST_PIECES, len(content))])
    blob = record.commit(envelope(1))
    writer.close()
    assert store.read_bytes(blob, 0, len(content)) == content
    assert [one.blob for one in store.scan(writer.name)] == [blob]


def test_a_write_that_takes_less_than_it_was_given_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux may where the disk is nearly full, or a signal comes."""
    whole = os.pwritev

    def some(descriptor: int, pieces: list[bytes], offset: int) -> int:
        joined = b"".join(pieces)
        return whole(descriptor, [joined[: len(joined) // 3 + 1]], offset)

    monkeypatch.setattr(os, "pwritev", some)
    store = SegmentStore(tmp_path)
    payloads = [Random(1).randbytes(70_000), b"", b"last"]
    blobs = fill(store, payloads)
    assert [store.read_bytes(blob, 0, blob.length) for blob in blobs] == payloads
    assert [one.blob for one in store.scan(blobs[0].segment)] == blobs


def test_what_was_written_of_a_large_data_set_can_be_read_and_taken_back(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    writer = store.writer(RECEIVED, AT)
    kept = writer.append([b"kept"], envelope(1))
    record = writer.begin()
    content = Random(1).randbytes((2 << 20) + 77)
    for number, start in enumerate(range(0, len(content), 100_000)):
        record.write([content[start : start + 100_000]])
        if number % 10 == 9:
            record.let_go()
        if number == 14:
            assert bytes(record.content()) == content[: record.length]
    assert bytes(record.content()) == content
    assert record.digest() == new_digest(content).digest()
    record.abandon()
    other = writer.append([b"other"], envelope(2))
    writer.close()
    assert [one.blob for one in store.scan(writer.name)] == [kept, other]
    assert store.lengths(RECEIVED)[writer.name] == 2 * BLOCK


def test_a_fault_of_the_disk_while_more_comes_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux states it to one sync only."""
    store = SegmentStore(tmp_path)
    writer = store.writer(RECEIVED, AT)
    kept = writer.append([b"kept"], envelope(1))
    synced = os.fdatasync
    faults = [OSError(errno.EIO, "fault")]

    def fdatasync(descriptor: int) -> None:
        if faults:
            raise faults.pop()
        synced(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    record = writer.begin()
    record.write([bytes(WRITTEN_OUT_AT_ONCE)])
    record.let_go()
    record.write([b"more"])
    with pytest.raises(StoreError, match=r"store\.write-failed|found no way to write"):
        record.commit(envelope(2))
    assert not faults
    other = writer.append([b"other"], envelope(3))
    writer.close()
    assert [one.blob for one in store.scan(writer.name)] == [kept, other]


def test_records_without_room_between_them_are_read(tmp_path: Path) -> None:
    """As nodes wrote them before records began at blocks."""
    name = new_name(RECEIVED, AT, "")
    payloads = [b"a" * 50, b"b" * 5000, b"c"]
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(
        b"".join(
            pack_header(envelope(number), len(one), new_digest(one).digest()) + one
            for number, one in enumerate(payloads)
        )
    )
    store = SegmentStore(tmp_path)
    records = list(store.scan(name))
    assert [store.read_bytes(one.blob, 0, one.blob.length) for one in records] == payloads
    assert list(store.scan(name, records[0].end)) == records[1:]


def test_a_segment_that_was_made_ahead_is_the_next_one(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    store.prepare(AT)
    store.prepare(AT)
    (ahead,) = store.lengths(RECEIVED)
    (blob,) = fill(store, [b"first"])
    assert blob.segment == ahead
    assert store.read_bytes(blob, 0, 5) == b"first"
    (other,) = fill(store, [b"other"])
    assert other.segment != ahead
    assert len(store.lengths(RECEIVED)) == 2


@pytest.mark.parametrize("later_s", [-1, 601])
def test_a_segment_that_was_made_too_long_ago_is_removed(tmp_path: Path, later_s: int) -> None:
    """Or at a time that has not come, for the clock was set back."""
    store = SegmentStore(tmp_path)
    store.prepare(AT)
    (ahead,) = store.lengths(RECEIVED)
    writer = store.writer(RECEIVED, AT + timedelta(seconds=later_s))
    writer.append([b"x"], envelope(1))
    assert list(store.lengths(RECEIVED)) == [writer.name]
    assert writer.name != ahead


def test_names_are_in_the_order_in_which_they_were_given_out(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    first = store.writer(RECEIVED, AT)
    store.prepare(AT - timedelta(seconds=1))
    assert store.writer(RECEIVED, AT + timedelta(seconds=1)).name > first.name
    assert not store.lengths(RECEIVED)


def test_nothing_is_left_of_a_segment_that_was_made_ahead_and_not_used(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    store.prepare(AT)
    store.close()
    assert not store.lengths(RECEIVED)
    store.prepare(AT)
    writer = store.writer(RECEIVED, AT)
    record = writer.begin()
    record.write([b"refused"])
    record.abandon()
    writer.close()
    assert not store.lengths(RECEIVED)


def test_part_of_a_blob_is_read(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    (_, blob) = fill(store, [b"first", b"0123456789"])
    assert store.read_bytes(blob, 3, 6) == b"345"
    assert store.read_bytes(blob, 8, 99) == b"89"


def test_a_flipped_bit_ends_the_scan(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path)
    first, second = fill(store, [b"a" * 50, b"b" * 50])
    path = tmp_path / first.segment
    content = bytearray(path.read_bytes())
    content[second.offset] ^= 1
    path.write_bytes(content)
    assert [record.blob for record in store.scan(first.segment)] == [first]


@pytest.mark.parametrize("name", ["../../etc/passwd", "received/20261122/../x.seg", "/etc/passwd"])
def test_a_name_that_is_not_ours_is_never_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match=r"store.unreadable"):
        SegmentStore(tmp_path).read_bytes(BlobRef(segment=name, offset=0, length=1), 0, 1)


def test_a_full_disk_is_a_store_error_and_leaves_no_torn_record(tmp_path: Path) -> None:
    # /dev/full answers every write with "no space left".
    store = SegmentStore(Path("/dev"))
    writer = store.writer(RECEIVED, AT)
    file = BlockFile(tmp_path / "x.seg")
    os.dup2(os.open("/dev/full", os.O_WRONLY), file._descriptor)
    writer._file = file
    with pytest.raises(StoreError, match=r"store.disk-full") as caught:
        writer.append([b"data"], envelope(1))
    assert caught.value.dimse_status == 0xA700
    writer.close()
