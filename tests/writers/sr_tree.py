"""Reading an SR with pydicom alone, for tests: independent of the code that writes."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pydicom
from pydicom import Dataset

Tree = Dataset


def reread(encoded: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(encoded))


def children(item: Dataset, value: str | None = None) -> list[Dataset]:
    """Content items right under `item`, with the given concept name code value."""
    return [child for child in item.get("ContentSequence", []) if value is None or name(child) == value]


def child(item: Dataset, value: str) -> Dataset:
    found = children(item, value)
    assert len(found) == 1, f"{len(found)} items named {value}"
    return found[0]


def name(item: Dataset) -> str | None:
    sequence = item.get("ConceptNameCodeSequence")
    return str(sequence[0].CodeValue) if sequence else None


def coded_value(item: Dataset) -> tuple[str, str]:
    code = item.ConceptCodeSequence[0]
    return str(code.CodeValue), str(code.CodingSchemeDesignator)


def groups(root: Dataset) -> list[Dataset]:
    return children(child(root, "126010"), "125007")


def template(item: Dataset) -> str:
    return str(item.ContentTemplateSequence[0].TemplateIdentifier)


def numbers(group: Dataset) -> dict[str, tuple[float, str]]:
    """NUM items of a group, in order: concept name to number and unit."""
    found = {}
    for item in children(group):
        if item.ValueType == "NUM":
            measured = item.MeasuredValueSequence[0]
            unit = str(measured.MeasurementUnitsCodeSequence[0].CodeValue)
            found[str(item.ConceptNameCodeSequence[0].CodeMeaning)] = (float(measured.NumericValue), unit)
    return found


def walk(item: Dataset) -> Iterator[Dataset]:
    yield item
    for below in children(item):
        yield from walk(below)
