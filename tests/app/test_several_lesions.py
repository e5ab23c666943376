"""Several lesions in one examination: mixed dialects, one or two CT series, what speaks for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydicom import Dataset

from osteoscribe.app.practice import Practice
from osteoscribe.app.write import Written
from osteoscribe.core import codes
from tests.builders_marks import (
    LENGTH,
    contour,
    group,
    image_item,
    num,
    region,
    report,
    rtstruct,
    scoord,
    seg,
    seg_frame,
    segment,
    tracking,
)
from tests.builders_report import ct_series
from tests.scene import document, drawn_state, ellipse, items, on, process, said, texts

BI = "BI typical, no ca"


def segmented(label: str, mm: float, at: tuple[float, float]) -> Dataset:
    pixels = np.zeros((1, 88, 59), dtype=np.uint8)
    rows, columns = np.mgrid[:88, :59]
    pixels[0] = (rows * 0.5 - at[1]) ** 2 + (columns * 0.75 - at[0]) ** 2 < (mm / 2) ** 2
    return seg(pixels, [seg_frame(0.7, image=2)], [segment(1, label)])


def contoured(label: str, mm: float, at: tuple[float, float]) -> Dataset:
    return rtstruct((label, [contour(ellipse(mm, at=at), image=2)]))


def reported(label: str, mm: float, at: tuple[float, float]) -> Dataset:
    flat = [x / 0.7 + 0.5 for point in ellipse(mm, at=at) for x in point[:2]]
    return report(group(*tracking(label), region("POLYLINE", [*flat, *flat[:2]], image_item(2))))


def calipered(label: str, mm: float, at: tuple[float, float]) -> Dataset:
    ends = [x / 0.7 + 0.5 for x in (at[0] - mm / 2, at[1], at[0] + mm / 2, at[1])]
    return report(group(*tracking(label), num(LENGTH, scoord("POLYLINE", ends, image=image_item(2)))))


def annotated(label: str, mm: float, at: tuple[float, float]) -> Dataset:
    points = [[x / 0.7 + 0.5 for x in point[:2]] for point in ellipse(mm, at=at)]
    return drawn_state(2, label, "POLYLINE", [*points, points[0]])


FORMS = (segmented, contoured, reported, calipered, annotated)
PLACES = ((8.0, 8.0), (8.0, 32.0), (32.0, 8.0), (32.0, 32.0), (20.0, 20.0))


def spread(
    ct: Sequence[Dataset], lesions: Sequence[tuple[str, float]], first: int = 1, form: int = 0
) -> list[Dataset]:
    """Each lesion in another form and place."""
    return [
        on(ct, FORMS[(n + form) % 5](label, mm, PLACES[(n + form) % 5]), first + n)
        for n, (label, mm) in enumerate(lesions)
    ]


def numbers(written: Written) -> list[float]:
    """Long axes of the groups in the SR."""
    return sorted(
        float(one.MeasuredValueSequence[0].NumericValue)
        for one in items(document(written))
        if one.ValueType == "NUM" and one.ConceptNameCodeSequence[0].CodeValue == codes.LONG_AXIS.value
    )


def test_five_forms_of_mark_give_one_phrase_with_the_largest_lesion(practice: Practice) -> None:
    ct = ct_series()
    sizes = (4.0, 3.0, 7.0, 6.0, 4.4)
    marks = spread(ct, [(BI, mm) for mm in sizes])
    outcome = process(practice, *ct, *marks)
    assert outcome.all_problems == ()
    (written,) = outcome.written
    assert written.quarantined == ()
    lesions = said(written)
    assert sorted(one.name for one in lesions) == [f"Lesion {n}" for n in range(1, 6)]
    assert {one.rule for one in lesions} == {"M2-C"}
    (phrase,) = {one.phrase for one in lesions}
    assert "largest 7 mm" in phrase
    assert numbers(written) == pytest.approx(sorted(sizes), abs=0.3)
    assert texts(written, codes.PHRASE)[0].count("largest 7 mm") == 1
    assert texts(written, codes.PHRASE, role="text")[0].count("largest 7 mm") == 1
    dialects = {finding.lesion.mark.dialect for finding in written.report.findings}
    assert dialects == {"SEG binary", "RTSTRUCT", "SR TID 1500", "presentation state"}


def test_a_red_flag_among_several_speaks_for_itself(practice: Practice) -> None:
    ct = ct_series()
    marks = spread(ct, [(BI, 4.0), (BI, 3.0), (f"{BI}, soft tissue mass", 9.0), (BI, 2.8)])
    (written,) = process(practice, *ct, *marks).written
    found = {one.rule: one.phrase for one in said(written)}
    assert sorted(one.rule for one in said(written)) == ["E1", "M2-C", "M2-C", "M2-C"]
    assert found["E1"].startswith("9 mm sclerotic lesion with soft-tissue mass")
    assert "largest 9 mm" in found["M2-C"]


@pytest.mark.parametrize("order", [1, -1])
def test_two_series_of_one_study_count_together_and_get_a_report_each(order: int, practice: Practice) -> None:
    """One small lesion on each series: two lesions, none of them solitary."""
    first = ct_series(FrameOfReferenceUID="1.2.3.66")
    second = ct_series(FrameOfReferenceUID="1.2.3.66")
    for ds in second:
        ds.SeriesInstanceUID = "1.2.3.77"
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.2"
        ds.SeriesNumber = 4
    marks = [*spread(first, [(BI, 4.0), (BI, 3.0)]), *spread(second, [(BI, 6.0)], first=3, form=2)]
    outcome = process(practice, *[*first, *second, *marks][::order])
    assert outcome.all_problems == ()
    by_series = {written.report.series_instance_uid: written for written in outcome.written}
    assert set(by_series) == {first[0].SeriesInstanceUID, "1.2.3.77"}
    counts = {uid: len(said(written)) for uid, written in by_series.items()}
    assert counts == {first[0].SeriesInstanceUID: 2, "1.2.3.77": 1}
    lesions = [one for written in outcome.written for one in said(written)]
    assert {one.rule for one in lesions} == {"M2-C"}
    (phrase,) = {one.phrase for one in lesions}
    assert "largest 6 mm" in phrase
    for uid, written in by_series.items():
        cited = {
            str(series.SeriesInstanceUID)
            for study in document(written).CurrentRequestedProcedureEvidenceSequence
            for series in study.ReferencedSeriesSequence
        }
        assert cited & set(by_series) == {uid}


def test_the_same_lesion_marked_on_two_series_counts_once(practice: Practice) -> None:
    first = ct_series(FrameOfReferenceUID="1.2.3.66")
    second = ct_series(FrameOfReferenceUID="1.2.3.66")
    for ds in second:
        ds.SeriesInstanceUID = "1.2.3.77"
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.2"
    label = "BI typical, no ca, asymp, solitary, no prior, no agg, no risk"
    marks = [
        on(first, contoured(label, 5.0, (20.0, 20.0)), 1),
        on(second, segmented(label, 5.0, (20.0, 20.0)), 2),
    ]
    outcome = process(practice, *first, *second, *marks)
    assert [[one.rule for one in said(written)] for written in outcome.written] == [["L1"], ["L1"]]


def test_lesions_of_two_studies_do_not_count_together(practice: Practice) -> None:
    label = "BI typical, no ca, asymp, solitary, no prior, no agg, no risk"
    studies = [ct_series(study=name) for name in ("a", "b")]
    marks = [on(ct, contoured(label, 5.0, (20.0, 20.0)), n) for n, ct in enumerate(studies, 1)]
    outcome = process(practice, *studies[0], *studies[1], *marks)
    assert [[one.rule for one in said(written)] for written in outcome.written] == [["L1"], ["L1"]]


def test_one_mark_that_cannot_be_read_does_not_stop_the_others(practice: Practice) -> None:
    ct = ct_series()
    broken = report(group(*tracking(BI), region("POLYLINE", [1.0, 2.0, 3.0], image_item(2))))
    (written,) = process(practice, *ct, *spread(ct, [(BI, 4.0), (BI, 3.0)]), on(ct, broken, 9)).written
    assert len(said(written)) == 2
    assert "roi.coordinates-invalid" in "\n".join(texts(written, codes.PROBLEM))
    assert document(written).CompletionFlag == "PARTIAL"


def test_a_mark_that_cannot_be_read_is_told_where_its_series_is_seen(practice: Practice) -> None:
    """Also where it is the only one: a notice lies with the CT series that its object refers to."""
    ct = ct_series()
    broken = report(group(*tracking(BI), region("POLYLINE", [1.0, 2.0, 3.0], image_item(2))))
    outcome = process(practice, *ct, on(ct, broken))
    (written,) = outcome.written
    assert [one.role for one in written.objects] == ["notice"]
    assert "roi.coordinates-invalid" in "\n".join(texts(written, codes.PROBLEM, role="notice"))
    assert outcome.problems == ()
