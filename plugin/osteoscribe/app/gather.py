"""From received instances to marks, each with the CT series that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydicom import Dataset

from osteoscribe.app.ahead import OpenedObject
from osteoscribe.app.shelf import SeriesShelf
from osteoscribe.core.marks import InstanceRef, RoiMark, UnreadableMark
from osteoscribe.core.placement import place
from osteoscribe.core.region import Placement
from osteoscribe.core.series import SeriesIndex
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import StoredInstance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkObject:
    """A mark object as received: its instance and what was read of it."""

    instance: StoredInstance
    opened: OpenedObject

    @property
    def dataset(self) -> Dataset:
        """Its data set."""
        return self.opened.dataset

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
            fits = mark.frame_of_reference_uid in series.frames_of_reference
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
