"""What an administrator asks of a node, from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from osteoscribe.app.past import case_lines
from osteoscribe.app.settings import Destination, Settings, parse_destination
from osteoscribe.errors import PeerError, SetupError
from osteoscribe.store.export import export_files
from osteoscribe.store.export import export_quarantined as write_quarantined
from osteoscribe.store.folder import DataFolder, FolderLock, open_folder
from osteoscribe.store.identity import NODE_ID
from osteoscribe.store.operations import JobActions
from osteoscribe.store.places import open_segments
from osteoscribe.store.schema import Database, open_database
from osteoscribe.store.status import JobFilter, StatusView
from osteoscribe.writers.document import BASIC_TEXT_SR
from osteoscribe.writers.key_image import SECONDARY_CAPTURE
from osteoscribe.writers.profiles import PROFILES, STANDARD


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


def list_jobs(
    settings: Settings, *, state: str = "", destination: str = "", code: str = "", most: int = 1000
) -> list[dict[str, Any]]:
    """List the jobs of a node, the newest first; the words choose which (`store.status.JobFilter`)."""
    view = StatusView(open_database(existing_folder(settings).ledger_url))
    return view.jobs(JobFilter(state=state, destination=destination, code=code, most=most))


def show_job(settings: Settings, start: str) -> dict[str, Any]:
    """Show the job whose key starts so."""
    database = open_database(existing_folder(settings).ledger_url)
    return StatusView(database).job(_actions(settings, database).find(start))


def act_on_job(settings: Settings, action: str, start: str) -> tuple[str, str]:
    """Retry, resend or cancel a job; returns its key and what is done."""
    actions = _actions(settings, open_database(existing_folder(settings).ledger_url))
    key = actions.find(start)
    return key, getattr(actions, action)(key, datetime.now(UTC))


def retry_parked(settings: Settings, destination: str) -> list[tuple[str, str]]:
    """Deliver again what is parked for a destination, the oldest first; each key with what is done."""
    actions = _actions(settings, open_database(existing_folder(settings).ledger_url))
    return [(key, actions.retry(key, datetime.now(UTC))) for key in actions.parked_for(destination)]


def echo_destinations(settings: Settings, name: str) -> list[dict[str, Any]]:
    """Try a destination of the settings or an ``AE@HOST:PORT``; none named: all, peers too.

    Raises
    ------
    SetupError
        ``delivery.unknown-destination``, ``settings.wrong-value``.
    """
    if "@" in name:
        chosen = [parse_destination(name)]
    elif name:
        chosen = [settings.destination_named(name)]
    else:
        places = (*settings.destination, *(peer.as_destination() for peer in settings.peer))
        chosen = [settings.destination_named(one) for one in dict.fromkeys(place.name for place in places)]
    return [_echo(settings, one) for one in chosen]


def _echo(settings: Settings, destination: Destination) -> dict[str, Any]:
    from osteoscribe.net.echo import echo

    reports = {}
    for profile, role in sorted(destination.forms, key=lambda form: form[1] != "sr"):
        known = PROFILES.get(profile, STANDARD)
        if role == "sr" and known.measurement_report:
            reports["measurement reports"] = known.sop_class_uid
        elif role in ("text", "notice"):
            reports["text reports"] = BASIC_TEXT_SR
        elif role == "key-image":
            reports["key images"] = SECONDARY_CAPTURE
    shown: dict[str, Any] = {
        "name": destination.name,
        "address": destination.address,
        "code": "",
        "message": "",
    }
    try:
        answer = echo(
            destination, reports, ae_title=settings.node.ae_title, timeout_s=settings.delivery.timeout_s
        )
    except (PeerError, SetupError) as error:
        return {**shown, "code": error.code, "message": error.message, "is_usable": False}
    return {**shown, **answer, "is_usable": not set(answer["refuses"]) & set(reports)}


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
