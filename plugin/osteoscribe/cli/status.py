"""``osteoscribe status``: how a node is, at a glance."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from osteoscribe.app.settings import Settings, load_settings


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``status`` to the command line."""
    parser = subparsers.add_parser("status", help="show how a node is", description="Show how a node is.")
    add_store_options(parser)
    parser.set_defaults(run=run)


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that looks into a node's data folder and can print JSON."""
    add_folder_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a node's data folder is."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of a site (TOML)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the node's data folder (data)")


def store_settings(options: argparse.Namespace) -> Settings:
    """Take the settings of the file, with the folder of the flag."""
    settings = load_settings(options.config) if options.config else Settings()
    if options.data is None:
        return settings
    return dataclasses.replace(settings, store=dataclasses.replace(settings.store, folder=options.data))


def run(options: argparse.Namespace) -> int:
    """Print the status; the exit code is 1 where a person must act."""
    from osteoscribe.bootstrap.operate import status

    found = status(store_settings(options))
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        print()
    else:
        for name, value in found.items():
            shown = " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
            if name == "destinations":
                shown = "".join(_destination(one) for one in value)
            elif isinstance(value, list):
                shown = " ".join(f"{one['name']} (workers={one['workers']})" for one in value)
            print(f"{name.replace('_', ' '):<16} {shown if shown != '' else 'none'}")
    needs_a_person = {"failed", "parked"} & {*found["jobs"], *found["deliveries"]}
    return 1 if needs_a_person else 0


def _destination(one: dict[str, Any]) -> str:
    """One line for a destination: how it stands, and what waits for it."""
    line = f"\n  {one['name']:<24} {one['state']:<9} waiting {one['waiting']}  parked {one['parked']}"
    if one["oldest_waiting_since"]:
        line += f"  oldest since {one['oldest_waiting_since']}"
    if one["code"]:
        line += f"  {one['code']}, failed tries {one['failed_tries']}"
    return line + (f", next try {one['next_try_at']}" if one["next_try_at"] else "")
