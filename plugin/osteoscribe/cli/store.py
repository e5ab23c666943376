"""``osteoscribe store``: what a node keeps, as files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from osteoscribe.cli.status import add_store_options, store_settings

DESCRIPTION = """\
Write what a node keeps as DICOM files, byte for byte. They hold patient data.
  export       everything that it received and made
  quarantine   only what it made and never sent, because the last check refused it, and why"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``store`` to the command line."""
    parser = subparsers.add_parser(
        "store",
        help="write what a node keeps as DICOM files",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("export", "quarantine"))
    parser.add_argument("target", type=Path, metavar="DIR", help="folder for the files, made if absent")
    add_store_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the files; returns the exit code."""
    from osteoscribe.bootstrap.operate import export_quarantined, export_store

    if options.action == "quarantine":
        return _print(list(export_quarantined(store_settings(options), options.target)), options.json)
    count = sum(1 for _ in export_store(store_settings(options), options.target))
    print(f'{{"files": {count}}}' if options.json else f"{count} files written to {options.target}")
    return 0


def _print(refused: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        json.dump(refused, sys.stdout, indent=2)
        print()
    for one in () if as_json else refused:
        print(f"{one['file']}\n  job {one['job_key'][:12]} {one['code']}: {one['message']}")
    if not (refused or as_json):
        print("nothing is quarantined")
    return 0
