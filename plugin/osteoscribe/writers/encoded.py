"""Elements and items as bytes: the content of a report has thousands of them, each small and much alike.

pydicom knows each tag and its VR, and writes the document; only the content below its root comes ready-made,
for objects of pydicom cost fifty times as much (``docs/decisions/061-content-as-bytes.md``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

Item = bytes
"""The elements of a data set or sequence item, one after the other, without the tag of the item itself."""

LONG_LENGTH = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with a length of four bytes (PS3.5 section 7.1.2)."""
_LONGEST_SHORT = 0xFFFF
_ITEM_TAG = b"\xfe\xff\x00\xe0"
_PADDING = {"UI": b"\0"}


@lru_cache(maxsize=512)
def tag_and_vr(keyword: str) -> tuple[int, str]:
    """Tag and VR of an attribute (PS3.6)."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of PS3.6")
    return tag, dictionary_VR(tag)


def value_bytes(vr: str, value: str | bytes | Sequence[Item]) -> bytes:
    """A value of even length: text in UTF-8, items with their tags and lengths, bytes as they are."""
    if isinstance(value, str):
        value = value.encode()
    elif not isinstance(value, bytes):
        value = b"".join(part for item in value for part in (_ITEM_TAG, struct.pack("<I", len(item)), item))
    return value + _PADDING.get(vr, b" ") if len(value) % 2 else value


def element(keyword: str, value: str | bytes | Sequence[Item]) -> bytes:
    r"""One element, explicit little endian.

    Examples
    --------
    >>> element("Modality", "SR")
    b'\x08\x00`\x00CS\x02\x00SR'

    References
    ----------
    PS3.5 sections 6.2, 7.1.2, 7.5.2
    """
    tag, vr = tag_and_vr(keyword)
    encoded = value_bytes(vr, value)
    if len(encoded) > _LONGEST_SHORT and vr not in LONG_LENGTH:
        vr = "UN"  # PS3.5 section 6.2.2
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    length = struct.pack("<HI", 0, len(encoded)) if vr in LONG_LENGTH else struct.pack("<H", len(encoded))
    return head + length + encoded


def item_of(elements: Mapping[str, bytes]) -> Item:
    """An item of elements by keyword, in the order of their tags."""
    return b"".join(elements[keyword] for keyword in sorted(elements, key=tag_and_vr))


def item(**values: str | bytes | Sequence[Item]) -> Item:
    """An item of values by keyword."""
    return item_of({keyword: element(keyword, value) for keyword, value in values.items()})


PydicomElements = dict[BaseTag, DataElement | RawDataElement]


def raw_elements(**values: str | Sequence[Item]) -> PydicomElements:
    """Encoded elements by tag, for `pydicom.Dataset.update`."""
    elements: PydicomElements = {}
    for keyword, value in values.items():
        tag, vr = tag_and_vr(keyword)
        encoded = value_bytes(vr, value)
        elements[Tag(tag)] = RawDataElement(Tag(tag), vr, len(encoded), encoded, 0, False, True)
    return elements


def data_set(**values: str | Sequence[Item]) -> Dataset:
    """A data set of pydicom with encoded elements, to which others are added."""
    made = Dataset(raw_elements(**values))
    made.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding="iso8859")
    return made
