"""The ledger keeps the same promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from osteoscribe.app.work import measure
from osteoscribe.errors import SetupError
from osteoscribe.store.schema import META, open_database
from osteoscribe.store.segments import MADE
from osteoscribe.store.status import StatusView
from tests.fakes.dicom import ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.peer])])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FilledLedger]:
    url = request.getfixturevalue("new_postgresql")() if request.param == "postgresql" else ""
    filled = FilledLedger(tmp_path, url)
    yield filled
    filled.engine.dispose()


def test_a_job_goes_through_all_its_states(ledger: FilledLedger) -> None:
    ledger.receive(0, ct_slice(1), ct_slice(2), mark_object(1, [ct_uid(1), ct_uid(3)]))
    assert ledger.plan(50) == ()
    (first,) = ledger.plan(100)
    ledger.receive(101, ct_slice(3))
    for key in (first, *ledger.plan(102)):
        segment = ledger.segments.writer(MADE, START)
        measure(
            key,
            ledger=ledger.jobs,
            pipeline=one_report,
            segment=segment,
            destinations_for=lambda _calling: [place("PACS@127.0.0.1:104")],
            now=lambda: START + timedelta(seconds=103),
        )
        segment.close()
    (second,) = ledger.plan(104)
    assert [one.number for one in ledger.jobs.request(second).revisions.values()] == [2]
    assert ledger.jobs.state(first) == "measured"
    assert [one.job_key for one in ledger.jobs.due_deliveries()] == [first]
    counts = StatusView(ledger.engine).counts()
    assert (counts["instances"], counts["marks"], counts["findings"]) == (4, 1, 1)


def test_the_same_instances_from_many_threads_at_once_are_recorded_once(ledger: FilledLedger) -> None:
    def send() -> None:
        ledger.receive(0, *(ct_slice(number) for number in range(1, 6)), mark_object(1, [ct_uid(1)]))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert StatusView(ledger.engine).counts()["instances"] == 6
    assert len(ledger.plans.open_marks()) == 1


def test_a_newer_ledger_is_refused(ledger: FilledLedger, tmp_path: Path) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(META.update().where(META.c.key == "schema_version").values(value="999"))
    with pytest.raises(SetupError, match=r"store.newer-schema"):
        open_database(ledger.engine.url.render_as_string(hide_password=False))
