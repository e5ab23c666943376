"""Words of a label: case, accents and punctuation ignored; patterns that match whole words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate

from osteoscribe.errors import SetupError

Words = tuple[str, ...]
"""Normalised words, in order."""

UNDECOMPOSED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)
"""Letters with a stroke or joined, which Unicode does not take apart (UAX #15)."""

UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"}  # codespell:ignore ue
"""Letters that are also written as two where the keyboard lacks them."""

SEGMENT_ENDS = re.compile(r"[,;|\r\n]+")
"""What ends one statement of a label. A full stop does not: it also abbreviates."""


def _plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in apart if not unicodedata.combining(c))
    return bare.casefold().translate(UNDECOMPOSED)


def words_of(text: str) -> Words:
    """Words of a text in plain form.

    Parameters
    ----------
    text
        Any text.

    Returns
    -------
    Words
        Lower-case words without accents; whatever is no letter or digit separates them.

    Examples
    --------
    >>> words_of("GTV_Mass-CT, Läsion")
    ('gtv', 'mass', 'ct', 'lasion')
    """
    return tuple("".join(c if c.isalnum() else " " for c in _plain(text)).split())


def spellings(text: str) -> tuple[str, ...]:
    """A text as written, and with umlauts written as two letters where it has any.

    Examples
    --------
    >>> spellings("größer"), spellings("stable")
    (('größer', 'groeßer'), ('stable',))
    """
    composed = unicodedata.normalize("NFC", text)
    apart = "".join(UMLAUTS.get(c, UMLAUTS.get(c.lower(), c)) for c in composed)
    return (text,) if apart == composed else (text, apart)


@dataclass(frozen=True, slots=True)
class WordPattern:
    """One or more words that a label must hold, one after the other.

    Each word may use ``*``, ``?`` and ``[0-9]`` as in file names. Whole words only: ``bi`` is not in
    ``tibia``.

    Parameters
    ----------
    text
        The pattern as the site wrote it.

    Raises
    ------
    SetupError
        ``labels.bad-pattern``: empty, an unclosed ``[``, or a character that no word can hold.

    Examples
    --------
    >>> WordPattern("bone island*").within(words_of("T12: Bone-Islands?"))
    True
    """

    text: str
    parts: tuple[re.Pattern[str], ...] = field(init=False, compare=False, repr=False)
    literal: str | None = field(init=False, compare=False, repr=False)
    """The word, where the pattern is a single one without wildcards."""

    def __post_init__(self) -> None:
        words = _plain(self.text).split()
        for word in words:
            _check_word(word, self.text)
        if not words:
            raise SetupError("labels.bad-pattern", "found an empty label pattern; write at least one word")
        if all(set(word) <= set("*") for word in words):
            raise SetupError(
                "labels.bad-pattern",
                f"the label pattern {self.text!r} takes every label; say so in a site policy"
                " (all_rois_are_marks = true) instead",
            )
        is_literal = len(words) == 1 and not set(words[0]) & set("*?[")
        object.__setattr__(self, "literal", words[0] if is_literal else None)
        object.__setattr__(self, "parts", tuple(re.compile(translate(word)) for word in words))

    def within(self, words: Words) -> bool:
        """Whether the words hold this pattern."""
        # Nearly every pattern is a single word, and each is asked of every word of every label.
        if self.literal is not None:
            return self.literal in words
        size = len(self.parts)
        if size == 1:
            return any(map(self.parts[0].match, words))
        return any(
            all(part.match(word) for part, word in zip(self.parts, words[at : at + size], strict=True))
            for at in range(len(words) - size + 1)
        )


def _check_word(word: str, text: str) -> None:
    outside = re.sub(r"\[!?[^\[\]]+\]", "", word)
    if "[" in outside or "]" in outside:
        raise SetupError("labels.bad-pattern", f"the label pattern {text!r} has an unpaired [ or ]")
    strange = sorted({c for c in outside if not (c.isalnum() or c in "*?")})
    if strange:
        raise SetupError(
            "labels.bad-pattern",
            f"the label pattern {text!r} holds {' '.join(strange)!r}; punctuation of labels is ignored, so"
            " write words apart, with only letters, digits, * ? and [ ]",
        )


class AnyOf:
    """Whether words hold any of some patterns: nearly all are single words, found without asking each."""

    def __init__(self, patterns: Iterable[WordPattern]) -> None:
        known = tuple(patterns)
        self._literals = frozenset(one.literal for one in known if one.literal is not None)
        self._others = tuple(one for one in known if one.literal is None)

    def within(self, words: Words) -> bool:
        """Whether the words hold one of them."""
        return not self._literals.isdisjoint(words) or any(one.within(words) for one in self._others)


def first_within(patterns: tuple[WordPattern, ...], words: Words) -> WordPattern | None:
    """First pattern that the words hold, or None."""
    return next((pattern for pattern in patterns if pattern.within(words)), None)
