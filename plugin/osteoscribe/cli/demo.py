"""``osteoscribe demo``: the whole trip on synthetic patients, over a real network connection."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from osteoscribe.core import codes

if TYPE_CHECKING:
    from osteoscribe.bootstrap.demo import Shown

DESCRIPTION = """\
Start a node and a small archive on free ports of this machine, send the CT of two synthetic patients with a
marked bone island, receive the structured reports, and show them. Needs nothing but the installed package.
For research use, not for diagnostic use."""

EPILOG = "exit codes: 0 the reports came back; 1 they did not, or differ from those made without a network"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``demo`` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="show the whole trip on synthetic patients",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo-out"),
        metavar="DIR",
        help="folder for reports and pictures (demo-out)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demonstration; returns the exit code."""
    started = time.monotonic()
    console = Console(highlight=False)
    console.print("[bold]Osteoscribe demo[/]  synthetic patients; for research use, not for diagnostic use\n")

    def tell(text: str) -> None:
        console.print(Text(f"{time.monotonic() - started:5.1f} s  {text}"))

    with console.status("starting the node"):
        from osteoscribe.bootstrap.demo import run_demo

        shown = run_demo(options.out, tell)
    for one in shown:
        _print(console, one)
    console.print(Text(f"done in {time.monotonic() - started:.1f} s"))
    if not all(one.agrees for one in shown):
        console.print(Text("the reports differ from those made without a network", style="bold red"))
        return 1
    return 0


def _print(console: Console, shown: Shown) -> None:
    console.print()
    console.print(
        Text.assemble((shown.name, "bold"), "  typed on the mark: ", (f"“{shown.label}”", "italic"))
    )
    for phrase in dict.fromkeys(lesion.phrase for lesion in shown.lesions):
        console.print(
            Panel(Text(phrase, style="bold"), title="suggested phrase, unverified", title_align="left")
        )
    table = Table(header_style="bold", show_edge=False)
    for name in ("lesion", "long x short, mm", "volume, mm³", "HU mean ± SD, reference only", "rule"):
        table.add_column(name)
    for lesion in shown.lesions:
        table.add_row(
            lesion.name,
            _numbers(" x ", lesion.value(codes.LONG_AXIS), lesion.value(codes.SHORT_AXIS), digits=1),
            _numbers("", lesion.value(codes.VOLUME), digits=1),
            _numbers(" ± ", lesion.value(codes.MEAN_HU), lesion.value(codes.STANDARD_DEVIATION_HU), digits=0),
            lesion.rule,
        )
    console.print(table)
    for name, path in (("picture", shown.picture), ("SR", shown.report), ("text SR", shown.companion)):
        console.print(Text(f"{name:>8}  {path}"), soft_wrap=True)


def _numbers(between: str, *values: float | None, digits: int) -> str:
    return between.join(f"{value:.{digits}f}" for value in values if value is not None) or "-"
