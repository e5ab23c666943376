"""What an administrator asks of a node, from the command line."""

from __future__ import annotations

import shutil
from typing import Any

from osteoscribe.app.settings import Settings
from osteoscribe.errors import SetupError
from osteoscribe.store.folder import DataFolder, FolderLock, open_folder
from osteoscribe.store.schema import open_database
from osteoscribe.store.status import StatusView


def status(settings: Settings) -> dict[str, Any]:
    """Count what a node holds, and say whether it runs."""
    folder = existing_folder(settings)
    usage = shutil.disk_usage(folder.path)
    return {
        "running": _runs(folder),
        **StatusView(open_database(folder.ledger_url)).counts(),
        "disk_free_mb": usage.free // 1_000_000,
        "disk_reserve_mb": folder.reserve_bytes // 1_000_000,
    }


def list_jobs(settings: Settings) -> list[dict[str, Any]]:
    """List the jobs of a node, the newest first."""
    return StatusView(open_database(existing_folder(settings).ledger_url)).jobs()


def existing_folder(settings: Settings) -> DataFolder:
    """Open the data folder of a node that has run before.

    Raises
    ------
    SetupError
        ``store.absent``: there is none.
    """
    if not (settings.store.folder / "segments").is_dir():
        raise SetupError(
            "store.absent",
            f"found no data of a node in {settings.store.folder}; name its folder with --data or --config",
        )
    return open_folder(settings.store)


def _runs(folder: DataFolder) -> bool:
    try:
        FolderLock(folder, "node").close()
    except SetupError:
        return True
    return False
