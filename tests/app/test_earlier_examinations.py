"""A lesion against the same lesion of an earlier study, and a mark that a viewer saved again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pydicom
import pytest
from pydicom import DataElement, Dataset

from osteoscribe.app.pipeline import Outcome, Request, run
from osteoscribe.app.practice import Practice
from osteoscribe.app.summary import summarise_report
from osteoscribe.app.write import Written
from osteoscribe.core.prior import LesionRecord
from osteoscribe.core.serial import StoredLesion
from tests.shelf import Shelf, shelf_of

STUDY = date(2026, 11, 20)


@pytest.fixture
def shelf(project: Path) -> Shelf:
    pelvis = project / "dicom_samples/pelvis"
    return shelf_of([*sorted((pelvis / "ct").glob("*.dcm")), pelvis / "marks/rtstruct.dcm"])


def process(shelf: Shelf, practice: Practice, earlier: Sequence[StoredLesion] = ()) -> Outcome:
    request = Request(instances=shelf.instances, read=shelf.read, earlier=lambda _patient: earlier)
    return run(request, practice)


def earlier_study(
    outcome: Outcome, months: int, change: Callable[[LesionRecord], LesionRecord]
) -> list[StoredLesion]:
    """The lesions of an outcome as if they had been reported months before."""
    (written,) = outcome.written
    return [
        replace(
            stored,
            record=replace(
                change(one := stored.record),
                study_instance_uid="2.25.1",
                study_date=None if one.study_date is None else one.study_date - timedelta(days=30.5 * months),
            ),
        )
        for stored in written.lesions
    ]


def growths(outcome: Outcome) -> dict[str, tuple[str, str]]:
    findings = [f for written in outcome.written for f in summarise_report(written.report)["findings"]]
    return {
        f["label"]: (f["inputs"]["growth"]["value"], f["inputs"]["growth"]["provenance"]) for f in findings
    }


def test_lesions_of_the_same_size_two_years_ago_are_stable_by_measurement(
    shelf: Shelf, practice: Practice
) -> None:
    earlier = earlier_study(process(shelf, practice), 30, lambda one: one)
    found = growths(process(shelf, practice, earlier))
    assert found["sclerotic focus, no ca, asymp"] == ("stable_24", "prior examination")


def test_lesion_that_doubled_is_up(shelf: Shelf, practice: Practice) -> None:
    def halve(one: LesionRecord) -> LesionRecord:
        assert one.long_axis_mm is not None
        return replace(one, long_axis_mm=type(one.long_axis_mm)(one.long_axis_mm / 2))

    outcome = process(shelf, practice, earlier_study(process(shelf, practice), 6, halve))
    assert growths(outcome)["BI typ, no ca, no pain"][0] == "up_or_new"
    rules = {f.lesion.mark.label: f.decision.rule_id for f in outcome.written[0].report.findings}
    assert rules["BI typ, no ca, no pain"] == "E3"


def test_mark_saved_again_under_new_uids_keeps_its_tracking_uid(
    shelf: Shelf, practice: Practice, project: Path
) -> None:
    first = process(shelf, practice).written[0]
    again = pydicom.dcmread(project / "dicom_samples/pelvis/marks/rtstruct.dcm")
    again.SOPInstanceUID = "2.25.77"
    again.walk(_new_tracking_uid)
    saved = shelf_of(sorted((project / "dicom_samples/pelvis/ct").glob("*.dcm")))
    saved.add_dataset(again)
    second = process(saved, practice, first.lesions).written[0]
    alone = process(saved, practice).written[0]
    assert tracking_uids(second) == tracking_uids(first)
    assert tracking_uids(alone) != tracking_uids(first)


def tracking_uids(written: Written) -> list[str]:
    return [stored.record.tracking_uid for stored in written.lesions]


def _new_tracking_uid(_ds: Dataset, element: DataElement) -> None:
    if element.keyword == "TrackingUID":
        element.value = f"{element.value}.1"
