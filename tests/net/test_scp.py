"""The listener over real loopback associations."""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE

from osteoscribe.app.settings import NodeSettings, Settings, StoreSettings
from osteoscribe.bootstrap.node import open_listener
from osteoscribe.errors import SetupError
from osteoscribe.net.scp import Listener
from osteoscribe.store.folder import open_folder
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.planning import PlanTable
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.schema import INSTANCES, open_database
from osteoscribe.store.segments import SegmentStore
from tests.fakes.dicom import CT, EXPLICIT, ct_slice, ct_uid, encode, mark_object
from tests.fakes.node import RunningNode, receiving_node, store_raw


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with receiving_node(tmp_path / "data") as running:
        yield running


def rows(node: RunningNode) -> list[dict[str, object]]:
    engine = open_database(node.folder.ledger_url)
    try:
        with engine.begin() as connection:
            return [dict(row) for row in connection.execute(INSTANCES.select()).mappings()]
    finally:
        engine.dispose()


def test_echo_is_answered(node: RunningNode) -> None:
    ae = AE()
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", node.port)
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
        assert hashlib.sha256(stored[row["sop_instance_uid"]]).hexdigest() == row["sha256"]
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
    assert [mark.sha256 for mark in marks] == [hashlib.sha256(encode(changed)).hexdigest()]


def test_unknown_sop_class_is_refused_at_negotiation_and_logged(
    node: RunningNode, caplog: pytest.LogCaptureFixture
) -> None:
    ae = AE()
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.4")
    ae.add_requested_context(CT)
    with caplog.at_level(logging.INFO):
        association = ae.associate("127.0.0.1", node.port)
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


def test_associations_that_store_are_rejected_below_the_disk_reserve(tmp_path: Path) -> None:
    settings = Settings(
        node=NodeSettings(port=0), store=StoreSettings(folder=tmp_path / "data", reserve_mb=9e8)
    )
    listener = open_listener(settings, open_folder(settings.store))
    port = listener.start()
    try:
        for sop_class, wanted in ((CT, (2, 3, 1)), ("1.2.840.10008.1.1", None)):
            ae = AE()
            ae.add_requested_context(sop_class)
            association = ae.associate("127.0.0.1", port)
            if wanted is None:
                assert association.send_c_echo().Status == 0x0000
                association.release()
            else:
                assert association.is_rejected
                answer = association.acceptor.primitive
                assert (answer.result, answer.result_source, answer.diagnostic) == wanted  # type: ignore[union-attr]
    finally:
        listener.stop(1.0)


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
