"""A rule table as values: columns, rows, words and sources. It has no column for HU.

Conditions are boxes (`osteoscribe.core.rules.boxes`): one set of values for each column.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum

from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.rules.boxes import Box

SIZE = "size"
"""The one column that is a number; its values are bands of whole mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One input of the table.

    Parameters
    ----------
    name
        Field of `RuleFacts`.
    label
        The input in words.
    values
        Its values; of the size column the bands in words, then the values of `also`.
    words
        Each value in words.
    cuts_mm
        Of the size column the lower ends of the bands in whole mm, else empty.
    also
        Of the size column the values that are no number, else empty.
    worsening
        Values from benign to worst: no step along it may lower the urgency. Empty where none is worse.
    meaning
        What is asked, for clinicians.
    """

    name: str
    label: str
    values: tuple[str, ...]
    words: tuple[str, ...]
    cuts_mm: tuple[int, ...] = ()
    also: tuple[str, ...] = ()
    worsening: tuple[str, ...] = ()
    meaning: str = ""

    @property
    def full(self) -> int:
        """The mask of all values."""
        return (1 << len(self.values)) - 1

    def mask(self, value: str) -> int:
        """The mask of one value."""
        return 1 << self.values.index(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A paper, or a convention of the table that has none."""

    key: str
    title: str
    reference: str
    doi: str = ""
    pmid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A source, and what of it the row rests on."""

    source: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A text for some combinations, and only where the values of `given` are there."""

    when: tuple[Box, ...]
    text: str
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A part of a sentence that depends on the facts.

    The first case that holds is taken or, with `every`, all of them, joined as an enumeration.
    """

    name: str
    cases: tuple[Case, ...]
    every: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """How an input that is not recorded is named.

    Parameters
    ----------
    column
        The input.
    text
        The condition that the suggestion rests on, for example ``no attributable symptoms``.
    short
        The input's name in a list of what is not recorded.
    when
        Where it counts at all.
    said_by
        An input whose clause says it as well: named only once.
    """

    column: str
    text: str
    short: str
    when: tuple[Box, ...]
    said_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The words around a phrase."""

    condition: str
    not_recorded: str
    adds: str
    comma: str
    last: str
    date: str
    borderline: str


class Scope(Enum):
    """What a phrase speaks of."""

    LESION = "lesion"
    """One phrase for each lesion."""
    EXAMINATION = "examination"
    """One phrase for the examination, with its largest lesion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row.

    Parameters
    ----------
    id
        For example ``L1``.
    when
        It holds for the combinations in any of these boxes.
    urgency
        Rank for the proof that a worse input never lowers it; None where no suggestion is made.
    conditional_on
        Inputs that put their clause in front of the phrase where they are not recorded.
    listed
        Inputs that are listed at the end of the phrase where they are not recorded.
    said
        Inputs of which the phrase itself says that they are not recorded.
    phrase
        Template: ``{whole_mm}``, values of `PhraseValues` and names of fragments.
    add
        What is added to it, all that hold.
    recommend, analogue
        The first case that holds.
    """

    id: str
    when: tuple[Box, ...]
    scope: Scope
    urgency: int | None
    conditional_on: tuple[str, ...]
    listed: tuple[str, ...]
    said: tuple[str, ...]
    phrase: str
    add: tuple[Case, ...]
    recommend: tuple[Case, ...]
    analogue: tuple[Case, ...]
    cite: tuple[Citation, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTable:
    """A rule table; the first row that holds wins.

    Parameters
    ----------
    clauses
        In the order in which a phrase names them.
    sha256
        Of the file's bytes.
    language
        Of the words, for example ``en``.
    """

    id: str
    version: str
    status: str
    title: str
    sha256: str
    language: str
    columns: tuple[Column, ...]
    sources: tuple[Source, ...]
    clauses: tuple[Clause, ...]
    fragments: tuple[Fragment, ...]
    frame: Frame
    rules: tuple[Rule, ...]
    cite: tuple[Citation, ...]
    open_questions: tuple[str, ...] = ()

    @property
    def space(self) -> Box:
        """The box of all combinations."""
        return tuple(column.full for column in self.columns)

    def position(self, name: str) -> int:
        """Index of a column."""
        return next(i for i, column in enumerate(self.columns) if column.name == name)

    def rule(self, rule_id: str) -> Rule:
        """The row with this id, the suffix ``-C`` allowed."""
        bare = rule_id.removesuffix("-C")
        return next(rule for rule in self.rules if rule.id == bare)

    def fragment(self, name: str) -> Fragment:
        """The fragment with this name."""
        return next(fragment for fragment in self.fragments if fragment.name == name)

    def source(self, key: str) -> Source:
        """The source with this key."""
        return next(source for source in self.sources if source.key == key)


def size_in_words(low: int, below: int | None) -> str:
    """A range of whole mm in words.

    Examples
    --------
    >>> [size_in_words(*band) for band in ((0, 5), (5, 6), (6, 21), (21, None))]
    ['4 mm or less', '5 mm', '6 to 20 mm', '21 mm or more']
    """
    if below is None:
        return f"{low} mm or more" if low else "any size"
    if low == 0:
        return f"{below - 1} mm or less"
    return f"{low} mm" if below == low + 1 else f"{low} to {below - 1} mm"


def value_of(column: Column, facts: RuleFacts) -> str:
    """The value of `facts` in a column: a name, or the size's band in words.

    Raises
    ------
    ValueError
        The size is negative.
    """
    value = getattr(facts, column.name)
    if isinstance(value, Enum):
        return str(value.value)
    if value is None:
        return column.also[0]
    if value < column.cuts_mm[0]:
        raise ValueError(f"a size of {value} mm lies below the first band of the table")
    return column.values[bisect_right(column.cuts_mm, value) - 1]


def cell(table: RuleTable, facts: RuleFacts) -> Box:
    """The one combination that `facts` are, as a box."""
    return tuple(column.mask(value_of(column, facts)) for column in table.columns)


def holds(cell_box: Box, boxes: tuple[Box, ...]) -> bool:
    """Whether a combination lies in any of the boxes."""
    return any(all(a & b for a, b in zip(cell_box, box, strict=True)) for box in boxes)
