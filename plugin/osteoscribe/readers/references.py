"""Which images, and which series, an object refers to: any kind of mark, by one walk over its items."""

from __future__ import annotations

from collections import Counter

from osteoscribe.readers.elements import Encoded, Encoding, Kind, walk
from osteoscribe.readers.values import is_uid

MAX_REFERENCES = 200_000
"""References that are kept; a study has some thousands of images."""

_REFERENCED_SOP_CLASS_UID = 0x00081150
_REFERENCED_SOP_INSTANCE_UID = 0x00081155
_SERIES_INSTANCE_UID = 0x0020000E
_SKIPPED = frozenset(
    {
        0x00081110,  # ReferencedStudySequence
        0x00081111,  # ReferencedPerformedProcedureStepSequence
        0x00081120,  # ReferencedPatientSequence
        0x0040A360,  # PredecessorDocumentsSequence
        0x0040A525,  # IdenticalDocumentsSequence
        0x00400275,  # RequestAttributesSequence
        0x0040A370,  # ReferencedRequestSequence
    }
)
_CODES = frozenset({0x00089215, 0x00209111, 0x0040A043, 0x0040A168, 0x0040A170})
"""Sequences of codes and numbers, in every frame or content item, that name no instance."""
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_NO_IMAGES = tuple(
    _STORAGE + kind for kind in ("88.", "11.", "481.3", "481.5", "481.8", "104.", "66.5", "67", "9.")
)
_CT = frozenset({_STORAGE + "2", _STORAGE + "2.1", _STORAGE + "2.2"})
_RT_REFERENCED_STUDY_SEQUENCE = 0x30060012


class _Item:
    """An open item: the class and instance it names, its series, and what was named inside it."""

    __slots__ = ("cites", "instance", "kind", "sequence", "series")

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.kind = self.instance = self.series = ""
        self.cites: list[tuple[str, str]] = []


def referred_images(data: Encoded, encoding: Encoding) -> tuple[tuple[str, ...], str | None]:
    """Give the images that a mark object refers to, and their series.

    Parameters
    ----------
    data, encoding
        The encoded, inflated data set.

    Returns
    -------
    tuple[tuple[str, ...], str | None]
        SOP Instance UIDs in order of first mention, each once: images and segmentations, no documents or
        presentation states. And the series most of them lie in, CT before others; None where none is named.

    Raises
    ------
    InputError
        As `walk`.
    """
    found: dict[str, str] = {}
    series: Counter[tuple[bool, str]] = Counter()
    items: list[_Item] = []
    skipped = 0
    for event in walk(data, encoding, jump_over=_CODES):
        if event.kind is Kind.SEQUENCE:
            skipped += event.tag in _SKIPPED
        elif event.kind is Kind.SEQUENCE_END:
            skipped -= event.tag in _SKIPPED
        elif event.kind is Kind.ITEM:
            items.append(_Item(event.tag))
        elif event.kind is Kind.ITEM_END:
            item = items.pop()
            if not skipped:
                _finish(item, items, found, series)
        elif event.kind is Kind.ELEMENT and items and event.stop - event.start <= 66:
            _note(items[-1], event.tag, data[event.start : event.stop])
    named = series.most_common()
    ct_first = sorted(named, key=lambda entry: (not entry[0][0], -entry[1]))
    return tuple(found), (ct_first[0][0][1] if ct_first else None)


def _note(item: _Item, tag: int, value: Encoded) -> None:
    if tag in (_REFERENCED_SOP_INSTANCE_UID, _REFERENCED_SOP_CLASS_UID, _SERIES_INSTANCE_UID):
        uid = bytes(value).decode("latin-1").rstrip(" \0")
        if not is_uid(uid):
            return
        if tag == _REFERENCED_SOP_INSTANCE_UID:
            item.instance = uid
        elif tag == _REFERENCED_SOP_CLASS_UID:
            item.kind = uid
        else:
            item.series = uid


def _finish(
    item: _Item, outer: list[_Item], found: dict[str, str], series: Counter[tuple[bool, str]]
) -> None:
    """Take over what an item named: as a reference, and into the series that encloses it."""
    is_study = item.sequence == _RT_REFERENCED_STUDY_SEQUENCE  # names a study as if it were an instance
    if item.instance and not is_study and _is_image(item.kind) and len(found) < MAX_REFERENCES:
        found.setdefault(item.instance, item.kind)
        item.cites.append((item.instance, item.kind))
    if item.series:
        for _, kind in item.cites:
            series[(kind in _CT, item.series)] += 1
    elif outer:
        outer[-1].cites.extend(item.cites)


def _is_image(sop_class_uid: str) -> bool:
    # a missing class is a vendor's slip: the reference counts all the same
    return not sop_class_uid or (
        sop_class_uid.startswith(_STORAGE) and not sop_class_uid.startswith(_NO_IMAGES)
    )
