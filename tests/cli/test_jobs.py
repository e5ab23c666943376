"""What an administrator sees and does from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from osteoscribe.app.ports import Delivery, JobRequest, JobResult
from osteoscribe.app.work import measure
from osteoscribe.cli.main import main
from osteoscribe.core.report import Problem
from osteoscribe.store.segments import MADE
from tests.fakes.dicom import ct_slice, ct_uid, encode, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place

ARCHIVE = "PACS@127.0.0.1:104"
Run = Callable[..., Any]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[FilledLedger]:
    filled = FilledLedger(tmp_path)
    filled.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    yield filled
    filled.engine.dispose()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*arguments: str, code: int = 0) -> Any:
        assert main([*arguments, "--data", str(tmp_path), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run_command


def measured(ledger: FilledLedger, destinations: tuple[str, ...] = (ARCHIVE,)) -> str:
    (key,) = ledger.plan(1)
    segment = ledger.segments.writer(MADE, START)
    measure(
        key,
        ledger=ledger.jobs,
        pipeline=one_report,
        segment=segment,
        destinations_for=lambda _calling: [place(one) for one in destinations],
        now=lambda: START + timedelta(seconds=2),
    )
    segment.close()
    return key


def set_delivery(ledger: FilledLedger, key: str, **values: object) -> None:
    delivery = ledger.jobs.delivery(key, ARCHIVE)
    fields = {name: getattr(delivery, name) for name in Delivery.__dataclass_fields__}
    ledger.jobs.update_delivery(Delivery(**{**fields, **values}), START)  # type: ignore[arg-type]


def test_status_counts_everything(ledger: FilledLedger, run: Run) -> None:
    measured(ledger)
    found = run("status")
    assert (found["instances"], found["marks"], found["findings"], found["problems"]) == (2, 1, 1, 0)
    assert found["jobs"] == {"measured": 1}
    assert found["deliveries"] == {"queued": 1}
    assert found["running"] is False


def test_status_calls_for_a_person_where_something_is_parked(ledger: FilledLedger, run: Run) -> None:
    key = measured(ledger)
    set_delivery(ledger, key, state="parked", code="peer.refused", message="found status 0xA900")
    assert run("status", code=1)["jobs"] == {"parked": 1}


def test_a_job_is_listed_and_shown(ledger: FilledLedger, run: Run) -> None:
    key = measured(ledger)
    (listed,) = run("jobs")
    shown = run("jobs", "show", key[:8])
    assert listed == shown
    assert shown["deliveries"][0]["destination"] == ARCHIVE
    assert len(shown["reports"]) == 1


def test_a_parked_delivery_is_tried_again(ledger: FilledLedger, run: Run) -> None:
    key = measured(ledger)
    set_delivery(ledger, key, state="parked", tries=4, code="peer.refused", message="no")
    assert run("jobs", "retry", key[:12])["done"] == "queued for delivery"
    (delivery,) = ledger.jobs.due_deliveries()
    assert (delivery.state, delivery.round, delivery.tries) == ("queued", 1, 0)
    assert ledger.jobs.state(key) == "measured"


def test_an_old_try_cannot_overwrite_a_new_round(ledger: FilledLedger, run: Run) -> None:
    key = measured(ledger)
    old = ledger.jobs.delivery(key, ARCHIVE)
    run("jobs", "resend", key)
    assert ledger.jobs.due_deliveries()[0].round == 0, "what is queued already is not queued again"
    set_delivery(ledger, key, state="stored")
    run("jobs", "resend", key)
    ledger.jobs.update_delivery(old, START)
    assert [one.round for one in ledger.jobs.due_deliveries()] == [1]


def test_a_failed_job_is_measured_again(ledger: FilledLedger, run: Run) -> None:
    (key,) = ledger.plan(1)
    ledger.jobs.fail(key, Problem(code="job.bug", message="found a fault"), START)
    assert run("jobs", "retry", key)["done"] == "measured again"
    assert ledger.jobs.ready() == ((key, 1),)


def test_a_report_without_destination_is_sent_once_the_settings_name_one(
    ledger: FilledLedger, run: Run, tmp_path: Path
) -> None:
    key = measured(ledger, destinations=())
    assert run("jobs", "resend", key)["done"] == "nothing to send"
    config = tmp_path / "site.toml"
    config.write_text('[[destination]]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n')
    assert run("jobs", "resend", key, "--config", str(config))["done"] == "queued for delivery"
    assert [one.destination for one in ledger.jobs.due_deliveries()] == [ARCHIVE]


def test_a_cancelled_job_is_neither_measured_nor_delivered(ledger: FilledLedger, run: Run) -> None:
    key = measured(ledger)
    assert run("jobs", "cancel", key)["done"] == "cancelled"
    assert ledger.jobs.due_deliveries() == ()
    set_delivery(ledger, key, state="stored")
    assert ledger.jobs.delivery(key, ARCHIVE).state == "cancelled"
    assert run("jobs", "cancel", key)["done"] == "nothing to cancel"


def test_an_unknown_job_is_a_clear_error(
    ledger: FilledLedger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jobs", "show", "ffffff", "--data", str(tmp_path)]) == 2
    assert "job.unknown" in capsys.readouterr().err
    assert main(["jobs", "show", "--data", str(tmp_path)]) == 2
    assert main(["jobs", "--data", str(tmp_path / "nowhere")]) == 2
    assert "store.absent" in capsys.readouterr().err


def test_everything_stored_is_exported_as_files(ledger: FilledLedger, run: Run, tmp_path: Path) -> None:
    measured(ledger)
    assert run("store", "export", str(tmp_path / "out"))["files"] == 3
    files = sorted((tmp_path / "out").rglob("*.dcm"))
    exported = [dcmread(path) for path in files]
    assert {str(ds.SOPInstanceUID) for ds in exported} >= {ct_uid(1), mark_object(1, []).SOPInstanceUID}
    (image,) = [path for path, ds in zip(files, exported, strict=True) if ds.SOPInstanceUID == ct_uid(1)]
    assert image.read_bytes().endswith(encode(ct_slice(1)))


def test_a_job_without_a_report_shows_its_problem(ledger: FilledLedger, run: Run) -> None:
    def none(_job: JobRequest) -> JobResult:
        return JobResult(problems=(Problem(code="images.missing", message="found no CT"),))

    (key,) = ledger.plan(1)
    segment = ledger.segments.writer(MADE, START)
    measure(
        key,
        ledger=ledger.jobs,
        pipeline=none,
        segment=segment,
        destinations_for=lambda _c: (),
        now=lambda: START,
    )
    shown = run("jobs", "show", key)
    assert shown["state"] == "failed"
    assert [one["code"] for one in shown["problems"]] == ["images.missing"]
