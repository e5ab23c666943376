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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """A content tree: all items in document order, the root first, and the children of each."""

    nodes: tuple[Node, ...]
    children: dict[Node, list[Node]]

    @property
    def root(self) -> Node:
        """The item that is the document itself."""
        return self.nodes[0]

    def below(self, top: Node) -> Iterator[Node]:
        """The items under one, in document order."""
        for child in self.children.get(top, ()):
            yield child
            yield from self.below(child)

    def referenced(self, node: Node) -> Node | None:
        """The item that a by-reference relationship points to (PS3.3 C.17.3.2.5), or None.

        The identifier counts from 1 at each level, the root first.
        """
        path = numbers(node.ds, "ReferencedContentItemIdentifier")
        if path is None or not 1 <= len(path) <= MAX_DEPTH:
            return None
        found = self.root
        for ordinal in path[1:]:
            children = self.children.get(found, [])
            if not 1 <= ordinal <= len(children):
                return None
            found = children[int(ordinal) - 1]
        return found


def read_tree(ds: Dataset) -> Tree:
    """The content tree of a report.

    Raises
    ------
    InputError
        `sr.too-large` where the tree is deeper or larger than any report.
    """
    nodes: list[Node] = []
    children: dict[Node, list[Node]] = {}
    for node in _descend(ds, ()):
        nodes.append(node)
        if node.parent is not None:
            children.setdefault(node.parent, []).append(node)
        if len(nodes) > MAX_ITEMS or len(node.ancestors) > MAX_DEPTH:
            raise InputError(
                "sr.too-large",
                f"found over {MAX_ITEMS} content items, or items nested deeper than {MAX_DEPTH}; expected a"
                " measurement report, please export the marks again",
            )
    return Tree(nodes=tuple(nodes), children=children)


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
