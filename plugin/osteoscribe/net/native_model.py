"""DICOMweb documents as plain dictionaries of the DICOM JSON model, from JSON or XML, hostile or not.

References
----------
PS3.18 annex F (DICOM JSON model), PS3.19 annex A (Native DICOM model)
"""

from __future__ import annotations

import json
from typing import Any
from xml.parsers import expat

_DEEPEST = 32
"""Levels of XML elements; a store response has seven."""


def read_json(body: bytes) -> list[Any]:
    """Data sets of a JSON document; a single one counts as a list of one.

    Raises
    ------
    ValueError
        It is no JSON, or nested too deep.
    """
    try:
        document = json.loads(body)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return document if isinstance(document, list) else [document]


def read_xml(body: bytes) -> list[Any]:
    """Data sets of an XML document in the shape of `read_json`; binary values and names are left out.

    Raises
    ------
    ValueError
        It is no XML, has a document type (entities can grow without bound), or is nested too deep.
    """
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        raise ValueError("no XML") from None
    return [builder.root]


def items(ds: Any, tag: str) -> list[Any]:
    """Values of an attribute: items of a sequence, texts, numbers; none where it is absent or malformed."""
    element = ds.get(tag) if isinstance(ds, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def uid(ds: Any, tag: str) -> str:
    """First value of an attribute as a UID; empty where it is absent."""
    found = items(ds, tag)
    return found[0].strip(" \0") if found and isinstance(found[0], str) else ""


def number(ds: Any, tag: str) -> int | None:
    """First value of an attribute as a whole number of 16 bits; None where there is none."""
    for value in items(ds, tag)[:1]:
        text = str(value)
        if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536:
            return int(text)
    return None


def _refuse_doctype(*_arguments: object) -> None:
    raise ValueError("a document type")


class _Builder:
    """Takes the events of the XML parser."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._holders: list[Any] = [self.root]
        self._values: list[list[Any]] = []
        self._text: list[str] = []
        self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deep")
        if name == "DicomAttribute":
            element: dict[str, Any] = {"vr": attributes.get("vr", ""), "Value": []}
            self._holders[-1][attributes.get("tag", "").upper()] = element
            self._values.append(element["Value"])
        elif name == "Item" and self._values:
            item: dict[str, Any] = {}
            self._values[-1].append(item)
            self._holders.append(item)
        self._text = []

    def end(self, name: str) -> None:
        self._depth -= 1
        if name == "DicomAttribute":
            self._values.pop()
        elif name == "Item" and self._values:
            self._holders.pop()
        elif name == "Value" and self._values:
            self._values[-1].append("".join(self._text).strip())

    def text(self, piece: str) -> None:
        self._text.append(piece)
