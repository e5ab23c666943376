"""Marks and CT instances in, one written report for each marked CT series out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from pydicom import Dataset

from osteoscribe import __version__
from osteoscribe.app.draw import picture_of
from osteoscribe.app.gather import (
    CtSeries,
    MarkObject,
    SeriesShelf,
    ignored_of,
    place_on_series,
    problem_of,
    replaced_objects,
    roi_overlays,
    shelve,
    where_of,
)
from osteoscribe.app.measure import Measured, measure, same_shape
from osteoscribe.app.ports import EarlierLesions, no_earlier_lesions
from osteoscribe.app.practice import Practice
from osteoscribe.app.word import MeasuredSeries, is_metastasis, patient_key, word_series
from osteoscribe.app.write import Written, write_report
from osteoscribe.core.labels import LeftOut, select
from osteoscribe.core.marks import IgnoredMark, InstanceRef, RoiMark, UnreadableMark
from osteoscribe.core.report import Ignored, Predecessor, Problem, Report
from osteoscribe.core.series import Acquisition, ReadBytes, SeriesIndex
from osteoscribe.errors import InputError
from osteoscribe.readers.ct import CT_SOP_CLASSES, index_series
from osteoscribe.readers.datasets import read_context, read_dataset
from osteoscribe.readers.headers import StoredInstance
from osteoscribe.readers.marks import DOCUMENTS, MARK_SOP_CLASSES, is_own_report, read_marks

Show = Callable[[str, int, int], None]
"""Told of progress: stage, done, total."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What to make reports of.

    Parameters
    ----------
    instances
        CT and mark objects mixed, the newest version of each, in any order.
    read
        Gives their bytes.
    accepted_at
        The time that the reports carry; None takes the time of the newest mark object, so that the same
        files give the same bytes whenever they are processed.
    calling_ae
        Who sent the marks: chooses the site policy.
    label_patterns
        Where there are any, only ROIs of these labels are marks.
    predecessors
        The latest earlier report of a CT series, by Series Instance UID.
    earlier
        Gives the lesions of a patient from earlier reports.
    """

    instances: Sequence[StoredInstance]
    read: ReadBytes
    accepted_at: datetime | None = None
    calling_ae: str = ""
    label_patterns: Sequence[str] = ()
    predecessors: Mapping[str, Predecessor] = field(default_factory=dict)
    earlier: EarlierLesions = no_earlier_lesions


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


@dataclass(slots=True, kw_only=True, eq=False)
class _Tally:
    """What has been found so far, by CT series; the empty UID collects what belongs to none."""

    measured: dict[str, list[Measured]] = field(default_factory=lambda: defaultdict(list))
    problems: dict[str, list[Problem]] = field(default_factory=lambda: defaultdict(list))
    ignored: dict[str, list[Ignored]] = field(default_factory=lambda: defaultdict(list))

    @property
    def named(self) -> list[str]:
        """The CT series that get a report: those with a finding or a problem."""
        return sorted({*self.measured, *self.problems} - {""})


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
    tally = _Tally()
    objects, shelf = _sort(request, tally)
    indexes = _Indexes(
        shelf, frozenset(uid for one in objects for uid in one.instance.header.referenced_instances)
    )
    rois = _rois(objects, tally)
    for done, (mark, study_uid) in enumerate(rois):
        show("measuring marks", done, len(rois))
        _take(mark, study_uid, request, practice, shelf, indexes, tally)
    written = _report_all(request, practice, shelf, indexes, objects, tally, show)
    tally.ignored[""] += [*_unmarked(shelf, indexes, tally), *_no_slices(indexes, tally)]
    unreported = sorted(set(tally.ignored) - set(tally.named))
    return Outcome(
        written=tuple(written),
        problems=tuple(tally.problems[""]),
        ignored=tuple(one for uid in unreported for one in tally.ignored[uid]),
    )


class _Indexes:
    """The index of each series, made once; a series without usable geometry raises the same error again."""

    def __init__(self, shelf: SeriesShelf, referenced: frozenset[str]) -> None:
        self._shelf = shelf
        self._referenced = referenced
        self._made: dict[str, SeriesIndex | InputError] = {}

    def __call__(self, series_instance_uid: str) -> SeriesIndex:
        if series_instance_uid not in self._made:
            try:
                made: SeriesIndex | InputError = index_series(
                    self._shelf.series[series_instance_uid].instances, referenced=self._referenced
                )
            except InputError as error:
                made = error
            self._made[series_instance_uid] = made
        known = self._made[series_instance_uid]
        if isinstance(known, InputError):
            raise known
        return known


def _sort(request: Request, tally: _Tally) -> tuple[list[MarkObject], SeriesShelf]:
    """Part the instances into mark objects and CT series; what is neither is said."""
    ct: list[StoredInstance] = []
    other: list[StoredInstance] = []
    objects: list[MarkObject] = []
    for instance in sorted(request.instances, key=lambda one: one.header.sop_instance_uid):
        header = instance.header
        if header.sop_class_uid in CT_SOP_CLASSES:
            ct.append(instance)
        elif header.sop_class_uid in MARK_SOP_CLASSES or header.sop_class_uid in DOCUMENTS:
            _open(instance, request.read, objects, tally)
        elif header.rows is not None:
            other.append(instance)
            if header.modality == "CT":
                tally.ignored[""].append(_summary_page(instance))
            else:
                tally.problems[""].append(_not_ct(instance))
        else:
            tally.problems[""].append(_unknown_class(instance))
    for series_instance_uid, problem in roi_overlays(ct).items():
        tally.problems[series_instance_uid].append(problem)
    return sorted(objects, key=lambda one: one.age_key), shelve(ct, other)


def _open(instance: StoredInstance, read: ReadBytes, objects: list[MarkObject], tally: _Tally) -> None:
    blob, header = instance.blob, instance.header
    try:
        dataset = read_dataset(read(blob, 0, blob.length), transfer_syntax_uid=header.transfer_syntax_uid)
    except InputError as error:
        tally.problems[""].append(
            Problem(code=error.code, message=error.message, where=header.sop_instance_uid)
        )
        return
    one = MarkObject(instance=instance, dataset=dataset)
    if is_own_report(dataset):
        tally.ignored[""].append(
            Ignored(label="", source=one.ref, item="", reason="a report that this software wrote")
        )
    else:
        objects.append(one)


def _summary_page(instance: StoredInstance) -> Ignored:
    """A scanner's own page of text or curves, filed among its CT images."""
    header = instance.header
    return Ignored(
        label="",
        source=InstanceRef(sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid),
        item="",
        reason=f"a picture made from CT (SOP class {header.sop_class_uid}), not a CT image",
    )


def _not_ct(instance: StoredInstance) -> Problem:
    header = instance.header
    return Problem(
        code="image.not-ct",
        message=f"an image of modality {header.modality or 'unknown'} and SOP class {header.sop_class_uid}; "
        "expected CT images and marks; marks are measured on CT only: leave this image out",
        where=header.sop_instance_uid,
    )


def _unknown_class(instance: StoredInstance) -> Problem:
    return Problem(
        code="instance.unknown-sop-class",
        message=f"an object of SOP class {instance.header.sop_class_uid}; expected CT images, or marks as "
        "SEG, RTSTRUCT, SR or presentation state; export the mark as one of these",
        where=instance.header.sop_instance_uid,
    )


def _rois(objects: Sequence[MarkObject], tally: _Tally) -> list[tuple[RoiMark | UnreadableMark, str]]:
    """Every ROI of the objects, newest object first, each with the study it is filed in."""
    replaced = replaced_objects(objects)
    found: list[tuple[RoiMark | UnreadableMark, str]] = []
    for one in reversed(objects):
        header = one.instance.header
        if header.sop_instance_uid in replaced:
            reason = f"replaced by the newer object {replaced[header.sop_instance_uid]}"
            tally.ignored[""].append(Ignored(label="", source=one.ref, item="", reason=reason))
            continue
        try:
            marks = read_marks(one.dataset)
        except InputError as error:
            tally.problems[""].append(
                Problem(code=error.code, message=error.message, where=header.sop_instance_uid)
            )
            continue
        for mark in marks:
            if isinstance(mark, IgnoredMark):
                tally.ignored[""].append(
                    Ignored(label=mark.label, source=mark.source, item=mark.item, reason=mark.reason)
                )
            else:
                found.append((mark, header.study_instance_uid))
    return found


def _take(
    mark: RoiMark | UnreadableMark,
    study_instance_uid: str,
    request: Request,
    practice: Practice,
    shelf: SeriesShelf,
    indexes: _Indexes,
    tally: _Tally,
) -> None:
    """Bring one ROI to its end: measured, a problem, or left out."""
    policy = practice.labels.policy_for(request.calling_ae)
    selection = select(mark, practice.labels, policy, request.label_patterns)
    if isinstance(selection, LeftOut):
        uid = "" if isinstance(mark, UnreadableMark) else _likely_series(mark, shelf)
        tally.ignored[uid].append(
            Ignored(label=mark.label, source=mark.source, item=mark.item, reason=selection.reason)
        )
        return
    if isinstance(mark, UnreadableMark):
        tally.problems[""].append(Problem(code=mark.code, message=mark.message, where=where_of(mark)))
        return
    try:
        placed = place_on_series(mark, study_instance_uid, shelf, indexes)
        measured = measure(placed, indexes(placed.series_instance_uid), request.read)
    except InputError as error:
        tally.problems[_likely_series(mark, shelf)].append(problem_of(error, mark))
        return
    alike = next(
        (
            other
            for other in tally.measured[placed.series_instance_uid]
            if other.placed.mark.source != mark.source and same_shape(other, measured)
        ),
        None,
    )
    if alike is not None:
        reason = f"the same mark was saved again in {where_of(alike.placed.mark)}"
        tally.ignored[placed.series_instance_uid].append(ignored_of(mark, reason))
        return
    tally.measured[placed.series_instance_uid].append(measured)


def _likely_series(mark: RoiMark, shelf: SeriesShelf) -> str:
    """The CT series that a mark names, where it is here; else the empty UID."""
    uid = shelf.series_of([ref.sop_instance_uid for ref in mark.referenced_images])
    if uid is None and mark.referenced_series_uid in shelf.series:
        uid = mark.referenced_series_uid
    return uid or ""


def _unmarked(shelf: SeriesShelf, indexes: _Indexes, tally: _Tally) -> list[Ignored]:
    """The CT series that no mark lies on, so that every instance of a request is accounted for."""
    unmarked = []
    for uid in sorted(set(shelf.series) - set(tally.named)):
        members = shelf.series[uid].instances
        reason = "no mark lies on this CT series"
        try:
            indexes(uid)
        except InputError as error:
            reason += f", and none could be measured on it: {error}"
        header = members[0].header
        source = InstanceRef(sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid)
        item = f"CT series {uid}, {len(members)} instances"
        unmarked.append(Ignored(label="", source=source, item=item, reason=reason))
    return unmarked


def _no_slices(indexes: _Indexes, tally: _Tally) -> list[Ignored]:
    """The images of measured series that are no slices: localizers, doubles, other orientations."""
    return [
        Ignored(label="", source=ref, item=f"image of CT series {uid}", reason=reason)
        for uid in sorted(tally.measured)
        for ref, reason in indexes(uid).left_out
    ]


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
    tally: _Tally,
    show: Show,
) -> list[Written]:
    """One report for each CT series that has a finding or a problem."""
    accepted_at = request.accepted_at or _time_of(objects)
    age = {one.instance.header.sop_instance_uid: rank for rank, one in enumerate(objects)}
    contexts = {uid: _context(shelf.series[uid], request.read) for uid in tally.named}
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
            predecessor=request.predecessors.get(uid),
            panel=practice.panel if practice.panel_in_report and any(map(is_metastasis, findings)) else None,
        )
        own = shelf.series[uid]
        draw = partial(picture_of, instances=own.instances, read=request.read)
        one = write_report(report, own, contexts[uid], objects, practice.profile, draw)
        tally.problems[""] += [held.problem for held in one.quarantined]
        written.append(
            replace(
                one,
                patient_key=patient_key(contexts[uid]),
                lesions=tuple(stored for _, stored in worded.get(uid, ())),
            )
        )
    return written


def _context(series: CtSeries, read: ReadBytes) -> Dataset:
    """Header of the first CT instance of a series."""
    first = series.instances[0]
    return read_context(
        read(first.blob, 0, first.blob.length), transfer_syntax_uid=first.header.transfer_syntax_uid
    )


def _acquisition(uid: str, indexes: _Indexes) -> Acquisition:
    """How the CT was made; nothing is known of a series without usable geometry."""
    try:
        return indexes(uid).acquisition
    except InputError:
        return Acquisition()
