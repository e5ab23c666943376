"""Pairing with earlier lesions, and growth by measurement."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.core.answers import Growth
from osteoscribe.core.geometry import Grid
from osteoscribe.core.prior import (
    Comparison,
    LesionRecord,
    NotCompared,
    centroid_lps_mm,
    compare,
    resaved_as,
    same_lesion,
    surely_same_lesion,
)
from osteoscribe.core.region import Outline, Region, RegionKind
from osteoscribe.core.units import Millimetre

TODAY = date(2026, 3, 15)


def lesion(
    size_mm: float | None = 5.0,
    *,
    uid: str = "1.1",
    day: date | None = TODAY,
    study: str = "1.2",
    frame: str | None = "1.3",
    at: tuple[float, float, float] = (0.0, 0.0, 0.0),
    slices_mm: float | None = 1.0,
    name: str = "",
) -> LesionRecord:
    return LesionRecord(
        tracking_uid=uid,
        study_instance_uid=study,
        study_date=day,
        frame_of_reference_uid=frame,
        centroid_lps_mm=at,
        long_axis_mm=None if size_mm is None else Millimetre(size_mm),
        slice_thickness_mm=slices_mm,
        name=name,
    )


def earlier(size_mm: float | None = 5.0, *, months: int = 12, **more: object) -> LesionRecord:
    years, month = divmod(TODAY.year * 12 + TODAY.month - 1 - months, 12)
    base = lesion(size_mm, uid="9.1", day=date(years, month + 1, TODAY.day), study=f"9.{months}")
    return replace(base, **more)


def one(current: LesionRecord, *priors: LesionRecord) -> Comparison | NotCompared:
    (result,) = compare([current], priors)
    return result


def growth(now: float, before: float, months: int = 12) -> Growth:
    found = one(lesion(now), earlier(before, months=months))
    assert isinstance(found, Comparison)
    assert found.difference_mm == now - before
    return found.growth


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (5.0, 7.0, Growth.UP_OR_NEW),
        (5.0, 6.9, Growth.STABLE),
        (4.1, 6.1, Growth.UP_OR_NEW),
        (8.0, 10.0, Growth.UP_OR_NEW),
        (8.1, 10.1, Growth.STABLE),
        (20.0, 24.9, Growth.STABLE),
        (20.0, 25.0, Growth.UP_OR_NEW),
        (3.0, 4.9, Growth.STABLE),
        (5.0, 5.0, Growth.STABLE),
        (9.0, 4.0, Growth.STABLE),
    ],
)
def test_growth_needs_2_mm_and_a_quarter(before: float, now: float, expected: Growth) -> None:
    assert growth(now, before) is expected


def test_unchanged_counts_as_24_months_on_the_very_day() -> None:
    assert growth(5.0, 5.5, months=24) is Growth.STABLE_24
    day_late = earlier(5.5, study_date=date(2024, 3, 16))
    found = one(lesion(5.0), day_late)
    assert isinstance(found, Comparison)
    assert found.growth is Growth.STABLE


def test_a_smaller_lesion_is_stable_but_not_unchanged() -> None:
    assert growth(4.0, 9.0, months=36) is Growth.STABLE


@pytest.mark.parametrize(
    ("now_mm", "before_mm", "word"),
    [(3.0, 1.0, "this examination"), (1.0, 5.0, "earlier examination"), (None, 1.0, "not recorded")],
)
def test_thick_slices_are_not_compared_but_shown(now_mm: float | None, before_mm: float, word: str) -> None:
    found = one(lesion(12.0, slices_mm=now_mm), earlier(5.0, slice_thickness_mm=before_mm))
    assert isinstance(found, Comparison)
    assert found.growth is Growth.UNKNOWN
    assert not found.comparable
    assert word in found.why_not
    assert found.prior_long_axis_mm == 5.0


def test_slices_of_2_5_mm_are_compared() -> None:
    found = one(lesion(12.0, slices_mm=2.5), earlier(5.0, slice_thickness_mm=2.5))
    assert isinstance(found, Comparison)
    assert found.growth is Growth.UP_OR_NEW


def test_a_lesion_without_a_counterpart_is_not_called_new() -> None:
    found = one(lesion(), earlier(centroid_lps_mm=(50.0, 0.0, 0.0)))
    assert isinstance(found, NotCompared)
    assert "2025-03-15: no lesion fits by place or name" in found.why
    assert one(lesion()) == NotCompared(why="no earlier measurement is stored")


def test_a_prior_without_size_is_no_comparison() -> None:
    found = one(lesion(), earlier(None))
    assert isinstance(found, NotCompared)
    assert "no size" in found.why


@pytest.mark.parametrize(
    "prior",
    [
        earlier(9.0, study_instance_uid="1.2"),
        replace(earlier(9.0), study_date=None),
        replace(earlier(9.0), study_date=TODAY),
        replace(earlier(9.0), study_date=date(2027, 1, 1)),
    ],
)
def test_only_earlier_dated_examinations_are_priors(prior: LesionRecord) -> None:
    assert isinstance(one(lesion(), prior), NotCompared)


def test_growth_against_any_earlier_examination_decides() -> None:
    slow = [earlier(7.5, months=6), earlier(6.5, months=18), earlier(5.2, months=40)]
    for order in permutations(slow):
        found = one(lesion(8.0), *order)
        assert isinstance(found, Comparison)
        assert found.growth is Growth.UP_OR_NEW
        assert found.prior_long_axis_mm == 5.2


def test_the_oldest_comparable_examination_decides_where_nothing_changed() -> None:
    thick = earlier(5.0, months=60, slice_thickness_mm=5.0)
    found = one(lesion(5.1), earlier(5.0, months=6), earlier(5.2, months=30), thick)
    assert isinstance(found, Comparison)
    assert found.growth is Growth.STABLE_24
    assert found.prior_long_axis_mm == 5.2


def test_a_lesion_that_shrank_in_between_is_not_unchanged() -> None:
    found = one(lesion(5.0), earlier(5.0, months=48), earlier(9.0, months=30))
    assert isinstance(found, Comparison)
    assert found.growth is Growth.STABLE


def test_the_thinner_series_of_an_earlier_examination_is_taken() -> None:
    thin = earlier(5.0, tracking_uid="9.8")
    thick = earlier(8.0, tracking_uid="9.7", slice_thickness_mm=5.0)
    for priors in ((thin, thick), (thick, thin)):
        found = one(lesion(5.2), *priors)
        assert isinstance(found, Comparison)
        assert found.prior_tracking_uid == "9.8"


def test_other_frames_of_reference_pair_by_the_readers_own_name_only() -> None:
    now = lesion(7.0, name="ilium left")
    assert isinstance(one(now, earlier(4.0, frame_of_reference_uid="9.9")), NotCompared)
    found = one(now, earlier(4.0, frame_of_reference_uid="9.9", name="ilium left"))
    assert isinstance(found, Comparison)
    assert found.growth is Growth.UP_OR_NEW


def test_a_name_that_two_lesions_bear_pairs_none() -> None:
    prior = earlier(4.0, frame_of_reference_uid=None, name="ilium")
    both = (lesion(5.0, name="ilium"), lesion(6.0, uid="1.7", at=(40.0, 0.0, 0.0), name="ilium"))
    for found in compare(both, [prior]):
        assert isinstance(found, NotCompared)
        assert "one to one" in found.why


def test_a_name_against_the_place_pairs_none() -> None:
    prior = earlier(4.0, centroid_lps_mm=(80.0, 0.0, 0.0), name="ilium")
    found = one(lesion(5.0, name="ilium"), prior)
    assert isinstance(found, NotCompared)
    assert "another place" in found.why


def test_places_that_fit_several_pair_none_unless_the_name_tells() -> None:
    near = [
        earlier(4.0, tracking_uid="9.1", centroid_lps_mm=(-2.4, 0.0, 0.0), name="medial"),
        earlier(4.0, tracking_uid="9.2", centroid_lps_mm=(2.4, 0.0, 0.0), name="lateral"),
    ]
    nameless = one(lesion(5.0), *near)
    assert isinstance(nameless, NotCompared)
    assert "one to one" in nameless.why
    named = one(lesion(5.0, name="lateral"), *near)
    assert isinstance(named, Comparison)
    assert named.prior_tracking_uid == "9.2"


def test_two_lesions_never_share_a_prior() -> None:
    both = (lesion(5.0, at=(-2.0, 0.0, 0.0)), lesion(5.0, uid="1.7", at=(2.0, 0.0, 0.0)))
    assert all(isinstance(found, NotCompared) for found in compare(both, [earlier(5.0)]))


def test_a_lesion_marked_on_two_series_is_compared_on_both() -> None:
    both = (lesion(7.4), lesion(7.1, uid="1.7", at=(0.4, 0.0, 0.0), slices_mm=2.0))
    for found in compare(both, [earlier(4.0)]):
        assert isinstance(found, Comparison)
        assert found.growth is Growth.UP_OR_NEW
    assert resaved_as(both, [lesion(5.0, uid="1.9")]) == (None, None)


def test_a_kept_tracking_uid_pairs_across_frames() -> None:
    found = one(lesion(5.0, uid="9.1"), earlier(5.0, frame_of_reference_uid="9.9"))
    assert isinstance(found, Comparison)


def test_a_resaved_mark_keeps_its_tracking_uid() -> None:
    reported = [lesion(5.0, uid="1.1"), lesion(4.0, uid="1.2", at=(30.0, 0.0, 0.0))]
    again = [
        lesion(4.3, uid="7.1", at=(30.5, 0.4, 0.0)),
        lesion(5.4, uid="7.2", at=(0.8, 0.2, 1.0)),
        lesion(6.0, uid="7.3", at=(90.0, 0.0, 0.0)),
    ]
    assert resaved_as(again, reported) == ("1.2", "1.1", None)


def test_a_mark_that_was_not_saved_again_keeps_its_own_beside_one_that_was() -> None:
    reported = [lesion(5.0, uid="1.1"), lesion(5.2, uid="1.2")]
    now = [lesion(5.0, uid="1.1"), lesion(5.1, uid="7.1", at=(0.3, 0.0, 0.0))]
    assert resaved_as(now, reported) == ("1.1", "1.2")


def test_a_report_on_another_series_lends_no_tracking_uid() -> None:
    elsewhere = replace(lesion(5.0, uid="1.1"), series_instance_uid="1.8.1")
    assert resaved_as([replace(lesion(5.0, uid="7.1"), series_instance_uid="1.8.2")], [elsewhere]) == (None,)


def test_two_small_lesions_on_thick_slices_are_counted_as_two() -> None:
    first = lesion(3.0, slices_mm=5.0)
    second = lesion(3.0, uid="1.7", at=(0.0, 0.0, 4.0), slices_mm=5.0)
    assert same_lesion(first, second)
    assert not surely_same_lesion(first, second)
    assert surely_same_lesion(first, lesion(3.4, uid="1.8", at=(0.5, 0.5, 0.0)))


COORDINATE = st.floats(-20, 20)
RECORDS = st.builds(
    lesion,
    st.one_of(st.none(), st.floats(1, 30)),
    uid=st.sampled_from(["1.1", "1.4", "1.5"]),
    at=st.tuples(COORDINATE, COORDINATE, COORDINATE),
    slices_mm=st.one_of(st.none(), st.floats(0.5, 5)),
    frame=st.sampled_from([None, "1.3", "1.9"]),
    name=st.sampled_from(["", "ilium", "t12"]),
)
DATED = st.builds(
    lambda record, months: replace(earlier(5.0, months=months), **{
        name: getattr(record, name)
        for name in ("tracking_uid", "long_axis_mm", "frame_of_reference_uid", "centroid_lps_mm",
                     "slice_thickness_mm", "name")
    }),
    RECORDS,
    st.integers(1, 60),
)  # fmt: skip


@given(a=RECORDS, b=RECORDS)
def test_being_the_same_lesion_is_mutual(a: LesionRecord, b: LesionRecord) -> None:
    assert same_lesion(a, b) == same_lesion(b, a)
    assert same_lesion(a, a) == (a.frame_of_reference_uid is not None)
    assert surely_same_lesion(a, b) == surely_same_lesion(b, a)
    assert same_lesion(a, b) or not surely_same_lesion(a, b)


@given(current=st.lists(RECORDS, max_size=4), priors=st.lists(DATED, max_size=5), data=st.data())
def test_the_order_of_records_changes_nothing_and_unknown_is_never_stable(
    current: list[LesionRecord], priors: list[LesionRecord], data: st.DataObject
) -> None:
    found = compare(current, priors)
    assert len(found) == len(current)
    assert compare(current, data.draw(st.permutations(priors))) == found
    for result in found:
        if isinstance(result, Comparison):
            assert (result.growth is Growth.UNKNOWN) == (not result.comparable) == bool(result.why_not)
            assert result.growth is not Growth.NO_PRIOR
        else:
            assert result.why


@given(now=st.floats(1, 60), before=st.floats(1, 60), more=st.floats(0, 20), months=st.integers(1, 60))
def test_a_larger_lesion_never_looks_more_stable(now: float, before: float, more: float, months: int) -> None:
    if growth(now, before, months) is Growth.UP_OR_NEW:
        assert growth(now + more, before, months) is Growth.UP_OR_NEW


GRID = Grid(
    shape=(3, 8, 8),
    origins_lps_mm=np.array([[10.0, 20.0, z] for z in (0.0, 2.0, 4.0)]),
    row_step_lps_mm=np.array([0.0, 0.5, 0.0]),
    column_step_lps_mm=np.array([0.5, 0.0, 0.0]),
    slice_step_lps_mm=np.array([0.0, 0.0, 2.0]),
    frame_of_reference_uid="1.3",
)


def test_the_centre_of_a_mask_is_that_of_its_voxels() -> None:
    region = Region(
        kind=RegionKind.MASK, grid=GRID, offset=(1, 2, 4), mask=np.ones((2, 1, 3), bool), outlines=()
    )
    assert centroid_lps_mm(region) == pytest.approx((12.5, 21.0, 3.0))


def test_the_centre_of_a_caliper_is_its_middle() -> None:
    line = Outline(k=2, points_rc=np.array([[0.0, 0.0], [2.0, 4.0]]))
    region = Region(
        kind=RegionKind.CALIPER, grid=GRID, offset=(0, 0, 0), mask=np.zeros((0, 0, 0), bool), outlines=(line,)
    )
    assert centroid_lps_mm(region) == pytest.approx((11.0, 20.5, 4.0))
