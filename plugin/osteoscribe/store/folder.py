"""The data folder: what lies where, the lock against two nodes on one folder, and the disk reserve."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from osteoscribe.app.settings import StoreSettings
from osteoscribe.errors import SetupError, StoreError

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFolder:
    """Where a node keeps what it keeps."""

    path: Path
    ledger_url: str
    reserve_bytes: int
    shared: Path | None = None
    objects_url: str = ""
    objects_endpoint_url: str = ""

    @property
    def segments(self) -> Path:
        """Folder of the received bytes and of our reports; several nodes may share it."""
        return (self.shared or self.path) / "segments"

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may have segments in the same place."""
        return self.shared is not None or bool(self.objects_url)

    @property
    def is_server(self) -> bool:
        """Whether the ledger is on a database server, which other nodes can share."""
        return not self.ledger_url.startswith("sqlite")

    @property
    def engine_url(self) -> str:
        """Database of the durable engine: the ledger's where that is a server, else a file of its own."""
        if self.is_server:
            return self.ledger_url
        return f"sqlite:///{self.path / 'engine.sqlite'}"

    def free_bytes(self) -> int:
        """Return the free disk space."""
        folders = (self.path,) if self.shared is None else (self.path, self.shared)
        return min(found.f_bavail * found.f_frsize for found in map(os.statvfs, folders))

    def check_reserve(self, length: int = 0) -> None:
        """Refuse to take more when the disk would fall below the reserve.

        Parameters
        ----------
        length
            Bytes that are about to be stored.

        Raises
        ------
        StoreError
            ``store.reserve-reached``.
        """
        free = self.free_bytes()
        if free - length < self.reserve_bytes:
            raise StoreError(
                "store.reserve-reached",
                f"found {free // MEGABYTE} MB free, expected the reserve of "
                f"{self.reserve_bytes // MEGABYTE} MB; free disk space, then send again",
            )


def open_folder(settings: StoreSettings, node: str = "") -> DataFolder:
    """Make the data folder where it is absent.

    Parameters
    ----------
    node
        Name of the node that opens it: its sessions at a database server bear it. Empty for who only looks.

    Raises
    ------
    SetupError
        ``store.unusable``: it cannot be made or written.
    """
    path = settings.folder.absolute()
    shared = Path(settings.shared_folder).absolute() if settings.shared_folder else None
    try:
        for folder in (path, (shared or path) / "segments"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SetupError(
            "store.unusable", f"found no way to make the data folder (error {error.errno}); check --data"
        ) from error
    return DataFolder(
        path=path,
        ledger_url=_named(settings.ledger_url, node) or f"sqlite:///{path / 'ledger.sqlite'}",
        reserve_bytes=int(settings.reserve_mb * MEGABYTE),
        shared=shared,
        objects_url=settings.objects_url,
        objects_endpoint_url=settings.objects_endpoint_url,
    )


def session_name(node: str) -> str:
    """Name of a node's sessions at a database server."""
    return f"osteoscribe {node}"


def _named(url: str, node: str) -> str:
    """Say to a database server whose sessions these are, so that those of a dead node can be ended.

    A node that is stopped or cut off in a transaction holds the writers' lock: the server ends that itself.
    """
    if not node or not url.startswith("postgresql"):
        return url
    given = make_url(url)
    ours = {"application_name": session_name(node), "options": "-c idle_in_transaction_session_timeout=30s"}
    return given.set(query={**ours, **given.query}).render_as_string(hide_password=False)


class FolderLock:
    """Held by one process at a time; the system frees it when that process ends, however it ends.

    A process that is started with it holds it too: it is free when both have ended.

    Parameters
    ----------
    folder
        The data folder.
    name
        What is locked, for example ``node`` or ``worker-0``.
    patience_s
        How long to wait for another process to let go.
    is_wanted
        Asked while waiting; False ends it.

    Raises
    ------
    SetupError
        ``store.in-use``: another process holds it.
    """

    def __init__(
        self,
        folder: DataFolder,
        name: str,
        *,
        patience_s: float = 0.0,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self._descriptor = os.open(folder.path / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= deadline or not is_wanted():
                    os.close(self._descriptor)
                    raise SetupError(
                        "store.in-use",
                        f"found the data folder in use by another {name} process; stop it, or choose another "
                        "folder with --data",
                    ) from error
                time.sleep(0.05)

    def close(self) -> None:
        """Let go."""
        os.close(self._descriptor)

    def __getstate__(self) -> Any:
        return reduction.DupFd(self._descriptor)

    def __setstate__(self, sent: Any) -> None:
        self._descriptor = sent.detach()
