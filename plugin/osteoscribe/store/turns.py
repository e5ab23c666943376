"""Turns at a destination: one worker at a time delivers there, on whatever machine it runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from osteoscribe.store.folder import DataFolder


class Turns:
    """Gives turns; the system or the database takes them back when their holder ends, however it ends.

    Parameters
    ----------
    folder
        Where the ledger is a file, turns are file locks in this folder; else locks of the database.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._path = folder.path
        # Connections of their own: one waits as long as an archive is down.
        self._server = (
            None
            if folder.ledger_url.startswith("sqlite")
            else sa.create_engine(folder.ledger_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        )

    @contextmanager
    def at(self, destination: str) -> Iterator[None]:
        """Wait for the turn at a destination, and hold it.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError, OSError
            The database or the folder cannot be used now.
        """
        digest = hashlib.sha256(destination.encode()).digest()
        if self._server is None:
            path = self._path / f"turn-{digest.hex()[:16]}.lock"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
            return
        number = int.from_bytes(digest[:8], "big", signed=True)
        connection = self._server.connect()
        try:
            connection.execute(sa.select(sa.func.pg_advisory_lock(number)))
            yield
        finally:
            # Closing the connection gives the turn back; a connection that broke has given it back already.
            with suppress(sa.exc.SQLAlchemyError):
                connection.close()
