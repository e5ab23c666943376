"""UIDs made from content."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.core.region import Outline
from osteoscribe.writers import uids
from tests.builders_report import ct_series, finding_for, mark_for, report_for, size_of

SERIES = ct_series()


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_uids_are_valid(parts):
    uid = uids.derived_uid(*parts)
    assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]*)", uid)
    assert len(uid) <= 64


@given(st.lists(st.text(), min_size=1, max_size=3), st.lists(st.text(), min_size=1, max_size=3))
def test_different_parts_give_different_uids(a, b):
    assert (uids.derived_uid("kind", *a) == uids.derived_uid("kind", *b)) == (a == b)


def test_the_time_of_acceptance_makes_no_new_report():
    finding = finding_for(SERIES)
    report = report_for(SERIES, [finding])
    later = replace(report, accepted_at=report.accepted_at + timedelta(hours=1))
    assert uids.report_uid(report) == uids.report_uid(later)


def test_any_change_of_content_makes_a_new_report():
    finding = finding_for(SERIES)
    report = report_for(SERIES, [finding])
    moved = Outline(k=1, points_rc=np.asarray(finding.lesion.outline.points_rc) + 0.25)
    lesion = finding.lesion
    others = [
        replace(report, findings=(replace(finding, lesion=replace(lesion, size=size_of(5.2))),)),
        replace(report, findings=(replace(finding, lesion=replace(lesion, outline=moved)),)),
        replace(report, findings=(replace(finding, phrase=replace(finding.phrase, text="x")),)),
        replace(report, software_version="0.1.1"),
        replace(report, table_sha256="0" * 64),
        replace(report, findings=()),
    ]
    keys = {uids.report_key(r) for r in (report, *others)}
    assert len(keys) == 1 + len(others)


def test_a_difference_below_a_millionth_makes_no_new_report():
    a = report_for(SERIES, [finding_for(SERIES, size=size_of(5.15))])
    b = report_for(SERIES, [finding_for(SERIES, size=size_of(5.15 + 1e-12))])
    assert uids.report_key(a) == uids.report_key(b)


def test_each_kind_of_document_has_uids_of_its_own():
    report = report_for(SERIES, [finding_for(SERIES)])
    made = [f(report) for f in (uids.report_uid, uids.companion_uid, uids.notice_uid, uids.key_image_uid)]
    made += [uids.report_uid(report, "ohif"), uids.series_uid(report, "report"), uids.device_uid(report)]
    assert len(set(made)) == len(made)


def test_the_device_uid_follows_the_rule_table():
    report = report_for(SERIES, [finding_for(SERIES)])
    assert uids.device_uid(report) != uids.device_uid(replace(report, table_sha256="0" * 64))


def test_the_writers_own_tracking_uid_is_kept_and_a_bad_one_is_not():
    mark = mark_for(SERIES)
    assert uids.tracking_uid(replace(mark, tracking_uid="1.2.3")) == "1.2.3"
    for bad in ("", "../../x", "1.02.3", "1." + "2" * 64):
        assert uids.tracking_uid(replace(mark, tracking_uid=bad)) == uids.tracking_uid(mark)


def test_a_tracking_uid_used_twice_is_kept_by_the_first_mark_only():
    a, b = (replace(mark_for(SERIES, item=item), tracking_uid="1.2.3") for item in ("ROI 1", "ROI 2"))
    first, second = uids.tracking_uids([a, b])
    assert first == "1.2.3"
    assert second == uids.tracking_uid(replace(b, tracking_uid=None))
