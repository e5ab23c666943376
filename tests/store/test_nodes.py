"""Nodes that share a ledger and a folder of segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from osteoscribe.app.ports import Envelope
from osteoscribe.app.settings import StoreSettings
from osteoscribe.app.watch import Heartbeat
from osteoscribe.errors import SetupError, StoreError
from osteoscribe.store.folder import open_folder
from osteoscribe.store.identity import identity_of, node_name
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.nodes import NodeTable
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.schema import open_database
from osteoscribe.store.segments import RECEIVED, SegmentStore, node_of
from osteoscribe.store.status import StatusView
from osteoscribe.store.turns import Turns
from tests.fakes.dicom import EXPLICIT, ct_slice, ct_uid, encode, mark_object
from tests.fakes.ledger import START, FilledLedger

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.peer])])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FilledLedger]:
    url = request.getfixturevalue("new_postgresql")() if request.param == "postgresql" else ""
    filled = FilledLedger(tmp_path, url)
    yield filled
    filled.engine.dispose()


def beat(name: str, folder_id: str = "", store_id: str = "shared") -> Heartbeat:
    return Heartbeat(name=name, folder_id=folder_id or f"folder-{name}", store_id=store_id, workers=1)


def never(_seconds: float) -> None:
    raise AssertionError("nothing to wait for")


def test_nodes_see_each_other_beat_and_leave(ledger: FilledLedger) -> None:
    nodes = NodeTable(ledger.engine)
    for name in ("a", "b"):
        nodes.register(beat(name), NOW, patience_s=20, pause=never)
    before = nodes.heartbeats()
    nodes.beat("b", NOW)
    after = nodes.heartbeats()
    assert (after["a"], after["b"].beats) == (before["a"], before["b"].beats + 1)
    nodes.leave("b")
    assert set(nodes.heartbeats()) == {"a"}
    nodes.beat("b", NOW)
    assert set(nodes.heartbeats()) == {"a"}, "who left is not back by a late beat"


def test_a_node_that_starts_again_need_not_wait(ledger: FilledLedger) -> None:
    nodes = NodeTable(ledger.engine)
    for _ in range(2):
        nodes.register(beat("a"), NOW, patience_s=20, pause=never)


def test_two_living_nodes_cannot_have_one_name(ledger: FilledLedger) -> None:
    nodes = NodeTable(ledger.engine)
    nodes.register(beat("a", "first"), NOW, patience_s=20, pause=never)
    with pytest.raises(SetupError, match=r"node.name-in-use"):
        nodes.register(beat("a", "second"), NOW, patience_s=20, pause=lambda _s: nodes.beat("a", NOW))
    nodes.register(beat("a", "second"), NOW, patience_s=20, pause=lambda _s: None)
    assert nodes.heartbeats()["a"].folder_id == "second", "the first one had died"


def test_nodes_must_share_their_segments(ledger: FilledLedger) -> None:
    nodes = NodeTable(ledger.engine)
    nodes.register(beat("a"), NOW, patience_s=20, pause=never)
    with pytest.raises(SetupError, match=r"store.not-shared.*'a'"):
        nodes.register(beat("b", store_id="own"), NOW, patience_s=20, pause=lambda _s: nodes.beat("a", NOW))
    nodes.register(beat("b", store_id="own"), NOW, patience_s=20, pause=lambda _s: None)


def test_what_a_dead_node_stored_is_recorded_by_another_and_not_doubled(ledger: FilledLedger) -> None:
    dead = SegmentStore(ledger.segments.folder, "a")
    writer = dead.writer(RECEIVED, START)
    for ds in (ct_slice(1), mark_object(1, [ct_uid(1)])):
        encoded = encode(ds)
        envelope = Envelope(
            sop_class_uid=ds.SOPClassUID,
            sop_instance_uid=ds.SOPInstanceUID,
            transfer_syntax_uid=EXPLICIT,
            calling_ae="SENDER",
            received_at=START,
        )
        writer.append([encoded], envelope)
    writer.close()
    assert node_of(writer.name) == "a"
    table = ledger.instances
    assert recover_instances(ledger.segments, table, of=lambda name: node_of(name) == "b") == 0
    assert recover_instances(ledger.segments, table, of=lambda name: node_of(name) != "b") == 2
    table.close_segments(lambda name: node_of(name) != "b")
    assert len(ledger.plan(0.5)) == 1, "its segment counts as closed: nothing more is waited for"
    assert recover_instances(dead, table) == 0, "the node itself comes back"
    ledger.receive(1, ct_slice(1), mark_object(1, [ct_uid(1)]))
    assert StatusView(ledger.engine).counts()["instances"] == 2


def test_a_name_is_made_of_the_host_and_can_be_part_of_a_file_name() -> None:
    assert node_name("site-a.1") == "site-a.1"
    assert node_name("")
    for wrong in ("Site", "-a", "a/b", "a b", "x" * 33):
        with pytest.raises(SetupError, match=r"settings.wrong-value"):
            node_name(wrong)


def test_a_folder_keeps_its_identity(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert identity_of(tmp_path, "id") == identity_of(tmp_path, "id")
    assert identity_of(tmp_path, "id") != identity_of(tmp_path / "other", "id")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["id", "other"]


@pytest.mark.slow
@pytest.mark.peer
def test_the_sessions_of_a_dead_node_are_ended_with_all_they_hold(
    tmp_path: Path, new_postgresql: Callable[[], str]
) -> None:
    url = new_postgresql()
    folders = {
        name: open_folder(StoreSettings(folder=tmp_path / name, ledger_url=url), name) for name in ("a", "b")
    }
    databases = {name: open_database(folder.ledger_url) for name, folder in folders.items()}
    turn = Turns(folders["a"]).at("PACS")
    turn.__enter__()
    stopped = databases["a"].connect()
    stopped.begin()
    stopped.execute(sa.select(sa.literal(1)))
    nodes = NodeTable(databases["b"])
    nodes.fence(["a"])
    # Neither the writers' lock nor the turn of the stopped node is in the way now.
    nodes.register(beat("b"), NOW, patience_s=0, pause=never)
    InstanceTable(databases["b"]).close_segments(lambda _name: True)
    with Turns(folders["b"]).at("PACS"):
        pass
    with pytest.raises(StoreError, match=r"store\.locked"):
        stopped.execute(sa.select(sa.literal(1)))
    stopped.close()
    turn.__exit__(None, None, None)
    for database in databases.values():
        database.dispose()
