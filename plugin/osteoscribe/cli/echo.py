"""``osteoscribe echo``: try the destinations before it matters."""

from __future__ import annotations

import argparse
import json
import sys

from osteoscribe.cli.status import add_store_options, store_settings

DESCRIPTION = """\
Try a destination, or all of them: is it there, does it know this node, what does it take. By C-ECHO and the
presentation contexts that it accepts; by an empty search where it is a DICOMweb service. Nothing is sent.
The exit code is 1 where one does not answer, or refuses the reports."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``echo`` to the command line."""
    parser = subparsers.add_parser(
        "echo",
        help="try the destinations: C-ECHO, and what they take",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "destination",
        nargs="?",
        default="",
        help="its name in the settings, or AE@HOST:PORT; without it, all",
    )
    add_store_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Try them; returns the exit code."""
    from osteoscribe.bootstrap.operate import echo_destinations

    found = echo_destinations(store_settings(options), options.destination)
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        print()
    elif not found:
        print("no destinations in the settings")
    else:
        for one in found:
            if one["code"]:
                print(f"{one['name']:<24} {one['code']}: {one['message']}")
                continue
            refused = f"; refuses {', '.join(one['refuses'])}" if one["refuses"] else ""
            print(
                f"{one['name']:<24} answers in {one['seconds']} s; takes {', '.join(one['accepts'])}{refused}"
            )
    return 0 if all(one["is_usable"] for one in found) else 1
