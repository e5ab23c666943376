"""`ReferencePanel`: general knowledge with its sources, as data. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osteoscribe.errors import SetupError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSource:
    """Where a statement comes from.

    Parameters
    ----------
    key
        Its name in the file.
    text
        The citation.
    read
        What of it was read, and when.
    doi
        Or empty.
    """

    key: str
    text: str
    read: str
    doi: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement with its sources.

    ``dated`` says what the statement was true for; a schedule has to have one.
    """

    text: str
    sources: tuple[ReferenceSource, ...]
    dated: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Statements under one heading."""

    title: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePanel:
    """A reference panel.

    Parameters
    ----------
    purpose
        Sentences that say what it is not; they are printed wherever the panel is.
    serial
        The sentence that goes with serial measurements, always in full.
    """

    id: str
    version: str
    title: str
    purpose: tuple[str, ...]
    serial: str
    sections: tuple[Section, ...]
    sources: tuple[ReferenceSource, ...]


def parse_reference_panel(data: Mapping[str, Any]) -> ReferencePanel:
    """A reference panel from the plain data of a file of ``config/reference``.

    Parameters
    ----------
    data
        The parsed TOML document.

    Raises
    ------
    SetupError
        ``reference.unknown-key``, ``reference.wrong-type``, ``reference.no-source`` (a statement without a
        declared source), ``reference.unused-source`` or ``reference.undated`` (a section on schedules with
        a statement that has no date).
    """
    _keys(data, "the panel file", need=("panel", "source", "section"))
    panel = _keys(data["panel"], "panel", need=("id", "version", "title", "purpose", "serial"))
    sources = {
        key: _source(key, item) for key, item in _keys(data["source"], "source", need=(), may=None).items()
    }
    sections = tuple(_section(item, sources) for item in _list(data["section"], "section"))
    used = {source.key for section in sections for one in section.statements for source in one.sources}
    if unused := sorted(set(sources) - used):
        raise SetupError("reference.unused-source", f"no statement cites {', '.join(unused)}; cite or remove")
    return ReferencePanel(
        id=_text(panel["id"], "panel.id"),
        version=_text(panel["version"], "panel.version"),
        title=_text(panel["title"], "panel.title"),
        purpose=tuple(_text(one, "panel.purpose") for one in _list(panel["purpose"], "panel.purpose")),
        serial=_text(panel["serial"], "panel.serial"),
        sections=sections,
        sources=tuple(sources.values()),
    )


def panel_lines(panel: ReferencePanel) -> tuple[str, ...]:
    """Lines of the panel as plain text: purpose, statements with source numbers, sources.

    Parameters
    ----------
    panel
        The panel.

    Returns
    -------
    tuple[str, ...]
        One for each sentence, heading or source; for a report or a terminal.
    """
    numbers = source_numbers(panel)
    lines = [f"{panel.title} ({panel.version})", *panel.purpose]
    for section in panel.sections:
        lines.append(f"{section.title}:")
        lines += [f"- {statement_line(one, numbers)}" for one in section.statements]
    lines += [panel.serial, "Sources:"]
    lines += [f"[{numbers[source.key]}] {source_line(source)}" for source in panel.sources]
    return tuple(lines)


def source_numbers(panel: ReferencePanel) -> Mapping[str, int]:
    """Number of each source, from 1, in the order of the file."""
    return {source.key: number for number, source in enumerate(panel.sources, start=1)}


def statement_line(statement: Statement, numbers: Mapping[str, int]) -> str:
    """One statement with its date and the numbers of its sources."""
    cited = ", ".join(str(numbers[source.key]) for source in statement.sources)
    dated = f" ({statement.dated})" if statement.dated else ""
    return f"{statement.text}{dated} [{cited}]"


def source_line(source: ReferenceSource) -> str:
    """One source with its DOI, and what of it was read."""
    doi = f", doi {source.doi}" if source.doi else ""
    return f"{source.text}{doi}; read: {source.read}"


def _source(key: str, item: Any) -> ReferenceSource:
    table = _keys(item, f"source.{key}", need=("text", "read"), may=("doi",))
    return ReferenceSource(
        key=key,
        text=_text(table["text"], f"source.{key}.text"),
        read=_text(table["read"], f"source.{key}.read"),
        doi=_text(table["doi"], f"source.{key}.doi") if "doi" in table else "",
    )


def _section(item: Any, sources: Mapping[str, ReferenceSource]) -> Section:
    table = _keys(item, "section", need=("title", "statement"))
    title = _text(table["title"], "section.title")
    statements = tuple(_statement(one, title, sources) for one in _list(table["statement"], title))
    if "schedule" in title.casefold() and not all(one.dated for one in statements):
        raise SetupError(
            "reference.undated", f"every statement under {title!r} needs 'dated': sources differ"
        )
    return Section(title=title, statements=statements)


def _statement(item: Any, title: str, sources: Mapping[str, ReferenceSource]) -> Statement:
    table = _keys(item, f"a statement of {title!r}", need=("text", "sources"), may=("dated",))
    cited = _list(table["sources"], f"the sources of a statement of {title!r}")
    unknown = [key for key in cited if key not in sources]
    if unknown or not cited:
        raise SetupError(
            "reference.no-source",
            f"a statement of {title!r} cites {', '.join(map(repr, unknown)) or 'nothing'}; every statement"
            f" cites declared sources: {', '.join(sources)}",
        )
    return Statement(
        text=_text(table["text"], f"a statement of {title!r}"),
        sources=tuple(sources[key] for key in cited),
        dated=_text(table["dated"], "dated") if "dated" in table else "",
    )


def _keys(
    value: Any, where: str, *, need: tuple[str, ...], may: tuple[str, ...] | None = ()
) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SetupError("reference.wrong-type", f"{where} must be a table")
    missing = [key for key in need if key not in value]
    unknown = sorted(set(value) - set(need) - set(may)) if may is not None else []
    if missing or unknown:
        raise SetupError(
            "reference.unknown-key",
            f"{where} lacks [{', '.join(missing)}] and has unknown [{', '.join(unknown)}];"
            f" expected {', '.join(need)}",
        )
    return value


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list) or not value:
        raise SetupError("reference.wrong-type", f"{where} must be a list that is not empty")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SetupError("reference.wrong-type", f"{where} must be a text that is not empty")
    return value
