"""From received instances to marks, each with the CT series that it belongs to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from osteoscribe.core.marks import InstanceRef, RoiMark, UnreadableMark
from osteoscribe.core.placement import place
from osteoscribe.core.region import Placement
from osteoscribe.core.report import Problem
from osteoscribe.core.series import SeriesIndex
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import InstanceHeader, StoredInstance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkObject:
    """A mark object as received: its instance and its data set."""

    instance: StoredInstance
    dataset: Dataset

    @property
    def ref(self) -> InstanceRef:
        """The object as an instance reference."""
        header = self.instance.header
        return InstanceRef(sop_class_uid=header.sop_class_uid, sop_instance_uid=header.sop_instance_uid)

    @property
    def age_key(self) -> tuple[str, str, str]:
        """Sorts objects from the oldest to the newest, the same way whatever order they came in."""
        return (
            str(self.dataset.get("ContentDate") or self.dataset.get("StructureSetDate") or ""),
            str(self.dataset.get("ContentTime") or self.dataset.get("StructureSetTime") or ""),
            self.instance.header.sop_instance_uid,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CtSeries:
    """The received instances of one CT series."""

    study_instance_uid: str
    series_instance_uid: str
    instances: tuple[StoredInstance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesShelf:
    """The CT series at hand, and the images that are no CT.

    Parameters
    ----------
    series
        By Series Instance UID.
    other_images
        Modality by SOP Instance UID of every image that is no CT.
    """

    series: Mapping[str, CtSeries]
    other_images: Mapping[str, str]

    def series_of(self, sop_instance_uids: Sequence[str]) -> str | None:
        """The series that holds most of these instances, or None."""
        wanted = set(sop_instance_uids)
        held = {
            uid: sum(one.header.sop_instance_uid in wanted for one in series.instances)
            for uid, series in self.series.items()
        }
        best = max(held, key=lambda uid: (held[uid], uid), default=None)
        return best if best is not None and held[best] else None

    def series_named_by(self, mark: RoiMark) -> str | None:
        """The series that a mark names by its images, or else by its UID, where it is here."""
        return self._named(
            [ref.sop_instance_uid for ref in mark.referenced_images], mark.referenced_series_uid
        )

    def series_meant_by(self, header: InstanceHeader) -> str:
        """The series whose report is to speak of a mark object that cannot be used, or the empty UID.

        It is the one that the object names, else the only one of its study.
        """
        named = self._named(header.referenced_instances, header.referenced_series_uid)
        if named is not None:
            return named
        in_study = [
            uid
            for uid, series in self.series.items()
            if series.study_instance_uid == header.study_instance_uid
        ]
        return in_study[0] if len(in_study) == 1 else ""

    def _named(self, sop_instance_uids: Sequence[str], series_instance_uid: str | None) -> str | None:
        uid = self.series_of(sop_instance_uids)
        return series_instance_uid if uid is None and series_instance_uid in self.series else uid


def shelve(ct: Sequence[StoredInstance], other_images: Sequence[StoredInstance]) -> SeriesShelf:
    """CT instances by series, in an order that does not depend on the order of arrival."""
    grouped: dict[str, list[StoredInstance]] = defaultdict(list)
    for instance in sorted(ct, key=lambda one: one.header.sop_instance_uid):
        grouped[instance.header.series_instance_uid].append(instance)
    return SeriesShelf(
        series={
            uid: CtSeries(
                study_instance_uid=members[0].header.study_instance_uid,
                series_instance_uid=uid,
                instances=tuple(members),
            )
            for uid, members in sorted(grouped.items())
        },
        other_images={one.header.sop_instance_uid: one.header.modality for one in other_images},
    )


def roi_overlays(ct: Sequence[StoredInstance]) -> Mapping[str, Problem]:
    """By series: marks saved as overlay bitmaps of the CT images, which have no outline to measure."""
    marked: dict[str, list[str]] = defaultdict(list)
    for instance in ct:
        if instance.header.roi_overlays:
            marked[instance.header.series_instance_uid].append(instance.header.sop_instance_uid)
    return {
        series: Problem(
            code="roi.overlay-bitmap",
            message=f"found marks as overlay bitmaps in {len(images)} CT images; expected outlines or"
            " lengths; please save the marks as vector graphics, RT Structure Set or SEG",
            where=min(images),
        )
        for series, images in marked.items()
    }


def where_of(mark: RoiMark | UnreadableMark) -> str:
    """The place of a mark for a problem: its object and item, no free text."""
    return f"{mark.source.sop_instance_uid} {mark.item}".strip()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """A mark on the CT series that it belongs to."""

    mark: RoiMark
    series_instance_uid: str
    placement: Placement
    remark: str = ""


def place_on_series(
    mark: RoiMark,
    study_instance_uid: str,
    shelf: SeriesShelf,
    index_of: Callable[[str], SeriesIndex],
) -> Placed:
    """Find the CT series of a mark and lay the mark on it.

    The images that the mark names decide; then the series it names; then, only where exactly one series
    fits, its frame of reference, or its study where it names no frame of reference at all.

    Parameters
    ----------
    study_instance_uid
        The study that the mark object is filed in.
    index_of
        Gives the index of a series by its UID; raises InputError where it has no usable geometry.

    Raises
    ------
    InputError
        ``roi.not-on-ct``, ``images.missing``, ``roi.frame-of-reference-differs``, ``roi.ambiguous-series``,
        and what placement raises.
    """
    named = shelf.series_named_by(mark)
    if named is not None:
        return _placed(mark, named, index_of(named))
    _refuse_other_images(mark, shelf)
    candidates = _candidates(mark, study_instance_uid, shelf)
    fits: list[Placed] = []
    errors: list[InputError] = []
    for uid in candidates:
        try:
            fits.append(_placed(mark, uid, index_of(uid), remark=_BY_PLACE))
        except InputError as error:
            errors.append(error)
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise InputError(
            "roi.ambiguous-series",
            f"the mark names none of the images here and fits {len(fits)} CT series "
            f"({', '.join(one.series_instance_uid for one in fits)}); "
            "expected a reference to one of them; save the mark again with image references",
        )
    if errors:
        raise errors[0]
    raise _nothing_fits(mark, study_instance_uid, shelf)


_BY_PLACE = "The images named by the mark are not here; the series was found by frame of reference and place."


def _placed(mark: RoiMark, uid: str, index: SeriesIndex, remark: str = "") -> Placed:
    return Placed(mark=mark, series_instance_uid=uid, placement=place(mark, index), remark=remark)


def _refuse_other_images(mark: RoiMark, shelf: SeriesShelf) -> None:
    modalities = {
        shelf.other_images[ref.sop_instance_uid]
        for ref in mark.referenced_images
        if ref.sop_instance_uid in shelf.other_images
    }
    if modalities:
        raise InputError(
            "roi.not-on-ct",
            f"the mark is drawn on images of modality {', '.join(sorted(modalities))}; expected CT; "
            "mark the lesion on a CT series",
        )


def _candidates(mark: RoiMark, study_instance_uid: str, shelf: SeriesShelf) -> list[str]:
    found = []
    for uid, series in shelf.series.items():
        if mark.frame_of_reference_uid is None:
            fits = series.study_instance_uid == study_instance_uid and not mark.referenced_images
        else:
            fits = mark.frame_of_reference_uid in {
                one.header.frame_of_reference_uid for one in series.instances
            }
        if fits:
            found.append(uid)
    return found


def _nothing_fits(mark: RoiMark, study_instance_uid: str, shelf: SeriesShelf) -> InputError:
    in_study = [
        uid for uid, series in shelf.series.items() if series.study_instance_uid == study_instance_uid
    ]
    if in_study and mark.frame_of_reference_uid is not None:
        return InputError(
            "roi.frame-of-reference-differs",
            f"the mark lies in frame of reference {mark.frame_of_reference_uid} and names "
            f"{len(mark.referenced_images)} images, none of which is here; no CT series of its study "
            f"({', '.join(in_study)}) has that frame of reference; "
            "send the CT series that the mark was drawn on",
        )
    series = mark.referenced_series_uid or "not named"
    return InputError(
        "images.missing",
        f"the mark refers to {len(mark.referenced_images)} images of series {series}; none of them is here; "
        "send the CT series that the mark was drawn on",
    )
