"""Read transactions: one for each question, or one for several that follow each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


class Reads:
    """Reads of a database that change nothing. Safe to share between threads.

    A transaction costs more than the query in it, so questions that follow each other share one.

    Parameters
    ----------
    engine
        An opened database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(reads=True)
        self._of_thread = threading.local()

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Give a connection in a transaction: that of this thread's `together`, where it is in one."""
        shared: sa.Connection | None = getattr(self._of_thread, "connection", None)
        if shared is not None:
            yield shared
            return
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have all that this thread reads in the block read from one state of the database.

        What it writes meanwhile it does not see before the end of the block.
        """
        with self.begin() as connection:
            outer = getattr(self._of_thread, "connection", None)
            self._of_thread.connection = connection
            try:
                yield
            finally:
                self._of_thread.connection = outer
