"""What a new version of a table changes: exactly, over all combinations of inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from osteoscribe.core.rules.boxes import Box, overlap, size_of
from osteoscribe.core.rules.reach import Reach, reach
from osteoscribe.core.rules.show import ShownRow, shown_rows
from osteoscribe.core.rules.table import SIZE, Column, Rule, RuleTable, size_in_words
from osteoscribe.core.rules.words import in_words

SHOWN = 3
"""How many conditions of a change are put in words; the largest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """Combinations that reach another row.

    Parameters
    ----------
    urgency
        ``more urgent``, ``less urgent``, ``as urgent``, ``suggestion begins`` or ``suggestion ends``.
    where
        The largest parts of these combinations in words.
    parts
        How many parts there are.
    """

    old: str
    new: str
    urgency: str
    combinations: int
    where: tuple[str, ...]
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChange:
    """Words that changed: of a row, a clause, a source... ``combinations`` counts what reaches the row."""

    place: str
    what: str
    old: str
    new: str
    combinations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a new table changes against an old one."""

    rows: tuple[RowChange, ...]
    texts: tuple[TextChange, ...]
    combinations: int


def difference(old: RuleTable, new: RuleTable) -> Difference:
    """What `new` changes against `old`.

    Parameters
    ----------
    old, new
        Tables that have passed `osteoscribe.core.rules.check.check`; the bands of the size may differ.

    Returns
    -------
    Difference
        Counted over the space with the bands of both tables.
    """
    cuts = sorted({*_size_column(old).cuts_mm, *_size_column(new).cuts_mm})
    columns = tuple(_finer(column, cuts) if column.name == SIZE else column for column in old.columns)
    before, after = (reach(_laid_on(columns, table)) for table in (old, new))
    table = replace(old, columns=columns)
    return Difference(
        rows=tuple(_row_changes(table, before, after)),
        texts=(*_texts_of_rows(old, new), *_texts_of_table(old, new)),
        combinations=size_of([table.space]),
    )


def _size_column(table: RuleTable) -> Column:
    return table.columns[table.position(SIZE)]


def _finer(column: Column, cuts: Sequence[int]) -> Column:
    """The size column with more bands, each named by its lower end."""
    bands = tuple(zip(cuts, (*cuts[1:], None), strict=True))
    return replace(
        column,
        values=(*(str(low) for low, _ in bands), *column.also),
        words=(*(size_in_words(*band) for band in bands), *column.words[-len(column.also) :]),
        cuts_mm=tuple(cuts),
        worsening=(),
    )


def _laid_on(columns: tuple[Column, ...], table: RuleTable) -> RuleTable:
    """The table with its conditions in other columns of the same inputs."""

    def laid(rule: Rule) -> Rule:
        return replace(rule, when=tuple(_box_on(columns, table, box) for box in rule.when))

    return replace(table, columns=columns, rules=tuple(laid(rule) for rule in table.rules))


def _box_on(columns: tuple[Column, ...], table: RuleTable, box: Box) -> Box:
    masks = {column.name: (column, mask) for column, mask in zip(table.columns, box, strict=True)}
    return tuple(_mask_on(column, *masks[column.name]) for column in columns)


def _mask_on(column: Column, own: Column, mask: int) -> int:
    if not own.cuts_mm:
        return sum(column.mask(value) for value in own.values if mask & own.mask(value))
    bands = (
        1 << index
        for index, cut in enumerate(column.cuts_mm)
        if mask >> max(i for i, low in enumerate(own.cuts_mm) if low <= cut) & 1
    )
    return sum(bands) + sum(column.mask(value) for value in own.also if mask & own.mask(value))


def _row_changes(
    table: RuleTable, before: tuple[Reach, ...], after: tuple[Reach, ...]
) -> Iterator[RowChange]:
    for old in before:
        for new in after:
            boxes = overlap(old.boxes, new.boxes) if old.rule.id != new.rule.id else ()
            if boxes:
                largest = sorted(boxes, key=lambda box: -size_of([box]))
                yield RowChange(
                    old=old.rule.id,
                    new=new.rule.id,
                    urgency=_urgency(old.rule.urgency, new.rule.urgency),
                    combinations=size_of(boxes),
                    where=tuple(in_words(table, (box,)) for box in largest[:SHOWN]),
                    parts=len(boxes),
                )


def _urgency(old: int | None, new: int | None) -> str:
    if old is None or new is None:
        return "no suggestion" if old is new else "suggestion begins" if old is None else "suggestion ends"
    return "as urgent" if old == new else "more urgent" if new > old else "less urgent"


def _texts_of_rows(old: RuleTable, new: RuleTable) -> Iterator[TextChange]:
    """Changed cells of rows that both tables have, as they are printed."""
    before = {row.id: row for row in shown_rows(old, reach(old))}
    cells = [field.name for field in fields(ShownRow) if field.name not in {"id", "combinations"}]
    for row in shown_rows(new, reach(new)):
        if row.id in before:
            for name in cells:
                was, is_ = (_cell(one, name) for one in (before[row.id], row))
                if was != is_:
                    yield TextChange(
                        place=f"row {row.id}", what=name, old=was, new=is_, combinations=row.combinations
                    )


def _cell(row: ShownRow, name: str) -> str:
    value = getattr(row, name)
    return "; ".join(value) if isinstance(value, tuple) else str(value)


def _texts_of_table(old: RuleTable, new: RuleTable) -> Iterator[TextChange]:
    """Changed words outside the rows: frame, clauses, fragments, columns, sources."""
    for kind in ("columns", "clauses", "fragments", "sources"):
        before, after = ({_name(part): part for part in getattr(table, kind)} for table in (old, new))
        for name in dict.fromkeys([*before, *after]):
            if before.get(name) != after.get(name):
                for what, was, is_ in _changed_fields(before.get(name), after.get(name)):
                    yield TextChange(place=f"{kind.removesuffix('s')} {name}", what=what, old=was, new=is_)
        if list(before) != list(after) and set(before) == set(after):
            yield TextChange(place=kind, what="order", old=", ".join(before), new=", ".join(after))
    for what, was, is_ in _changed_fields(old.frame, new.frame):
        yield TextChange(place="frame", what=what, old=was, new=is_)


def _name(part: object) -> str:
    return str(next(getattr(part, key) for key in ("name", "column", "key") if hasattr(part, key)))


def _changed_fields(old: object, new: object) -> Iterator[tuple[str, str, str]]:
    """Fields of two parts that differ; conditions are compared by the rows that they lead to."""
    if old is None or new is None:
        yield ("declared", "" if old is None else "yes", "" if new is None else "yes")
        return
    for name in old.__dataclass_fields__:  # type: ignore[attr-defined]
        was, is_ = getattr(old, name), getattr(new, name)
        if was != is_:
            yield (name, _plain(was), _plain(is_))


def _plain(value: object) -> str:
    """A field in words; of cases only the texts, as boxes of two tables need not be alike."""
    if isinstance(value, tuple):
        return " / ".join(str(getattr(item, "text", item)) for item in value)
    return str(value)
