"""``osteoscribe reference``: the reference panel for known metastases."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from osteoscribe.core.reference import ReferencePanel

DESCRIPTION = """\
Print the reference panel for a lesion that is already known to be a metastasis: general reference with its
sources, never advice for a patient, never a response category."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``reference`` to the command line."""
    parser = subparsers.add_parser(
        "reference", help="print the reference panel for known metastases", description=DESCRIPTION
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="another panel (TOML) than the shipped one")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the panel; returns the exit code."""
    from osteoscribe.app.references import load_reference_panel

    panel = load_reference_panel(options.file)
    if options.json:
        print(json.dumps(document(panel), indent=2, ensure_ascii=False))
    else:
        show(panel, Console())
    return 0


def document(panel: ReferencePanel) -> dict[str, Any]:
    """The panel as plain data; statements name their sources by key."""
    plain = asdict(panel)
    for section in plain["sections"]:
        for statement in section["statements"]:
            statement["sources"] = [source["key"] for source in statement["sources"]]
    return plain


def show(panel: ReferencePanel, console: Console) -> None:
    """Print the panel for reading."""
    from osteoscribe.core.reference import source_line, source_numbers, statement_line

    numbers = source_numbers(panel)
    console.print(Panel(Text("\n".join(panel.purpose)), title=Text(f"{panel.title} ({panel.version})")))
    table = Table(show_header=False, show_lines=True, expand=True)
    table.add_column(style="bold", ratio=1)
    table.add_column(ratio=4)
    for section in panel.sections:
        lines = [statement_line(one, numbers) for one in section.statements]
        table.add_row(Text(section.title), Text("\n".join(lines)))
    console.print(table)
    console.print(Text(panel.serial, style="italic"))
    console.print(Text("Sources", style="bold"))
    for source in panel.sources:
        console.print(Text(f"[{numbers[source.key]}] {source_line(source)}"))
