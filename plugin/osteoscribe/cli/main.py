"""The command ``osteoscribe`` and its parts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from osteoscribe import __version__
from osteoscribe.errors import OsteoscribeError, SetupError

COMMANDS = ("demo", "process", "serve", "status", "jobs", "echo", "store", "rules", "reference")
"""Modules of this package that each add a command, in the order of the help text."""

USAGE_OR_SETTINGS = 2
"""Exit code where the command line or the settings are wrong, as argparse has it."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="osteoscribe",
        description="From a marked bone lesion on CT to a measured finding with a suggested phrase, "
        "as DICOM SR. For research use, not for diagnostic use.",
    )
    parser.add_argument("--version", action="version", version=f"osteoscribe {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"osteoscribe.cli.{name}").add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0: done; 1: done, with stated problems or findings; 2: usage or settings; 130: interrupted.
    """
    # Before numpy is loaded, here and in the workers: its products are small, and threads fight over them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    options = build_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SetupError as error:
        print(f"osteoscribe: {error}", file=sys.stderr)
        return USAGE_OR_SETTINGS
    except OsteoscribeError as error:
        print(f"osteoscribe: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
