"""Small sequence items encoded at once: references and codes, of which a report has hundreds.

pydicom makes and writes them in a third of the time; whoever reads such an item sees usual elements.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

Elements = Mapping[BaseTag, RawDataElement]


def encoded_elements(values: Mapping[int, tuple[str, str]]) -> Elements:
    """Elements by tag, explicit little endian, from VR and ASCII text."""
    elements = {}
    for number, (vr, text) in values.items():
        tag = Tag(number)
        padding = b"\0" if vr == "UI" else b" "
        value = text.encode("ascii") + padding * (len(text) % 2)
        elements[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return elements


def encoded_item(elements: Elements) -> Dataset:
    """A sequence item of encoded elements."""
    own: dict[BaseTag, DataElement | RawDataElement] = dict(elements)
    item = Dataset(own)
    item.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding="iso8859")
    return item
