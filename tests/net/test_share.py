"""Connections that one listener hands to another: which one serves, who counts, and what is refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.association import Association

from osteoscribe.app.settings import NodeSettings, Settings, StoreSettings
from osteoscribe.bootstrap.listener import open_listener
from osteoscribe.net.scp import Listener
from osteoscribe.net.share import COUNTER, Handing
from osteoscribe.store.folder import DataFolder, open_folder
from tests.fakes import node
from tests.fakes.dicom import CT, EXPLICIT, ct_slice
from tests.fakes.ledger import put_ledger
from tests.fakes.node import RunningNode, stored
from tests.fakes.processes import wait_until
from tests.fakes.sender import associate, is_rejected

pytestmark = [
    # The library leaves the socket of a rejected requestor to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("receiving_path"),
]


class Beside:
    """A listener to which another one hands connections; in this process, as others do in theirs."""

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        self.is_ready = True
        ours, self.channel = socket.socketpair()
        self._ours, ended = ours, COUNTER(0)
        self._handing = Handing(ours, ended)
        self.listener = open_listener(settings, folder)
        self.listener.start_behind(self.channel, ended)

    @property
    def open_connections(self) -> int:
        return self._handing.open_connections

    def give(self, connection: socket.socket) -> bool:
        return self._handing.give(connection)

    def stop(self) -> None:
        self.listener.stop(1.0)
        self._ours.close()


@contextmanager
def shared_node(folder: Path, **changed: object) -> Iterator[tuple[RunningNode, Beside]]:
    settings = Settings(
        node=replace(NodeSettings(port=0, fast_receive=node.fast_receive), **changed),  # type: ignore[arg-type]
        store=StoreSettings(folder=folder, reserve_mb=1.0),
    )
    put_ledger(folder)
    opened = open_folder(settings.store)
    listener: Listener = open_listener(settings, opened)
    beside = Beside(settings, opened)
    port = listener.start([beside])
    try:
        yield RunningNode(port=port, folder=opened, listener=listener), beside
    finally:
        listener.stop(1.0)
        beside.stop()


def opened(port: int, count: int) -> list[Association]:
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(CT, EXPLICIT)
    return [associate(ae, port, ae_title="OSTEOSCRIBE") for _ in range(count)]


def test_an_association_goes_where_the_fewest_are_and_one_alone_is_not_handed_on(tmp_path: Path) -> None:
    with shared_node(tmp_path) as (shared, beside):
        counts = []
        associations = []
        for _ in range(6):
            associations += opened(shared.port, 1)
            counts.append(beside.open_connections)
        assert counts == [0, 1, 1, 2, 2, 3]
        statuses = [one.send_c_store(ct_slice(2 + n)).Status for n, one in enumerate(associations)]
        assert statuses == [0] * 6
        for one in associations:
            one.release()
        wait_until(lambda: beside.open_connections == 0, "the end of all associations")
        assert len(stored(shared)) == 6


def test_the_limit_of_associations_holds_for_both_together(tmp_path: Path) -> None:
    with shared_node(tmp_path, max_associations=3) as (shared, beside):
        associations = opened(shared.port, 5)
        assert [one.is_established for one in associations] == [True, True, True, False, False]
        assert all(is_rejected(one) for one in associations[3:])
        assert beside.open_connections == 1
        associations[1].release()

        def is_taken() -> bool:
            associations.extend(opened(shared.port, 1))
            return associations[-1].is_established

        wait_until(is_taken, "room for another association")
        for one in associations:
            if one.is_established:
                one.release()


@pytest.mark.parametrize("has_gone", [True, False])
def test_nothing_is_handed_to_who_takes_nothing(tmp_path: Path, has_gone: bool) -> None:
    with shared_node(tmp_path) as (shared, beside):
        if has_gone:
            beside.listener.stop(1.0)
        else:
            beside.is_ready = False
        associations = opened(shared.port, 3)
        assert [one.send_c_store(ct_slice(n + 1)).Status for n, one in enumerate(associations)] == [0, 0, 0]
        assert beside.open_connections == 0
        for one in associations:
            one.release()


def test_connections_that_break_are_not_counted_for_ever(tmp_path: Path) -> None:
    with shared_node(tmp_path, idle_timeout_s=0.5) as (shared, beside):
        (first,) = opened(shared.port, 1)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", shared.port)) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with socket.create_connection(("127.0.0.1", shared.port)):
            wait_until(lambda: beside.open_connections == 0, "the end of broken and of silent connections")
        first.release()


def test_a_connection_for_which_the_other_has_no_descriptor_left_is_not_counted_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_descriptor(channel: socket.socket, buffers: list[bytes], *_: object) -> None:
        # What the system leaves of a message where the receiving process may open nothing more.
        channel.send(buffers[0])

    with shared_node(tmp_path) as (shared, beside):
        (first,) = opened(shared.port, 1)
        with monkeypatch.context() as patch:
            patch.setattr(socket, "send_fds", without_descriptor)
            with socket.socket() as lost:
                assert beside.give(lost)
            wait_until(lambda: beside.open_connections == 0, "that it is counted no more")
        (second,) = opened(shared.port, 1)
        assert beside.open_connections == 1
        assert second.send_c_store(ct_slice(1)).Status == 0x0000
        first.release()
        second.release()


def test_who_may_call_is_said_in_both(tmp_path: Path) -> None:
    with shared_node(tmp_path) as (shared, beside):
        (first,) = opened(shared.port, 1)
        beside.listener.set_callers(NodeSettings(allowed_calling_aes=("PACS",)), [])
        (second,) = opened(shared.port, 1)
        assert is_rejected(second)
        first.release()


def test_associations_outlive_the_channel_over_which_they_came(tmp_path: Path) -> None:
    with shared_node(tmp_path) as (shared, beside):
        associations = opened(shared.port, 2)
        beside._ours.shutdown(socket.SHUT_RDWR)
        assert [one.send_c_store(ct_slice(n + 1)).Status for n, one in enumerate(associations)] == [0, 0]
        for one in associations:
            one.release()
