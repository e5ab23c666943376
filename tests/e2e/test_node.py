"""The node from end to end with DCMTK as sender and as archive."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from pydicom import DataElement, dcmread
from pydicom.errors import InvalidDicomError

from tests.conftest import Program
from tests.fakes.dicom import ct_slice, ct_uid, mark_object, part10
from tests.fakes.processes import QUICK, NodeProcess, free_port, running_node, storescp_archive, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def reports_in(archive: Path) -> dict[str, str]:
    """SOP Instance UID to modality of what an archive took."""
    found = {}
    for path in archive.iterdir():
        # The archive may still be writing it.
        with contextlib.suppress(InvalidDicomError, EOFError, AttributeError):
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
        assert node.stop() == 0


def test_each_archive_gets_the_form_that_the_settings_give_it(
    tmp_path: Path, project: Path, program: Program
) -> None:
    first, second, third = free_port(), free_port(), free_port()
    places = [
        f'[[destination]]\nname = "{name}"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n{more}\n'
        for name, port, more in (
            ("pacs", first, 'profile = "comprehensive"\ntext_companion = false\nkey_image = true'),
            ("reading", second, 'profile = "text-only"'),
        )
    ]
    later = f'[[destination]]\nname = "late"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {third}\n'
    storescp = program("storescp")
    with (
        storescp_archive(storescp, tmp_path / "first", first) as pacs,
        storescp_archive(storescp, tmp_path / "second", second) as reading,
        storescp_archive(storescp, tmp_path / "third", third) as late,
        running_node(tmp_path / "node", settings=QUICK + "".join(places)) as node,
    ):
        node.send(program("dcmsend"), project / "dicom_samples" / "pelvis")
        wait_until(lambda: node.status()["deliveries"] == {"stored": 2}, "both deliveries")
        assert sorted(reports_in(pacs).values()) == [
            "1.2.840.10008.5.1.4.1.1.7",
            "1.2.840.10008.5.1.4.1.1.88.33",
        ]
        assert list(reports_in(reading).values()) == ["1.2.840.10008.5.1.4.1.1.88.11"]
        before = {**reports_in(pacs), **reports_in(reading)}
        (tmp_path / "node" / "osteoscribe.toml").write_text(QUICK + "".join(places) + later)
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(lines(node, "settings taken up")), "the new settings")
        (job,) = node.jobs()
        node.ask("jobs", "resend", job["key"])
        wait_until(lambda: node.status()["deliveries"] == {"stored": 3}, "the delivery to the new archive")
        assert sorted(reports_in(late).values()) == [
            "1.2.840.10008.5.1.4.1.1.88.11",
            "1.2.840.10008.5.1.4.1.1.88.34",
        ]
        assert {**reports_in(pacs), **reports_in(reading)} == before, "the same objects again"
        assert node.status()["findings"] == job["findings"]


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


def other_study(source: Path, target: Path, number: int) -> Path:
    """A copy of a study under UIDs of its own."""
    target.mkdir()
    for index, path in enumerate(sorted(one for one in source.rglob("*") if one.is_file())):
        ds = dcmread(path)
        ds.walk(lambda _ds, element: _rename(element, number))
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(target / f"{index:03d}.dcm")
    return target


def _rename(element: DataElement, number: int) -> None:
    if (
        element.VR == "UI"
        and isinstance(element.value, str)
        and not element.value.startswith("1.2.840.10008.")
    ):
        element.value = f"{element.value[:60]}.{number}"


def test_kills_at_random_moments_lose_and_double_nothing(
    tmp_path: Path, project: Path, program: Program
) -> None:
    """What the sender was told to be stored is there, and each report is in the archive exactly once.

    ``OSTEOSCRIBE_KILLS`` says how many kills; ``docs/reliability.md`` has the counts of longer runs.
    """
    port = free_port()
    kills = int(os.environ.get("OSTEOSCRIBE_KILLS", "8"))
    moments = random.Random(kills)
    samples = project / "dicom_samples" / "pelvis-thick"
    studies = [other_study(samples, tmp_path / f"study{number}", number) for number in range(kills)]
    with (
        storescp_archive(program("storescp"), tmp_path / "archive", port) as archive,
        running_node(tmp_path / "node", "--destination", f"PACS@127.0.0.1:{port}") as node,
    ):
        acknowledged = 0
        for study in studies:
            # Moments from the first byte of this study to the delivery of the one before.
            sending = node.begin_to_send(program("dcmsend"), study)
            time.sleep(moments.choice([0.05, 0.1, 0.2, 1.0, 3.0]) * moments.uniform(0.5, 1.5))
            node.kill()
            output, _ = sending.communicate(timeout=60)
            acknowledged += output.count(b"Received C-STORE Response (Success)")
            node.start()
            assert node.status()["instances"] >= acknowledged
        for study in studies:
            node.send(program("dcmsend"), study)
        wait_until(lambda: node.status()["deliveries"] == {"stored": kills}, "all deliveries", 180)
        status = node.status()
        assert status["instances"] == sum(len(list(study.iterdir())) for study in studies)
        assert status["jobs"] == {"done": kills}
        arrived = [dcmread(path, stop_before_pixels=True) for path in archive.iterdir()]
        kinds = Counter((str(ds.StudyInstanceUID), str(ds.SOPClassUID)) for ds in arrived)
        assert set(kinds.values()) == {1}
        assert len(kinds) == 2 * kills


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


def test_changed_settings_are_taken_up_and_wrong_ones_are_not(
    tmp_path: Path, project: Path, program: Program
) -> None:
    port = free_port()
    config = tmp_path / "node" / "osteoscribe.toml"
    with (
        storescp_archive(program("storescp"), tmp_path / "archive", port) as archive,
        running_node(tmp_path / "node") as node,
    ):
        config.write_text(QUICK + "[node]\nno_such_setting = 1\n")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(lines(node, "settings.unknown-key")), "the refusal")
        added = '[node]\nallowed_calling_aes = ["DCMSEND"]\n'
        added += f'[[destination]]\nname = "archive"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
        config.write_text(QUICK + added)
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(lines(node, "settings taken up")), "the new settings")
        node.send(program("dcmsend"), project / "dicom_samples" / "pelvis-thick")
        wait_until(lambda: len(reports_in(archive)) == 2, "the report at the new destination")


def test_a_rule_table_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[table]\n")
    settings = QUICK + f'[practice]\nrule_table = "{tmp_path / "bad.toml"}"\n'
    with pytest.raises(AssertionError, match=r"rules\."):
        NodeProcess(tmp_path / "node", settings=settings)
