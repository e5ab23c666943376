"""What a job leaves in the ledger: nothing that a person typed; a key that tells reports apart."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from pydicom import Dataset

from osteoscribe.app.job import report_job
from osteoscribe.app.ports import JobRequest, JobResult
from osteoscribe.app.practice import Practice
from osteoscribe.core.report import FIRST, Predecessor, Revision
from tests.builders_report import ct_series
from tests.scene import on, outlined
from tests.shelf import Shelf

TYPED = "BI Canarylabel, no ca"
CANARIES = ("canary", "typed")


def job(practice: Practice, *objects: Dataset, revision: Revision = FIRST) -> JobResult:
    shelf = Shelf()
    for ds in objects:
        shelf.add_dataset(ds)
    request = JobRequest(
        key="k",
        instances=tuple(shelf.instances),
        accepted_at=datetime(2026, 1, 2, tzinfo=UTC),
        calling_ae="PACS",
        revisions={objects[0].SeriesInstanceUID: revision},
    )
    return report_job(request, shelf.read, practice)


def kept(result: JobResult) -> str:
    """Everything of a result but the objects, whose bytes lie in the segments."""
    reports = [dataclasses.replace(one, objects=()) for one in result.reports]
    summaries = json.dumps([one.summary for one in result.reports])
    return f"{reports} {summaries} {result.problems}".lower()


def broken(mark: Dataset) -> Dataset:
    del mark.ROIContourSequence[0].ContourSequence
    return mark


def cut(mark: Dataset) -> Dataset:
    contour = mark.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = contour.ContourData[:5]
    return mark


def far_away(mark: Dataset) -> Dataset:
    contour = mark.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = [float(one) + 5000 for one in contour.ContourData]
    return mark


@pytest.mark.parametrize("change", [lambda mark: mark, broken, cut, far_away])
def test_neither_labels_nor_names_are_kept(practice: Practice, change) -> None:
    ct: Sequence[Dataset] = ct_series(PatientName="Canary^Name", PatientID="CANARY-ID")
    mark = on(ct, outlined((TYPED, 5.0)))
    mark.PatientName, mark.PatientID = "Canary^Name", "CANARY-ID"
    mark.StructureSetLabel = "Canarylabel"
    result = job(practice, *ct, change(mark))
    assert result.reports
    assert [word for word in CANARIES if word in kept(result)] == []


def test_the_content_key_tells_what_a_report_says_whatever_came_before(practice: Practice) -> None:
    ct = ct_series()
    mark, other = on(ct, outlined(("BI", 5.0))), on(ct, outlined(("BI", 5.0)), 2)
    (first,) = job(practice, *ct, mark).reports
    earlier = Predecessor(
        sop_class_uid=first.objects[0].sop_class_uid,
        sop_instance_uid=first.objects[0].sop_instance_uid,
        series_instance_uid=first.objects[0].series_instance_uid,
        study_instance_uid=first.study_instance_uid,
    )
    second = Revision(number=2, predecessors={"standard": earlier})
    (again,) = job(practice, *ct, mark, revision=second).reports
    (changed,) = job(practice, *ct, other, revision=second).reports
    assert again.content_key == first.content_key != changed.content_key
    assert again.objects[0].sop_instance_uid != first.objects[0].sop_instance_uid
