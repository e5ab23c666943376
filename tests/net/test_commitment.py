"""Storage commitment: the answer on the same association, on a new one, refused, late, or none at all."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from osteoscribe.app.assure import ask_commitment
from osteoscribe.app.deliver import deliver
from osteoscribe.app.desk import Desk
from osteoscribe.app.ports import CommitmentReport, StoredObject
from osteoscribe.app.settings import Destination, NodeSettings
from osteoscribe.app.work import measure
from osteoscribe.bootstrap.worker import SWITCH_S
from osteoscribe.core.delivery import Patience
from osteoscribe.core.series import BlobRef
from osteoscribe.net.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, CommitmentAsker
from osteoscribe.net.scp import Listener
from osteoscribe.net.scu import StoreSender
from osteoscribe.store.segments import MADE
from tests.benchmarks.peers import Archive as PlainArchive
from tests.fakes.dicom import COMPREHENSIVE_SR, EXPLICIT, ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place
from tests.fakes.listening import Listening
from tests.fakes.processes import wait_until
from tests.fakes.sender import associate

PATIENCE = Patience(
    first_pause_s=5,
    longest_pause_s=60,
    give_up_after_s=3600,
    refusals=3,
    commitment_wait_s=100,
    commitment_asks=2,
)


class Archive:
    """An archive that stores, is asked for commitment, and answers as the test says."""

    def __init__(self, status: int = 0x0000, offers_commitment: bool = True) -> None:
        self.ae = AE(ae_title="PACS")
        self.ae.add_supported_context(COMPREHENSIVE_SR, EXPLICIT)
        if offers_commitment:
            self.ae.add_supported_context(PUSH_MODEL, EXPLICIT)
        self.status = status
        self.questions: list[Dataset] = []
        self.answer_at_once: Callable[[Any], None] | None = None
        handlers: list[Any] = [(evt.EVT_C_STORE, lambda _event: 0), (evt.EVT_N_ACTION, self._on_action)]
        self.listening = Listening(self.ae, handlers)
        self.destination = f"PACS@127.0.0.1:{self.listening.port}"

    def _on_action(self, event: evt.Event) -> tuple[int, None]:
        self.questions.append(event.action_information)
        if self.answer_at_once is not None:
            threading.Thread(target=self.answer_at_once, args=(event.assoc,), daemon=True).start()
        return self.status, None


def report_on(question: Dataset, *, failed: bool = False) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = question.TransactionUID
    if failed:
        ds.FailedSOPSequence = question.ReferencedSOPSequence
        for item in ds.FailedSOPSequence:
            item.FailureReason = 0x0112
    else:
        ds.ReferencedSOPSequence = question.ReferencedSOPSequence
    return ds


def asking(name: str) -> Destination:
    return place(name, ask_commitment=True)


class Bench:
    """A job that is delivered to an archive, and a clock that the test moves."""

    def __init__(self, folder: Path, archive: Archive) -> None:
        self.ledger, self.archive = FilledLedger(folder), archive
        self.now = START + timedelta(seconds=2)
        self.ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
        (self.key,) = self.ledger.plan(1)
        segment = self.ledger.segments.writer(MADE, START)
        measure(
            self.key,
            ledger=self.ledger.jobs,
            pipeline=one_report,
            segment=segment,
            destinations_for=lambda _calling: [place(archive.destination)],
            now=lambda: self.now,
        )
        segment.close()
        deliver(
            self.key,
            Desk(
                name=archive.destination,
                destination_named=asking,
                ledger=self.ledger.jobs,
                patience=PATIENCE,
                now=lambda: self.now,
            ),
            sender=StoreSender(ae_title="OSTEOSCRIBE", timeout_s=30),
            read=self.ledger.segments.read_bytes,
        )

    def take(self, report: CommitmentReport) -> bool:
        return self.ledger.jobs.take_commitment(report, self.now)

    def ask(self) -> None:
        wait_s = 30.0 if self.archive.answer_at_once else 0.1
        asker = CommitmentAsker(ae_title="OSTEOSCRIBE", timeout_s=30, take=self.take, answer_wait_s=wait_s)
        ask_commitment(
            self.key,
            Desk(
                name=self.archive.destination,
                destination_named=asking,
                ledger=self.ledger.jobs,
                patience=PATIENCE,
                now=lambda: self.now,
            ),
            committer=asker,
        )

    @property
    def state(self) -> tuple[str, str]:
        jobs = self.ledger.jobs
        return jobs.state(self.key), jobs.delivery(self.key, self.archive.destination).state


@contextmanager
def bench(folder: Path, archive: Archive) -> Iterator[Bench]:
    made = Bench(folder, archive)
    try:
        yield made
    finally:
        archive.listening.stop()
        made.ledger.engine.dispose()


def test_an_answer_on_the_same_association_commits(tmp_path: Path) -> None:
    archive = Archive()
    archive.answer_at_once = lambda assoc: assoc.send_n_event_report(
        report_on(archive.questions[-1]), 1, PUSH_MODEL, PUSH_MODEL_INSTANCE
    )
    with bench(tmp_path, archive) as one:
        assert one.state == ("measured", "stored"), "not at its end before it is committed"
        assert [due.job_key for due in one.ledger.jobs.due_commitments(one.now)] == [one.key]
        one.ask()
        wait_until(lambda: one.state == ("done", "committed"), "the commitment")


@contextmanager
def busy_threads(count: int) -> Iterator[None]:
    """Threads that compute, as in a worker that measures: the others take turns in another order."""
    over, before = threading.Event(), sys.getswitchinterval()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=compute) for _ in range(count)]
    sys.setswitchinterval(SWITCH_S)
    try:
        for thread in threads:
            thread.start()
        yield
    finally:
        sys.setswitchinterval(before)
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_the_association_is_released_only_after_our_response_to_the_report() -> None:
    """Another thread of the library sends that response; a release that overtakes it breaks the protocol."""
    committed: list[str] = []

    def take(report: CommitmentReport) -> bool:
        committed.append(report.transaction_uid)
        return True

    asker = CommitmentAsker(ae_title="OSTEOSCRIBE", timeout_s=60, take=take)
    one = StoredObject(
        sop_class_uid=COMPREHENSIVE_SR,
        sop_instance_uid="1.2.3",
        transfer_syntax_uid=EXPLICIT,
        profile="",
        role="sr",
        blob=BlobRef(segment="", offset=0, length=0),
    )
    uids = [f"1.2.{number}" for number in range(20)]
    with PlainArchive() as archive, busy_threads(2):
        for uid in uids:
            asker.ask(asking(f"PACS@127.0.0.1:{archive.port}"), uid, [one])
        wait_until(lambda: archive.released == len(uids), "every association released in good order")
    assert committed == uids
    assert archive.responses == [0x8100] * len(uids), "each report answered before the release"


def test_an_answer_on_a_new_association_commits_also_after_a_restart(tmp_path: Path) -> None:
    with bench(tmp_path, Archive()) as one:
        one.ask()
        assert one.state == ("measured", "stored")
        listener = Listener(
            NodeSettings(port=0),
            transfer_syntaxes=(EXPLICIT,),
            open_reception=lambda _at: pytest.fail("nothing is stored"),
            take_commitment=one.take,
        )
        port = listener.start()
        try:
            ae = AE(ae_title="PACS")
            ae.add_requested_context(PUSH_MODEL, EXPLICIT)
            role = build_role(PUSH_MODEL, scp_role=True)
            association = associate(ae, port, ext_neg=[role])
            assert association.is_established
            stranger = Dataset()
            stranger.TransactionUID = "1.2.3"
            for information, expected in ((stranger, 0x0112), (report_on(one.archive.questions[-1]), 0x0000)):
                answer, _ = association.send_n_event_report(information, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
                assert answer.Status == expected
            association.release()
        finally:
            listener.stop(1.0)
        assert one.state == ("done", "committed")


def test_a_refused_safekeeping_is_parked_with_its_reason(tmp_path: Path) -> None:
    archive = Archive()
    archive.answer_at_once = lambda assoc: assoc.send_n_event_report(
        report_on(archive.questions[-1], failed=True), 2, PUSH_MODEL, PUSH_MODEL_INSTANCE
    )
    with bench(tmp_path, archive) as one:
        one.ask()
        wait_until(lambda: one.state == ("parked", "parked"), "the refusal")
        assert "0x0112" in one.ledger.jobs.delivery(one.key, archive.destination).message


def test_silence_is_asked_again_with_a_new_transaction_and_then_parked(tmp_path: Path) -> None:
    with bench(tmp_path, Archive()) as one:
        one.ask()
        one.ask()
        assert len(one.archive.questions) == 1, "not asked again before its time"
        for _ in range(2):
            one.now += timedelta(seconds=101)
            one.ask()
        assert len({question.TransactionUID for question in one.archive.questions}) == 2
        assert one.state == ("parked", "parked")


def test_an_archive_without_commitment_is_parked_with_the_way_out(tmp_path: Path) -> None:
    with bench(tmp_path, Archive(offers_commitment=False)) as one:
        one.ask()
        delivery = one.ledger.jobs.delivery(one.key, one.archive.destination)
        assert (delivery.state, delivery.code) == ("parked", "peer.no-context")


def test_an_archive_that_does_not_take_the_question_now_is_asked_later(tmp_path: Path) -> None:
    with bench(tmp_path, Archive(status=0x0213)) as one:
        one.ask()
        delivery = one.ledger.jobs.delivery(one.key, one.archive.destination)
        assert (delivery.state, delivery.asks) == ("stored", 0)
        assert delivery.due_at == one.now + timedelta(seconds=5)
