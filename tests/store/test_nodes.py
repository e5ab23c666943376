"""Nodes that share a ledger and a folder of segments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from osteoscribe.app.ports import EncodedObject, Envelope, StoreReply
from osteoscribe.app.watch import Heartbeat
from osteoscribe.app.work import deliver, measure
from osteoscribe.core.delivery import Patience
from osteoscribe.core.digest import new_digest
from osteoscribe.errors import PeerError, SetupError
from osteoscribe.store.identity import identity_of, node_name
from osteoscribe.store.nodes import NodeTable
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.segments import RECEIVED, SegmentStore, node_of
from osteoscribe.store.status import StatusView
from tests.fakes.dicom import EXPLICIT, ct_slice, ct_uid, encode, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report

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
        writer.append([encoded], envelope, new_digest(encoded).digest())
    writer.close()
    assert node_of(writer.name) == "a"
    table = ledger.instances
    assert recover_instances(ledger.segments, table, of=lambda node: node == "b") == 0
    assert recover_instances(ledger.segments, table, of=lambda node: node != "b") == 2
    table.close_segments(lambda node: node != "b")
    assert len(ledger.plan(0.5)) == 1, "its segment counts as closed: nothing more is waited for"
    assert recover_instances(dead, table) == 0, "the node itself comes back"
    ledger.receive(1, ct_slice(1), mark_object(1, [ct_uid(1)]))
    assert StatusView(ledger.engine).counts()["instances"] == 2


def test_who_was_taken_for_dead_does_not_undo_a_delivery(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    (key,) = ledger.plan(10)
    to, later = "PACS@127.0.0.1:104", START + timedelta(seconds=20)
    segment = ledger.segments.writer("made", START)
    measure(
        key,
        ledger=ledger.jobs,
        pipeline=one_report,
        segment=segment,
        destinations_for=lambda _calling: [to],
        now=lambda: later,
    )
    segment.close()

    class Archive:
        """Takes everything; while the first sender waits for its answer, another worker comes and goes."""

        def __init__(self) -> None:
            self.calls = 0

        def send(self, destination: str, objects: Sequence[EncodedObject]) -> tuple[StoreReply, ...]:
            self.calls += 1
            if self.calls == 1:
                assert try_to_deliver() is None, "the other worker stores it"
                raise PeerError("peer.silent", "found no answer")
            return tuple(StoreReply(sop_instance_uid=one.sop_instance_uid, status=0) for one in objects)

    archive = Archive()
    patience = Patience(
        first_pause_s=1, longest_pause_s=2, give_up_after_s=60, refusals=2, ask_commitment=False,
        commitment_wait_s=1, commitment_asks=1,
    )  # fmt: skip

    def try_to_deliver() -> float | None:
        return deliver(
            key,
            to,
            ledger=ledger.jobs,
            sender=archive,
            read=ledger.segments.read_bytes,
            patience=patience,
            now=lambda: later,
        )

    assert try_to_deliver() is not None, "it would try again"
    assert ledger.jobs.delivery(key, to).state == "stored"
    assert ledger.jobs.state(key) == "done"
    assert try_to_deliver() is None
    assert archive.calls == 2


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
