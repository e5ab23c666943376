"""Which jobs are ready: CT series and the mark objects that refer to them.

A job is a set of CT series bound together by mark objects; nearly always one series. It begins when the
images that its marks refer to are there and its series have been quiet for a moment, or when waiting was
in vain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from osteoscribe.app.settings import JobSettings

BUSY_PAUSE_S = 1.0
"""Another look after so long where a job of the same series is under way; its end wakes sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkObject:
    """A received mark object and what it refers to.

    Parameters
    ----------
    instance_id
        Its row in the ledger.
    references
        SOP Instance UIDs that it names.
    series_instance_uid
        The series that it names, or None.
    frame_of_reference_uid
        Its frame of reference, or None.
    """

    instance_id: int
    sop_instance_uid: str
    digest: str
    study_instance_uid: str
    references: tuple[str, ...]
    series_instance_uid: str | None
    frame_of_reference_uid: str | None
    received_at: datetime
    calling_ae: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """A job that can begin.

    Parameters
    ----------
    missing
        Images that its marks name and that never came.
    accepted_at
        When the newest of its mark objects came.
    """

    key: str
    marks: tuple[MarkObject, ...]
    series: tuple[str, ...]
    missing: Mapping[int, tuple[str, ...]]
    accepted_at: datetime
    calling_ae: str


class PlanLedger(Protocol):
    """What planning asks of the ledger."""

    def open_marks(self) -> tuple[MarkObject, ...]:
        """Mark objects that stand in no job yet."""
        ...

    def ct_series_of(self, sop_instance_uids: Sequence[str]) -> Mapping[str, str]:
        """CT Series Instance UID of each of these instances that is there as CT."""
        ...

    def present(self, sop_instance_uids: Sequence[str]) -> frozenset[str]:
        """Those of these instances that are there, CT or not."""
        ...

    def fitting_ct_series(self, mark: MarkObject) -> tuple[str, ...]:
        """CT series that a mark object without image references may mean."""
        ...

    def link(self, instance_id: int, series: Sequence[str]) -> None:
        """Record the CT series of a mark object."""
        ...

    def marks_on(self, series: Sequence[str]) -> tuple[MarkObject, ...]:
        """All current mark objects that are linked to any of these series."""
        ...

    def linked_series(self, instance_ids: Sequence[int]) -> frozenset[str]:
        """CT series that these mark objects are linked to."""
        ...

    def last_received(self, series: Sequence[str]) -> datetime | None:
        """When the last instance of these CT series came."""
        ...

    def has_settled(self, series: Sequence[str], marks: Sequence[int], since: datetime) -> bool:
        """Whether what came since came over associations that ended: the images over one, the marks too."""
        ...

    def busy(self, series: Sequence[str]) -> bool:
        """Whether an earlier job of any of these series is not measured yet."""
        ...

    def add_job(self, job: PlannedJob, now: datetime) -> bool:
        """Record the job and take its marks off the open ones; False where it was there already."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What planning came to.

    Parameters
    ----------
    keys
        Keys of the jobs that were recorded.
    again_at
        When a mark that waits now will have waited enough, if nothing else comes; None where none waits.
    """

    keys: tuple[str, ...]
    again_at: datetime | None


def plan(ledger: PlanLedger, settings: JobSettings, now: datetime) -> Planned:
    """Record every job that can begin now.

    Parameters
    ----------
    now
        The time, with zone.
    """
    planned: list[str] = []
    again_at: list[datetime] = []
    done: set[int] = set()
    open_marks = {mark.instance_id: mark for mark in ledger.open_marks()}
    for mark in open_marks.values():
        ledger.link(mark.instance_id, _series_of(ledger, mark))
    for mark in open_marks.values():
        if mark.instance_id in done:
            continue
        together = _bound_together(ledger, mark)
        done.update(one.instance_id for one in together)
        key, wait_until = _plan_together(ledger, settings, now, together, frozenset(open_marks))
        planned += [] if key is None else [key]
        again_at += wait_until
    return Planned(keys=tuple(planned), again_at=min(again_at, default=None))


def _plan_together(
    ledger: PlanLedger,
    settings: JobSettings,
    now: datetime,
    together: Sequence[MarkObject],
    open_ids: frozenset[int],
) -> tuple[str | None, list[datetime]]:
    """Key of the job of mark objects that belong together, if it can begin; and until when others wait."""
    missing = _missing(ledger, together)
    # A mark whose images are still to come does not hold up the others on its series.
    waiting = [one for one in together if _waits_for_images(ledger, settings, now, one, missing)]
    again_at = [one.received_at + timedelta(seconds=settings.give_up_after_s) for one in waiting]
    marks = [one for one in together if one not in waiting]
    if not any(one.instance_id in open_ids for one in marks):
        return None, again_at
    series = tuple(sorted(ledger.linked_series([one.instance_id for one in marks])))
    quiet_at = _quiet_at(ledger, settings, now, marks, series)
    if quiet_at > now:
        return None, [*again_at, quiet_at]
    job = _job(marks, series or _fitting(ledger, marks), missing)
    if ledger.busy(series) or not ledger.add_job(job, now):
        return None, [*again_at, now + timedelta(seconds=BUSY_PAUSE_S)]
    return job.key, again_at


def job_key(series: Iterable[str], digests: Iterable[str], missing: Iterable[str]) -> str:
    """SHA-256 over what a job is made of, whatever order it came in.

    Examples
    --------
    >>> job_key(["1.2"], ["a", "b"], []) == job_key(["1.2"], ["b", "a"], [])
    True
    >>> job_key(["1.2"], ["a"], []) == job_key(["1.2"], ["a"], ["1.3"])
    False
    """
    parts = [("series", series), ("mark", digests), ("missing", missing)]
    lines = [f"{name} {one}" for name, values in parts for one in sorted(set(values))]
    return hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()


def _bound_together(ledger: PlanLedger, mark: MarkObject) -> tuple[MarkObject, ...]:
    """Collect the mark objects that CT series bind into one job with this one."""
    marks = {mark.instance_id: mark}
    series: set[str] = set()
    fresh: list[MarkObject] = [mark]
    while fresh:
        new_series = ledger.linked_series([one.instance_id for one in fresh]) - series
        series |= new_series
        fresh = [one for one in ledger.marks_on(sorted(new_series)) if one.instance_id not in marks]
        marks.update({one.instance_id: one for one in fresh})
    return tuple(marks[key] for key in sorted(marks))


def _series_of(ledger: PlanLedger, mark: MarkObject) -> tuple[str, ...]:
    if not mark.references:
        return _fitting(ledger, [mark])
    return tuple(sorted(set(ledger.ct_series_of(mark.references).values())))


def _fitting(ledger: PlanLedger, marks: Sequence[MarkObject]) -> tuple[str, ...]:
    return tuple(sorted({uid for mark in marks for uid in ledger.fitting_ct_series(mark)}))


def _missing(ledger: PlanLedger, marks: Sequence[MarkObject]) -> dict[int, tuple[str, ...]]:
    missing: dict[int, tuple[str, ...]] = {}
    for mark in marks:
        absent = set(mark.references) - ledger.present(mark.references)
        if absent:
            missing[mark.instance_id] = tuple(sorted(absent))
    return missing


def _waits_for_images(
    ledger: PlanLedger,
    settings: JobSettings,
    now: datetime,
    mark: MarkObject,
    missing: Mapping[int, tuple[str, ...]],
) -> bool:
    complete = mark.instance_id not in missing and bool(ledger.linked_series([mark.instance_id]))
    return not complete and now - mark.received_at < timedelta(seconds=settings.give_up_after_s)


def _quiet_at(
    ledger: PlanLedger,
    settings: JobSettings,
    now: datetime,
    marks: Sequence[MarkObject],
    series: Sequence[str],
) -> datetime:
    """When it will have been quiet for long enough, if nothing more comes."""
    newest_mark = max(mark.received_at for mark in marks)
    last = max(newest_mark, ledger.last_received(series) or newest_mark)
    quiet_at = last + timedelta(seconds=settings.quiet_s)
    # A clock that was set back must not make a job wait for the future.
    if now >= quiet_at or now < last:
        return now
    since = last - timedelta(seconds=settings.quiet_s)
    if ledger.has_settled(series, [mark.instance_id for mark in marks], since):
        return min(quiet_at, max(now, last + timedelta(seconds=settings.quiet_after_release_s)))
    return quiet_at


def _job(
    marks: Sequence[MarkObject], series: tuple[str, ...], missing: Mapping[int, tuple[str, ...]]
) -> PlannedJob:
    newest = max(marks, key=lambda mark: (mark.received_at, mark.instance_id))
    missing = {mark.instance_id: missing[mark.instance_id] for mark in marks if mark.instance_id in missing}
    absent = [uid for uids in missing.values() for uid in uids]
    return PlannedJob(
        key=job_key(series, (mark.digest for mark in marks), absent),
        marks=tuple(marks),
        series=series,
        missing=missing,
        accepted_at=newest.received_at,
        calling_ae=newest.calling_ae,
    )
