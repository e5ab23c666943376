"""What the gate refuses is kept with its reason, shown, handed out on demand, and never sent."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from osteoscribe.app.ports import JobRequest, JobResult
from osteoscribe.app.shelf import CtSeries
from osteoscribe.app.write import Written, write_report
from osteoscribe.cli.main import main
from osteoscribe.store.export import export_files
from osteoscribe.store.status import StatusView
from osteoscribe.writers.profiles import PROFILES
from tests.app.test_destinations import NOW, PACS, VIEWER, Site
from tests.builders_report import ct_series, finding_for, report_for
from tests.fakes.dicom import ct_slice
from tests.fakes.ledger import one_report
from tests.shelf import Shelf


def of_another_series() -> Written:
    """A report whose CT header is of another series: the gate refuses each of its objects."""
    series = ct_series(PatientName="Canary^Name")
    other = copy.deepcopy(series[0])
    other.SeriesInstanceUID = "1.2.3"
    shelf = Shelf()
    for ds in series:
        shelf.add_dataset(ds)
    received = CtSeries(instances=tuple(shelf.instances))
    report = report_for(series, [finding_for(series)])
    return write_report(report, received, other, (), profiles=[PROFILES["ohif"]])


def test_the_bytes_that_the_gate_refused_are_handed_on_with_the_reason() -> None:
    written = of_another_series()
    assert written.objects == ()
    assert [(one.profile, one.role, one.problem.code) for one in written.quarantined] == [
        ("ohif", "sr", "gate.other-series"),
        ("ohif", "text", "gate.other-series"),
    ]
    assert all(one.encoded[128:132] == b"DICM" for one in written.quarantined)


def refused_for_one_profile(job: JobRequest) -> JobResult:
    """The standard object is there, those of the other profile were refused."""
    made = one_report(job)
    (report,) = made.reports
    (standard,) = [one for one in report.objects if one.profile == "standard"]
    quarantined = of_another_series().quarantined
    return JobResult(
        reports=(dataclasses.replace(report, objects=(standard,)),),
        problems=tuple(one.problem for one in quarantined),
        quarantined=quarantined,
        forms=made.forms,
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path, PACS, VIEWER)
    one.ledger.receive(0, ct_slice(1))
    yield one
    one.ledger.engine.dispose()


def test_it_is_never_sent_and_the_rest_is(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        key = site.mark(pipeline=refused_for_one_profile)
        site.deliver_all()
    assert site.taken == {"pacs": [site.made(key)["standard"]]}
    assert "object quarantined" in caplog.text
    assert "gate.other-series" in caplog.text
    assert "Canary" not in caplog.text


def test_it_is_listed_with_its_job_and_counted(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = site.mark(pipeline=refused_for_one_profile)
    main(["jobs", "show", key, "--data", str(tmp_path), "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert [(one["profile"], one["role"], one["code"]) for one in shown["quarantined"]] == [
        ("ohif", "sr", "gate.other-series"),
        ("ohif", "text", "gate.other-series"),
    ]
    main(["jobs", "show", key, "--data", str(tmp_path)])
    assert "never sent" in capsys.readouterr().out
    main(["status", "--data", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out)["quarantined"] == 2


def test_its_bytes_are_written_as_the_gate_read_them(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = site.mark(pipeline=refused_for_one_profile)
    assert main(["store", "quarantine", str(tmp_path / "out"), "--data", str(tmp_path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {one["job_key"] for one in shown} == {key}
    expected = {one.sop_instance_uid: one.encoded for one in of_another_series().quarantined}
    written = {str(dcmread(one["file"]).SOPInstanceUID): Path(one["file"]).read_bytes() for one in shown}
    assert written == expected


def test_an_export_of_everything_keeps_it_apart(site: Site, tmp_path: Path) -> None:
    site.mark(pipeline=refused_for_one_profile)
    paths = list(export_files(site.ledger.segments, tmp_path / "all"))
    folders = [path.parent.name for path in paths]
    assert sorted(folders) == ["made", "quarantined", "quarantined", "received", "received"]
    assert all(dcmread(path).SOPInstanceUID for path in paths)


def test_a_job_that_is_measured_again_lists_it_once(site: Site) -> None:
    key = site.mark(pipeline=refused_for_one_profile)
    site.ledger.jobs.make_again(key, frozenset({("dictation", "sr")}), NOW)
    site.measure(key, refused_for_one_profile)
    site.deliver_all()
    assert site.taken == {"pacs": [site.made(key)["standard"]]}
    assert StatusView(site.ledger.engine).counts()["quarantined"] == 2
