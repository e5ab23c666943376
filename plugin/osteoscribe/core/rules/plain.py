"""Checked access to plain data as ``tomllib`` gives it: unknown keys and wrong kinds are refused by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from osteoscribe.errors import SetupError

Plain = Mapping[str, object]


def refuse(code: str, where: str, message: str) -> SetupError:
    """The error that refuses a table; `where` names the place in it."""
    return SetupError(f"rules.{code}", f"{where}: {message}", where=where)


def check_keys(plain: Plain, where: str, required: Collection[str], optional: Collection[str] = ()) -> None:
    """Refuse unknown and missing keys.

    Raises
    ------
    SetupError
        ``rules.unknown-key`` or ``rules.missing-key``.
    """
    allowed = {*required, *optional}
    unknown = [key for key in plain if key not in allowed]
    if unknown:
        raise refuse(
            "unknown-key", where, f"unknown key {unknown[0]!r}; known are {', '.join(sorted(allowed))}"
        )
    missing = [key for key in required if key not in plain]
    if missing:
        raise refuse("missing-key", where, f"key {missing[0]!r} is missing")


def table_at(value: object, where: str) -> Plain:
    """A table, or ``rules.wrong-kind``."""
    if not isinstance(value, Mapping):
        raise refuse("wrong-kind", where, f"found {value!r}, expected a table")
    return value


def tables_at(value: object, where: str) -> tuple[Plain, ...]:
    """An array of tables, or ``rules.wrong-kind``."""
    if not isinstance(value, list):
        raise refuse("wrong-kind", where, f"found {value!r}, expected an array of tables")
    return tuple(table_at(item, where) for item in value)


def text_at(value: object, where: str, *, empty: bool = False) -> str:
    """A text, or ``rules.wrong-kind``; blank only where `empty`."""
    if not isinstance(value, str) or not (empty or value.strip()):
        raise refuse("wrong-kind", where, f"found {value!r}, expected a text")
    return value


def texts_at(value: object, where: str) -> tuple[str, ...]:
    """An array of different texts, or ``rules.wrong-kind``."""
    if not isinstance(value, list):
        raise refuse("wrong-kind", where, f"found {value!r}, expected an array of texts")
    texts = tuple(text_at(item, where) for item in value)
    if len(set(texts)) < len(texts):
        raise refuse("wrong-kind", where, f"{texts!r} names a value twice")
    return texts


def texts_at_in_order(value: object, where: str) -> tuple[str, ...]:
    """An array of texts that may repeat or be empty, or ``rules.wrong-kind``."""
    if not isinstance(value, list):
        raise refuse("wrong-kind", where, f"found {value!r}, expected an array of texts")
    return tuple(text_at(item, where, empty=True) for item in value)


def whole_at(value: object, where: str) -> int:
    """A whole number, or ``rules.wrong-kind``: sizes are whole mm, so a limit of 4.5 separates nothing."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse("wrong-kind", where, f"found {value!r}, expected a whole number")
    return value
