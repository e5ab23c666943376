"""Proof by query: real archives show what they have, and where."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from osteoscribe.app.assure import prove
from osteoscribe.app.deliver import deliver
from osteoscribe.app.desk import Desk
from osteoscribe.app.ports import EncodedObject, Place, StoreReply
from osteoscribe.app.settings import Destination
from osteoscribe.app.work import measure
from osteoscribe.core.delivery import Patience
from osteoscribe.errors import PeerError, RefusedError
from osteoscribe.net import query
from osteoscribe.net.query import STUDY_ROOT_FIND, QueryProver
from osteoscribe.net.scu import StoreSender
from osteoscribe.net.senders import Senders
from osteoscribe.net.stow import StowSender
from osteoscribe.store.segments import MADE
from osteoscribe.store.status import StatusView
from tests.conftest import Program
from tests.fakes.dicom import COMPREHENSIVE_SR, EXPLICIT, ROOT, ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report
from tests.fakes.listening import Listening
from tests.fakes.orthanc import (
    DICOM_PORT,
    DICOMWEB,
    HTTP_PORT,
    inside,
    network_namespace,
    running_orthanc,
)
from tests.fakes.web import WebServer, answer, web_server

PLACE = Place(study_instance_uid=f"{ROOT}.1", series_instance_uid=f"{ROOT}.8", sop_instance_uid=f"{ROOT}.5.1")
PATIENCE = Patience(first_pause_s=5, longest_pause_s=60, give_up_after_s=3600, refusals=3, proof_wait_s=100)


def prover(timeout_s: float = 30.0) -> QueryProver:
    return QueryProver(ae_title="OSTEOSCRIBE", timeout_s=timeout_s)


def match(place: Place, **others: str) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = "IMAGE"
    ds.StudyInstanceUID = place.study_instance_uid
    ds.SeriesInstanceUID = place.series_instance_uid
    ds.SOPInstanceUID = place.sop_instance_uid
    for keyword, value in others.items():
        setattr(ds, keyword, value)
    return ds


Answers = Callable[[Dataset], Iterable[tuple[int, Dataset | None]]]


@contextmanager
def archive(answers: Answers, sop_class: str = STUDY_ROOT_FIND) -> Iterator[Destination]:
    """A query SCP that answers what the test says."""
    ae = AE(ae_title="PACS")
    ae.add_supported_context(sop_class, EXPLICIT)

    def on_find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        yield from answers(event.identifier)

    with Listening(ae, [(evt.EVT_C_FIND, on_find)]) as peer:
        yield Destination(ae_title="PACS", host="127.0.0.1", port=peer.port)


def test_the_query_names_the_object_in_its_study_and_series() -> None:
    keys = []

    def answers(identifier: Dataset) -> Sequence[tuple[int, Dataset | None]]:
        keys.append({one.keyword: one.value for one in identifier})
        return [(0xFF00, match(PLACE))]

    with archive(answers) as destination:
        assert prover().found(destination, [PLACE]) == {PLACE.sop_instance_uid}
    assert keys == [
        {
            "QueryRetrieveLevel": "IMAGE",
            "StudyInstanceUID": PLACE.study_instance_uid,
            "SeriesInstanceUID": PLACE.series_instance_uid,
            "SOPInstanceUID": PLACE.sop_instance_uid,
        }
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"StudyInstanceUID": "1.2.3"},
        {"SeriesInstanceUID": "1.2.3"},
        {"SOPInstanceUID": "1.2.3"},
        {"SOPInstanceUID": ""},
    ],
)
def test_a_match_in_another_place_proves_nothing(wrong: dict[str, str]) -> None:
    with archive(lambda _keys: [(0xFF00, match(PLACE, **wrong))]) as destination:
        assert prover().found(destination, [PLACE]) == frozenset()


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0xFE00, 0x0122])
def test_a_query_that_fails_says_nothing_about_the_object(status: int) -> None:
    with (
        archive(lambda _keys: [(0xFF00, match(PLACE)), (status, None)]) as destination,
        pytest.raises(PeerError, match=rf"peer.query-refused.*0x{status:04X}"),
    ):
        prover().found(destination, [PLACE])


@pytest.mark.slow
def test_an_archive_that_lists_everything_is_not_listened_to_for_ever() -> None:
    others = [(0xFF00, match(PLACE, SOPInstanceUID=f"1.2.{number}")) for number in range(1200)]
    with (
        archive(lambda _keys: others) as destination,
        pytest.raises(PeerError, match=r"peer.query-refused.*over 1000"),
    ):
        prover().found(destination, [PLACE])


def test_an_archive_that_takes_its_time_over_each_match_is_not_listened_to_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All its matches would take ten seconds."""
    monkeypatch.setattr(query, "_SILENCES", 0.01)

    def slowly(_keys: Dataset) -> Iterator[tuple[int, Dataset | None]]:
        for number in range(100):
            time.sleep(0.1)
            yield 0xFF00, match(PLACE, SOPInstanceUID=f"1.2.{number}")

    with (
        archive(slowly) as destination,
        pytest.raises(PeerError, match=r"peer.silent.*no end of the answers"),
    ):
        prover().found(destination, [PLACE])


def test_an_archive_without_queries_is_refused_for_good() -> None:
    with (
        archive(lambda _keys: [], sop_class=COMPREHENSIVE_SR) as destination,
        pytest.raises(RefusedError, match=r"peer.no-context"),
    ):
        prover().found(destination, [PLACE])


def web(server: WebServer) -> Destination:
    return Destination(name="web", url=f"http://127.0.0.1:{server.port}/dicom-web")


def shown(study: str = PLACE.study_instance_uid, instance: str = PLACE.sop_instance_uid) -> bytes:
    values = {"0020000D": study, "0020000E": PLACE.series_instance_uid, "00080018": instance}
    return json.dumps([{tag: {"vr": "UI", "Value": [uid]} for tag, uid in values.items()}]).encode()


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, shown(), True),
        (200, shown(study="1.2.3"), False),
        (200, shown(instance="1.2.3"), False),
        (200, b"[]", False),
        (200, b"", False),
        (200, b'[5, {"00080018": "x"}]', False),
        (204, b"", False),
        (404, b"", False),
    ],
)
def test_a_web_search_finds_only_what_is_in_its_place(status: int, body: bytes, found: bool) -> None:
    with web_server(lambda _request: answer(status, body)) as server:
        assert prover().found(web(server), [PLACE]) == ({PLACE.sop_instance_uid} if found else frozenset())
    path = f"/dicom-web/studies/{PLACE.study_instance_uid}/series/{PLACE.series_instance_uid}/instances"
    assert server.requests[0].line == f"GET {path}?SOPInstanceUID={PLACE.sop_instance_uid} HTTP/1.1"


@pytest.mark.parametrize(
    ("status", "body", "code", "is_for_good"),
    [
        (200, b"<html>", "peer.answer-unreadable", False),
        (500, b"", "peer.http-error", False),
        (401, b"", "peer.http-refused", True),
    ],
)
def test_a_web_search_that_fails_says_nothing_about_the_object(
    status: int, body: bytes, code: str, is_for_good: bool
) -> None:
    with (
        web_server(lambda _request: answer(status, body)) as server,
        pytest.raises(PeerError, match=code) as caught,
    ):
        prover().found(web(server), [PLACE])
    assert isinstance(caught.value, RefusedError) is is_for_good


class Bench:
    """A job on its way to an archive that is queried afterwards, and a clock that the test moves."""

    def __init__(self, folder: Path, destination: Destination) -> None:
        self.ledger = FilledLedger(folder)
        self.now = START + timedelta(seconds=2)
        self.destination = dataclasses.replace(destination, prove_by_query=True)
        self.ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
        (self.key,) = self.ledger.plan(1)
        segment = self.ledger.segments.writer(MADE, START)
        measure(
            self.key,
            ledger=self.ledger.jobs,
            pipeline=one_report,
            segment=segment,
            destinations_for=lambda _calling: [self.destination],
            now=lambda: self.now,
        )
        segment.close()
        self.desk = Desk(
            name=self.destination.name,
            destination_named=lambda _name: self.destination,
            ledger=self.ledger.jobs,
            patience=PATIENCE,
            now=lambda: self.now,
        )

    def deliver(self, sender: Any) -> float | None:
        return deliver(self.key, self.desk, sender=sender, read=self.ledger.segments.read_bytes)

    def prove(self) -> None:
        assert prove(self.key, self.desk, prover=prover(), read=self.ledger.segments.read_bytes) is None

    @property
    def state(self) -> tuple[str, str, bool]:
        jobs = self.ledger.jobs
        proof = jobs.proof(self.key, self.destination.name)
        proved = proof is not None and proof.proved_at is not None
        return jobs.state(self.key), jobs.delivery(self.key, self.destination.name).state, proved


class Forgetful:
    """Says that it stored everything."""

    def send(self, _destination: Destination, objects: Sequence[EncodedObject]) -> list[StoreReply]:
        return [StoreReply(sop_instance_uid=one.sop_instance_uid, status=0) for one in objects]


@contextmanager
def bench(folder: Path, destination: Destination) -> Iterator[Bench]:
    one = Bench(folder, destination)
    try:
        yield one
    finally:
        one.ledger.engine.dispose()


def test_a_report_that_comes_into_sight_later_is_proved(tmp_path: Path) -> None:
    visible: list[tuple[int, Dataset]] = []
    with archive(lambda _keys: visible) as destination, bench(tmp_path, destination) as one:
        assert one.ledger.jobs.due_proofs(one.now) == (), "not before it is stored"
        one.deliver(Forgetful())
        assert one.state == ("measured", "stored", False), "not at its end before it is proved"
        pauses = []
        for _ in range(3):
            (proof,) = one.ledger.jobs.due_proofs(one.now)
            one.prove()
            after = one.ledger.jobs.proof(one.key, destination.name)
            assert after is not None
            assert after.due_at is not None
            assert (after.code, after.looks) == ("peer.not-found-in-study", proof.looks + 1)
            assert one.ledger.jobs.due_proofs(one.now) == ()
            pauses.append((after.due_at - one.now).total_seconds())
            one.now = after.due_at
        assert pauses == [5, 10, 20]
        (stored,) = one.ledger.jobs.objects(one.key)
        visible.append((0xFF00, match(dataclasses.replace(PLACE, sop_instance_uid=stored.sop_instance_uid))))
        one.prove()
        assert one.state == ("done", "stored", True)
        assert one.ledger.jobs.due_proofs(one.now + timedelta(days=1)) == ()
        (shown,) = StatusView(one.ledger.engine).jobs()
        assert shown["deliveries"][0]["proved_at"].startswith("2026-11-22T12:00:37")


def test_a_report_that_stays_out_of_sight_is_parked_and_sent_again_by_retry(tmp_path: Path) -> None:
    with archive(lambda _keys: []) as destination, bench(tmp_path, destination) as one:
        one.deliver(Forgetful())
        while one.state[1] == "stored":
            one.prove()
            one.now += timedelta(seconds=30)
        assert one.state == ("parked", "parked", False)
        delivery = one.ledger.jobs.delivery(one.key, destination.name)
        (stored,) = one.ledger.jobs.objects(one.key)
        assert delivery.code == "peer.not-found-in-study"
        assert f"{stored.sop_instance_uid} is not in series {PLACE.series_instance_uid}" in delivery.message
        assert one.now < START + timedelta(seconds=200)


def test_an_archive_that_cannot_be_queried_parks_or_waits(tmp_path: Path) -> None:
    with (
        archive(lambda _keys: [], sop_class=COMPREHENSIVE_SR) as destination,
        bench(tmp_path, destination) as one,
    ):
        one.deliver(Forgetful())
        one.prove()
        assert one.state == ("parked", "parked", False)
        assert one.ledger.jobs.delivery(one.key, destination.name).code == "peer.no-context"
    (tmp_path / "b").mkdir()
    with bench(tmp_path / "b", destination) as one:
        one.deliver(Forgetful())
        one.now += timedelta(seconds=200)
        one.prove()
        assert one.state == ("measured", "stored", False), "an archive that is away is waited for"
        one.now += timedelta(hours=2)
        one.prove()
        assert one.state == ("parked", "parked", False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dimse", "web"])
def test_a_real_archive_proves_what_it_has_and_not_what_it_lost(
    tmp_path: Path, program: Program, kind: str
) -> None:
    if not DICOMWEB.exists():
        pytest.skip("outside program absent: Orthanc's DICOMweb plugin")
    dimse = Destination(ae_title="ORTHANC", host="127.0.0.1", port=DICOM_PORT)
    there = Destination(url=f"http://127.0.0.1:{HTTP_PORT}/dicom-web") if kind == "web" else dimse
    sender = Senders(dimse=StoreSender(ae_title="OSTEOSCRIBE", timeout_s=30), web=StowSender(timeout_s=30))
    (tmp_path / "ledger").mkdir()
    programs = (program("Orthanc"), program("curl"))
    with (
        network_namespace() as prefix,
        running_orthanc(*programs, prefix, tmp_path / "orthanc", plugins=[str(DICOMWEB)]) as orthanc,
        bench(tmp_path / "ledger", there) as one,
    ):
        one.deliver(Forgetful())
        inside(prefix, one.prove)
        proof = one.ledger.jobs.proof(one.key, there.name)
        assert proof is not None
        assert proof.code == "peer.not-found-in-study"
        objects = one.ledger.jobs.objects(one.key)
        encoded = [
            EncodedObject(
                sop_class_uid=stored.sop_class_uid,
                sop_instance_uid=stored.sop_instance_uid,
                transfer_syntax_uid=stored.transfer_syntax_uid,
                encoded=one.ledger.segments.read_bytes(stored.blob, 0, stored.blob.length),
            )
            for stored in objects
        ]
        assert [reply.status for reply in inside(prefix, lambda: list(sender.send(there, encoded)))] == [0]
        inside(prefix, one.prove)
        assert one.state == ("done", "stored", True)
        assert len(orthanc.get("instances")) == 1
