"""C-STORE by hand: fragments of any size and order, wrong lengths, ends in the middle. On both paths."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from osteoscribe.net.spare import SPARE
from osteoscribe.store.blocks import next_block
from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.fakes.dicom import CT, EXPLICIT, SEG, ct_slice, ct_uid, encode, mark_object
from tests.fakes.dimse import (
    ABORT,
    ABORTED,
    ANSWER,
    ECHO,
    RELEASE,
    RELEASE_ANSWER,
    REPORT,
    STORE,
    command,
    fragments,
    pdus,
    raw_association,
    store_command,
    store_message,
)
from tests.fakes.node import RunningNode, receiving_node, stored
from tests.fakes.processes import wait_until

pytestmark = [
    pytest.mark.usefixtures("receiving_path"),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PUSH_MODEL, PUSH_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with receiving_node(tmp_path, idle_timeout_s=20.0) as running:
        yield running


def store(number: int, encoded: bytes | None = None, **shape: int) -> list[bytes]:
    return store_message(number, CT, ct_uid(number), encoded or encode(ct_slice(number)), **shape)


def is_usable(node: RunningNode) -> bool:
    return node.send(ct_slice(99)) == [0]


@pytest.mark.parametrize("size", [1, 2, 7, 333, 16000])
@pytest.mark.parametrize("per_pdu", [1, 3, 50])
def test_fragments_of_any_size_and_several_in_a_pdu(node: RunningNode, size: int, per_pdu: int) -> None:
    with raw_association(node.port) as association:
        association.send(*store(1, size=size, command_size=max(size, 5), per_pdu=per_pdu))
        assert association.answer() == (STORE | ANSWER, 1, 0)
        association.release()
    assert stored(node) == [encode(ct_slice(1))]


def test_a_command_split_over_pdus_and_bytes_that_come_one_by_one(node: RunningNode) -> None:
    with raw_association(node.port) as association:
        for one in b"".join(store(1, size=500, command_size=10)):
            association.send(bytes([one]))
        assert association.answer() == (STORE | ANSWER, 1, 0)
        association.release()
    assert stored(node) == [encode(ct_slice(1))]


def test_messages_on_several_contexts_one_after_the_other(node: RunningNode) -> None:
    mark = mark_object(1, [ct_uid(1)])
    with raw_association(
        node.port, [(CT, EXPLICIT), (SEG, EXPLICIT), (VERIFICATION, EXPLICIT)]
    ) as association:
        for number in range(1, 4):
            association.send(*store(number, size=100))
            assert association.answer() == (STORE | ANSWER, number, 0)
            echo = command(ECHO, 50 + number, data_set=False, x0002=VERIFICATION.encode())
            association.send(*pdus(fragments(5, echo, is_command=True, size=20), per_pdu=2))
            assert association.answer() == (ECHO | ANSWER, 50 + number, 0)
        message = store_message(9, SEG, mark.SOPInstanceUID, encode(mark), context_id=3)
        association.send(*message)
        assert association.answer() == (STORE | ANSWER, 9, 0)
        association.release()
    assert stored(node) == [*(encode(ct_slice(number)) for number in range(1, 4)), encode(mark)]


def test_an_object_of_many_buffers_is_stored_bit_for_bit(node: RunningNode) -> None:
    """Larger than what is read at once, in PDUs of the largest size and of odd ones."""
    large = ct_slice(1)
    large.Rows = large.Columns = 1200
    large.PixelData = b"".join(struct.pack("<L", number) for number in range(1200 * 600))
    for number, size in enumerate((131072 - 6, 16378, 99991), start=1):
        large.SOPInstanceUID, large.InstanceNumber = ct_uid(number), number
        with raw_association(node.port) as association:
            association.send(*store(number, encode(large), size=size))
            assert association.answer() == (STORE | ANSWER, number, 0)
            association.release()
        assert stored(node)[-1] == encode(large)


def test_a_report_of_commitment_between_two_objects(node: RunningNode) -> None:
    report = command(
        REPORT, 7, data_set=True, x0002=PUSH_MODEL.encode(), x1000=PUSH_INSTANCE.encode(), x1002=b"\1\0"
    )
    transaction = generate_uid().encode()
    information = struct.pack("<HH2sH", 0x0008, 0x1195, b"UI", len(transaction) + len(transaction) % 2)
    information += transaction + b"\0" * (len(transaction) % 2)
    with raw_association(node.port, [(CT, EXPLICIT), (PUSH_MODEL, EXPLICIT)]) as association:
        association.send(*store(1, size=200))
        assert association.answer()[2] == 0
        values = fragments(3, report, is_command=True, size=50)
        association.send(*pdus([*values, *fragments(3, information, is_command=False, size=9)]))
        no_such_transaction = 0x0112
        assert association.answer() == (REPORT | ANSWER, 7, no_such_transaction)
        association.send(*store(2))
        assert association.answer() == (STORE | ANSWER, 2, 0)
        association.release()
    assert len(stored(node)) == 2


def test_a_release_behind_the_last_object_waits_for_its_answer(node: RunningNode) -> None:
    with raw_association(node.port) as association:
        association.send(*store(1), RELEASE)
        assert association.answer() == (STORE | ANSWER, 1, 0)
        assert association.read_pdu()[0] == RELEASE_ANSWER
    assert len(stored(node)) == 1


@pytest.mark.parametrize("kind", [1, 2, 3, 6, 8, 0xFF])
def test_a_pdu_that_cannot_come_aborts(node: RunningNode, kind: int) -> None:
    """An answer to a release that nobody asked for, another association request, and what is no PDU."""
    with raw_association(node.port) as association:
        association.send(*store(1))
        assert association.answer()[2] == 0
        association.send(struct.pack(">BxLL", kind, 4, 0))
        assert association.read_pdu()[0] == ABORTED
    assert is_usable(node)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("how", ["abort", "reset", "close"])
def test_an_object_that_ends_in_the_middle_leaves_nothing(node: RunningNode, share: float, how: str) -> None:
    said = b"".join(store(2, size=100))
    with raw_association(node.port) as association:
        association.send(*store(1))
        assert association.answer()[2] == 0
        if how == "abort":
            whole = store(2, size=100)
            association.send(*whole[: int(share * (len(whole) - 1))], ABORT)
        else:
            association.send(said[: int(share * (len(said) - 1))])
        if how == "reset":
            association.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert is_usable(node)
    wait_until(lambda: not len(node.listener._callers), "the end of its association")
    assert sorted(stored(node)) == sorted([encode(ct_slice(1)), encode(ct_slice(99))])
    segments = SegmentStore(node.folder.segments)
    for name, length in segments.lengths(RECEIVED).items():
        # One without a byte is made ahead for who comes next.
        assert not length or next_block([record.end for record in segments.scan(name)][-1]) == length


@pytest.mark.parametrize(
    "body",
    [
        struct.pack(">LBB", 1, 1, 0),
        struct.pack(">LBB", 0, 1, 0),
        struct.pack(">LBB", 5000, 1, 0) + b"short",
        struct.pack(">LBB", 0xFFFFFFFF, 1, 0) + b"short",
        struct.pack(">LBB", 3, 1, 0) + b"x" + b"\0\0\0",
    ],
    ids=["too short for a head", "nothing", "longer than the PDU", "huge", "rest behind"],
)
def test_lengths_that_lie_abort_and_leave_nothing(node: RunningNode, body: bytes) -> None:
    begun = pdus(fragments(1, store_command(1, CT, ct_uid(1)), is_command=True, size=1000))
    with raw_association(node.port) as association:
        association.send(*begun, struct.pack(">BxL", 4, len(body)) + body, *store(1)[1:])
        kinds = []
        while (kind := association.read_pdu()[0]) not in (0, ABORTED):
            kinds.append(kind)
        assert 4 not in kinds
    assert is_usable(node)
    assert stored(node) == [encode(ct_slice(99))]


def test_a_data_set_before_its_command_is_not_stored(node: RunningNode) -> None:
    data = pdus(fragments(1, encode(ct_slice(1)), is_command=False, size=1000))
    request = pdus(fragments(1, store_command(1, CT, ct_uid(1)), is_command=True, size=1000))
    with raw_association(node.port) as association:
        association.send(*data, *request)
        while association.read_pdu()[0] not in (0, ABORTED):
            pass
    assert is_usable(node)
    assert stored(node) == [encode(ct_slice(99))]


def test_a_context_that_was_not_accepted_is_not_stored(node: RunningNode) -> None:
    with raw_association(node.port) as association:
        association.send(*store_message(1, CT, ct_uid(1), encode(ct_slice(1)), context_id=77))
        while association.read_pdu()[0] not in (0, ABORTED):
            pass
    assert is_usable(node)
    assert stored(node) == [encode(ct_slice(99))]


@pytest.mark.parametrize("sent", [0.3, 0.999], ids=["inside a PDU", "inside another"])
def test_a_sender_that_stops_inside_a_pdu_is_cut_off(tmp_path: Path, sent: float) -> None:
    with receiving_node(tmp_path, idle_timeout_s=0.5) as node:
        said = b"".join(store(1, size=300))
        with raw_association(node.port) as association:
            association.send(said[: int(sent * len(said))])
            while association.read_pdu()[0] != 0:
                pass
        assert stored(node) == []


def test_a_sender_that_goes_on_too_slowly_inside_a_pdu_is_cut_off(tmp_path: Path) -> None:
    """However short its pauses are."""
    with receiving_node(tmp_path, idle_timeout_s=0.5) as node:
        said = b"".join(store(1, size=3000))
        with raw_association(node.port) as association:
            association.send(said[:1000])
            began = time.monotonic()
            with pytest.raises(OSError):
                for one in said[1000:3000]:
                    association.send(bytes([one]))
                    time.sleep(0.005)
            assert 0.4 < time.monotonic() - began < 5
        assert stored(node) == []


def test_a_sender_that_stops_between_two_pdus_is_aborted(tmp_path: Path) -> None:
    with receiving_node(tmp_path, idle_timeout_s=0.5) as node:
        with raw_association(node.port) as association:
            began = time.monotonic()
            association.send(*store(1, size=100)[:5])
            assert association.read_pdu()[0] == ABORTED
            assert time.monotonic() - began > 0.4
        assert stored(node) == []


def test_an_association_that_is_silent_is_aborted(tmp_path: Path) -> None:
    with receiving_node(tmp_path, idle_timeout_s=0.5) as node, raw_association(node.port) as association:
        association.send(*store(1))
        assert association.answer()[2] == 0
        assert association.read_pdu()[0] == ABORTED


@pytest.mark.slow
def test_an_association_is_silent_for_its_time_and_no_longer(tmp_path: Path) -> None:
    with receiving_node(tmp_path, idle_timeout_s=3.0) as node, raw_association(node.port) as association:
        association.send(*store(1))
        assert association.answer()[2] == 0
        began = time.monotonic()
        assert association.read_pdu()[0] == ABORTED
        assert 2.9 < time.monotonic() - began < 5.5


def test_the_node_can_end_while_an_object_comes(tmp_path: Path) -> None:
    with receiving_node(tmp_path) as node:
        with raw_association(node.port) as association:
            association.send(*store(1, size=100)[:5])
            node.listener.stop(0.2)
            assert association.read_pdu()[0] in (ABORTED, 0)
        assert stored(node) == []


def test_an_idle_association_costs_no_processor_time(tmp_path: Path) -> None:
    """Of our own path: the library looks a thousand times a second. A sleeper stays far below the limit."""
    with receiving_node(tmp_path, fast_receive=True) as node:
        before = _threads()
        with raw_association(node.port) as association:
            (thread,) = _threads() - before
            association.send(*store(1))
            assert association.answer()[2] == 0
            time.sleep(0.2)
            waits = _context_switches(thread)
            time.sleep(0.5)
            assert _context_switches(thread) - waits < 20
            association.release()


def test_an_association_has_one_thread_which_ends_with_it(tmp_path: Path) -> None:
    """Of our own path: a thread that would be left behind holds a connection for ever."""
    with receiving_node(tmp_path, fast_receive=True) as node:
        before = _threads()
        with raw_association(node.port) as association, raw_association(node.port) as other:
            assert len(_threads() - before) == 2
            association.release()
            other.send(ABORT)
        wait_until(lambda: _threads() <= before, "the end of the threads")


def test_a_connection_that_never_associates_is_over_when_its_peer_closes_it(tmp_path: Path) -> None:
    with receiving_node(tmp_path, fast_receive=True) as node:
        before = _threads()
        with socket.create_connection(("127.0.0.1", node.port)) as connection:
            connection.sendall(b"\1\0\0")
            time.sleep(0.1)
        wait_until(lambda: _threads() <= before, "the end of the threads")
        assert is_usable(node)


def _threads() -> set[threading.Thread]:
    """All but the one that waits for the next connection."""
    return {one for one in threading.enumerate() if one.name != SPARE}


def _context_switches(thread: threading.Thread) -> int:
    """How often a thread has gone to sleep."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
