"""The content tree of an encoded document, read back from its bytes, and finding one's way in it.

Nothing here is taken from the builders: tags and VRs are looked up in pydicom's dictionary, and whatever does
not fit them, or its length, is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from pydicom.datadict import dictionary_VR, keyword_for_tag

from osteoscribe.core.codes import Code
from osteoscribe.errors import InputError

SMALL = 400
"""Bytes of an item that is worth keeping, as that of a code or number is."""
MAX_DEPTH = 16
"""Levels of content items; ours have six."""
_LONG_LENGTH = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UT", b"UV"})
_ITEM = 0xE000FFFE
_CODE_KEYWORDS = frozenset({"CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodeMeaning"})


def failure(code: str, message: str) -> InputError:
    """Give the error of a document that must not be sent."""
    return InputError(code, f"{message}; nothing was sent, keep the report's log and tell the developers")


def fail(code: str, message: str) -> NoReturn:
    """Refuse the document."""
    raise failure(code, message)


Elements = Mapping[str, bytes]
"""Values as encoded, by keyword."""


def elements_of(item: bytes) -> Elements:
    """The elements of an item, explicit little endian.

    Raises
    ------
    ValueError
        Where a tag, its VR, its place or its length is not as it must be.

    References
    ----------
    PS3.5 sections 7.1, 7.5
    """
    found: dict[str, bytes] = {}
    at, before = 0, -1
    while at < len(item):
        tag, keyword, is_long = _described(item[at : at + 6])
        start, (length,) = (
            (at + 12, struct.unpack_from("<I", item, at + 8))
            if is_long
            else (at + 8, struct.unpack_from("<H", item, at + 6))
        )
        value = item[start : start + length]
        if tag <= before or len(value) != length or length % 2:
            raise ValueError(f"{keyword} is out of its place or cut")
        found[keyword] = value
        at, before = start + length, tag
    return found


@lru_cache(maxsize=256)
def _described(head: bytes) -> tuple[int, str, bool]:
    """Tag, keyword, and whether the length has four bytes, of an element that begins with this tag and VR."""
    group, number, vr = struct.unpack("<HH2s", head)
    tag = group << 16 | number
    if dictionary_VR(tag) != vr.decode("ascii"):
        raise ValueError(f"the VR of {tag:08X} is another")
    return tag, keyword_for_tag(tag), vr in _LONG_LENGTH


def items_of(sequence: bytes) -> Iterator[bytes]:
    """The items of a sequence, each with its elements as encoded.

    Raises
    ------
    ValueError
        Where a length is wrong.
    """
    at = 0
    while at < len(sequence):
        tag, length = struct.unpack_from("<II", sequence, at)
        item = sequence[at + 8 : at + 8 + length]
        if tag != _ITEM or len(item) != length:
            raise ValueError("an item of a sequence is cut")
        yield item
        at += 8 + length


def text_of(value: bytes) -> str:
    """Text without its padding."""
    return value.decode("utf-8").rstrip(" \0")


@lru_cache(maxsize=4096)
def code_of(sequence: bytes) -> Code:
    """The one code of a code sequence.

    Raises
    ------
    InputError
        ``gate.code``: it has no value or no meaning.
    ValueError
        Where there is no code, more than one, or more than a code.
    """
    (item,) = items_of(sequence)
    elements = elements_of(item)
    if not elements.keys() <= _CODE_KEYWORDS:
        raise ValueError("a code has other elements than a code")
    short, long = (text_of(elements.get(keyword, b"")) for keyword in ("CodeValue", "LongCodeValue"))
    meaning = text_of(elements.get("CodeMeaning", b""))
    if not (short or long) or not meaning:
        fail("gate.code", "a code has no value or no meaning")
    return Code(short or long, text_of(elements["CodingSchemeDesignator"]), meaning)


@dataclass(frozen=True, kw_only=True, eq=False)
class ContentItem:
    """One content item as it was encoded."""

    elements: Elements = field(repr=False)
    children: tuple[ContentItem, ...]

    @cached_property
    def value_type(self) -> str:
        """Value Type (0040,A040)."""
        return text_of(self.elements["ValueType"])

    @cached_property
    def name(self) -> Code | None:
        """The concept name, or None where there is none."""
        sequence = self.elements.get("ConceptNameCodeSequence")
        return None if sequence is None else code_of(sequence)

    @cached_property
    def by_name(self) -> Mapping[Code | None, Sequence[ContentItem]]:
        """The items right below, by concept name: value, scheme and meaning."""
        found: dict[Code | None, list[ContentItem]] = {}
        for child in self.children:
            found.setdefault(child.name, []).append(child)
        return found

    @cached_property
    def pairs(self) -> Sequence[tuple[ContentItem, ContentItem]]:
        """Every content item below with its parent, depth first."""
        found: list[tuple[ContentItem, ContentItem]] = []
        waiting = [(self, child) for child in reversed(self.children)]
        while waiting:
            found.append(pair := waiting.pop())
            waiting += [(pair[1], child) for child in reversed(pair[1].children)]
        return found

    @property
    def code(self) -> Code:
        """The coded value."""
        return code_of(self.elements["ConceptCodeSequence"])

    @property
    def template(self) -> str:
        """The template that a container declares, or an empty string."""
        sequence = self.elements.get("ContentTemplateSequence")
        if sequence is None:
            return ""
        (item,) = items_of(sequence)
        return text_of(elements_of(item)["TemplateIdentifier"])

    @property
    def number(self) -> tuple[str, Code]:
        """A number as it is shown, and its unit."""
        (item,) = items_of(self.elements["MeasuredValueSequence"])
        measured = elements_of(item)
        return text_of(measured["NumericValue"]), code_of(measured["MeasurementUnitsCodeSequence"])

    @property
    def points_px(self) -> npt.NDArray[np.float64]:
        """(n, 2), (column, row), of spatial coordinates."""
        return np.frombuffer(self.elements["GraphicData"], dtype="<f4").astype(np.float64).reshape(-1, 2)

    @property
    def references(self) -> list[Elements]:
        """The instances that are referred to."""
        return [elements_of(item) for item in items_of(self.elements.get("ReferencedSOPSequence", b""))]

    def text(self, keyword: str = "TextValue") -> str:
        """Give a value that is text."""
        return text_of(self.elements[keyword])


def read_content(item: bytes, depth: int = 0) -> ContentItem:
    """A content item and all below it.

    Raises
    ------
    ValueError
        Where the bytes are no content items.
    """
    return (_read_small if len(item) <= SMALL else _read)(item, depth)


def _read(item: bytes, depth: int) -> ContentItem:
    if depth > MAX_DEPTH:
        raise ValueError("content items are nested too deeply")
    elements = elements_of(item)
    below = items_of(elements.get("ContentSequence", b""))
    return ContentItem(elements=elements, children=tuple([read_content(each, depth + 1) for each in below]))


_read_small = lru_cache(maxsize=1024)(_read)
"""Codes stand in every report, many of them with every lesion: the same bytes are the same item."""


def children(item: ContentItem, name: Code) -> Sequence[ContentItem]:
    """Content items right under `item`, of one concept name."""
    return item.by_name.get(name, ())


def only(item: ContentItem, name: Code) -> ContentItem:
    """The one content item of a concept name; refuses the document where there are none or several."""
    found = children(item, name)
    if len(found) != 1:
        fail("gate.template", f"found {len(found)} items {name.value}, expected 1")
    return found[0]
