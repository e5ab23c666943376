"""Which jobs are ready: CT series and the mark objects that refer to them.

A job is a set of CT series bound together by mark objects; nearly always one series. It begins when the
images that its marks refer to are there and its series have been quiet for a moment, or when waiting was
in vain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
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

    def reading(self) -> AbstractContextManager[None]:
        """Read everything in the block from one state of the ledger, at one go."""
        ...

    def links(self, instance_ids: Sequence[int]) -> Mapping[int, frozenset[str]]:
        """CT series that each of these mark objects is linked to."""
        ...

    def marks_on(self, series: Sequence[str]) -> tuple[MarkObject, ...]:
        """All current mark objects that are linked to any of these series."""
        ...

    def last_received(self, series: Sequence[str]) -> datetime | None:
        """When the last instance of these CT series came."""
        ...

    def has_settled(self, series: Sequence[str], marks: Sequence[int], since: datetime) -> bool:
        """Whether what came since came over associations that ended: the images over one, the marks too."""
        ...

    def record(
        self, links: Mapping[int, frozenset[str]], jobs: Sequence[PlannedJob], now: datetime
    ) -> tuple[str, ...]:
        """Link mark objects to CT series, record the jobs and take their marks off the open ones.

        Gives the keys of the new jobs: not those that were there already, nor those of a series of which an
        earlier job is not measured yet.
        """
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
    planned: list[PlannedJob] = []
    again_at: list[datetime] = []
    with ledger.reading():
        open_marks = {mark.instance_id: mark for mark in ledger.open_marks()}
        if not open_marks:
            return Planned(keys=(), again_at=None)
        there = ledger.ct_series_of([uid for mark in open_marks.values() for uid in mark.references])
        known = ledger.links(list(open_marks))
        links = {one: known[one] | _series_of(ledger, mark, there) for one, mark in open_marks.items()}
        new_links = {one: links[one] - known[one] for one in open_marks if links[one] - known[one]}
        done: set[int] = set()
        for mark in open_marks.values():
            if mark.instance_id not in done:
                together = _bound_together(ledger, mark, links, open_marks)
                done.update(one.instance_id for one in together)
                job, wait_until = _plan_together(ledger, settings, now, together, links, there, open_marks)
                planned += [] if job is None else [job]
                again_at += wait_until
    added = ledger.record(new_links, planned, now) if new_links or planned else ()
    if len(added) < len(planned):
        again_at.append(now + timedelta(seconds=BUSY_PAUSE_S))
    return Planned(keys=added, again_at=min(again_at, default=None))


def _series_of(ledger: PlanLedger, mark: MarkObject, there: Mapping[str, str]) -> frozenset[str]:
    """CT series that a mark refers to, as far as they are there."""
    if not mark.references:
        return frozenset(_fitting(ledger, [mark]))
    return frozenset(there[uid] for uid in mark.references if uid in there)


def _plan_together(
    ledger: PlanLedger,
    settings: JobSettings,
    now: datetime,
    together: Sequence[MarkObject],
    links: Mapping[int, frozenset[str]],
    there: Mapping[str, str],
    open_marks: Mapping[int, MarkObject],
) -> tuple[PlannedJob | None, list[datetime]]:
    """Make the job of mark objects that belong together, if it can begin; and say until when marks wait."""
    missing = _missing(ledger, together, there)
    # A mark whose images are still to come does not hold up the others on its series.
    complete = [one for one in together if one.instance_id not in missing and links[one.instance_id]]
    gives_up_at = {
        one.instance_id: one.received_at + timedelta(seconds=settings.give_up_after_s)
        for one in together
        if one not in complete
    }
    again_at = [at for at in gives_up_at.values() if at > now]
    marks = [one for one in together if gives_up_at.get(one.instance_id, now) <= now]
    if not any(one.instance_id in open_marks for one in marks):
        return None, again_at
    series = tuple(sorted(frozenset().union(*(links[one.instance_id] for one in marks))))
    quiet_at = _quiet_at(ledger, settings, now, marks, series)
    if quiet_at > now:
        return None, [*again_at, quiet_at]
    return _job(marks, series or _fitting(ledger, marks), missing), again_at


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


def _bound_together(
    ledger: PlanLedger,
    mark: MarkObject,
    links: dict[int, frozenset[str]],
    open_marks: Mapping[int, MarkObject],
) -> tuple[MarkObject, ...]:
    """Collect the mark objects that CT series bind into one job with this one; fills in their links."""
    marks = {mark.instance_id: mark}
    series: frozenset[str] = frozenset()
    fresh = links[mark.instance_id]
    while fresh:
        series |= fresh
        found = {one.instance_id: one for one in ledger.marks_on(sorted(fresh))}
        # Links of open marks are not all recorded yet.
        found |= {key: one for key, one in open_marks.items() if links[key] & fresh}
        found = {key: one for key, one in found.items() if key not in marks}
        marks |= found
        unknown = [key for key in found if key not in links]
        links.update(ledger.links(unknown) if unknown else {})
        fresh = frozenset().union(*(links[key] for key in found)) - series
    return tuple(marks[key] for key in sorted(marks))


def _fitting(ledger: PlanLedger, marks: Sequence[MarkObject]) -> tuple[str, ...]:
    return tuple(sorted({uid for mark in marks for uid in ledger.fitting_ct_series(mark)}))


def _missing(
    ledger: PlanLedger, marks: Sequence[MarkObject], there: Mapping[str, str]
) -> dict[int, tuple[str, ...]]:
    named = frozenset(uid for mark in marks for uid in mark.references if uid not in there)
    absent = named - ledger.present(sorted(named)) if named else named
    missing = {mark.instance_id: tuple(sorted(absent.intersection(mark.references))) for mark in marks}
    return {instance_id: uids for instance_id, uids in missing.items() if uids}


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
