"""``osteoscribe store``: what a node keeps, as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from osteoscribe.cli.status import add_store_options, store_settings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``store`` to the command line."""
    parser = subparsers.add_parser(
        "store",
        help="write everything that a node keeps as DICOM files",
        description="Write everything that a node received and made as DICOM files, byte for byte.",
    )
    parser.add_argument("action", choices=("export",))
    parser.add_argument("target", type=Path, metavar="DIR", help="folder for the files, made if absent")
    add_store_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the files; returns the exit code."""
    from osteoscribe.bootstrap.operate import export_store

    count = sum(1 for _ in export_store(store_settings(options), options.target))
    print(f'{{"files": {count}}}' if options.json else f"{count} files written to {options.target}")
    return 0
