"""What an administrator sees of the destinations, and how they are tried."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt

from osteoscribe.app.ports import Reach
from osteoscribe.app.work import measure
from osteoscribe.cli.main import main
from osteoscribe.store.metrics import metrics_text
from osteoscribe.store.segments import MADE
from tests.fakes.dicom import EXPLICIT, ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place
from tests.fakes.listening import Listening
from tests.fakes.processes import free_port
from tests.fakes.web import answer, web_server

Run = Callable[..., Any]
COMPREHENSIVE_3D_SR, BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.11"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[FilledLedger]:
    """One job that goes to two archives."""
    filled = FilledLedger(tmp_path)
    filled.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    (key,) = filled.plan(1)
    segment = filled.segments.writer(MADE, START)
    measure(
        key,
        ledger=filled.jobs,
        pipeline=one_report,
        segment=segment,
        destinations_for=lambda _calling: [place("A@h:1"), place("B@h:1")],
        now=lambda: START + timedelta(seconds=2),
    )
    segment.close()
    yield filled
    filled.engine.dispose()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*arguments: str, code: int = 0, as_json: bool = True) -> Any:
        assert main([*arguments, "--data", str(tmp_path), *(["--json"] if as_json else [])]) == code
        out = capsys.readouterr().out
        return json.loads(out) if as_json else out

    return run_command


def fill(ledger: FilledLedger) -> str:
    """A has taken the report; B was not reached three times, and then parked it."""
    jobs, now = ledger.jobs, START + timedelta(seconds=60)
    (key,) = {one.job_key for one in jobs.due_deliveries()}

    jobs.update_delivery(dataclasses.replace(jobs.delivery(key, "A@h:1"), state="stored"), now)
    jobs.update_reach("A@h:1", Reach(reached_at=now))
    jobs.update_reach(
        "B@h:1", Reach(tries=3, due_at=now + timedelta(seconds=20), code="peer.unreachable", message="found")
    )
    return key


def test_status_shows_each_destination_at_a_glance(ledger: FilledLedger, run: Run, tmp_path: Path) -> None:
    fill(ledger)
    taken, away = run("status")["destinations"]
    assert (taken["name"], taken["state"], taken["waiting"], taken["parked"]) == ("A@h:1", "reachable", 0, 0)
    assert taken["last_answer_at"] == "2026-11-22T12:01:00+00:00"
    assert (away["name"], away["state"], away["waiting"], away["failed_tries"]) == ("B@h:1", "resting", 1, 3)
    assert away["oldest_waiting_since"] == "2026-11-22T12:00:02+00:00"
    assert away["next_try_at"] == "2026-11-22T12:01:20+00:00"
    shown = run("status", as_json=False)
    assert "A@h:1                    reachable waiting 0  parked 0" in shown
    assert "oldest since 2026-11-22T12:00:02+00:00  peer.unreachable, failed tries 3" in shown


def test_metrics_say_what_waits_for_each_destination(ledger: FilledLedger, tmp_path: Path) -> None:
    from osteoscribe.app.settings import StoreSettings
    from osteoscribe.store.folder import open_folder

    fill(ledger)
    text = metrics_text(ledger.engine, open_folder(StoreSettings(folder=tmp_path)))
    assert 'osteoscribe_destination_waiting{destination="B@h:1"} 1' in text
    assert 'osteoscribe_destination_up{destination="A@h:1"} 1' in text
    assert 'osteoscribe_destination_up{destination="B@h:1"} 0' in text


def test_jobs_are_listed_by_state_destination_and_code(ledger: FilledLedger, run: Run) -> None:

    key = fill(ledger)
    jobs = ledger.jobs
    jobs.update_delivery(
        dataclasses.replace(jobs.delivery(key, "B@h:1"), state="parked", code="peer.unreachable"), START
    )

    def keys(*arguments: str) -> list[str]:
        return [one["key"] for one in run("jobs", "list", *arguments)]

    assert keys("--state", "stored") == keys("--destination", "A@h:1") == keys("--code", "peer.unreachable")
    assert keys("--state", "parked", "--destination", "B@h:1") == [key]
    assert keys("--state", "parked", "--destination", "A@h:1") == []
    assert keys("--code", "peer.unreach") == []
    assert keys("--destination", "C@h:1") == []
    assert run("jobs", "retry", "--destination", "A@h:1") == []
    assert run("jobs", "retry", "--destination", "B@h:1") == [{"key": key, "done": "queued for delivery"}]
    assert jobs.delivery(key, "B@h:1").state == "queued"
    assert jobs.delivery(key, "A@h:1").state == "stored"


@contextlib.contextmanager
def archive(*sop_classes: str, **options: object) -> Iterator[int]:
    """An archive that takes these classes and answers C-ECHO; its port."""
    ae = AE(ae_title="PACS")
    for sop_class in ("1.2.840.10008.1.1", *sop_classes):
        ae.add_supported_context(sop_class, EXPLICIT)
    for name, value in options.items():
        setattr(ae, name, value)
    handlers: list[Any] = [(evt.EVT_C_ECHO, lambda _event: 0x0000)]
    with Listening(ae, handlers) as peer:
        yield peer.port


# After a refused connection the library leaves its socket to be closed by reference counting.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_echo_says_who_answers_and_what_is_taken(run: Run, tmp_path: Path) -> None:
    nobody = free_port()
    with web_server(lambda _request: answer(200, b"[]")) as server, archive(COMPREHENSIVE_3D_SR) as port:
        config = tmp_path / "osteoscribe.toml"
        config.write_text(
            f'[[destination]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
            f'[[destination]]\nname = "nobody"\nae_title = "X"\nhost = "127.0.0.1"\nport = {nobody}\n'
            f'[[destination]]\nname = "web"\nurl = "http://127.0.0.1:{server.port}/dicom-web"\n'
        )
        pacs, away, web = run("echo", "--config", str(config), code=1)
    assert server.requests[0].line == "GET /dicom-web/studies?limit=1 HTTP/1.1"
    assert pacs["accepts"] == ["verification", "measurement reports"]
    assert pacs["refuses"] == ["text reports", "storage commitment", "query"]
    assert not pacs["is_usable"], "the text reports would be refused"
    assert away["code"] == "peer.unreachable"
    assert (web["accepts"], web["is_usable"]) == (["query"], True)
    with archive(COMPREHENSIVE_3D_SR, BASIC_TEXT_SR) as port:
        peer = f'[[peer]]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
        config.write_text(peer)
        shown = run("echo", "--config", str(config), as_json=False)
    assert "takes verification, measurement reports, text reports; refuses storage commitment" in shown
    with archive(require_calling_aet=["SOMEBODY"]) as port:
        (refused,) = run("echo", f"PACS@127.0.0.1:{port}", code=1)
    assert refused["code"] == "peer.rejected-permanently"
