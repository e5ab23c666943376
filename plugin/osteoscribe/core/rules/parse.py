"""A rule table from plain data as ``tomllib`` gives it. Reading the file is the caller's part."""

from __future__ import annotations

from collections.abc import Sequence

from osteoscribe.core.rules.boxes import Box
from osteoscribe.core.rules.plain import (
    Plain,
    check_keys,
    refuse,
    table_at,
    tables_at,
    text_at,
    texts_at,
    whole_at,
)
from osteoscribe.core.rules.table import (
    SIZE,
    Case,
    Citation,
    Clause,
    Column,
    Fragment,
    Frame,
    Rule,
    RuleTable,
    Scope,
    Source,
    size_in_words,
)
from osteoscribe.core.rules.templates import names_in

FRAME_KEYS = ("condition", "not_recorded", "adds", "comma", "last", "date", "borderline")
FRAME_PLACEHOLDERS = {"condition": ("clauses", "phrase"), "not_recorded": ("phrase", "names")}
RULE_KEYS = ("id", "when", "scope", "phrase", "recommend", "cite", "why")
RULE_OPTIONS = ("urgency", "conditional_on", "listed", "said", "add", "analogue")


def parse(plain: Plain, *, sha256: str) -> RuleTable:
    """The table that plain data describe; not yet proved (`osteoscribe.core.rules.check.check`).

    Parameters
    ----------
    plain
        As ``tomllib.loads(..., parse_float=Decimal)`` gives it.
    sha256
        Of the file's bytes.

    Raises
    ------
    SetupError
        A key, column, value or kind that is unknown or missing; the message names the place.
    """
    check_keys(
        plain,
        "table file",
        ("table", "column", "source", "clause", "frame", "rule"),
        ("fragment", "open_questions"),
    )
    head = table_at(plain["table"], "table")
    check_keys(head, "table", ("id", "version", "status", "title", "language", "hit"), ("cite",))
    if head["hit"] != "first":
        raise refuse("wrong-kind", "table", f"hit is {head['hit']!r}, expected 'first'")
    if head["status"] not in {"draft", "approved"}:
        raise refuse("wrong-kind", "table", f"status is {head['status']!r}, expected 'draft' or 'approved'")
    columns = tuple(_column(n, table_at(c, n)) for n, c in table_at(plain["column"], "column").items())
    return RuleTable(
        id=text_at(head["id"], "table id"),
        version=text_at(head["version"], "table version"),
        status=text_at(head["status"], "table status"),
        title=text_at(head["title"], "table title"),
        sha256=sha256,
        language=text_at(head["language"], "table language"),
        columns=columns,
        sources=tuple(_source(k, table_at(s, k)) for k, s in table_at(plain["source"], "source").items()),
        clauses=tuple(
            _clause(columns, n, table_at(c, n)) for n, c in table_at(plain["clause"], "clause").items()
        ),
        fragments=tuple(
            _fragment(columns, n, table_at(f, n))
            for n, f in table_at(plain.get("fragment", {}), "fragment").items()
        ),
        frame=frame_from(table_at(plain["frame"], "frame")),
        rules=tuple(_rule(columns, rule) for rule in tables_at(plain["rule"], "rule")),
        cite=_citations(head.get("cite", []), "table"),
        open_questions=texts_at(plain.get("open_questions", []), "open_questions"),
    )


def _column(name: str, plain: Plain) -> Column:
    where = f"column {name}"
    if name == SIZE:
        return _size_column(plain, where)
    check_keys(plain, where, ("label", "values", "words"), ("worsening", "meaning"))
    return Column(
        name=name,
        label=text_at(plain["label"], where),
        values=texts_at(plain["values"], where),
        words=_as_many(texts_at(plain["words"], where), texts_at(plain["values"], where), where),
        worsening=_known(
            texts_at(plain.get("worsening", []), where), texts_at(plain["values"], where), where
        ),
        meaning=text_at(plain.get("meaning", ""), where, empty=True),
    )


def _size_column(plain: Plain, where: str) -> Column:
    check_keys(plain, where, ("label", "cuts_mm", "also", "words_also"), ("meaning",))
    raw = plain["cuts_mm"]
    cuts = tuple(whole_at(cut, where) for cut in raw) if isinstance(raw, list) else ()
    if not cuts or cuts[0] != 0 or list(cuts) != sorted(set(cuts)):
        raise refuse("cuts", where, f"cuts_mm is {raw!r}, expected rising whole mm that start with 0")
    also = texts_at(plain["also"], where)
    if len(also) != 1:
        raise refuse("column-values", where, f"also is {also!r}, expected exactly 'not_measurable'")
    bands = tuple(band_name(cuts, index) for index in range(len(cuts)))
    return Column(
        name=SIZE,
        label=text_at(plain["label"], where),
        values=(*bands, *also),
        words=(
            *(size_in_words(cut, below) for cut, below in zip(cuts, (*cuts[1:], None), strict=True)),
            *_as_many(texts_at(plain["words_also"], where), also, where),
        ),
        cuts_mm=cuts,
        also=also,
        worsening=bands,
        meaning=text_at(plain.get("meaning", ""), where, empty=True),
    )


def band_name(cuts: Sequence[int], index: int) -> str:
    """The name of a band of whole mm.

    Examples
    --------
    >>> [band_name((0, 5, 6, 21), index) for index in range(4)]
    ['0-4', '5', '6-20', '21-']
    """
    low = cuts[index]
    if index + 1 == len(cuts):
        return f"{low}-"
    high = cuts[index + 1] - 1
    return str(low) if low == high else f"{low}-{high}"


def _as_many(words: tuple[str, ...], values: tuple[str, ...], where: str) -> tuple[str, ...]:
    if len(words) != len(values):
        raise refuse("column-values", where, f"{len(words)} words for {len(values)} values")
    return words


def _known(chosen: tuple[str, ...], values: tuple[str, ...], where: str) -> tuple[str, ...]:
    unknown = [value for value in chosen if value not in values]
    if unknown:
        raise refuse("unknown-value", where, f"value {unknown[0]!r} is not one of {', '.join(values)}")
    return chosen


def _source(key: str, plain: Plain) -> Source:
    where = f"source {key}"
    check_keys(plain, where, ("reference",), ("title", "doi", "pmid"))
    return Source(
        key=key,
        title=text_at(plain.get("title", ""), where, empty=True),
        reference=text_at(plain["reference"], where),
        doi=text_at(plain.get("doi", ""), where, empty=True),
        pmid=text_at(plain.get("pmid", ""), where, empty=True),
    )


def frame_from(plain: Plain) -> Frame:
    """The words around a phrase.

    Raises
    ------
    SetupError
        A key or placeholder that is unknown or missing.
    """
    check_keys(plain, "frame", FRAME_KEYS)
    frame = Frame(**{key: text_at(plain[key], f"frame {key}") for key in FRAME_KEYS})
    for key in FRAME_KEYS:
        expected = FRAME_PLACEHOLDERS.get(key, ())
        if sorted(names_in(getattr(frame, key), f"frame {key}")) != sorted(expected):
            raise refuse(
                "unknown-placeholder", f"frame {key}", f"expected the placeholders {sorted(expected)}"
            )
    return frame


def _clause(columns: tuple[Column, ...], name: str, plain: Plain) -> Clause:
    where = f"clause {name}"
    check_keys(plain, where, ("text", "short"), ("when", "said_by"))
    return Clause(
        column=name,
        text=text_at(plain["text"], where),
        short=text_at(plain["short"], where),
        when=_boxes(columns, plain.get("when", {}), where),
        said_by=text_at(plain.get("said_by", ""), where, empty=True),
    )


def _fragment(columns: tuple[Column, ...], name: str, plain: Plain) -> Fragment:
    where = f"fragment {name}"
    check_keys(plain, where, ("cases",), ("every",))
    every = plain.get("every", False)
    if not isinstance(every, bool):
        raise refuse("wrong-kind", where, f"every is {every!r}, expected true or false")
    return Fragment(name=name, cases=_cases(columns, plain["cases"], where), every=every)


def _rule(columns: tuple[Column, ...], plain: Plain) -> Rule:
    where = f"row {plain.get('id', '(without id)')}"
    check_keys(plain, where, RULE_KEYS, RULE_OPTIONS)
    scopes = {scope.value: scope for scope in Scope}
    if plain["scope"] not in scopes:
        raise refuse("unknown-value", where, f"scope is {plain['scope']!r}, expected {' or '.join(scopes)}")
    return Rule(
        id=text_at(plain["id"], where),
        when=_boxes(columns, plain["when"], where),
        scope=Scope(plain["scope"]),
        urgency=whole_at(plain["urgency"], where) if "urgency" in plain else None,
        conditional_on=texts_at(plain.get("conditional_on", []), f"{where}, conditional_on"),
        listed=texts_at(plain.get("listed", []), f"{where}, listed"),
        said=texts_at(plain.get("said", []), f"{where}, said"),
        phrase=text_at(plain["phrase"], where),
        add=_cases(columns, plain.get("add", []), f"{where}, add"),
        recommend=_cases(columns, plain["recommend"], f"{where}, recommend"),
        analogue=_cases(columns, plain.get("analogue", []), f"{where}, analogue"),
        cite=_citations(plain["cite"], where),
        why=text_at(plain["why"], where),
    )


def _citations(value: object, where: str) -> tuple[Citation, ...]:
    citations = []
    for plain in tables_at(value, f"{where}, cite"):
        check_keys(plain, f"{where}, cite", ("source", "at"))
        citations.append(Citation(source=text_at(plain["source"], where), at=text_at(plain["at"], where)))
    return tuple(citations)


def _cases(columns: tuple[Column, ...], value: object, where: str) -> tuple[Case, ...]:
    """One text for all combinations, or an array of cases."""
    if isinstance(value, str):
        return (Case(when=_boxes(columns, {}, where), text=text_at(value, where)),)
    cases = []
    for plain in tables_at(value, where):
        check_keys(plain, where, ("text",), ("when", "given"))
        cases.append(
            Case(
                when=_boxes(columns, plain.get("when", {}), where),
                text=text_at(plain["text"], where, empty=True),
                given=texts_at(plain.get("given", []), where),
            )
        )
    return tuple(cases)


def _boxes(columns: tuple[Column, ...], value: object, where: str) -> tuple[Box, ...]:
    """The boxes of a condition: one table, or an array of tables of which any may hold."""
    boxes = tables_at(value, where) if isinstance(value, list) else (table_at(value, where),)
    return tuple(_box(columns, box, where) for box in boxes)


def _box(columns: tuple[Column, ...], plain: Plain, where: str) -> Box:
    known = {column.name for column in columns}
    unknown = [name for name in plain if name not in known]
    if unknown:
        raise refuse(
            "unknown-column",
            where,
            f"there is no column {unknown[0]!r}; known are {', '.join(sorted(known))}",
        )
    return tuple(
        _mask(column, plain[column.name], where) if column.name in plain else column.full
        for column in columns
    )


def _mask(column: Column, value: object, where: str) -> int:
    where = f"{where}, {column.name}"
    if isinstance(value, list):
        values = _known(texts_at(value, where), column.also or column.values, where)
        mask = sum(column.mask(name) for name in values)
    elif column.name == SIZE:
        mask = _size_mask(column, table_at(value, where), where)
    else:
        raise refuse("wrong-kind", where, f"found {value!r}, expected an array of values")
    if mask == 0:
        raise refuse("empty-condition", where, "no value is left, so this can never hold")
    if mask == column.full:
        raise refuse("idle-condition", where, "all values are named, so this asks nothing: leave it out")
    return mask


def _size_mask(column: Column, plain: Plain, where: str) -> int:
    check_keys(plain, where, (), ("from_mm", "below_mm"))
    if not plain:
        raise refuse("missing-key", where, "name from_mm, below_mm or both; from_mm = 0 is any size")
    cuts = column.cuts_mm
    low = whole_at(plain.get("from_mm", cuts[0]), where)
    below = whole_at(plain["below_mm"], where) if "below_mm" in plain else None
    for limit in (low, below):
        if limit is not None and limit not in cuts:
            raise refuse("unknown-value", where, f"{limit} mm is not one of the cuts {cuts}")
    return sum(1 << i for i, cut in enumerate(cuts) if low <= cut and (below is None or cut < below))
