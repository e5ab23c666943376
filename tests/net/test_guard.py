"""Who may connect, and how much and how slowly a peer may send."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynetdicom import AE

from osteoscribe.app.settings import NodeSettings, PeerSettings
from osteoscribe.errors import SetupError
from osteoscribe.net.guard import address_check, calling_aes
from tests.examples import many
from tests.fakes.dicom import CT, ct_slice
from tests.fakes.node import RunningNode, receiving_node
from tests.fakes.processes import wait_until
from tests.fakes.sender import associate, is_rejected

# The library leaves the socket of a rejected requestor to be closed by reference counting.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("receiving_path"),
]

PEER = PeerSettings(ae_title="PACS", host="10.0.0.5", port=104)


@contextmanager
def connection(node: RunningNode) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", node.port), timeout=30) as one:
        yield one


def is_taken(node: RunningNode) -> bool:
    """Whether an object of a new sender is taken."""
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(CT, ct_slice(1).file_meta.TransferSyntaxUID)
    association = associate(ae, node.port)
    if not association.is_established:
        return False
    status = association.send_c_store(ct_slice(1))
    association.release()
    return status.get("Status") == 0x0000


def is_closed(one: socket.socket) -> bool:
    """Whether the node closes the connection (it may say something before)."""
    try:
        while one.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_only_named_callers_may_associate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with receiving_node(tmp_path, allowed_calling_aes=("PACS",)) as node, caplog.at_level(logging.WARNING):
        assert node.send(ct_slice(1), ae_title="PACS") == [0]
        ae = AE(ae_title="STRANGER")
        ae.add_requested_context(CT)
        assert is_rejected(associate(ae, node.port))
    assert "association rejected calling=STRANGER" in caplog.text


def test_a_node_beyond_loopback_takes_its_peers_only() -> None:
    beyond = NodeSettings(host="0.0.0.0")
    assert calling_aes(beyond, [PEER]) == ["PACS"]
    assert calling_aes(NodeSettings(host="0.0.0.0", allowed_calling_aes=("A",)), [PEER]) == ["A", "PACS"]
    assert calling_aes(NodeSettings(host="0.0.0.0", allowed_calling_aes=("*",)), []) == []
    assert calling_aes(NodeSettings(), []) == []
    with pytest.raises(SetupError, match=r"settings.callers-unknown"):
        calling_aes(beyond, [])


def test_addresses_are_checked_against_networks() -> None:
    check = address_check(["10.1.0.0/16", "192.168.7.3"])
    assert [check(one) for one in ("10.1.2.3", "192.168.7.3", "::ffff:10.1.2.3")] == [True] * 3
    assert [check(one) for one in ("10.2.0.1", "192.168.7.4", "::1")] == [False] * 3
    assert address_check([])("8.8.8.8")
    with pytest.raises(SetupError, match=r"settings.wrong-value"):
        address_check(["10.1.0.0/99"])


def test_a_foreign_address_gets_no_connection(tmp_path: Path) -> None:
    with receiving_node(tmp_path, allowed_addresses=("10.0.0.0/8",)) as node, connection(node) as one:
        assert is_closed(one)


def test_a_huge_pdu_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with receiving_node(tmp_path) as node:
        with connection(node) as one:
            one.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(1000))
            assert is_closed(one)
        assert node.send(ct_slice(1)) == [0]


def test_a_peer_that_stops_in_the_middle_of_a_pdu_is_closed(tmp_path: Path) -> None:
    with receiving_node(tmp_path, idle_timeout_s=0.5) as node, connection(node) as one:
        one.sendall(struct.pack(">BBL", 1, 0, 1000) + b"a")
        assert is_closed(one), "far earlier than by the default"


def test_an_object_over_the_limit_ends_its_association_and_nothing_is_kept(tmp_path: Path) -> None:
    large = ct_slice(1)
    large.Rows = large.Columns = 1024
    large.PixelData = bytes(1024 * 1024 * 2)
    with receiving_node(tmp_path, largest_object_mb=1.0) as node:
        ae = AE(ae_title="SENDER")
        ae.add_requested_context(CT, large.file_meta.TransferSyntaxUID)
        association = ae.associate("127.0.0.1", node.port)
        assert "Status" not in association.send_c_store(large)
        assert node.send(*(ct_slice(number) for number in range(1, 5))) == [0, 0, 0, 0]


def test_more_associations_than_allowed_are_refused_and_the_rest_work(tmp_path: Path) -> None:
    with receiving_node(tmp_path, max_associations=3) as node:
        ae = AE(ae_title="SENDER")
        ae.add_requested_context(CT)
        open_ones = [ae.associate("127.0.0.1", node.port) for _ in range(5)]
        assert [one.is_established for one in open_ones] == [True, True, True, False, False]
        for one in open_ones[:3]:
            one.release()
        wait_until(lambda: is_taken(node), "room for another association")


@pytest.mark.slow
def test_two_hundred_silent_connections_do_not_stop_a_sender_for_good(tmp_path: Path) -> None:
    with receiving_node(tmp_path, max_associations=10, idle_timeout_s=1.0) as node:
        silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(200)]
        for one in silent:
            one.close()
        wait_until(lambda: is_taken(node), "room for a sender")


@pytest.mark.slow
@settings(
    max_examples=many(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(kind=st.integers(0, 8), length=st.integers(0, 2**32 - 1), body=st.binary(max_size=400))
def test_wrong_pdus_do_no_harm(fuzzed_node: RunningNode, kind: int, length: int, body: bytes) -> None:
    for declared in (length, len(body)):
        # The node may close at any moment.
        with contextlib.suppress(ConnectionError), connection(fuzzed_node) as one:
            one.sendall(struct.pack(">BBL", kind, 0, declared) + body)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_WR)
            one.settimeout(3)
            is_closed(one)


@pytest.fixture(scope="module")
def fuzzed_node(tmp_path_factory: pytest.TempPathFactory, receiving_path: str) -> Iterator[RunningNode]:
    with receiving_node(
        tmp_path_factory.mktemp(f"fuzzed-{receiving_path}"), idle_timeout_s=2.0, max_associations=500
    ) as node:
        yield node
        wait_until(lambda: is_taken(node), "room for a sender")
