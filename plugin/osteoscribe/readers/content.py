"""The content tree of a structured report, walked with limits.

References
----------
PS3.3 C.17.3 (SR Document Content), C.18.6 and C.18.9 (spatial coordinates)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from osteoscribe.core.codes import Code
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import code, items, numbers, text

MAX_DEPTH = 48
"""Deeper nesting than this is no report that a person or template made."""
MAX_ITEMS = 200_000
"""More content items than this are not walked."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Node:
    """One content item and its place in the tree.

    Parameters
    ----------
    ancestors
        From the root down to the parent.
    """

    ds: Dataset
    relationship: str
    value_type: str
    concept: Code | None
    ancestors: tuple[Node, ...]

    @property
    def parent(self) -> Node | None:
        """The item above, or None for the root."""
        return self.ancestors[-1] if self.ancestors else None

    def has_concept(self, *codes: str) -> bool:
        """Whether the concept name is one of these, given as ``scheme:value`` (SRT already made SCT)."""
        return self.concept is not None and f"{self.concept.scheme}:{self.concept.value}" in codes


def walk(ds: Dataset) -> tuple[Node, ...]:
    """All content items in document order, the root first.

    Raises
    ------
    InputError
        `sr.too-large` where the tree is deeper or larger than any report.
    """
    found: list[Node] = []
    for node in _descend(ds, ()):
        found.append(node)
        if len(found) > MAX_ITEMS or len(node.ancestors) > MAX_DEPTH:
            raise InputError(
                "sr.too-large",
                f"found over {MAX_ITEMS} content items, or items nested deeper than {MAX_DEPTH}; expected a"
                " measurement report, please export the marks again",
            )
    return tuple(found)


def _descend(ds: Dataset, ancestors: tuple[Node, ...]) -> Iterator[Node]:
    node = Node(
        ds=ds,
        relationship=text(ds, "RelationshipType").upper(),
        value_type=text(ds, "ValueType").upper(),
        concept=code(ds, "ConceptNameCodeSequence"),
        ancestors=ancestors,
    )
    yield node
    for child in items(ds, "ContentSequence"):
        yield from _descend(child, (*ancestors, node))


def below(nodes: tuple[Node, ...], top: Node) -> tuple[Node, ...]:
    """The items under `top`, in document order."""
    return tuple(node for node in nodes if any(ancestor is top for ancestor in node.ancestors))


def referenced(nodes: tuple[Node, ...], ds: Dataset) -> Node | None:
    """The item that a by-reference relationship points to (PS3.3 C.17.3.2.5), or None.

    The identifier counts from 1 at each level, the root first.
    """
    path = numbers(ds, "ReferencedContentItemIdentifier")
    if path is None or len(path) < 1:
        return None
    found = nodes[0].ds
    for ordinal in path[1:]:
        children = items(found, "ContentSequence")
        if not 1 <= ordinal <= len(children):
            return None
        found = children[int(ordinal) - 1]
    return next((node for node in nodes if node.ds is found), None)
