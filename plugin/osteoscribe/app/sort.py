"""Received instances, parted into CT series and the ROIs of mark objects; what is neither is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from osteoscribe.app.ahead import open_object
from osteoscribe.app.gather import MarkObject
from osteoscribe.app.shelf import SeriesShelf, parted, shelve
from osteoscribe.app.tally import Tally
from osteoscribe.core.marks import IgnoredMark, InstanceRef, RoiMark, UnreadableMark
from osteoscribe.core.series import ReadBytes
from osteoscribe.errors import InputError
from osteoscribe.readers.ct import CT_SOP_CLASSES
from osteoscribe.readers.headers import StoredInstance, StoredSeries
from osteoscribe.readers.marks import DOCUMENTS, MARK_SOP_CLASSES, is_own_report

_READ_AS_MARKS = MARK_SOP_CLASSES.union(DOCUMENTS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roi:
    """One ROI, and the CT series that the object it stands in leads to (empty: none)."""

    mark: RoiMark | UnreadableMark
    study_instance_uid: str
    series_instance_uid: str


def sort_instances(
    instances: Sequence[StoredInstance], whole: Sequence[StoredSeries], read: ReadBytes, tally: Tally
) -> tuple[list[MarkObject], SeriesShelf]:
    """Give the mark objects, oldest first, and the CT series.

    Parameters
    ----------
    whole
        Series besides the single instances: their CT images are not looked at one by one.
    """
    kept = [parted(one) for one in whole]
    single = [*instances, *(one for _, others in kept for one in others)]
    ct: list[StoredInstance] = []
    images: list[StoredInstance] = []
    marks: list[StoredInstance] = []
    for instance in sorted(single, key=attrgetter("header.sop_instance_uid")):
        header = instance.header
        if header.sop_class_uid in CT_SOP_CLASSES:
            ct.append(instance)
        elif header.sop_class_uid in _READ_AS_MARKS:
            marks.append(instance)
        elif header.rows is None:
            tally.refuse(_unknown_class(instance), header.sop_instance_uid)
        else:
            images.append(instance)
            _state_other_image(instance, tally)
    shelf = shelve(ct, images, [one for one, _ in kept if one is not None])
    for series_instance_uid, series in shelf.series.items():
        if series.overlay_problem is not None:
            tally.problems[series_instance_uid].append(series.overlay_problem)
    opened = (_open(instance, read, shelf, tally) for instance in marks)
    return sorted((one for one in opened if one is not None), key=lambda one: one.age_key), shelf


def rois_of(objects: Sequence[MarkObject], shelf: SeriesShelf, tally: Tally) -> list[Roi]:
    """Every ROI of the objects, those of the newest object first."""
    replaced = replaced_objects(objects)
    found: list[Roi] = []
    for one in reversed(objects):
        header = one.instance.header
        if header.sop_instance_uid in replaced:
            tally.leave_out(one.ref, f"replaced by the newer object {replaced[header.sop_instance_uid]}")
            continue
        series_instance_uid = shelf.series_meant_by(header)
        try:
            marks = one.opened.marks
        except InputError as error:
            tally.refuse(error, header.sop_instance_uid, series_instance_uid)
            continue
        for mark in marks:
            if isinstance(mark, IgnoredMark):
                tally.leave_out(mark.source, mark.reason, label=mark.label, item=mark.item)
            else:
                roi = Roi(
                    mark=mark,
                    study_instance_uid=header.study_instance_uid,
                    series_instance_uid=series_instance_uid,
                )
                found.append(roi)
    return found


def replaced_objects(objects: Sequence[MarkObject]) -> Mapping[str, str]:
    """Mark objects that another one names as its predecessor: old SOP Instance UID to new.

    An object does not replace itself, and of two that name each other the newer one stays.

    Parameters
    ----------
    objects
        Oldest first.

    References
    ----------
    PS3.3 C.17.2.3
    """
    replaced: dict[str, str] = {}
    for newer in reversed(objects):
        own = newer.instance.header.sop_instance_uid
        for study in newer.dataset.get("PredecessorDocumentsSequence") or ():
            for series in study.get("ReferencedSeriesSequence") or ():
                for item in series.get("ReferencedSOPSequence") or ():
                    uid = str(item.get("ReferencedSOPInstanceUID") or "")
                    if uid != own and replaced.get(own) != uid:
                        replaced.setdefault(uid, own)
    return replaced


def _open(instance: StoredInstance, read: ReadBytes, shelf: SeriesShelf, tally: Tally) -> MarkObject | None:
    header = instance.header
    try:
        opened = open_object(instance, read)
    except InputError as error:
        tally.refuse(error, header.sop_instance_uid, shelf.series_meant_by(header))
        return None
    one = MarkObject(instance=instance, opened=opened)
    if is_own_report(one.dataset):
        tally.leave_out(one.ref, "a report that this software wrote")
        return None
    return one


def _state_other_image(instance: StoredInstance, tally: Tally) -> None:
    header = instance.header
    if header.modality == "CT":
        source = InstanceRef(sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid)
        reason = f"a picture made from CT (SOP class {header.sop_class_uid}), not a CT image"
        tally.leave_out(source, reason)
    else:
        tally.refuse(_not_ct(instance), header.sop_instance_uid)


def _not_ct(instance: StoredInstance) -> InputError:
    header = instance.header
    return InputError(
        "image.not-ct",
        f"an image of modality {header.modality or 'unknown'} and SOP class {header.sop_class_uid}; "
        "expected CT images and marks; marks are measured on CT only: leave this image out",
    )


def _unknown_class(instance: StoredInstance) -> InputError:
    return InputError(
        "instance.unknown-sop-class",
        f"an object of SOP class {instance.header.sop_class_uid}; expected CT images, or marks as "
        "SEG, RTSTRUCT, SR or presentation state; export the mark as one of these",
    )
