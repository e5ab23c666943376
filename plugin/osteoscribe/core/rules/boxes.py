"""Boxes of the input space: one set of values for each column, cut out of each other exactly.

A set of values is a bit mask over the column's values, so that a box is a tuple of integers and every
operation is exact and takes microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

Box = tuple[int, ...]
"""For each column a bit mask over its values; a mask of zero makes the box empty."""


def intersection(a: Box, b: Box) -> Box | None:
    """The combinations that lie in both boxes, or None where there are none.

    Examples
    --------
    >>> intersection((0b011, 0b1), (0b110, 0b1))
    (2, 1)
    """
    both = tuple(x & y for x, y in zip(a, b, strict=True))
    return both if all(both) else None


def cut(box: Box, out: Box) -> Iterator[Box]:
    """The parts of `box` that lie outside `out`, as boxes that do not overlap.

    Examples
    --------
    >>> list(cut((0b11, 0b11), (0b01, 0b01)))
    [(2, 3), (1, 2)]
    """
    if intersection(box, out) is None:
        yield box
        return
    kept = list(box)
    for column, (own, other) in enumerate(zip(box, out, strict=True)):
        outside = own & ~other
        if outside:
            yield (*kept[:column], outside, *kept[column + 1 :])
        kept[column] = own & other


def cut_all(boxes: Iterable[Box], out: Iterable[Box]) -> tuple[Box, ...]:
    """The parts of `boxes` that lie outside all boxes of `out`."""
    left = tuple(boxes)
    for hole in out:
        left = tuple(part for box in left for part in cut(box, hole))
    return left


def overlap(boxes: Iterable[Box], others: Iterable[Box]) -> tuple[Box, ...]:
    """What each of `boxes` has in common with each of `others`; the empty ones left out."""
    found = tuple(others)
    both = (intersection(box, other) for box in boxes for other in found)
    return tuple(box for box in both if box is not None)


def size_of(boxes: Iterable[Box]) -> int:
    """How many combinations lie in boxes that do not overlap.

    Examples
    --------
    >>> size_of([(0b11, 0b111)])
    6
    """
    return sum(prod(mask.bit_count() for mask in box) for box in boxes)
