"""Storage commitment as SCP: asked by real peers, answered from the ledger, on an association of our own."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from osteoscribe.app.safekeep import answer_question
from osteoscribe.app.settings import PeerSettings, Settings
from osteoscribe.core.delivery import Patience
from osteoscribe.net.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from osteoscribe.net.safekeeping import SafekeepingReporter
from osteoscribe.store.questions import MOST_OPEN, QuestionTable
from osteoscribe.store.schema import open_database
from tests.conftest import Program
from tests.fakes.dicom import EXPLICIT, ROOT, ct_slice
from tests.fakes.listening import Listening
from tests.fakes.node import RunningNode, receiving_node
from tests.fakes.orthanc import DICOM_PORT, NODE_PORT, inside, network_namespace, running_orthanc
from tests.fakes.processes import NodeProcess, free_port, running_node, wait_until
from tests.fakes.sender import associate

CT = "1.2.840.10008.5.1.4.1.1.2"
PATIENCE = Patience(first_pause_s=5, longest_pause_s=60, give_up_after_s=3600, refusals=3)


class Asker:
    """A peer that sends, asks for storage commitment, and listens for the report."""

    def __init__(self, *, offers_model: bool = True, answers: int = 0x0000) -> None:
        self.port = free_port()
        self.reports: list[tuple[int, Dataset]] = []
        self._offered = PUSH_MODEL if offers_model else CT
        self._answers = answers
        self._listening: Listening | None = None

    def listen(self) -> None:
        ae = AE(ae_title="MODALITY")
        ae.add_supported_context(self._offered, EXPLICIT, scu_role=True, scp_role=True)

        def on_report(event: evt.Event) -> tuple[int, None]:
            self.reports.append((int(event.event_type), event.event_information))
            return self._answers, None

        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, on_report)]
        self._listening = Listening(ae, handlers, self.port)

    def deafen(self) -> None:
        if self._listening is not None:
            self._listening.stop()
            self._listening = None

    @property
    def settings(self) -> PeerSettings:
        return PeerSettings(ae_title="MODALITY", host="127.0.0.1", port=self.port)

    def ask(
        self,
        port: int,
        objects: Sequence[tuple[str, str]],
        *,
        transaction_uid: str = f"{ROOT}.77.1",
        store: Sequence[Dataset] = (),
        ae_title: str = "MODALITY",
        action_type: int = 1,
        instance: str = PUSH_MODEL_INSTANCE,
    ) -> Dataset:
        """Send over one association, then ask over the same; the status of the question."""
        ae = AE(ae_title=ae_title)
        ae.add_requested_context(PUSH_MODEL, EXPLICIT)
        for ds in store:
            ae.add_requested_context(ds.SOPClassUID, EXPLICIT)
        association = associate(ae, port)
        assert association.is_established
        try:
            for ds in store:
                assert association.send_c_store(ds).Status == 0x0000
            status, _ = association.send_n_action(
                question(transaction_uid, objects), action_type, PUSH_MODEL, instance
            )
        finally:
            association.release()
        return status


def question(transaction_uid: str, objects: Sequence[tuple[str, str]]) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = []
    for sop_class_uid, sop_instance_uid in objects:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        ds.ReferencedSOPSequence.append(item)
    return ds


@contextlib.contextmanager
def listening(asker: Asker) -> Iterator[Asker]:
    asker.listen()
    try:
        yield asker
    finally:
        asker.deafen()


class Answering:
    """The worker's side of a node, with a clock that the test moves."""

    def __init__(self, node: RunningNode, *peers: PeerSettings) -> None:
        self.table = QuestionTable(open_database(node.folder.ledger_url))
        self._settings = Settings(peer=peers)
        self.later_s = 0.0

    def wait_for(self, datasets: Sequence[Dataset]) -> None:
        """Until the ledger knows what was sent: it learns of it in batches."""
        uids = [str(ds.SOPInstanceUID) for ds in datasets]
        wait_until(lambda: len(self.table.classes_of(uids)) == len(uids), "the ledger")

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.later_s)

    def run(self) -> int:
        """Try what is due; how much that was."""
        due = self.table.due_questions(self.now())
        for one in due:
            wait_s = answer_question(
                one.calling_ae,
                one.transaction_uid,
                ledger=self.table,
                reporter=SafekeepingReporter(ae_title="OSTEOSCRIBE", timeout_s=30),
                peer_named=self._settings.peer_named,
                patience=PATIENCE,
                now=self.now,
            )
            assert wait_s is None
        return len(due)


@pytest.mark.usefixtures("receiving_path")
def test_what_is_kept_is_confirmed_and_what_is_not_is_named(tmp_path: Path) -> None:
    slices = [ct_slice(number) for number in (1, 2)]
    kept = [(CT, str(ds.SOPInstanceUID)) for ds in slices]
    asker = Asker()
    with receiving_node(tmp_path, peers=[asker.settings]) as node, listening(asker):
        answering = Answering(node, asker.settings)
        assert asker.ask(node.port, kept, store=slices).Status == 0x0000
        answering.wait_for(slices)
        assert answering.run() == 1
        wrong = [(CT, "1.2.3.4"), ("1.2.840.10008.5.1.4.1.1.4", kept[1][1])]
        status = asker.ask(node.port, [kept[0], *wrong], transaction_uid=f"{ROOT}.77.2")
        assert status.Status == 0x0000
        assert answering.run() == 1
        assert len(asker.reports) == 1, "what is missing may still be on its way"
        answering.later_s += 11
        assert answering.run() == 1
        assert answering.run() == 0
    (first_type, first), (second_type, second) = asker.reports
    assert (first_type, second_type) == (1, 2)
    assert first.TransactionUID == f"{ROOT}.77.1"
    assert "FailedSOPSequence" not in first
    listed = [
        (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID) for one in first.ReferencedSOPSequence
    ]
    assert listed == kept
    assert [one.ReferencedSOPInstanceUID for one in second.ReferencedSOPSequence] == [kept[0][1]]
    assert {one.ReferencedSOPInstanceUID: one.FailureReason for one in second.FailedSOPSequence} == {
        "1.2.3.4": 0x0112,
        kept[1][1]: 0x0119,
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"ae_title": "STRANGER"}, 0x0124),
        ({"action_type": 7}, 0x0123),
        ({"instance": "1.2.3"}, 0x0112),
        ({"transaction_uid": ""}, 0x0115),
        ({"objects": []}, 0x0115),
        ({"objects": [(CT, "../../etc/passwd")]}, 0x0115),
        ({"objects": [("x", "1.2.3")]}, 0x0115),
        ({"objects": [(CT, f"1.2.{number}") for number in range(10_001)]}, 0x0213),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_with_its_status(
    tmp_path: Path, asked: dict[str, Any], expected: int
) -> None:
    asker = Asker()
    with receiving_node(tmp_path, peers=[asker.settings], allowed_calling_aes=["*"]) as node:
        with disable_value_validation():
            status = asker.ask(node.port, **{"objects": [(CT, "1.2.3")], **asked})
        assert status.Status == expected
        if expected == 0x0124:
            assert "peer" in status.ErrorComment
        assert Answering(node).run() == 0


def test_a_peer_that_does_not_listen_is_tried_again_and_given_up_at_last(tmp_path: Path) -> None:
    slices = [ct_slice(1)]
    kept = [(CT, str(slices[0].SOPInstanceUID))]
    asker = Asker()
    with receiving_node(tmp_path, peers=[asker.settings]) as node:
        answering = Answering(node, asker.settings)
        assert asker.ask(node.port, kept, store=slices).Status == 0x0000
        answering.wait_for(slices)
        for tries, pause_s in enumerate((5, 10, 20), start=1):
            began = answering.now()
            assert answering.run() == 1
            ended = answering.now()
            found = answering.table.question("MODALITY", f"{ROOT}.77.1")
            assert found is not None
            assert found.due_at is not None
            assert (found.tries, found.code) == (tries, "peer.unreachable")
            assert began <= found.due_at - timedelta(seconds=pause_s) <= ended
            assert not answering.table.due_questions(began), "not before its time"
            answering.later_s += pause_s
        answering.later_s += 7200
        assert (answering.run(), answering.run()) == (1, 0)
        assert asker.ask(node.port, kept).Status == 0x0000, "asked again, it is answered again"
        with listening(asker):
            assert (answering.run(), answering.run()) == (1, 0)
            assert [kind for kind, _ in asker.reports] == [1]


@pytest.mark.parametrize(
    ("asker", "code", "is_over"),
    [
        (Asker(offers_model=False), "peer.no-context", True),
        (Asker(answers=0x0112), "peer.report-refused", True),
        (Asker(answers=0x0110), "peer.report-refused", False),
    ],
)
def test_a_peer_that_does_not_take_the_report(tmp_path: Path, asker: Asker, code: str, is_over: bool) -> None:
    with receiving_node(tmp_path, peers=[asker.settings]) as node, listening(asker):
        answering = Answering(node, asker.settings)
        slices = [ct_slice(1)]
        asker.ask(node.port, [(CT, str(slices[0].SOPInstanceUID))], store=slices)
        answering.wait_for(slices)
        answering.run()
        found = answering.table.question("MODALITY", f"{ROOT}.77.1")
    assert found is not None
    assert (found.code, found.due_at is None) == (code, is_over)


@pytest.mark.slow
def test_there_is_an_end_to_how_many_questions_wait(tmp_path: Path) -> None:
    asker = Asker()
    with receiving_node(tmp_path, peers=[asker.settings]) as node:
        table = Answering(node).table
        assert asker.ask(node.port, [(CT, "1.2.3")]).Status == 0x0000
        first = table.question("MODALITY", f"{ROOT}.77.1")
        assert first is not None
        for number in range(MOST_OPEN - 1):
            assert table.take(dataclasses.replace(first, transaction_uid=f"1.2.{number}"))
        assert asker.ask(node.port, [(CT, "1.2.3")], transaction_uid="1.2.3.4").Status == 0x0213
        assert asker.ask(node.port, [(CT, "1.2.3")]).Status == 0x0000, "a known one is taken"


@pytest.mark.slow
def test_a_question_is_answered_after_the_node_was_killed(tmp_path: Path) -> None:
    slices = [ct_slice(number) for number in (1, 2)]
    kept = [(CT, str(ds.SOPInstanceUID)) for ds in slices]
    asker = Asker()
    settings = (
        "[delivery]\nfirst_pause_s = 0.2\nlongest_pause_s = 1.0\n[store]\nreserve_mb = 1.0\n"
        f'[[peer]]\nae_title = "MODALITY"\nhost = "127.0.0.1"\nport = {asker.port}\n'
    )
    node = NodeProcess(tmp_path / "node", settings=settings)
    try:
        assert asker.ask(node.port, kept, store=slices).Status == 0x0000
        node.kill()
        node.start()
        asker.listen()
        wait_until(lambda: bool(asker.reports), "the report")
        ((kind, report),) = asker.reports
        assert kind == 1
        assert len(report.ReferencedSOPSequence) == 2
        wait_until(lambda: node.status()["safekeeping"] == {"answered": 1}, "the record")
    finally:
        node.kill()
        asker.deafen()


@pytest.mark.slow
def test_orthanc_asks_and_understands_the_answer(tmp_path: Path, program: Program) -> None:
    settings = (
        "[store]\nreserve_mb = 1.0\n"
        f'[[peer]]\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {DICOM_PORT}\n'
    )
    programs = (program("Orthanc"), program("curl"))
    kept = str(ct_slice(1).SOPInstanceUID)
    with (
        network_namespace() as prefix,
        running_orthanc(*programs, prefix, tmp_path / "orthanc") as orthanc,
        running_node(tmp_path / "node", settings=settings, prefix=prefix, port=NODE_PORT),
    ):
        modality = Asker()
        status = inside(
            prefix, lambda: modality.ask(NODE_PORT, [(CT, kept)], store=[ct_slice(1)], ae_title="OTHER")
        )
        assert status.Status == 0x0124, "stored, but its address is not known"
        body = {"DicomInstances": [{"SOPClassUID": CT, "SOPInstanceUID": uid} for uid in (kept, "1.2.3.4")]}
        asked = orthanc.post("modalities/osteoscribe/storage-commitment", body)

        def report() -> dict[str, Any]:
            return dict(orthanc.get(asked["Path"].lstrip("/")))

        wait_until(lambda: report()["Status"] != "Pending", "the report")
        found = report()
        assert found["Status"] == "Failure"
        assert [one["SOPInstanceUID"] for one in found["Success"]] == [kept]
        ((failed),) = found["Failures"]
        assert (failed["SOPInstanceUID"], failed["FailureReason"]) == ("1.2.3.4", 0x0112)
