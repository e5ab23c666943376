"""A full disk: nothing more is taken, nothing taken is lost, and it goes on by itself when space returns."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE

from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.conftest import Program
from tests.fakes.dicom import ct_slice
from tests.fakes.disk import SmallDisk, small_disk
from tests.fakes.processes import QUICK, running_node, wait_until
from tests.fakes.sender import associate, is_rejected
from tests.faults.kill import SAMPLES
from tests.faults.peers import (
    KeepingSender,
    counting_archive,
    digest,
    open_association,
    study_under_other_uids,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RESERVE = 10_000_000


def large_slice(number: int) -> Dataset:
    ds = ct_slice(number)
    ds.Rows = ds.Columns = 512
    ds.PixelData = number.to_bytes(2, "little") * (512 * 512)
    return ds


def stored_digests(disk: SmallDisk) -> list[str]:
    segments = SegmentStore(disk.outside / "segments")
    return [record.digest for name in segments.lengths(RECEIVED) for record in segments.scan(name)]


def test_below_the_reserve_associations_are_rejected_and_objects_refused(
    tmp_path: Path, program: Program
) -> None:
    program("nsenter")
    with (
        small_disk(tmp_path / "node" / "data", 60) as disk,
        running_node(tmp_path / "node", settings=QUICK, prefix=disk.prefix) as node,
    ):
        association = open_association(node.port, [ct_slice(1)])
        assert association.send_c_store(large_slice(1)).Status == 0x0000
        disk.fill(leave=RESERVE - 1_000_000)
        refused = association.send_c_store(large_slice(2))
        assert refused.Status == 0xA700
        late = open_association(node.port, [ct_slice(1)])
        assert is_rejected(late)
        assert is_echoed(node.port)
        disk.clear()
        assert association.send_c_store(large_slice(2)).Status == 0x0000, "the same association goes on"
        association.release()
        sender = KeepingSender()
        assert sender.send(node.port, [large_slice(3)])
        assert sorted(stored_digests(disk)) == sorted(digest(large_slice(number)) for number in (1, 2, 3))
        assert node.status()["instances"] == 3


def test_a_disk_that_is_full_to_the_last_byte_costs_nothing_that_was_accepted(
    tmp_path: Path, program: Program
) -> None:
    """No reserve: segments and ledger meet the end of the disk in the middle of a study and of a job."""
    program("nsenter")
    settings = QUICK.replace("reserve_mb = 10.0", "reserve_mb = 0.0")
    sender = KeepingSender()
    with (
        small_disk(tmp_path / "node" / "data", 60) as disk,
        counting_archive() as archive,
        running_node(
            tmp_path / "node",
            "--destination",
            f"ARCHIVE@127.0.0.1:{archive.port}",
            settings=settings,
            prefix=disk.prefix,
        ) as node,
    ):
        for number in range(4):
            study = study_under_other_uids(SAMPLES, number)
            half = study[:4]
            disk.fill(leave=[0, 60_000, 150_000, 300_000][number])
            sender.send(node.port, study)
            time.sleep(1.0)
            assert set(sender.acknowledged) <= set(stored_digests(disk))
            disk.clear()
            wait_until(lambda half=half: sender.send(node.port, half), "space again", 90)  # type: ignore[misc]
            assert sender.send(node.port, study)
        wait_until(lambda: len(archive.per_study()) == 8, "two objects for each study", 150)
        assert set(archive.per_study().values()) == {1}
        wait_until(lambda: node.status()["deliveries"] == {"stored": 4}, "the states", 90)
        assert node.status()["instances"] == 32
        assert node.status()["findings"] == 4
        assert node.process.poll() is None
        node.kill()
        node.start()
        assert node.status()["instances"] == 32, "what was written twice is counted once"


def is_echoed(port: int) -> bool:
    ae = AE()
    ae.add_requested_context("1.2.840.10008.1.1")
    association = associate(ae, port)
    echoed = bool(association.send_c_echo().Status == 0x0000)
    association.release()
    return echoed
