"""Probes and metrics over HTTP."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest

from osteoscribe.app.settings import StoreSettings
from osteoscribe.app.work import measure
from osteoscribe.errors import SetupError
from osteoscribe.net.health import HealthServer
from osteoscribe.store.folder import open_folder
from osteoscribe.store.metrics import metrics_text
from osteoscribe.store.segments import MADE
from tests.fakes.dicom import ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_pages_are_served_and_a_fault_shows_nothing() -> None:
    def broken() -> tuple[int, str]:
        raise ValueError("Canary^Name")

    server = HealthServer(0, {"/healthz": lambda: (200, "ok\n"), "/broken": broken})
    try:
        assert get(server.port, "/healthz") == (200, "ok\n")
        assert get(server.port, "/other")[0] == 404
        status, text = get(server.port, "/broken")
        assert status == 500
        assert "Canary" not in text
        with pytest.raises(SetupError, match=r"net.port-taken"):
            HealthServer(server.port, {})
    finally:
        server.stop()


def test_metrics_count_what_happened_and_name_nobody(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, ct_slice(1), mark_object(1, [ct_uid(1)]))
    (key,) = ledger.plan(1)
    segment = ledger.segments.writer(MADE, START)
    measure(
        key,
        ledger=ledger.jobs,
        pipeline=one_report,
        segment=segment,
        destinations_for=lambda _calling: [place("PACS@127.0.0.1:104")],
        now=lambda: START + timedelta(seconds=2),
    )
    segment.close()
    text = metrics_text(ledger.engine, open_folder(StoreSettings(folder=tmp_path)))
    ledger.engine.dispose()
    assert "osteoscribe_instances 2\n" in text
    assert 'osteoscribe_jobs{state="measured"} 1\n' in text
    assert 'osteoscribe_deliveries{state="queued"} 1\n' in text
    assert all(
        re.fullmatch(r'(# .*|osteoscribe_[a-z_]+(\{[a-z]+="[^"]*"\})? [0-9.]+)', line)
        for line in text.splitlines()
    )
    assert "Canary" not in text
