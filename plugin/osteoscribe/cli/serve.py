"""``osteoscribe serve``: the node."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from osteoscribe.app.settings import Settings, check_settings, load_settings, parse_destination

DESCRIPTION = """\
Run a DICOM node: receive CT series and marks, measure each marked series, and send the structured report
back. It runs until it is told to stop (Ctrl-C or SIGTERM). For research use, not for diagnostic use."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``serve`` to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="run a DICOM node that receives marks and sends reports back",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of a site (TOML)")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="TCP port (11112); 0 takes a free one")
    parser.add_argument("--ae-title", metavar="AE", help="AE title of this node (OSTEOSCRIBE)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder for everything that is kept (data)")
    parser.add_argument(
        "--destination",
        action="append",
        default=[],
        metavar="AE@HOST:PORT",
        help="where reports go; repeatable; without it, back to the sender where its address is known",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the node; returns the exit code."""
    from osteoscribe.bootstrap import forking

    forking.begin()
    from osteoscribe.bootstrap.node import serve, start_logging

    start_logging()

    def on_listening(settings: Settings, port: int) -> None:
        node = settings.node
        print(f"osteoscribe {node.ae_title} listens on {node.host}:{port}, stop with Ctrl-C", flush=True)

    serve(lambda: settings_of(options), on_listening)
    return 0


def settings_of(options: argparse.Namespace) -> Settings:
    """Take the settings of the file, overridden by the flags.

    Raises
    ------
    SetupError
        A setting cannot be used.
    """
    settings = load_settings(options.config) if options.config else Settings()
    node = {
        name: value
        for name, value in (("host", options.host), ("port", options.port), ("ae_title", options.ae_title))
        if value is not None
    }
    settings = dataclasses.replace(settings, node=dataclasses.replace(settings.node, **node))
    if options.data is not None:
        store = dataclasses.replace(settings.store, folder=options.data)
        settings = dataclasses.replace(settings, store=store)
    if options.destination:
        destinations = tuple(parse_destination(text) for text in options.destination)
        settings = dataclasses.replace(settings, destination=destinations)
    check_settings(settings)
    return settings
