"""The text companion, read back with pydicom alone."""

from __future__ import annotations

from osteoscribe.core.report import Ignored, Problem
from osteoscribe.writers.companion import build_companion
from osteoscribe.writers.document import encode
from osteoscribe.writers.sr import build_sr
from tests.builders_report import PHRASE, ct_series, evidence_for, finding_for, mark_for, report_for, size_of
from tests.writers.sr_tree import child, children, name, reread

SERIES = ct_series()


def written(*findings, **report):
    made = report_for(SERIES, findings, **report)
    evidence = evidence_for(SERIES, *dict.fromkeys(f.lesion.mark.source for f in findings))
    return reread(encode(build_companion(made, SERIES[0], evidence)))


def test_the_sentence_comes_first_and_the_disclaimer_is_there():
    root = written(finding_for(SERIES))
    texts = [item for item in children(root) if item.RelationshipType == "CONTAINS"]
    assert name(texts[0]) == "PHRASE"
    assert PHRASE in texts[0].TextValue
    assert name(texts[-1]) == "121106"
    assert "research use" in texts[-1].TextValue


def test_the_measurements_stand_one_lesion_a_line():
    root = written(finding_for(SERIES), finding_for(SERIES, number=2, kind="point"))
    lines = child(root, "MEASUREMENTS").TextValue.split("\n")
    assert lines[0].startswith(
        "Lesion 1 (left ilium; series 3, image 2): 5.2 x 4.4 mm, 3D diameter 5.5 mm, volume 67 mm3; "
    )
    assert "HU mean 1010, SD 141" in lines[0]


def test_a_length_as_said_rounds_to_the_millimetres_of_the_sentence():
    root = written(finding_for(SERIES, size=size_of(5.46)))
    assert "5.46 x 4.4 mm" in child(root, "MEASUREMENTS").TextValue


def test_a_lesion_without_size_says_why():
    lines = child(written(finding_for(SERIES), finding_for(SERIES, number=2, kind="point")), "MEASUREMENTS")
    lines = lines.TextValue.split("\n")
    assert lines[1] == "Lesion 2 (left ilium; series 3, image 2): size not measurable: a point has no size"


def test_what_is_not_recorded_left_out_and_not_done_is_said():
    ignored = Ignored(label="liver", source=mark_for(SERIES).source, item="ROI 9", reason="an organ")
    problem = Problem(code="roi.empty", message="segment 3 holds no pixel", where="segment 3")
    root = written(finding_for(SERIES), ignored=[ignored], problems=[problem])
    assert "malignancy history" in child(root, "NOT-RECORDED").TextValue
    assert child(root, "LEFT-OUT").TextValue == "liver (ROI 9): an organ"
    assert child(root, "PROBLEM").TextValue == "roi.empty: segment 3 holds no pixel (segment 3)"


def test_it_has_a_series_of_its_own():
    finding = finding_for(SERIES)
    report = report_for(SERIES, [finding])
    evidence = evidence_for(SERIES, finding.lesion.mark.source)
    both = [build(report, SERIES[0], evidence) for build in (build_sr, build_companion)]
    assert len({ds.SeriesInstanceUID for ds in both}) == len({ds.SOPInstanceUID for ds in both}) == 2
    assert len({ds.SeriesNumber for ds in both}) == len({ds.SeriesDescription for ds in both}) == 2
    assert {ds.StudyInstanceUID for ds in both} == {SERIES[0].StudyInstanceUID}


def test_it_fits_one_screen_for_one_lesion():
    root = written(finding_for(SERIES))
    texts = [str(item.TextValue) for item in children(root) if item.ValueType == "TEXT"]
    lines = sum(len(line) // 110 + 1 for text in texts for line in text.split("\n")) + len(texts)
    assert lines <= 35


def test_what_is_said_of_several_lesions_is_said_once():
    root = written(*(finding_for(SERIES, number=n, item=f"ROI {n}") for n in (1, 2, 3)))
    assert child(root, "RECOMMENDATION").TextValue == "Lesions 1, 2, 3: none"
    assert child(root, "WHY").TextValue.count("10.1007/s00256-022-04022-8") == 1
