"""Checks of the plain data of ``labels.toml``: each gives the value, or says what is wrong where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeVar

from osteoscribe.errors import SetupError

E = TypeVar("E", bound=Enum)


def as_enum(value: Any, where: str, kind: type[E]) -> E:
    """Check that the value is one of an enumeration, and give it."""
    for member in kind:
        if member.value == value:
            return member
    known = ", ".join(repr(member.value) for member in kind)
    raise SetupError("labels.unknown-value", f"{where} is {value!r}; expected one of {known}")


def as_enums(value: Any, where: str, kind: type[E]) -> Mapping[str, E]:
    """Check that the value is a table of such values; its keys come in upper case."""
    table = as_table(value, where, may=None)
    return MappingProxyType(
        {name.upper(): as_enum(item, f"{where}.{name}", kind) for name, item in table.items()}
    )


def as_texts(value: Any, where: str) -> tuple[str, ...]:
    """Check that the value is a list of texts."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise SetupError("labels.wrong-type", f"{where} must be a list of texts")
    return tuple(value)


def as_text(value: Any, where: str) -> str:
    """Check that the value is a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise SetupError("labels.wrong-type", f"{where} must be a text that is not empty")
    return value


def as_rows(value: Any, where: str) -> Sequence[Any]:
    """Check that the value is an array of tables."""
    if not isinstance(value, list | tuple):
        raise SetupError("labels.wrong-type", f"{where} must be written as [[{where}]]")
    return value


def as_table(
    value: Any, where: str, *, need: tuple[str, ...] = (), may: tuple[str, ...] | None = ()
) -> Mapping[str, Any]:
    """Check that the value is a table with all of `need` and, where `may` is given, nothing beyond it."""
    if not isinstance(value, Mapping):
        raise SetupError("labels.wrong-type", f"{where} must be a table")
    missing = [key for key in need if key not in value]
    if missing:
        raise SetupError("labels.missing-key", f"{where} lacks {', '.join(missing)}")
    unknown = sorted(set(value) - set(need) - set(may)) if may is not None else []
    if unknown:
        known = ", ".join(need + (may or ()))
        raise SetupError("labels.unknown-key", f"{where} has {', '.join(unknown)}; known keys are: {known}")
    return value
