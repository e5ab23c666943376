"""The one place where parts are chosen and joined."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable
from datetime import datetime
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING

from osteoscribe.app.settings import Settings
from osteoscribe.errors import OsteoscribeError
from osteoscribe.store.folder import DataFolder, FolderLock, open_folder
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.reception import AssociationReception
from osteoscribe.store.recovery import recover_instances
from osteoscribe.store.schema import open_database
from osteoscribe.store.segments import SegmentStore

if TYPE_CHECKING:
    from osteoscribe.net.scp import Listener

LOGGER = logging.getLogger(__name__)

STOP_PATIENCE_S = 4.0
"""How long open associations may take to end by themselves when the node stops."""


def start_logging() -> None:
    """Log lines go to standard error, with UTC time."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )


def open_listener(settings: Settings, folder: DataFolder) -> Listener:
    """Join receiver and store; records first what a crash left unrecorded."""
    from osteoscribe.net.scp import Listener
    from osteoscribe.readers.ct import READABLE_TRANSFER_SYNTAXES

    segments = SegmentStore(folder.segments)
    table = InstanceTable(open_database(folder.ledger_url))
    recover_instances(segments, table)

    def open_reception(opened_at: datetime) -> AssociationReception:
        return AssociationReception(folder=folder, segments=segments, table=table, opened_at=opened_at)

    return Listener(
        settings.node, transfer_syntaxes=tuple(READABLE_TRANSFER_SYNTAXES), open_reception=open_reception
    )


def data_folder() -> Path:
    """Where the default settings and samples are: package data of an installed wheel, else the source tree."""
    packaged = Path(__file__).resolve().parent / "_data"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2]


def load_practice(settings: Settings) -> Practice:
    """The rule table and label rules that the settings name, proved and checked."""
    config = data_folder() / "config"
    labels = settings.practice.labels or config / "labels.toml"
    table = settings.practice.rule_table or config / "rules" / DEFAULT_TABLE
    return Practice(
        table=load_table(table),
        labels=load_label_rules(labels),
        site_in_phrase=settings.practice.site_in_phrase,
    )


def process_paths(
    paths: Sequence[Path], *, config: Path | None, label_patterns: Sequence[str], calling_ae: str, show: Show
) -> Outcome:
    """Reports of all marks in files and folders."""
    practice = load_practice(load_settings(config) if config else Settings())
    found = scan(paths, lambda done, total: show("reading headers", done, total))
    outcome = run(
        Request(
            instances=newest(found.instances),
            read=read_bytes,
            calling_ae=calling_ae,
            label_patterns=label_patterns,
        ),
        practice,
        show,
    )
    return replace(outcome, problems=(*_file_problems(found, paths), *outcome.problems))
