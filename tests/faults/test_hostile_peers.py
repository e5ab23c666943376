"""Hostile and clumsy senders against a running node."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom import AE

from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.fakes.dicom import CT, ct_slice
from tests.fakes.processes import QUICK, NodeProcess, running_node, wait_until
from tests.fakes.wire import reset, wire
from tests.faults.kill import SAMPLES
from tests.faults.peers import KeepingSender, counting_archive, digest, random_pause, study_under_other_uids

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

IDLE_S = 4.0
IMPATIENT = QUICK + f"[node]\nidle_timeout_s = {IDLE_S}\n"
FUZZ_CASES = int(os.environ.get("OSTEOSCRIBE_FUZZ_CASES", "150"))


@pytest.fixture(scope="module", params=["fast", "stock"])
def node(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[NodeProcess]:
    """One node for all of them, with our own receiving and the library's: each must leave it usable."""
    settings = IMPATIENT + f"fast_receive = {str(request.param == 'fast').lower()}\n"
    with running_node(tmp_path_factory.mktemp("hostile") / "node", settings=settings) as running:
        yield running
        assert running.process.poll() is None


@pytest.fixture(autouse=True)
def _usable_afterwards(node: NodeProcess) -> Iterator[None]:
    yield
    wait_until(lambda: KeepingSender().send(node.port, [ct_slice(1)]), "a good sender", 90)


def stored_digests(node: NodeProcess) -> list[str]:
    segments = SegmentStore(node.folder / "data" / "segments")
    return [record.digest for name in segments.lengths(RECEIVED) for record in segments.scan(name)]


def test_two_hundred_associations_at_once(node: NodeProcess) -> None:
    """No more than the limit are taken, the others are told so, and a sender comes through soon after."""
    outcomes: list[str] = []

    def associate() -> None:
        ae = AE(ae_title="MANY")
        ae.add_requested_context(CT)
        ae.acse_timeout = ae.connection_timeout = 60
        association = ae.associate("127.0.0.1", node.port)
        outcomes.append(
            "taken" if association.is_established else "rejected" if association.is_rejected else "closed"
        )
        barrier.wait(100)
        if association.is_established:
            association.abort()

    barrier = threading.Barrier(200)
    threads = [threading.Thread(target=associate) for _ in range(200)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(120)
    assert len(outcomes) == 200
    assert outcomes.count("taken") >= 1
    limit_each_idle_period = 32 * 20
    assert outcomes.count("taken") <= limit_each_idle_period


@pytest.mark.parametrize("sent", [b"", struct.pack(">BBL", 1, 0, 200)], ids=["header", "body"])
def test_a_peer_that_drips_is_cut_off(node: NodeProcess, sent: bytes) -> None:
    """One byte a minute, with the clock run faster: a byte each 0.4 s where a PDU may take 4 s."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as one:
        one.sendall(sent)
        with pytest.raises(ConnectionError):
            for _ in range(150):
                one.sendall(b"\x01")
                time.sleep(0.4)


def test_objects_cut_off_in_the_middle_leave_nothing(node: NodeProcess) -> None:
    moments = random.Random(3)
    study = study_under_other_uids(SAMPLES, 3)
    before = set(stored_digests(node))
    sender = KeepingSender()
    cuts = [moments.randrange(300, 50_000) for _ in range(20)]
    with wire(node.port, lambda number: cuts[number]) as cutting:
        for _ in cuts:
            assert not sender.send(cutting.port, study[:1])
    assert sender.acknowledged == set()
    assert set(stored_digests(node)) == before
    wait_until(lambda: sender.send(node.port, study), "the study sent whole", 90)
    assert set(stored_digests(node)) == before | {digest(ds) for ds in study}


def test_wrong_pdus_do_no_harm(node: NodeProcess) -> None:
    """Whole conversations of a real sender, with bytes changed, left out, doubled and put elsewhere."""
    with wire(node.port) as listening:
        assert KeepingSender().send(listening.port, [ct_slice(1)])
        said = bytes(listening.heard[0])
    moments = random.Random(4)
    for _ in range(FUZZ_CASES):
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", node.port), timeout=60) as one,
        ):
            for piece in mutated(said, moments):
                one.sendall(piece)
                time.sleep(0.002)
            if moments.random() < 0.5:
                reset(one)
    assert node.process.poll() is None
    for word in ("Traceback", "bug while", "Invalid value"):
        assert word not in node.log.read_text()
    own = f"/proc/{node.process.pid}/fd"
    wait_until(lambda: len(os.listdir(own)) < 60, "the connections closed", 60)


def test_no_text_of_a_broken_association_request_reaches_the_log(node: NodeProcess) -> None:
    """The libraries warn of values that are no UIDs, and quote them."""
    with wire(node.port) as listening:
        assert KeepingSender().send(listening.port, [ct_slice(1)])
        said = bytes(listening.heard[0])
    for uid in (CT, "1.2.840.10008.3.1.1.1", "1.2.840.10008.1.2.1"):
        wrong = said.replace(uid.encode(), b"CANARY^NAME".ljust(len(uid), b"x"))
        assert wrong != said
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", node.port), timeout=60) as one,
        ):
            one.sendall(wrong)
            one.settimeout(60)
            one.recv(100)
    time.sleep(0.5)
    assert "CANARY" not in node.log.read_text()


def mutated(said: bytes, moments: random.Random) -> list[bytes]:
    """PDUs of a conversation, wrong in one to three ways."""
    pdus = []
    start = 0
    while start < len(said):
        length = 6 + int(struct.unpack(">L", said[start + 2 : start + 6])[0])
        pdus.append(bytearray(said[start : start + length]))
        start += length
    for _ in range(moments.randint(1, 3)):
        index = moments.randrange(len(pdus))
        kind = moments.randrange(5)
        if kind == 0:
            pdus[index][moments.randrange(len(pdus[index]))] = moments.randrange(256)
        elif kind == 1:
            del pdus[index][moments.randrange(1, len(pdus[index])) :]
        elif kind == 2:
            pdus.insert(moments.randrange(len(pdus)), bytearray(pdus[index]))
        elif kind == 3:
            pdus[index][2:6] = moments.randbytes(4)
        else:
            pdus[index][0] = moments.randrange(12)
    return [bytes(one) for one in pdus if one]


def test_the_same_studies_from_two_senders_in_any_order_are_one(tmp_path: Path) -> None:
    """Two senders at once, each data set from both, every order, interleaved over studies; then all again."""
    moments = random.Random(5)
    studies = [study_under_other_uids(SAMPLES, number) for number in range(4)]
    everything = [ds for study in studies for ds in study]
    with (
        counting_archive() as archive,
        running_node(tmp_path / "node", "--destination", f"ARCHIVE@127.0.0.1:{archive.port}") as node,
    ):
        senders = []
        for number in range(2):
            order = moments.sample(everything, len(everything))

            def send(order: list[object] = order, number: int = number) -> None:  # type: ignore[assignment]
                sender = KeepingSender(random_pause(number, 0.05))
                assert sender.send(node.port, order, ae_title=f"SENDER{number}")  # type: ignore[arg-type]

            senders.append(threading.Thread(target=send))
            senders[-1].start()
        for one in senders:
            one.join()
        assert KeepingSender().send(node.port, moments.sample(everything, len(everything)), ae_title="THIRD")
        wait_until(lambda: node.status()["deliveries"] == {"stored": 4}, "the deliveries", 150)
        time.sleep(3)
        status = node.status()
        assert (status["instances"], status["marks"], status["findings"]) == (len(everything), 4, 4)
        assert status["deliveries"] == {"stored": 4}
        assert status["jobs"] == {"done": 4}
        assert len(archive.stores) == 8
        assert set(archive.stores.values()) == {1}
