"""A changed rule table on a node's past findings: received, reported, exported, compared."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from osteoscribe.app.job import report_job
from osteoscribe.app.practice import RULE_TABLE, Practice, load_practice
from osteoscribe.app.rule_cases import past_cases, tell
from osteoscribe.app.settings import PracticeSettings
from osteoscribe.app.work import measure
from osteoscribe.cli.main import main
from osteoscribe.store.segments import MADE
from osteoscribe.store.status import StatusView
from tests.builders_report import ct_series
from tests.fakes.ledger import START, FilledLedger, place
from tests.scene import on, outlined

BENIGN = "BI typical, no ca, asymp, solitary, no prior, no agg, no risk"


def encodable(ds: Dataset) -> Dataset:
    """Explicit little endian, as it is received."""
    if "file_meta" in ds.__dict__ and ds.file_meta.TransferSyntaxUID.is_compressed:
        ds.decompress(generate_instance_uid=False)
    return ds


class PastNode:
    """A data folder that holds what a node received and reported, without a network."""

    def __init__(self, folder: Path, practice: Practice) -> None:
        (folder / "segments").mkdir(parents=True)
        self.folder = folder
        self.practice = practice
        self.ledger = FilledLedger(folder)
        self._clock = 0.0

    def receive(self, *datasets: Dataset) -> None:
        self._clock += 100
        self.ledger.receive(self._clock, *map(encodable, datasets))
        for key in self.ledger.plan(self._clock + 50):
            segment = self.ledger.segments.writer(MADE, START)
            measure(
                key,
                ledger=self.ledger.jobs,
                pipeline=lambda job: report_job(job, self.ledger.segments.read_bytes, self.practice),
                segment=segment,
                destinations_for=lambda _calling: (place("PACS@127.0.0.1:104"),),
                now=lambda: datetime.now(UTC) + timedelta(seconds=self._clock),
            )
            segment.close()

    def cases(self, capsys: pytest.CaptureFixture[str]) -> list[str]:
        assert main(["rules", "cases", "--data", str(self.folder)]) == 0
        return capsys.readouterr().out.splitlines()


@pytest.fixture
def node(tmp_path: Path) -> PastNode:
    return PastNode(tmp_path / "data", load_practice(PracticeSettings(site_in_phrase=True)))


def study(day: str, *lesions: tuple[str, float]) -> list[Dataset]:
    number = int(day)
    ct = ct_series(study=day, StudyDate=day, PatientName="Canary^Name", PatientID="CANARY")
    return [*ct, on(ct, outlined(*lesions), number)]


def test_what_a_changed_row_would_have_said_of_past_findings(
    node: PastNode, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pelvis = project / "dicom_samples" / "pelvis"
    files = [*sorted((pelvis / "ct").glob("*.dcm")), pelvis / "marks" / "rtstruct.dcm"]
    node.receive(*map(pydicom.dcmread, files))
    node.receive(*study("20240105", (BENIGN, 5.0)))
    node.receive(*study("20250105", (BENIGN, 4.0), ("BI typical, no ca", 9.0)))
    node.receive(*study("20260105", ("BI, enlarged", 12.0)))
    lines = node.cases(capsys)
    cases = list(past_cases(lines))
    reports = StatusView(node.ledger.engine).reported_cases()
    phrases = {finding["phrase"] for report in reports for finding in report.findings}
    assert {tell(node.practice.table, case.trial).phrase.text for case in cases} == {
        re.sub(r"20\d\d-\d\d-\d\d", "1900-01-01", phrase) for phrase in phrases
    }
    shipped = project / "config" / "rules" / RULE_TABLE
    changed = tmp_path / "changed.toml"
    text = shipped.read_text(encoding="utf-8")
    row = text.index('id = "L1"')
    assert "likely bone island" in text[row:]
    changed.write_text(text[:row] + text[row:].replace("likely bone island", "probably a bone island", 1))
    file = tmp_path / "cases.jsonl"
    file.write_text("\n".join(lines))
    assert main(["rules", "diff", str(shipped), str(changed), "--cases", str(file)]) == 1
    out = capsys.readouterr().out
    alike = [case for case in cases if tell(node.practice.table, case.trial).decision.rule_id[:2] == "L1"]
    assert len(alike) >= 1
    assert f"{len(alike)} of {len(cases)} phrases would change." in out
    for case in alike:
        assert f"{case.name}: " in out
    assert "probably a bone island" in out


def test_an_examination_is_one_case_and_its_lesions_are_not_counted_twice(
    node: PastNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.receive(*study("20250105", ("BI, no ca", 4.0), ("BI", 3.0), ("BI, pain", 9.0)))
    cases = list(past_cases(node.cases(capsys)))
    rules = sorted(tell(node.practice.table, case.trial).decision.rule_id for case in cases)
    assert rules == ["E2", "M2-C"]
    assert [one.name.endswith(", examination") for one in cases] == [True, False]


def test_the_newest_report_of_a_series_counts(node: PastNode, capsys: pytest.CaptureFixture[str]) -> None:
    ct = ct_series(study="20240105")
    node.receive(*ct, on(ct, outlined((BENIGN, 5.0)), 1))
    node.receive(on(ct, outlined((BENIGN, 8.0)), 2))
    cases = [json.loads(line) for line in node.cases(capsys)]
    assert [case["size"] for case in cases] == [5, 8]
    assert len({case["case"].split(",")[0] for case in cases}) == 1


def test_cases_hold_no_patient(node: PastNode, capsys: pytest.CaptureFixture[str]) -> None:
    node.receive(*study("20240105", (f"{BENIGN}, canary", 5.0)))
    node.receive(*study("20260105", (f"{BENIGN}, canary", 9.0)))
    cases = [json.loads(line) for line in node.cases(capsys)]
    assert [case["prior_date"] for case in cases if "prior_date" in case] == ["1900-01-01"]
    keys = [case.pop("case") for case in cases]
    assert all(re.fullmatch(r"[0-9a-f]{12}, Lesion 1", key) for key in keys)
    assert not re.search(r"(?i)canary|2\.25\.|202[0-9]", str(cases))
