"""Marks and CT instances in, one written report for each marked CT series out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from pydicom import Dataset

from osteoscribe import __version__
from osteoscribe.app.draw import picture_of
from osteoscribe.app.gather import MarkObject, place_on_series, where_of
from osteoscribe.app.measure import measure, same_shape
from osteoscribe.app.ports import EarlierLesions, no_earlier_lesions
from osteoscribe.app.practice import Practice
from osteoscribe.app.shelf import SeriesShelf
from osteoscribe.app.sort import Roi, rois_of, sort_instances
from osteoscribe.app.tally import NO_SERIES, Tally
from osteoscribe.app.word import MeasuredSeries, is_metastasis, patient_key, word_series
from osteoscribe.app.write import Written, write_report
from osteoscribe.core.labels import LeftOut, select
from osteoscribe.core.marks import InstanceRef, RoiMark, UnreadableMark
from osteoscribe.core.report import FIRST, Ignored, Problem, Report, Revision
from osteoscribe.core.series import Acquisition, ReadBytes, SeriesIndex
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import StoredInstance, StoredSeries
from osteoscribe.writers.copying import once
from osteoscribe.writers.profiles import Profile

Show = Callable[[str, int, int], None]
"""Told of progress: stage, done, total."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What to make reports of.

    Parameters
    ----------
    instances
        CT and mark objects mixed, the newest version of each, in any order.
    series
        Whole series besides. What is worked out of one is kept for the next request with the same object.
    read
        Gives their bytes.
    accepted_at
        The time that the reports carry; None takes the time of the newest mark object, so that the same
        files give the same bytes whenever they are processed.
    calling_ae
        Who sent the marks: chooses the site policy.
    label_patterns
        Where there are any, only ROIs of these labels are marks.
    revisions
        Which report on a CT series this is, by Series Instance UID; the first where nothing is said.
    profiles
        The forms to write; empty: the practice's.
    earlier
        Gives the lesions of a patient from earlier reports.
    stated
        Problems that are known beforehand, by Series Instance UID of the CT; left out where that is not here.
    """

    instances: Sequence[StoredInstance]
    read: ReadBytes
    series: Sequence[StoredSeries] = ()
    accepted_at: datetime | None = None
    calling_ae: str = ""
    label_patterns: Sequence[str] = ()
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    profiles: Sequence[Profile] = ()
    earlier: EarlierLesions = no_earlier_lesions
    stated: Mapping[str, Sequence[Problem]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What became of a request.

    Parameters
    ----------
    problems, ignored
        Those that belong to no report.
    """

    written: tuple[Written, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[Ignored, ...]

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """The problems of the reports and those that belong to none."""
        return (*(p for one in self.written for p in one.report.problems), *self.problems)


def run(request: Request, practice: Practice, show: Show = lambda *_: None) -> Outcome:
    """Reports for every mark of a request.

    Every ROI ends as one finding, one problem or one left-out entry. An error of one mark does not stop
    the others.

    Parameters
    ----------
    request
        The instances and how to read them.
    practice
        The rule table, the label rules and what else a site decides.
    show
        Told of progress.

    Returns
    -------
    Outcome
        The written reports, sorted by CT series, and what belongs to none.
    """
    tally = Tally()
    objects, shelf = sort_instances(request.instances, request.series, request.read, tally)
    indexes = _Indexes(
        shelf, frozenset(uid for one in objects for uid in one.instance.header.referenced_instances)
    )
    rois = rois_of(objects, shelf, tally)
    for done, roi in enumerate(rois):
        show("measuring marks", done, len(rois))
        _take(roi, request, practice, shelf, indexes, tally)
    for uid in set(request.stated) & set(shelf.series):
        tally.problems[uid] += request.stated[uid]
    written = _report_all(request, practice, shelf, indexes, objects, tally, show)
    _leave_out_no_slices(indexes, tally)
    _say_unmarked(shelf, indexes, tally, is_all=not objects)
    unreported = sorted(set(tally.ignored) - set(tally.named))
    return Outcome(
        written=tuple(written),
        problems=tuple(tally.problems[NO_SERIES]),
        ignored=tuple(one for uid in unreported for one in tally.ignored[uid]),
    )


class _Indexes:
    """The index of each series, made once; a series without usable geometry raises the same error again."""

    def __init__(self, shelf: SeriesShelf, referenced: frozenset[str]) -> None:
        self._shelf = shelf
        self._referenced = referenced
        self._made: dict[str, SeriesIndex] = {}

    def __call__(self, series_instance_uid: str) -> SeriesIndex:
        if series_instance_uid not in self._made:
            series = self._shelf.series[series_instance_uid]
            self._made[series_instance_uid] = series.index(self._referenced)
        return self._made[series_instance_uid]


def _take(
    roi: Roi, request: Request, practice: Practice, shelf: SeriesShelf, indexes: _Indexes, tally: Tally
) -> None:
    """Bring one ROI to its end: measured, a problem, or left out."""
    mark = roi.mark
    named = None if isinstance(mark, UnreadableMark) else shelf.series_named_by(mark)
    likely = named or roi.series_instance_uid
    policy = practice.labels.policy_for(request.calling_ae)
    selection = select(mark, practice.labels, policy, request.label_patterns)
    if isinstance(selection, LeftOut):
        _leave_out(mark, selection.reason, likely, tally)
        return
    if isinstance(mark, UnreadableMark):
        tally.refuse(InputError(mark.code, mark.message), where_of(mark), likely)
        return
    try:
        placed = place_on_series(mark, roi.study_instance_uid, shelf, indexes)
        measured = measure(placed, indexes(placed.series_instance_uid), request.read)
    except InputError as error:
        tally.refuse(error, where_of(mark), likely)
        return
    others = tally.measured[placed.series_instance_uid]
    alike = next(
        (one for one in others if one.placed.mark.source != mark.source and same_shape(one, measured)), None
    )
    if alike is not None:
        reason = f"the same mark was saved again in {where_of(alike.placed.mark)}"
        _leave_out(mark, reason, placed.series_instance_uid, tally)
        return
    others.append(measured)


def _leave_out(mark: RoiMark | UnreadableMark, reason: str, series_instance_uid: str, tally: Tally) -> None:
    tally.leave_out(
        mark.source, reason, label=mark.label, item=mark.item, series_instance_uid=series_instance_uid
    )


def _say_unmarked(shelf: SeriesShelf, indexes: _Indexes, tally: Tally, *, is_all: bool) -> None:
    """Name the CT series that no mark lies on, so that every instance of a request is accounted for.

    One that cannot be measured is a problem only where there is nothing else (`is_all`): beside marks that
    were measured it may well be a page or a survey of the scanner.
    """
    for uid in sorted(set(shelf.series) - set(tally.named)):
        members = shelf.series[uid].instances
        header = members[0].header
        reason = "no mark lies on this CT series"
        try:
            indexes(uid)
        except InputError as error:
            if is_all and error.code != "ct.localizer":
                tally.refuse(error, error.where or header.sop_instance_uid)
                continue
            reason += f", and none could be measured on it: {error}"
        source = InstanceRef(sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid)
        tally.leave_out(source, reason, item=f"CT series {uid}, {len(members)} instances")


def _leave_out_no_slices(indexes: _Indexes, tally: Tally) -> None:
    """Name the images of the marked series that are none of its slices: surveys, pages, doubles."""
    for uid in tally.named:
        try:
            index = indexes(uid)
        except InputError:
            continue  # what is wrong with the series is the problem of its marks
        for ref, reason in index.left_out:
            item = "image" if ref.frame_number is None else f"frame {ref.frame_number}"
            tally.leave_out(ref, f"no slice of its series: {reason}", item=item)


def _time_of(objects: Sequence[MarkObject]) -> datetime:
    """The time of the newest mark object; of none, the epoch."""
    for one in reversed(objects):
        moment = _stated_time(one.dataset)
        if moment is not None:
            return moment
    return datetime(1970, 1, 1, tzinfo=UTC)


def _stated_time(dataset: Dataset) -> datetime | None:
    for name in ("Content", "StructureSet", "InstanceCreation", "Series", "Study"):
        day = str(dataset.get(f"{name}Date") or "")
        clock = str(dataset.get(f"{name}Time") or "").split(".")[0].ljust(6, "0")
        try:
            return datetime.strptime(day + clock, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _report_all(
    request: Request,
    practice: Practice,
    shelf: SeriesShelf,
    indexes: _Indexes,
    objects: Sequence[MarkObject],
    tally: Tally,
    show: Show,
) -> list[Written]:
    """One report for each CT series that has a finding or a problem."""
    accepted_at = request.accepted_at or _time_of(objects)
    age = {one.instance.header.sop_instance_uid: rank for rank, one in enumerate(objects)}
    contexts = {uid: shelf.series[uid].context(request.read) for uid in tally.named}
    worded = word_series(
        [
            MeasuredSeries(
                index=indexes(uid),
                context=contexts[uid],
                measured=tuple(
                    sorted(measured, key=lambda one: age[one.placed.mark.source.sop_instance_uid])
                ),
            )
            for uid, measured in sorted(tally.measured.items())
        ],
        practice,
        request.calling_ae,
        request.earlier,
    )
    written = []
    for done, uid in enumerate(tally.named):
        show("writing reports", done, len(tally.named))
        findings = tuple(finding for finding, _ in worded.get(uid, ()))
        report = Report(
            study_instance_uid=shelf.series[uid].study_instance_uid,
            series_instance_uid=uid,
            acquisition=_acquisition(uid, indexes),
            findings=findings,
            problems=tuple(tally.problems.get(uid, ())),
            ignored=tuple(tally.ignored.get(uid, ())),
            software_version=__version__,
            accepted_at=accepted_at,
            table_id=practice.table.id,
            table_version=practice.table.version,
            table_sha256=practice.table.sha256,
            panel=practice.panel if practice.panel_in_report and any(map(is_metastasis, findings)) else None,
        )
        own = shelf.series[uid]
        draw = partial(picture_of, instances=own.instances, read=request.read)
        one = write_report(
            report,
            own,
            contexts[uid],
            objects,
            request.profiles or (practice.profile,),
            draw,
            request.revisions.get(uid, FIRST),
        )
        tally.problems[NO_SERIES] += [refused.problem for refused in one.quarantined]
        written.append(
            replace(
                one,
                patient_key=once(patient_key, contexts[uid]),
                lesions=tuple(stored for _, stored in worded.get(uid, ())),
            )
        )
    return written


def _acquisition(uid: str, indexes: _Indexes) -> Acquisition:
    """How the CT was made; nothing is known of a series without usable geometry."""
    try:
        return indexes(uid).acquisition
    except InputError:
        return Acquisition()
