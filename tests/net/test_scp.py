"""The listener over real loopback associations."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, build_context

from osteoscribe.app.settings import NodeSettings, Settings, StoreSettings
from osteoscribe.bootstrap.listener import open_listener
from osteoscribe.core.digest import new_digest
from osteoscribe.errors import SetupError, StoreError
from osteoscribe.net.scp import Listener
from osteoscribe.readers import frames
from osteoscribe.readers.datasets import read_dataset
from osteoscribe.readers.marks import DOCUMENTS, MARK_SOP_CLASSES, MASK_SOP_CLASSES, read_marks
from osteoscribe.store.folder import open_folder
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.planning import PlanTable
from osteoscribe.store.reception import AssociationReception
from osteoscribe.store.recorder import Recorder
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.schema import INSTANCES, open_database
from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.fakes.dicom import CT, EXPLICIT, ct_slice, ct_uid, encode, mark_object
from tests.fakes.node import RunningNode, receiving_node, send, store_raw
from tests.fakes.processes import wait_until
from tests.fakes.sender import associate, is_rejected
from tests.readers.mark_fuzz import DIALECTS

pytestmark = pytest.mark.usefixtures("receiving_path")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with receiving_node(tmp_path / "data") as running:
        yield running


def rows(node: RunningNode) -> list[dict[str, object]]:
    node.listener.record_all()
    engine = open_database(node.folder.ledger_url)
    try:
        with engine.begin() as connection:
            return [dict(row) for row in connection.execute(INSTANCES.select()).mappings()]
    finally:
        engine.dispose()


def test_echo_is_answered(node: RunningNode) -> None:
    ae = AE()
    ae.add_requested_context("1.2.840.10008.1.1")
    association = associate(ae, node.port)
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_bytes_are_stored_as_they_came(node: RunningNode) -> None:
    sent = [ct_slice(number) for number in (1, 2, 3)]
    assert node.send(*sent) == [0, 0, 0]
    segments = SegmentStore(node.folder.segments)
    stored = {}
    for row in rows(node):
        (record,) = (one for one in segments.scan(str(row["segment"])) if one.blob.offset == row["offset"])
        stored[row["sop_instance_uid"]] = segments.read_bytes(record.blob, 0, record.blob.length)
        assert new_digest(stored[row["sop_instance_uid"]]).hexdigest() == row["digest"]
    assert stored == {ct_uid(number): encode(ct_slice(number)) for number in (1, 2, 3)}


def test_the_same_bytes_twice_are_stored_once(node: RunningNode) -> None:
    assert node.send(ct_slice(1)) == [0]
    assert node.send(ct_slice(1), ct_slice(1)) == [0, 0]
    assert len(rows(node)) == 1


def test_other_bytes_under_the_same_uid_are_both_kept(node: RunningNode) -> None:
    changed = ct_slice(1)
    changed.KVP = 120
    assert node.send(ct_slice(1), changed) == [0, 0]
    assert len(rows(node)) == 2


def test_a_changed_mark_supersedes_the_older_one(node: RunningNode) -> None:
    changed = mark_object(1, [ct_uid(1)])
    changed.ContentLabel = "CHANGED"
    node.send(mark_object(1, [ct_uid(1)]), changed)
    engine = open_database(node.folder.ledger_url)
    marks = PlanTable(engine).open_marks()
    engine.dispose()
    assert [mark.digest for mark in marks] == [new_digest(encode(changed)).hexdigest()]


def test_every_class_that_a_reader_knows_is_taken_in_what_it_can_be_written_in(node: RunningNode) -> None:
    classes = sorted(MARK_SOP_CLASSES | DOCUMENTS.keys())
    asked = [(one, EXPLICIT) for one in classes]
    asked += [(one, syntax) for one in sorted(MASK_SOP_CLASSES) for syntax in sorted(frames.SUPPORTED)]
    ae = AE()
    ae.requested_contexts = [build_context(sop_class, syntax) for sop_class, syntax in asked]
    association = associate(ae, node.port)
    accepted = [(one.abstract_syntax, one.transfer_syntax[0]) for one in association.accepted_contexts]
    association.release()
    assert accepted == asked
    assert len(classes) > 25


def test_a_mask_of_deflated_frames_is_taken_and_read(node: RunningNode) -> None:
    ds = DIALECTS["SEG deflated frames"]()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.1", "1.2.3.2"
    encoded = encode(ds)
    uids = {"sop_class_uid": str(ds.SOPClassUID), "sop_instance_uid": str(ds.SOPInstanceUID)}
    syntax = str(ds.file_meta.TransferSyntaxUID)
    assert store_raw(node.port, encoded, **uids, transfer_syntax_uid=syntax) == 0
    (row,) = rows(node)
    (blob,) = (one.blob for one in SegmentStore(node.folder.segments).scan(str(row["segment"])))
    stored = SegmentStore(node.folder.segments).read_bytes(blob, 0, blob.length)
    marks = read_marks(read_dataset(stored, transfer_syntax_uid=str(row["transfer_syntax_uid"])))
    assert [mark.dialect for mark in marks] == ["SEG binary", "SEG binary"]


def test_unknown_sop_class_is_refused_at_negotiation_and_logged(
    node: RunningNode, caplog: pytest.LogCaptureFixture
) -> None:
    ae = AE()
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.4")
    ae.add_requested_context(CT)
    with caplog.at_level(logging.INFO):
        association = associate(ae, node.port)
        assert [context.abstract_syntax for context in association.accepted_contexts] == [CT]
        association.release()
    assert "net.sop-class-refused" in caplog.text
    assert "1.2.840.10008.5.1.4.1.1.4" in caplog.text


def test_a_data_set_that_is_not_what_was_announced_is_refused(node: RunningNode) -> None:
    assert store_raw(node.port, encode(ct_slice(1)), sop_class_uid=CT, sop_instance_uid="1.2.3.4") == 0xA900
    assert rows(node) == []


def test_a_hostile_uid_never_becomes_a_path(node: RunningNode) -> None:
    hostile = b"../../../../tmp/".ljust(len(ct_uid(1)), b"x")
    encoded = encode(ct_slice(1)).replace(ct_uid(1).encode(), hostile)
    status = store_raw(node.port, encoded, sop_class_uid=CT, sop_instance_uid=ct_uid(1))
    assert status >> 12 in (0xA, 0xC)
    assert rows(node) == []


@pytest.mark.parametrize("encoded", [b"no DICOM at all", bytes(1000), b"\xff" * 1000])
def test_bytes_that_are_no_data_set_are_refused_and_the_association_goes_on(
    node: RunningNode, encoded: bytes
) -> None:
    assert store_raw(node.port, encoded, sop_class_uid=CT, sop_instance_uid="1.2.3.4") >> 12 in (0xA, 0xC)
    assert node.send(ct_slice(1)) == [0]


def test_a_taken_port_is_a_clear_error(node: RunningNode) -> None:
    def never(_at: object) -> object:
        raise AssertionError

    listener = Listener(
        NodeSettings(port=node.port),
        transfer_syntaxes=(EXPLICIT,),
        open_reception=never,  # type: ignore[arg-type]
    )
    with pytest.raises(SetupError, match=r"net.port-taken.*--port"):
        listener.start()


def test_nothing_is_taken_below_the_disk_reserve_and_recovery_needs_no_help(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a file that takes part in the reserve; removing it is what an administrator does."""
    free = shutil.disk_usage(tmp_path).free
    large = tmp_path / "large"
    with large.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 600_000_000)
    settings = Settings(
        node=NodeSettings(port=0),
        store=StoreSettings(folder=tmp_path / "data", reserve_mb=(free - 300_000_000) / 1e6),
    )
    listener = open_listener(settings, open_folder(settings.store))
    port = listener.start()
    try:
        ae = AE(ae_title="SENDER")
        ae.add_requested_context(CT)
        assert is_rejected(associate(ae, port))
        assert "store.reserve-reached" in caplog.text
        echo = AE(ae_title="SENDER")
        echo.add_requested_context("1.2.840.10008.1.1")
        association = associate(echo, port)
        assert association.send_c_echo().Status == 0x0000
        association.release()
        large.unlink()
        assert send(port, [ct_slice(1)]) == [0]
    finally:
        listener.stop(1.0)


def test_an_open_association_is_told_when_the_reserve_is_reached(tmp_path: Path) -> None:
    folder = open_folder(StoreSettings(folder=tmp_path / "data", reserve_mb=9e8))
    reception = AssociationReception(
        folder=folder,
        segments=SegmentStore(folder.segments),
        recorder=Recorder(InstanceTable(open_database(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))),
        opened_at=datetime.now(UTC),
    )
    with pytest.raises(StoreError, match=r"store.reserve-reached") as caught:
        reception.begin(EXPLICIT)
    assert caught.value.dimse_status == 0xA700


def test_the_ledger_is_rebuilt_from_the_segments(node: RunningNode, tmp_path: Path) -> None:
    node.send(ct_slice(1), ct_slice(2), mark_object(1, [ct_uid(1)]))
    before = [{name: value for name, value in row.items() if name != "id"} for row in rows(node)]
    engine = open_database(f"sqlite:///{tmp_path / 'new.sqlite'}")
    segments, table = SegmentStore(node.folder.segments), InstanceTable(engine)
    assert recover_instances(segments, table) == 3
    assert recover_instances(segments, table) == 0
    with engine.begin() as connection:
        after = [dict(row) for row in connection.execute(INSTANCES.select()).mappings()]
    engine.dispose()
    assert [{name: value for name, value in row.items() if name != "id"} for row in after] == before


def test_a_node_that_can_make_nothing_ahead_receives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_store: SegmentStore, _now: datetime) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(SegmentStore, "prepare", refuse)
    with receiving_node(tmp_path) as node:
        assert [node.send(ct_slice(number)) for number in (1, 2, 3)] == [[0]] * 3
    assert "nothing made ready for the next association" in caplog.text


def test_what_was_made_ahead_is_gone_after_a_stop_and_after_a_crash(tmp_path: Path) -> None:
    with receiving_node(tmp_path) as node:
        assert node.send(ct_slice(1)) == [0]
        store = SegmentStore(node.folder.segments)
        wait_until(lambda: 0 in store.lengths(RECEIVED).values(), "the next segment")
    lengths = store.lengths(RECEIVED)
    assert len(lengths) == 1 and all(lengths.values())
    store.prepare(datetime.now(UTC))  # by a process that was killed
    assert len(store.lengths(RECEIVED)) == 2
    with receiving_node(tmp_path) as node:
        assert node.send(ct_slice(2)) == [0]
    assert len(store.lengths(RECEIVED)) == 2 and all(store.lengths(RECEIVED).values())


@pytest.mark.peer
def test_dcmtk_sends(node: RunningNode, tmp_path: Path) -> None:
    storescu = shutil.which("storescu", path="/usr/bin")
    if storescu is None:
        pytest.skip("DCMTK's storescu is absent")
    paths = []
    for number in range(1, 6):
        path = tmp_path / f"{number}.dcm"
        ct_slice(number).save_as(path, enforce_file_format=True)
        paths.append(str(path))
    command = [storescu, "-aec", "OSTEOSCRIBE", "127.0.0.1", str(node.port), *paths]
    subprocess.run(command, check=True, timeout=60)
    assert len(rows(node)) == 5
    assert dcmread(paths[0]).SOPInstanceUID in {row["sop_instance_uid"] for row in rows(node)}
