"""Masks of 1-bit frames, straight from their packed bits: only the box that a mark touches is unpacked.

For frames whose rows are whole words of 64 pixels, as those of nearly every CT; others are unpacked one by
one.

References
----------
PS3.5 section 8.1.1 and annex D (1-bit pixels)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteoscribe.readers.elements import Encoded

WORD = 64
"""Pixels of a word."""
_WORDS_AT_ONCE = 1 << 18
"""Words that are looked through at once: 2 MB stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBox:
    """The part of a frame with all its set pixels: whole words of rows."""

    row: int
    end_row: int
    word: int
    end_word: int

    @property
    def pixels(self) -> int:
        """Pixels in it."""
        return (self.end_row - self.row) * (self.end_word - self.word) * WORD


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedFrames:
    """Packed frames.

    Parameters
    ----------
    bits
        (frames, rows, bytes), first pixel in the lowest bit.
    boxes
        By frame; None where no pixel is set.
    """

    bits: npt.NDArray[np.uint8]
    boxes: tuple[PackedBox | None, ...]

    @classmethod
    def of(cls, data: Encoded, *, frames: int, rows: int, columns: int) -> PackedFrames:
        """Look through frames that follow each other in `data`; `columns` is a multiple of `WORD`."""
        shape = (frames, rows, columns // WORD)
        words = np.frombuffer(data, dtype=np.uint64, count=math.prod(shape)).reshape(shape)
        at_once = max(1, _WORDS_AT_ONCE // math.prod(shape[1:]))
        boxes: list[PackedBox | None] = []
        for start in range(0, frames, at_once):
            boxes += _boxes(words[start : start + at_once])
        return cls(bits=words.view(np.uint8), boxes=tuple(boxes))

    def box_of(self, frames: Sequence[int]) -> PackedBox:
        """The smallest box around those of some frames, which have pixels."""
        boxes = [box for frame in frames if (box := self.boxes[frame]) is not None]
        return PackedBox(
            row=min(box.row for box in boxes),
            end_row=max(box.end_row for box in boxes),
            word=min(box.word for box in boxes),
            end_word=max(box.end_word for box in boxes),
        )

    def stacked(self, planes: Sequence[Sequence[int]]) -> tuple[tuple[int, int], npt.NDArray[np.bool_]]:
        """Masks of planes of one or more frames each, cut to what they touch together.

        Returns
        -------
        tuple
            (row, column) of the first pixel, and (planes, rows, columns) bool.
        """
        box = self.box_of([frame for plane in planes for frame in plane])
        part = self.bits[:, box.row : box.end_row, 8 * box.word : 8 * box.end_word]
        if all(len(plane) == 1 for plane in planes):
            packed = part[[plane[0] for plane in planes]]
        else:
            packed = np.array([np.bitwise_or.reduce(part[list(plane)]) for plane in planes])
        columns = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(packed, axis=(0, 1)), bitorder="little"))
        first, end = int(columns[0]), int(columns[-1]) + 1
        mask = np.unpackbits(packed, axis=2, bitorder="little")[:, :, first:end]
        return (box.row, WORD * box.word + first), mask.astype(np.bool_)


def _boxes(words: npt.NDArray[np.uint64]) -> list[PackedBox | None]:
    """Of each frame, from its words, (frames, rows, words)."""
    frame_row, word = np.divmod(np.flatnonzero(words != 0), words.shape[2])
    frame, row = np.divmod(frame_row, words.shape[1])
    boxes: list[PackedBox | None] = [None] * len(words)
    first = np.flatnonzero(np.diff(frame, prepend=-1))
    if len(first):
        last = np.append(first[1:], len(frame)) - 1
        left, right = np.minimum.reduceat(word, first), np.maximum.reduceat(word, first)
        found = np.array([frame[first], row[first], row[last], left, right]).T.tolist()
        for at, top, bottom, low, high in found:
            boxes[at] = PackedBox(row=top, end_row=bottom + 1, word=low, end_word=high + 1)
    return boxes
