"""The node from end to end with DCMTK as sender and as archive."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.conftest import Program
from tests.fakes.dicom import ct_slice, ct_uid, mark_object, part10
from tests.fakes.processes import QUICK, NodeProcess, free_port, running_node, storescp_archive, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]


def reports_in(archive: Path) -> dict[str, str]:
    """SOP Instance UID to modality of what an archive took."""
    found = {}
    for path in archive.iterdir():
        ds = dcmread(path, stop_before_pixels=True)
        found[str(ds.SOPInstanceUID)] = str(ds.SOPClassUID)
    return found


def lines(node: NodeProcess, word: str) -> list[str]:
    return [line for line in node.log.read_text().splitlines() if word in line]


def test_a_phantom_study_comes_back_as_one_report_with_its_companion(
    tmp_path: Path, project: Path, program: Program
) -> None:
    port = free_port()
    with (
        storescp_archive(program("storescp"), tmp_path / "archive", port) as archive,
        running_node(tmp_path / "node", "--destination", f"PACS@127.0.0.1:{port}") as node,
    ):
        sent = node.send(program("dcmsend"), project / "dicom_samples" / "pelvis")
        assert sent.returncode == 0, sent.stdout
        wait_until(lambda: bool(lines(node, "state=stored")), "delivery")
        assert sorted(reports_in(archive).values()) == [
            "1.2.840.10008.5.1.4.1.1.88.11",
            "1.2.840.10008.5.1.4.1.1.88.34",
        ]
        first = reports_in(archive)
        node.send(program("dcmsend"), project / "dicom_samples" / "pelvis")
        time.sleep(2)
        assert reports_in(archive) == first, "the same study again gives nothing new"
        assert node.status()["deliveries"] == {"stored": 1}
        started = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - started < 10


def test_a_report_goes_back_to_the_sender_whose_address_is_known(
    tmp_path: Path, project: Path, program: Program
) -> None:
    port = free_port()
    peer = f'[[peer]]\nae_title = "DCMSEND"\nhost = "127.0.0.1"\nport = {port}\n'
    with (
        storescp_archive(program("storescp"), tmp_path / "archive", port) as archive,
        running_node(tmp_path / "node", settings=QUICK + peer) as node,
    ):
        node.send(program("dcmsend"), project / "dicom_samples" / "pelvis-thick")
        wait_until(lambda: len(reports_in(archive)) == 2, "the report at its sender")


def test_kills_at_random_moments_lose_and_double_nothing(
    tmp_path: Path, project: Path, program: Program
) -> None:
    """What the sender was told to be stored is there, and each report is in the archive exactly once."""
    port = free_port()
    samples = project / "dicom_samples" / "pelvis"
    expected = len([path for path in samples.rglob("*") if path.is_file()])
    moments = random.Random(7)
    with (
        storescp_archive(program("storescp"), tmp_path / "archive", port) as archive,
        running_node(tmp_path / "node", "--destination", f"PACS@127.0.0.1:{port}") as node,
    ):
        acknowledged = 0
        # The first kills fall into the reception, the later ones into measuring and delivering.
        for longest_s in (0.2, 0.4, 0.8, 3.0, 3.0, 3.0):
            sending = node.begin_to_send(program("dcmsend"), samples)
            time.sleep(moments.uniform(0.05, longest_s))
            node.kill()
            output, _ = sending.communicate(timeout=60)
            acknowledged = max(acknowledged, output.count(b"Received C-STORE Response (Success)"))
            node.start()
            assert node.status()["instances"] >= acknowledged
        node.send(program("dcmsend"), samples)
        wait_until(lambda: len(reports_in(archive)) >= 2, "the report")
        time.sleep(2)
        status = node.status()
        assert status["instances"] == expected
        assert status["jobs"] == {"done": 1}
        assert status["deliveries"] == {"stored": 1}
        assert len(reports_in(archive)) == 2
        assert len(list(archive.iterdir())) == 2


def test_an_archive_that_was_down_gets_its_report_later(
    tmp_path: Path, project: Path, program: Program
) -> None:
    port = free_port()
    with running_node(tmp_path / "node", "--destination", f"PACS@127.0.0.1:{port}") as node:
        node.send(program("dcmsend"), project / "dicom_samples" / "pelvis-thick")
        wait_until(lambda: bool(lines(node, "code=peer.unreachable")), "the first failed try")
        node.kill()
        node.start()
        with storescp_archive(program("storescp"), tmp_path / "archive", port) as archive:
            wait_until(lambda: len(reports_in(archive)) == 2, "the report")
            wait_until(lambda: node.status()["deliveries"] == {"stored": 1}, "the state")


def test_no_patient_name_reaches_log_or_ledger(tmp_path: Path, program: Program) -> None:
    """Also where everything goes wrong: no usable mark, no archive, a foreign SOP class."""
    files = tmp_path / "files"
    files.mkdir()
    foreign = ct_slice(9)
    foreign.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    for number, ds in enumerate([ct_slice(1), ct_slice(2), mark_object(1, [ct_uid(1)]), foreign]):
        (files / f"{number}.dcm").write_bytes(part10(ds))
    with running_node(tmp_path / "node", "--destination", f"PACS@127.0.0.1:{free_port()}") as node:
        node.send(program("dcmsend"), files)
        wait_until(lambda: bool(lines(node, "job measured")), "the job")
        time.sleep(1)
        node.stop()
    kept = [path for path in (tmp_path / "node").rglob("*") if path.is_file()]
    assert any(path.suffix == ".seg" and b"Canary" in path.read_bytes() for path in kept)
    leaks = [
        path.name for path in kept if path.suffix != ".seg" and re.search(rb"(?i)canary", path.read_bytes())
    ]
    assert leaks == []
    assert lines(node, "net.sop-class-refused")


def test_a_second_node_on_the_same_folder_refuses_to_start(tmp_path: Path) -> None:
    with running_node(tmp_path / "node"), pytest.raises(AssertionError, match=r"store.in-use.*--data"):
        NodeProcess(tmp_path / "node")
