"""What an administrator asks of a node, from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from osteoscribe.app.past import case_lines
from osteoscribe.app.settings import Settings
from osteoscribe.errors import SetupError
from osteoscribe.store.export import export_files
from osteoscribe.store.folder import DataFolder, FolderLock, open_folder
from osteoscribe.store.operations import JobActions
from osteoscribe.store.schema import Database, open_database
from osteoscribe.store.segments import SegmentStore
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


def show_job(settings: Settings, start: str) -> dict[str, Any]:
    """Show the job whose key starts so."""
    database = open_database(existing_folder(settings).ledger_url)
    return StatusView(database).job(_actions(settings, database).find(start))


def act_on_job(settings: Settings, action: str, start: str) -> tuple[str, str]:
    """Retry, resend or cancel a job; returns its key and what is done."""
    actions = _actions(settings, open_database(existing_folder(settings).ledger_url))
    key = actions.find(start)
    return key, getattr(actions, action)(key, datetime.now(UTC))


def past_cases(settings: Settings) -> Iterator[str]:
    """Facts of past findings as JSON lines, without patient data; yields the lines."""
    return case_lines(StatusView(open_database(existing_folder(settings).ledger_url)).reported_cases())


def export_store(settings: Settings, target: Path) -> Iterator[Path]:
    """Write everything stored as DICOM files; yields their paths."""
    return export_files(SegmentStore(existing_folder(settings).segments), target)


def _actions(settings: Settings, database: Database) -> JobActions:
    return JobActions(database, lambda calling: [one.name for one in settings.destinations_for(calling)])


def existing_folder(settings: Settings) -> DataFolder:
    """Open the data folder of a node that has run before.

    Raises
    ------
    SetupError
        ``store.absent``: there is none.
    """
    if not (Path(settings.store.shared_folder or settings.store.folder) / "segments").is_dir():
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
