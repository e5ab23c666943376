"""Elements of a received data set as plain values: what is absent or broken is None, never an exception."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from osteoscribe.core.codes import Code
from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.marks import InstanceRef

UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    ArithmeticError,
    RecursionError,
    EOFError,
    OSError,
    AssertionError,
    struct.error,
    BytesLengthException,
)
"""What pydicom raises, as seen by fuzzing, when the bytes of an element do not mean what its VR says."""

MAX_TEXT = 1024
"""Longer text than this is cut: a label is read by people."""

MAX_FRAME_NUMBERS = 10_000
"""Frame numbers of one reference that are looked at; no CT has more frames."""

SINGLE_FRAME_CLASSES = frozenset(
    (
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.10008.5.1.4.1.1.4",
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.128",
    )
)
"""CT, MR, Secondary Capture and PET Image Storage: a frame number given for them means nothing."""

Numbers = tuple[float, ...]
"""The numbers of one element."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings to itself: received values may be odd, we check what we use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def value(ds: Dataset, keyword: str) -> object:
    """Value of an element, or None where it is absent, empty or cannot be decoded."""
    try:
        return ds.get(keyword)
    except UNREADABLE:
        return None


def items(ds: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Items of a sequence element; empty where it is absent or no sequence."""
    found = value(ds, keyword)
    return tuple(found) if isinstance(found, Sequence) else ()


def first(ds: Dataset, keyword: str) -> Dataset:
    """First item of a sequence element, or an empty data set."""
    found = items(ds, keyword)
    return found[0] if found else Dataset()


def text(ds: Dataset, keyword: str) -> str:
    """Text of an element without padding, or an empty string; several values are joined with a backslash."""
    found = value(ds, keyword)
    if found is None or isinstance(found, Sequence | bytes):
        return ""
    parts = found if isinstance(found, MultiValue | list | tuple) else (found,)
    return "\\".join(str(part) for part in parts)[:MAX_TEXT].replace("\x00", "").strip()


def uid(ds: Dataset, keyword: str) -> str | None:
    """A well-formed UID (PS3.5 section 9.1, leading zeros tolerated), or None."""
    return well_formed_uid(text(ds, keyword))


def well_formed_uid(found: str) -> str | None:
    """The text where it is a UID, or None."""
    return found if len(found) <= 64 and _UID.fullmatch(found) else None


def integer(ds: Dataset, keyword: str) -> int | None:
    """One whole number, or None."""
    found = value(ds, keyword)
    if isinstance(found, MultiValue | list):
        found = found[0] if len(found) == 1 else None
    try:
        return None if found is None else int(str(found))
    except ValueError:
        return None


def number(ds: Dataset, keyword: str) -> float | None:
    """One finite number, or None."""
    found = numbers(ds, keyword)
    return float(found[0]) if found is not None and found.size == 1 and np.isfinite(found[0]) else None


def numbers(ds: Dataset, keyword: str) -> FloatArray | None:
    """Numbers of an element as (n,) float64, or None where it is absent or holds anything else."""
    found = value(ds, keyword)
    if found is None or isinstance(found, Sequence | bytes | str):
        return None
    try:
        return np.atleast_1d(np.asarray(found, dtype=np.float64)).ravel()
    except UNREADABLE:
        return None


def code(ds: Dataset, keyword: str) -> Code | None:
    """The code of a code sequence, or None. SNOMED-RT codes (SRT) come as their SNOMED CT successors (SCT).

    References
    ----------
    PS3.3 section 8.8; PS3.16 annex O (SNOMED-RT to SNOMED CT)
    """
    return code_of(first(ds, keyword))


def codes(ds: Dataset, keyword: str) -> tuple[Code, ...]:
    """All codes of a code sequence, in order."""
    return tuple(found for item in items(ds, keyword) if (found := code_of(item)) is not None)


def code_of(item: Dataset) -> Code | None:
    """The code that one item of a code sequence holds, or None."""
    value_ = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    scheme = text(item, "CodingSchemeDesignator")
    if not value_:
        return None
    if scheme in ("SRT", "SNM3", "99SDM"):
        # Not at the top: its package takes 0.08 s, and the listener needs it never.
        from pydicom.sr._snomed_dict import mapping as snomed_mapping

        successor = snomed_mapping["SRT"].get(value_)
        if successor is not None:
            value_, scheme = successor, "SCT"
    return Code(value_, scheme, text(item, "CodeMeaning"))


def image_ref(item: Dataset) -> InstanceRef | None:
    """The instance that an item of a referenced image sequence names, or None."""
    found = image_refs(item)
    return found[0] if found else None


def image_refs(item: Dataset) -> tuple[InstanceRef, ...]:
    """The instance that an item names: one reference for each frame number that it gives."""
    frame_numbers = numbers(item, "ReferencedFrameNumber")
    return named_images(
        uid(item, "ReferencedSOPClassUID"),
        uid(item, "ReferencedSOPInstanceUID"),
        None if frame_numbers is None else tuple(frame_numbers.tolist()),
    )


def named_images(
    sop_class_uid: str | None, sop_instance_uid: str | None, frame_numbers: Numbers | None
) -> tuple[InstanceRef, ...]:
    """One reference for each frame number of an instance.

    Old dwv leaves the SOP class empty; the instance is named nevertheless.
    """
    sop_class_uid = sop_class_uid or ""
    if sop_instance_uid is None:
        return ()
    frames: tuple[int | None, ...] = ()
    if frame_numbers is not None and sop_class_uid not in SINGLE_FRAME_CLASSES:
        frames = tuple(int(n) for n in frame_numbers[:MAX_FRAME_NUMBERS] if 1 <= n < 2**31)
    return tuple(
        InstanceRef(sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid, frame_number=frame)
        for frame in (frames or (None,))
    )


def source_of(ds: Dataset) -> InstanceRef:
    """The instance that a data set is. Missing UIDs are empty: the store refuses such an instance before."""
    return InstanceRef(
        sop_class_uid=uid(ds, "SOPClassUID") or "", sop_instance_uid=uid(ds, "SOPInstanceUID") or ""
    )


def person(ds: Dataset, keyword: str) -> str | None:
    """A person's name as written, or None where it is empty or says unknown."""
    name = text(ds, keyword)
    known = [part for part in re.split(r"[\^= ]+", name) if part and part.lower() != "unknown"]
    return name if known else None


def evidence(ds: Dataset) -> dict[str, str | None]:
    """For each instance that the object's reference lists name, its series; None where they name several.

    References
    ----------
    PS3.3 C.17.2 (evidence sequences), C.11.11 and C.8.20.2 (referenced series)
    """
    series = list(items(ds, "ReferencedSeriesSequence"))
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items(ds, keyword):
            series.extend(items(study, "ReferencedSeriesSequence"))
    found: dict[str, str | None] = {}
    for one in series:
        series_instance_uid = uid(one, "SeriesInstanceUID")
        for keyword in ("ReferencedInstanceSequence", "ReferencedSOPSequence", "ReferencedImageSequence"):
            for reference in items(one, keyword):
                named = uid(reference, "ReferencedSOPInstanceUID") or ""
                agrees = found.setdefault(named, series_instance_uid) == series_instance_uid
                found[named] = series_instance_uid if agrees else None
    return found


def series_of(known: dict[str, str | None], images: Iterable[InstanceRef]) -> str | None:
    """The one series of some images, or None where it is unknown or they are of several."""
    series = {known.get(image.sop_instance_uid) for image in images} - {None}
    return series.pop() if len(series) == 1 else None
