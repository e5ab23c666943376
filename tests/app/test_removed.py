"""A report says what it cannot repeat because retention removed it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydicom import Dataset

from osteoscribe.app.job import report_job
from osteoscribe.app.ports import JobRequest, JobResult
from osteoscribe.app.practice import Practice
from tests.builders_report import ct_series
from tests.scene import on, outlined
from tests.shelf import Shelf

REMOVED_AT = datetime(2026, 3, 4, tzinfo=UTC)


def job(practice: Practice, *objects: Dataset, **known: Any) -> JobResult:
    shelf = Shelf()
    for ds in objects:
        shelf.add_dataset(ds)
    request = JobRequest(
        key="k",
        instances=tuple(shelf.instances),
        accepted_at=datetime(2026, 5, 6, tzinfo=UTC),
        calling_ae="PACS",
        **known,
    )
    return report_job(request, shelf.read, practice)


def test_a_mark_whose_images_were_removed_says_when(practice: Practice) -> None:
    mark = on(ct_series(), outlined(("BI", 5.0)))
    (missing,) = job(practice, mark).problems
    (removed,) = job(practice, mark, ct_removed_at=REMOVED_AT).problems
    assert (missing.code, removed.code) == ("images.missing", "images.removed")
    assert "2026-03-04" in removed.message
    assert removed.where == missing.where


def test_an_earlier_mark_that_was_removed_stands_in_the_report_as_a_problem(practice: Practice) -> None:
    series = ct_series()
    uid = str(series[0].SeriesInstanceUID)
    result = job(
        practice, *series, on(series, outlined(("BI", 5.0))), removed_marks={uid: ("1.2.3",), "9.9": ("4.5",)}
    )
    (report,) = result.reports
    assert [(one.code, one.where) for one in result.problems] == [("mark.removed", "1.2.3")]
    assert report.findings == 1
    assert [one["code"] for one in report.summary["problems"]] == ["mark.removed"]
