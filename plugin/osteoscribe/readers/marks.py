"""Picks the reader of a mark object by its SOP Class UID: the only list of them."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset

from osteoscribe.core.codes import OSTEOSCRIBE_SCHEME
from osteoscribe.core.marks import IgnoredMark, RoiMark, UnreadableMark
from osteoscribe.errors import InputError
from osteoscribe.readers import frames, gsps, rtstruct, seg, sr
from osteoscribe.readers.attributes import UNREADABLE, items, quiet, source_of, text, uid

Mark = RoiMark | UnreadableMark | IgnoredMark

DOCUMENTS = {
    "1.2.840.10008.5.1.4.1.1.88.59": "a key object selection names images and marks nothing on them",
    "1.2.840.10008.5.1.4.1.1.88.40": "a procedure log holds no marks",
    "1.2.840.10008.5.1.4.1.1.88.67": "a radiation dose report holds no marks",
    "1.2.840.10008.5.1.4.1.1.88.68": "a radiation dose report holds no marks",
    "1.2.840.10008.5.1.4.1.1.88.73": "a radiation dose report holds no marks",
    "1.2.840.10008.5.1.4.1.1.88.76": "an imaging agent report holds no marks",
    "1.2.840.10008.5.1.4.1.1.104.1": "an encapsulated document holds no marks that can be read",
    "1.2.840.10008.5.1.4.1.1.104.2": "an encapsulated document holds no marks that can be read",
}
"""Objects that come with CT studies and are no marks, by SOP class: why they are left out."""

UNREAD = {
    "1.2.840.10008.5.1.4.1.1.66.2": "spatial fiducials",
    "1.2.840.10008.5.1.4.1.1.66.5": "a surface segmentation",
    "1.2.840.10008.5.1.4.1.1.88.50": "a mammography CAD report",
    "1.2.840.10008.5.1.4.1.1.88.65": "a chest CAD report",
    "1.2.840.10008.5.1.4.1.1.88.69": "a colon CAD report",
}
"""Objects with marks that no reader reads, by SOP class: problems that say what to export instead."""

_READERS: dict[str, Callable[[Dataset], tuple[Mark, ...]]] = {
    **dict.fromkeys(seg.SOP_CLASSES, seg.read),
    **dict.fromkeys(rtstruct.SOP_CLASSES, rtstruct.read),
    **dict.fromkeys(sr.SOP_CLASSES, sr.read),
    **dict.fromkeys(gsps.SOP_CLASSES, gsps.read),
}

MARK_SOP_CLASSES = frozenset((*_READERS, *UNREAD))
"""SOP classes of objects that can hold marks."""

MASK_SOP_CLASSES = seg.SOP_CLASSES
"""SOP classes of marks with pixel data..."""
MASK_TRANSFER_SYNTAXES = tuple(sorted(frames.SUPPORTED))
"""...and the transfer syntaxes that it is read in."""

SUPPORTED = (
    "SEG (binary, fractional, label map), RT Structure Set, SR with spatial coordinates"
    " or presentation state with graphics"
)


def read_marks(ds: Dataset) -> tuple[Mark, ...]:
    """The marks of one object, in its own order.

    Our own reports are no marks: they give an `IgnoredMark`.

    Raises
    ------
    InputError
        `mark.unsupported` where no reader knows the SOP class; what the readers raise where an object as a
        whole is unusable; `mark.damaged` where its elements contradict the standard in an unforeseen way.
    """
    with quiet():
        sop_class_uid = uid(ds, "SOPClassUID") or ""
        if sop_class_uid in DOCUMENTS:
            return (_ignored(ds, "document", DOCUMENTS[sop_class_uid]),)
        reader = _READERS.get(sop_class_uid)
        if reader is None:
            found = UNREAD.get(sop_class_uid, "an object")
            raise InputError(
                "mark.unsupported",
                f"found {found} of SOP class {sop_class_uid or 'unknown'}; expected a mark as {SUPPORTED};"
                " please export the mark as one of them",
            )
        if is_own_report(ds):
            return (_ignored(ds, "Osteoscribe report", "a report of Osteoscribe itself"),)
        try:
            return reader(ds)
        except UNREADABLE as error:
            raise InputError(
                "mark.damaged",
                f"the object cannot be read ({type(error).__name__}); it does not follow the DICOM standard,"
                " please export the mark again",
            ) from error


def is_own_report(ds: Dataset) -> bool:
    """Whether Osteoscribe wrote this object: such reports come back from archives and are never marks."""
    with quiet():
        if OSTEOSCRIBE_SCHEME in (
            text(item, "CodingSchemeDesignator").upper()
            for item in items(ds, "CodingSchemeIdentificationSequence")
        ):
            return True
        return "osteoscribe" in (
            text(ds, keyword).lower() for keyword in ("Manufacturer", "ManufacturerModelName")
        )


def _ignored(ds: Dataset, dialect: str, reason: str) -> IgnoredMark:
    return IgnoredMark(label="", source=source_of(ds), item="object", dialect=dialect, reason=reason)
