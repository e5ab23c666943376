"""Receiving processes beside the listener, whole: what they receive is as safe as what it receives."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.association import Association

from osteoscribe.store.segments import RECEIVED, SegmentStore, process_of
from tests.conftest import Program
from tests.fakes.dicom import CT, EXPLICIT, ct_slice
from tests.fakes.processes import (
    QUICK,
    NodeProcess,
    free_port,
    running_node,
    storescp_archive,
    wait_until,
)
from tests.fakes.sender import associate
from tests.faults.processes import receiver_pids, wait_for_end, worker_pids

pytestmark = [
    pytest.mark.slow,
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def receiver_of(node: NodeProcess) -> int:
    """Process number of the node's receiver, once it takes connections."""
    wait_until(lambda: bool(receiver_pids(node)), "a receiver")
    (pid,) = receiver_pids(node)
    return pid


@contextmanager
def handed(node: NodeProcess) -> Iterator[Association]:
    """An association that a receiver serves: another connection is open before it."""
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(CT, EXPLICIT)
    with socket.create_connection(("127.0.0.1", node.port)):
        yield associate(ae, node.port, ae_title="OSTEOSCRIBE")


def writers(node: NodeProcess) -> set[int]:
    """Process numbers of those that have stored something."""
    lengths = SegmentStore(node.folder / "data" / "segments").lengths(RECEIVED)
    return {process_of(name) for name, length in lengths.items() if length}


def test_a_mark_over_a_receiver_becomes_a_report(tmp_path: Path, project: Path, program: Program) -> None:
    port = free_port()
    with (
        storescp_archive(program("storescp"), tmp_path / "archive", port),
        running_node(tmp_path / "node", "--destination", f"PACS@127.0.0.1:{port}") as node,
    ):
        receiver = receiver_of(node)
        with socket.create_connection(("127.0.0.1", node.port)):
            assert node.send(program("dcmsend"), project / "dicom_samples" / "pelvis").returncode == 0
        assert writers(node) == {receiver}
        wait_until(lambda: node.status()["deliveries"] == {"stored": 1}, "delivery")
        assert node.stop() == 0
        wait_for_end([receiver])


def test_what_a_killed_receiver_stored_is_recorded_and_another_takes_its_place(tmp_path: Path) -> None:
    with running_node(tmp_path / "node") as node:
        first = receiver_of(node)
        with handed(node) as association:
            assert association.send_c_store(ct_slice(1)).Status == 0x0000
            os.kill(first, signal.SIGKILL)
        wait_until(lambda: node.status()["instances"] == 1, "the row of what it stored")
        wait_until(lambda: receiver_pids(node) not in ([], [first]), "another receiver")
        wait_until(lambda: node.log.read_text().count("receiver 1 ready") == 2, "that it is ready")
        with handed(node) as association:
            assert association.send_c_store(ct_slice(2)).Status == 0x0000
            association.release()
        assert writers(node) == {first, *receiver_pids(node)}
        wait_until(lambda: node.status()["instances"] == 2, "the row of the other")
        assert node.stop() == 0


def test_a_receiver_ends_with_its_listener_and_the_next_one_records_what_it_left(tmp_path: Path) -> None:
    with running_node(tmp_path / "node") as node:
        receiver = receiver_of(node)
        with handed(node) as association:
            assert association.send_c_store(ct_slice(1)).Status == 0x0000
            os.kill(node.process.pid, signal.SIGKILL)
            node.process.communicate(timeout=60)
            node.start()
            wait_for_end([receiver])
        wait_until(lambda: node.status()["instances"] == 1, "the row of what it stored")
        assert node.stop() == 0


def test_changed_callers_reach_receivers(tmp_path: Path) -> None:
    with running_node(tmp_path / "node") as node:
        receiver = receiver_of(node)
        settings = f'[node]\nallowed_calling_aes = ["PACS"]\n{QUICK}'
        (node.folder / "osteoscribe.toml").write_text(settings)
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings taken up" in node.log.read_text(), "the new settings")

        def is_refused() -> bool:
            with handed(node) as association:
                if association.is_established:
                    association.release()
                return not association.is_established

        wait_until(is_refused, "a receiver that knows who may call")
        assert receiver_pids(node) == [receiver], "it goes on"


def test_one_receiving_process_is_enough_where_the_settings_say_so(tmp_path: Path) -> None:
    with running_node(tmp_path / "node", settings=f"[node]\nreceivers = 1\n{QUICK}") as node:
        with handed(node) as association:
            assert association.send_c_store(ct_slice(1)).Status == 0x0000
            association.release()
        assert writers(node) == {node.process.pid}
        assert not receiver_pids(node)
        assert worker_pids(node)
