"""The notice that marks could not be measured."""

from __future__ import annotations

import pytest

from osteoscribe.core.report import Ignored, Problem
from osteoscribe.writers.document import encode
from osteoscribe.writers.notice import build_notice
from tests.builders_report import ct_series, evidence_for, mark_for, report_for
from tests.writers.sr_tree import child, children, name, reread

SERIES = ct_series()
PROBLEM = Problem(
    code="roi.frame-of-reference-differs",
    message="the mark lies in frame of reference 1.2.3, the CT in 1.2.4; mark the lesion on this CT",
    where="ROI 4",
)


def test_it_says_what_was_found_and_what_to_do_and_nothing_of_a_lesion():
    ignored = Ignored(label="couch", source=mark_for(SERIES).source, item="ROI 1", reason="no lesion mark")
    report = report_for(SERIES, [], problems=[PROBLEM], ignored=[ignored])
    root = reread(encode(build_notice(report, SERIES[0], evidence_for(SERIES))))
    assert root.SeriesDescription == "Bone lesion: not measured"
    assert root.CompletionFlag == "PARTIAL"
    said = child(root, "PROBLEM").TextValue
    assert (
        "roi.frame-of-reference-differs" in said and "mark the lesion on this CT" in said and "ROI 4" in said
    )
    assert "couch" in child(root, "LEFT-OUT").TextValue
    assert {"PHRASE", "MEASUREMENTS", "WHY"}.isdisjoint(name(item) for item in children(root))


def test_without_a_problem_there_is_no_notice():
    with pytest.raises(ValueError, match="no notice"):
        build_notice(report_for(SERIES, []), SERIES[0], evidence_for(SERIES))
