"""What cannot be measured is said where somebody looks: in a notice beside the CT series that was meant."""

from __future__ import annotations

from pydicom import Dataset

from osteoscribe.app.practice import Practice
from tests.builders_marks import RTSTRUCT
from tests.builders_report import ct_series
from tests.scene import on, outlined, process, said


def predecessor(uid: str) -> Dataset:
    study, series, item = Dataset(), Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = RTSTRUCT, uid
    series.ReferencedSOPSequence = [item]
    study.ReferencedSeriesSequence = [series]
    return study


def test_an_object_that_cannot_be_read_gets_a_notice(practice: Practice) -> None:
    ct = ct_series()
    broken = on(ct, outlined(("BI", 5.0)))
    del broken.StructureSetROISequence
    del broken.ROIContourSequence
    outcome = process(practice, *ct, broken)
    (written,) = outcome.written
    assert [one.where for one in written.report.problems] == [broken.SOPInstanceUID]
    assert outcome.problems == ()
    assert [one.role for one in written.objects] == ["notice"]


def test_a_mark_on_images_that_never_came_gets_a_notice_in_its_study(practice: Practice) -> None:
    ct = ct_series()
    elsewhere = ct_series(study="20200101")
    mark = on(elsewhere, outlined(("BI", 5.0)))
    mark.StudyInstanceUID = ct[0].StudyInstanceUID
    outcome = process(practice, *ct, mark)
    (written,) = outcome.written
    assert len(written.report.problems) == 1
    assert written.report.findings == ()
    assert [one.role for one in written.objects] == ["notice"]


def test_an_object_never_replaces_itself(practice: Practice) -> None:
    ct = ct_series()
    mark = on(ct, outlined(("BI", 5.0)))
    mark.PredecessorDocumentsSequence = [predecessor(mark.SOPInstanceUID)]
    (written,) = process(practice, *ct, mark).written
    assert len(said(written)) == 1


def test_of_two_objects_that_replace_each_other_the_newer_one_is_measured(practice: Practice) -> None:
    ct = ct_series()
    older, newer = on(ct, outlined(("BI", 5.0)), 1), on(ct, outlined(("BI", 7.0)), 2)
    older.PredecessorDocumentsSequence = [predecessor(newer.SOPInstanceUID)]
    newer.PredecessorDocumentsSequence = [predecessor(older.SOPInstanceUID)]
    (written,) = process(practice, *ct, older, newer).written
    assert [one.lesion.mark.source.sop_instance_uid for one in written.report.findings] == [
        newer.SOPInstanceUID
    ]
