"""A real PostgreSQL server, started once, for the tests that run on both databases."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

SERVER = Path("/usr/lib/postgresql")


def _bin() -> Path | None:
    versions = sorted(SERVER.glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@pytest.fixture(scope="session")
def new_postgresql() -> Iterator[Callable[[], str]]:
    """Makes a new empty database and gives its URL; skipped where there is no server to start."""
    if _bin() is None:
        pytest.skip("outside program absent: PostgreSQL (.ci/setup installs it)")
    with postgresql_server() as make:
        yield make


@contextlib.contextmanager
def postgresql_server(address: str = "") -> Iterator[Callable[[], str]]:
    """A server of its own; yields what makes a new empty database and gives its URL.

    Parameters
    ----------
    address
        Where it listens for anyone, on a private network of the tests; else on a socket in its folder alone.
    """
    programs = _bin()
    assert programs is not None, "PostgreSQL is absent"
    # Not pytest's own folder: that is closed to the server's owner.
    folder = Path(tempfile.mkdtemp(prefix="osteoscribe-postgresql-"))
    data, sockets = folder / "data", folder / "s"
    sockets.mkdir()
    as_owner = []
    if os.geteuid() == 0:
        # The server refuses to run as root.
        for path in (folder, sockets):
            shutil.chown(path, "postgres", "postgres")
        as_owner = ["runuser", "-u", "postgres", "--"]

    def run(*command: object) -> None:
        subprocess.run(
            [*as_owner, *map(str, command)], check=True, capture_output=True, timeout=60, cwd=folder
        )

    run(programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    if address:
        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")
    options = f"-c listen_addresses={address} -c unix_socket_directories={sockets} -c fsync=off"
    run(programs / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    base = f"postgresql+psycopg://postgres@/{{}}?host={address or sockets}"
    numbers = itertools.count()

    def make() -> str:
        name = f"t{next(numbers)}"
        engine = sa.create_engine(base.format("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return base.format(name)

    try:
        yield make
    finally:
        stopped = subprocess.run(
            [*as_owner, str(programs / "pg_ctl"), "-D", str(data), "-m", "fast", "-w", "stop"],
            check=False,
            capture_output=True,
            timeout=60,
            cwd=folder,
        )
        shutil.rmtree(folder, ignore_errors=True)
        assert stopped.returncode == 0, stopped
