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
from osteoscribe.store.export import export_quarantined as write_quarantined
from osteoscribe.store.folder import DataFolder, FolderLock, open_folder
from osteoscribe.store.identity import NODE_ID
from osteoscribe.store.operations import JobActions
from osteoscribe.store.places import open_segments
from osteoscribe.store.schema import Database, open_database
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
    return export_files(open_segments(existing_folder(settings)), target)


def export_quarantined(settings: Settings, target: Path) -> Iterator[dict[str, Any]]:
    """Write the objects that are never sent as files; yields path, job and reason of each."""
    folder = existing_folder(settings)
    for path, row in write_quarantined(open_database(folder.ledger_url), open_segments(folder), target):
        yield {
            "file": str(path),
            **{name: row[name] for name in ("job_key", "profile", "role", "code", "message")},
        }


def _actions(settings: Settings, database: Database) -> JobActions:
    return JobActions(database, settings.destinations_for)


def existing_folder(settings: Settings) -> DataFolder:
    """Open the data folder of a node that has run before.

    Raises
    ------
    SetupError
        ``store.absent``: there is none.
    """
    if not any((settings.store.folder / one).exists() for one in ("segments", NODE_ID)):
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
