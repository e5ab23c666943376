"""Templates: texts with names in braces."""

from __future__ import annotations

from string import Formatter

from osteoscribe.core.rules.plain import refuse


def names_in(text: str, where: str) -> tuple[str, ...]:
    """The placeholders of a template.

    Raises
    ------
    SetupError
        ``rules.unknown-placeholder``: not of the plain form ``{name}``.
    """
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise refuse("unknown-placeholder", where, f"{text!r} has a brace without its partner") from error
    for _, name, form, conversion in parts:
        if not name or not name.isidentifier() or form or conversion:
            raise refuse("unknown-placeholder", where, f"{text!r}: a placeholder is a name in braces")
    return tuple(name for _, name, _, _ in parts if name)
