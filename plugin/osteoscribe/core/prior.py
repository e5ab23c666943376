"""The same lesion in earlier examinations: pairing, and growth by measurement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from math import dist

import numpy as np

from osteoscribe.core.answers import Growth
from osteoscribe.core.region import Region
from osteoscribe.core.units import Millimetre

THICKEST_COMPARABLE_MM = 2.5
"""Slices above this do not measure a small lesion well enough to tell growth."""
LEAST_GROWTH_MM = 2.0
"""Smallest difference that is growth, in mm, together with `LEAST_GROWTH`."""
LEAST_GROWTH = 0.25
"""Smallest difference that is growth, as a part of the earlier size."""
STABLE_MONTHS = 24
"""Full calendar months without change after which a lesion counts as unchanged."""
ROUNDING_MM = 1e-6
"""Differences of decimals are not exact in binary: 6.1 - 4.1 is below 2. The benefit goes to growth."""
POINT_MM = 2.0
"""How far apart two points may be set on the same lesion."""

NO_EARLIER = "no earlier measurement is stored"
"""Why a lesion is not compared where there is nothing to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionRecord:
    """A measured lesion as the ledger keeps it, of this or of an earlier examination.

    Parameters
    ----------
    study_date
        StudyDate, or None where it is absent.
    frame_of_reference_uid
        Of the CT series, or None.
    centroid_lps_mm
        Centre of the mark, LPS mm (`centroid_lps_mm`).
    long_axis_mm
        Unrounded, or None where the mark is not measurable.
    slice_thickness_mm
        Of the CT series, or None where it is not recorded.
    name
        The reader's own name of the lesion (`osteoscribe.core.labels.own_name`) or a digest of it, or empty.
        Never logged.
    series_instance_uid
        Of the CT series.
    """

    tracking_uid: str
    study_instance_uid: str
    study_date: date | None
    frame_of_reference_uid: str | None
    centroid_lps_mm: tuple[float, float, float]
    long_axis_mm: Millimetre | None
    slice_thickness_mm: float | None
    name: str = ""
    series_instance_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A lesion against the same lesion in an earlier examination."""

    prior_tracking_uid: str
    prior_date: date
    prior_long_axis_mm: Millimetre
    difference_mm: Millimetre
    growth: Growth
    comparable: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCompared:
    """There is no earlier measurement of this lesion to compare with; growth stays unknown."""

    why: str


def centroid_lps_mm(region: Region) -> tuple[float, float, float]:
    """Centre of a mark: of its voxels, or of its lines where it has no area.

    Parameters
    ----------
    region
        The mark laid on a grid.

    Returns
    -------
    tuple[float, float, float]
        LPS mm.
    """
    if region.mask.any():
        # The middle of many points is that of their indices: no point of each voxel has to be made.
        by_slice = np.count_nonzero(region.mask, axis=(1, 2))
        by_pixel = region.mask.sum(axis=0)
        k, r, c = region.offset
        grid, count = region.grid, by_slice.sum()
        row = r + by_pixel.sum(axis=1) @ np.arange(by_pixel.shape[0]) / count
        column = c + by_pixel.sum(axis=0) @ np.arange(by_pixel.shape[1]) / count
        origin = by_slice @ grid.origins_lps_mm[k : k + len(by_slice)] / count
        x, y, z = origin + row * grid.row_step_lps_mm + column * grid.column_step_lps_mm
    else:
        points = np.vstack([np.insert(line.points_rc, 0, line.k, axis=1) for line in region.outlines])
        x, y, z = region.grid.to_patient(points).mean(axis=0)
    return (float(x), float(y), float(z))


def same_lesion(a: LesionRecord, b: LesionRecord) -> bool:
    """Whether two marks lie on the same lesion, by place.

    They do where both are in one frame of reference and their centres are no further apart than half the
    longer of their long axes, or one slice: separate lesions rarely come that close, and a lesion that
    grew to one side is still found.

    Examples
    --------
    >>> from dataclasses import replace
    >>> first = LesionRecord(
    ...     tracking_uid="1.1",
    ...     study_instance_uid="1.2",
    ...     study_date=None,
    ...     frame_of_reference_uid="1.3",
    ...     centroid_lps_mm=(0.0, 0.0, 0.0),
    ...     long_axis_mm=Millimetre(6.0),
    ...     slice_thickness_mm=1.0,
    ... )
    >>> [same_lesion(first, replace(first, centroid_lps_mm=(x, 0.0, 0.0))) for x in (2.9, 3.1)]
    [True, False]
    """
    if a.frame_of_reference_uid is None or a.frame_of_reference_uid != b.frame_of_reference_uid:
        return False
    return dist(a.centroid_lps_mm, b.centroid_lps_mm) <= max(_reach_mm(a), _reach_mm(b))


def surely_same_lesion(a: LesionRecord, b: LesionRecord) -> bool:
    """Whether two marks overlap so far that they cannot be two lesions; for counting lesions.

    Counting errs the other way than `same_lesion`: two lesions taken for one would make a solitary lesion
    of several. So the centres have to be closer than half the **shorter** of the long axes.
    """
    if a.frame_of_reference_uid is None or a.frame_of_reference_uid != b.frame_of_reference_uid:
        return False
    shorter = min(a.long_axis_mm or 0.0, b.long_axis_mm or 0.0)
    return dist(a.centroid_lps_mm, b.centroid_lps_mm) < shorter / 2


def _reach_mm(record: LesionRecord) -> float:
    half = POINT_MM if record.long_axis_mm is None else record.long_axis_mm / 2
    return max(half, record.slice_thickness_mm or 0.0)


def resaved_as(current: Sequence[LesionRecord], earlier: Sequence[LesionRecord]) -> tuple[str | None, ...]:
    """Tracking UIDs that marks had before a viewer saved them again under new ones.

    Parameters
    ----------
    current
        The marks of one CT series as they are now.
    earlier
        Lesions of the same study as reported before; those of other series are not used.

    Returns
    -------
    tuple[str | None, ...]
        For each current mark the tracking UID to keep; None where it is new, or where the pairing by place
        is not one to one.
    """
    unchanged = {one.tracking_uid for one in current} & {one.tracking_uid for one in earlier}
    left = [one for one in earlier if one.tracking_uid not in unchanged]
    resaved = [one for one in current if one.tracking_uid not in unchanged]
    before = {
        one.tracking_uid: fit.only.tracking_uid
        for one, fit in zip(resaved, _fits(resaved, left, _same_mark), strict=True)
        if fit.only
    }
    kept = before | {uid: uid for uid in unchanged}
    return tuple(kept.get(one.tracking_uid) for one in current)


def _same_mark(a: LesionRecord, b: LesionRecord) -> bool:
    return a.series_instance_uid == b.series_instance_uid and same_lesion(a, b)


def compare(
    current: Sequence[LesionRecord], priors: Sequence[LesionRecord]
) -> tuple[Comparison | NotCompared, ...]:
    """Each lesion of an examination against the same lesion in earlier ones.

    Lesions are paired for each earlier examination by tracking UID, else by place within one frame of
    reference, else by the reader's own name of the lesion. A pairing that is not one to one is none, and
    says so. Of several earlier examinations, one against which the lesion grew decides; then the oldest
    that can be compared.

    Parameters
    ----------
    current
        All measured lesions of this examination.
    priors
        Measured lesions of this patient, from earlier reports. Those of the same study, without a date,
        or not earlier are not used.

    Returns
    -------
    tuple[Comparison | NotCompared, ...]
        One for each current lesion. A lesion without a counterpart is not called new: an earlier reader
        may not have marked it.
    """
    found: list[list[Comparison]] = [[] for _ in current]
    why: list[list[str]] = [[] for _ in current]
    for day, members in _examinations(current, priors):
        for at, (partner, reason) in enumerate(_partners(current, members)):
            if partner is None or partner.long_axis_mm is None or current[at].long_axis_mm is None:
                why[at].append(f"{day.isoformat()}: {reason or 'the lesion has no size to compare'}")
            else:
                found[at].append(_measured(current[at], partner, day))
    return tuple(
        _deciding(one) if one else NotCompared(why="; ".join(reasons) or NO_EARLIER)
        for one, reasons in zip(found, why, strict=True)
    )


def counterparts(
    current: Sequence[LesionRecord], priors: Sequence[LesionRecord]
) -> tuple[tuple[LesionRecord, ...], ...]:
    """The same lesions in every earlier examination, paired as `compare` pairs them.

    Returns
    -------
    tuple[tuple[LesionRecord, ...], ...]
        For each current lesion its records from the oldest examination to the newest; an examination in
        which the pairing is not one to one has none.
    """
    found: list[list[LesionRecord]] = [[] for _ in current]
    for _, members in _examinations(current, priors):
        for at, (partner, _) in enumerate(_partners(current, members)):
            if partner is not None:
                found[at].append(partner)
    return tuple(tuple(one) for one in found)


def _examinations(
    current: Sequence[LesionRecord], priors: Sequence[LesionRecord]
) -> list[tuple[date, list[LesionRecord]]]:
    """Earlier examinations from the oldest to the newest, each lesion in them once."""
    studies = {one.study_instance_uid for one in current}
    days = [one.study_date for one in current if one.study_date is not None]
    grouped: dict[tuple[date, str], list[LesionRecord]] = defaultdict(list)
    for one in sorted(priors, key=_thinnest_first):
        day = one.study_date
        if day is None or not days or day >= min(days) or one.study_instance_uid in studies:
            continue
        members = grouped[day, one.study_instance_uid]
        if not any(one.tracking_uid == m.tracking_uid or surely_same_lesion(one, m) for m in members):
            members.append(one)
    return [(key[0], grouped[key]) for key in sorted(grouped)]


def _thinnest_first(one: LesionRecord) -> tuple[object, ...]:
    """Sort key: a lesion marked on two series of an examination is taken from the thinner slices.

    The rest of the key is there so that the order in which the records come decides nothing.
    """
    return (
        one.slice_thickness_mm or np.inf,
        one.tracking_uid,
        one.centroid_lps_mm,
        one.long_axis_mm or 0.0,
        one.frame_of_reference_uid or "",
        one.series_instance_uid,
        one.name,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """The earlier lesions that one current lesion fits.

    Parameters
    ----------
    contested
        Whether another current lesion fits one of them too.
    """

    found: tuple[LesionRecord, ...]
    contested: bool

    @property
    def only(self) -> LesionRecord | None:
        """The counterpart where the pairing is one to one."""
        return self.found[0] if len(self.found) == 1 and not self.contested else None


def _fits(
    current: Sequence[LesionRecord],
    earlier: Sequence[LesionRecord],
    same: Callable[[LesionRecord, LesionRecord], bool],
    *,
    twice: bool = False,
) -> list[_Fit]:
    """The earlier lesions that each current one fits; `twice` where a lesion may be marked twice."""

    def rival(mine: int, other: int) -> bool:
        """Two marks of one lesion, on two series for instance, may have the same counterpart."""
        return mine != other and not (twice and surely_same_lesion(current[mine], current[other]))

    found = [tuple(b for b in earlier if same(a, b)) for a in current]
    return [
        _Fit(
            found=own,
            contested=any(set(own) & set(found[at]) for at in range(len(current)) if rival(mine, at)),
        )
        for mine, own in enumerate(found)
    ]


def _partners(
    current: Sequence[LesionRecord], members: Sequence[LesionRecord]
) -> list[tuple[LesionRecord | None, str]]:
    """For each current lesion its counterpart in one earlier examination, or why there is none."""
    by_uid = _fits(current, members, lambda a, b: a.tracking_uid == b.tracking_uid, twice=True)
    by_place = _fits(current, members, same_lesion, twice=True)
    by_name = _fits(current, members, lambda a, b: bool(a.name) and a.name == b.name, twice=True)
    return [
        _partner(one, uid, place, name)
        for one, uid, place, name in zip(current, by_uid, by_place, by_name, strict=True)
    ]


def _partner(one: LesionRecord, uid: _Fit, place: _Fit, name: _Fit) -> tuple[LesionRecord | None, str]:
    if uid.only:
        return uid.only, ""
    if place.only:
        return place.only, ""
    if place.found:
        if name.only in place.found:
            return name.only, ""
        return None, "the lesions cannot be paired one to one by place, so none was taken"
    if name.only is None:
        several = "the lesions of this name cannot be paired one to one, so none was taken"
        return None, several if name.found else "no lesion fits by place or name"
    if one.frame_of_reference_uid is not None and (
        one.frame_of_reference_uid == name.only.frame_of_reference_uid
    ):
        return None, "the lesion of the same name lies at another place, so it was not taken"
    return name.only, ""


def _measured(one: LesionRecord, prior: LesionRecord, day: date) -> Comparison:
    assert one.long_axis_mm is not None
    assert prior.long_axis_mm is not None
    assert one.study_date is not None
    difference = one.long_axis_mm - prior.long_axis_mm
    why_not = _why_not(one, prior)
    growth = Growth.UNKNOWN if why_not else _growth(prior.long_axis_mm, difference, day, one.study_date)
    return Comparison(
        prior_tracking_uid=prior.tracking_uid,
        prior_date=day,
        prior_long_axis_mm=prior.long_axis_mm,
        difference_mm=Millimetre(difference),
        growth=growth,
        comparable=not why_not,
        why_not=why_not,
    )


def _why_not(one: LesionRecord, prior: LesionRecord) -> str:
    for record, which in ((one, "this"), (prior, "the earlier")):
        thickness = record.slice_thickness_mm
        if thickness is None:
            return f"the slice thickness of {which} examination is not recorded"
        if thickness > THICKEST_COMPARABLE_MM + ROUNDING_MM:
            return (
                f"the slices of {which} examination are {thickness:g} mm thick; growth is only measured on"
                f" slices of {THICKEST_COMPARABLE_MM:g} mm or less"
            )
    return ""


def _growth(prior_mm: float, difference_mm: float, prior_day: date, day: date) -> Growth:
    if _changed(prior_mm, difference_mm):
        return Growth.UP_OR_NEW if difference_mm > 0 else Growth.STABLE
    return Growth.STABLE_24 if full_months(prior_day, day) >= STABLE_MONTHS else Growth.STABLE


def _changed(prior_mm: float, difference_mm: float) -> bool:
    """Whether a difference is beyond measurement error."""
    change = abs(difference_mm) + ROUNDING_MM
    return change >= LEAST_GROWTH_MM and change >= LEAST_GROWTH * prior_mm


def full_months(start: date, end: date) -> int:
    """Full calendar months from one day to another.

    Examples
    --------
    >>> full_months(date(2020, 3, 15), date(2022, 3, 14)), full_months(date(2020, 3, 15), date(2022, 3, 15))
    (23, 24)
    """
    return (end.year - start.year) * 12 + end.month - start.month - (end.day < start.day)


def _deciding(comparisons: list[Comparison]) -> Comparison:
    """Choose among the comparisons with each earlier examination, from the oldest to the newest.

    Growth against any of them goes first, then a decrease (what changed is not unchanged for 24 months),
    then the oldest that can be compared, else the newest.
    """
    comparable = [one for one in comparisons if one.comparable]
    grown = [one for one in comparable if one.growth is Growth.UP_OR_NEW]
    shrunk = [one for one in comparable if _changed(one.prior_long_axis_mm, one.difference_mm)]
    return (grown or shrunk or comparable or comparisons[::-1])[0]
