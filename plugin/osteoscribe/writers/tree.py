"""Finding one's way in the content tree of a document that was read back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from pydicom import Dataset

from osteoscribe.core.codes import Code
from osteoscribe.errors import InputError


def failure(code: str, message: str) -> InputError:
    """Give the error of a document that must not be sent."""
    return InputError(code, f"{message}; nothing was sent, keep the report's log and tell the developers")


def fail(code: str, message: str) -> NoReturn:
    """Refuse the document."""
    raise failure(code, message)


def pairs(item: Dataset) -> Iterator[tuple[Dataset, Dataset]]:
    """Every content item with its parent, depth first."""
    for child in children(item):
        yield item, child
        yield from pairs(child)


def children(item: Dataset, name: Code | None = None) -> list[Dataset]:
    """Content items right under `item`, of one concept name where given."""
    return [child for child in item.get("ContentSequence", []) if name is None or is_coded(child, name)]


def only(item: Dataset, name: Code) -> Dataset:
    """The one content item of a concept name; refuses the document where there are none or several."""
    found = children(item, name)
    if len(found) != 1:
        fail("gate.template", f"found {len(found)} items {name.value}, expected 1")
    return found[0]


def code_value(item: Dataset, keyword: str = "ConceptNameCodeSequence") -> str:
    """Code value of the first code of a sequence, or an empty string."""
    sequence = item.get(keyword)
    return str(sequence[0].get("CodeValue") or sequence[0].LongCodeValue) if sequence else ""


def is_coded(item: Dataset, code: Code, keyword: str = "ConceptNameCodeSequence") -> bool:
    """Whether a sequence says exactly this code: value, scheme and meaning."""
    sequence = item.get(keyword)
    return (
        bool(sequence)
        and code_value(item, keyword) == code.value
        and str(sequence[0].CodingSchemeDesignator) == code.scheme
        and str(sequence[0].CodeMeaning) == code.meaning
    )


def template(item: Dataset) -> str:
    """The template that a container declares, or an empty string."""
    sequence = item.get("ContentTemplateSequence")
    return str(sequence[0].TemplateIdentifier) if sequence else ""
