"""Statements on the way from a mark to its report: made once, and on SQLite handed straight to its driver.

A processor that has rested knows nothing of what it runs next: then the library's own way to the driver takes
0.15 ms for each statement, five times what the statement takes, and a mark passes fifty of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from osteoscribe.store.schema import not_answering

Values = Mapping[str, Any]
NO_VALUES: Values = {}

Row = Mapping[Any, Any]
"""Values by the names of their columns."""


class Statement:
    """A statement of the library for many runs, on any connection of the ledger.

    Parameters
    ----------
    statement
        With named parameters; those of an IN list take a list.
    """

    def __init__(self, statement: sa.Select[*tuple[Any, ...]] | sa.UpdateBase) -> None:
        self._statement = statement
        self._texts: dict[tuple[tuple[str, int], ...], _Text] = {}

    def rows(self, connection: sa.Connection, values: Values = NO_VALUES) -> Sequence[Row]:
        """Rows by the names of their columns."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, values).mappings().all()
        found = self._run(connection, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]

    def tuples(self, connection: sa.Connection, values: Values = NO_VALUES) -> Sequence[Sequence[Any]]:
        """Rows in the order of their columns."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, values).all()
        return self._run(connection, values).fetchall()

    def first(self, connection: sa.Connection, values: Values = NO_VALUES) -> Sequence[Any] | None:
        """The first row; None where there is none."""
        return next(iter(self.tuples(connection, values)), None)

    def value(self, connection: sa.Connection, values: Values = NO_VALUES) -> Any:
        """The first column of the first row; None where there is none."""
        row = self.first(connection, values)
        return None if row is None else row[0]

    def column(self, connection: sa.Connection, values: Values = NO_VALUES) -> list[Any]:
        """The first column of each row."""
        return [row[0] for row in self.tuples(connection, values)]

    def change(self, connection: sa.Connection, *values: Values) -> int:
        """Change rows, once for each of the values; how many rows that were."""
        if connection.dialect.name == "sqlite":
            return sum(self._run(connection, one).rowcount for one in values)
        return connection.execute(self._statement, values[0] if len(values) == 1 else list(values)).rowcount

    def insert(self, connection: sa.Connection, values: Values) -> int:
        """Insert a row into a table that numbers its rows; its id."""
        if connection.dialect.name == "sqlite":
            return self._run(connection, values).lastrowid or 0
        inserted = connection.execute(self._statement, values).inserted_primary_key
        return int(inserted[0]) if inserted is not None else 0

    def _run(self, connection: sa.Connection, values: Values) -> sqlite3.Cursor:
        form = tuple((name, len(one) if isinstance(one, list) else -1) for name, one in values.items())
        text = self._texts.get(form)
        if text is None:
            text = self._texts[form] = _Text(self._statement, connection.dialect, values)
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            return driver.execute(text.sql, text.parameters(values))
        except sqlite3.OperationalError:
            raise not_answering() from None


class _Text:
    """What the driver is given, for values of one form: the same names, lists of the same lengths."""

    def __init__(
        self, statement: sa.Select[*tuple[Any, ...]] | sa.UpdateBase, dialect: sa.Dialect, values: Values
    ) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(values))
        assert not compiled.insert_prefetch, (
            "defaults of columns are the library's: give each column its value"
        )
        expanded = compiled.construct_expanded_state(dict(values))
        self.sql = expanded.statement
        parts = {
            one: (name, n) for name, of in expanded.parameter_expansion.items() for n, one in enumerate(of)
        }
        self._places: list[tuple[str, int, Any]] = []
        for one in expanded.positiontup or ():
            name, number = parts.get(one, (one, -1))
            is_given = name in values
            self._places.append(
                (name if is_given else "", number, None if is_given else expanded.parameters[one])
            )

    def parameters(self, values: Values) -> list[Any]:
        return [
            fixed if not name else values[name] if number < 0 else values[name][number]
            for name, number, fixed in self._places
        ]
