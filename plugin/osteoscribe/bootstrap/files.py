"""The pipeline on files and folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from osteoscribe.app.offline import file_entries, single_versions
from osteoscribe.app.pipeline import Outcome, Request, Show, run
from osteoscribe.app.practice import load_practice
from osteoscribe.app.settings import Settings, load_settings
from osteoscribe.store.files import read_bytes, scan


def process_paths(
    paths: Sequence[Path],
    *,
    config: Path | None = None,
    label_patterns: Sequence[str] = (),
    calling_ae: str = "",
    show: Show = lambda *_: None,
) -> Outcome:
    """Reports of all marks in files and folders, without a network, a store or a clock.

    Parameters
    ----------
    config
        Settings of a site; None takes the defaults.
    label_patterns
        Where there are any, the ROIs of these labels are the marks.
    calling_ae
        The sender whose site policy holds.

    Raises
    ------
    SetupError
        The settings, the rule table or the label rules are not usable.
    """
    practice = load_practice((load_settings(config) if config else Settings()).practice)
    found = scan(paths, lambda done, total: show("reading headers", done, total))
    instances, doubled = single_versions(found.instances)
    request = Request(
        instances=instances, read=read_bytes, calling_ae=calling_ae, label_patterns=label_patterns
    )
    outcome = run(request, practice, show)
    problems, left_out = file_entries(found.problems, named=paths)
    return dataclasses.replace(
        outcome,
        problems=(*problems, *doubled, *outcome.problems),
        ignored=(*left_out, *outcome.ignored),
    )
