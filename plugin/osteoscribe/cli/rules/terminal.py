"""The rules on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from osteoscribe.app.rule_cases import CaseChange, Told, Trial
from osteoscribe.core.rules.decide import citation_line
from osteoscribe.core.rules.difference import Difference
from osteoscribe.core.rules.show import ShownRow
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.core.rules.trace import Miss

WIDTH_OF_A_FILE = 120
"""Columns where the output is no terminal, so that a print in a file is always the same."""


def console() -> Console:
    """Standard output, as wide as the terminal or `WIDTH_OF_A_FILE`."""
    return Console(
        width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, highlight=False, markup=False, emoji=False
    )


def numbered(count: int) -> str:
    """A count with thin groups: ``35 429 400``."""
    return f"{count:,}".replace(",", " ")


def show(table: RuleTable, rows: Sequence[ShownRow]) -> None:
    """The whole table; the first row that holds wins."""
    out = console()
    total = sum(row.combinations for row in rows)
    out.print(f"{table.title}: {table.id} {table.version} ({table.status})", style="bold")
    out.print(f"SHA-256 {table.sha256}")
    out.print("Read from top to bottom: the first row that holds wins. {d} is the size in whole mm.")
    out.print(f"{len(rows)} rows take {numbered(total)} combinations of inputs, each exactly one.\n")
    grid = Table(box=SIMPLE_HEAD, show_lines=True, expand=True, padding=(0, 1))
    grid.add_column("Row", style="bold", no_wrap=True)
    grid.add_column("Holds where", ratio=4)
    grid.add_column("Phrase", ratio=6)
    grid.add_column("Recommendation, nearest category", ratio=3)
    grid.add_column("Inputs", justify="right", no_wrap=True)
    for row in rows:
        holds = "\nor ".join(row.conditions)
        grid.add_row(row.id, holds, _phrase(row), _advice(row), numbered(row.combinations))
    out.print(grid)
    out.print("Sources:")
    for row in rows:
        out.print(_pairs([(row.id, "\n".join(row.sources))]))
    for citation in table.cite:
        out.print(_pairs([("--", citation_line(table, citation))]))
    out.print("\nOpen questions for the radiologist who signs:")
    for number, question in enumerate(table.open_questions, start=1):
        out.print(f"{number}. {question}")


def _phrase(row: ShownRow) -> str:
    parts = [row.phrase, *(f"+ {add}" for add in row.adds), f"Why: {row.why}"]
    if row.conditional_on:
        parts.append(f"Condition in front where not recorded: {', '.join(row.conditional_on)}.")
    if row.listed:
        parts.append(f"Listed at the end where not recorded: {', '.join(row.listed)}.")
    return "\n".join(parts)


def _advice(row: ShownRow) -> str:
    return "\n".join([*row.recommendations, *row.analogue])


def checked(results: Iterable[dict[str, Any]]) -> None:
    """Tables with their proof or what refuses them."""
    out = console()
    for result in results:
        if result["ok"]:
            out.print(
                f"ok       {result['table']}: {result['rows']} rows take {numbered(result['combinations'])} "
                "combinations, each exactly one; no worse input is less urgent; "
                f"words in {', '.join(result['languages'])}; {result['status']}; "
                f"{result['seconds']:.3f} s"
            )
        else:
            out.print(Text(f"REFUSED  {result['table']}: {result['code']}: {result['message']}", style="red"))


def attempt(trial: Trial, told: Told, passed: Sequence[Miss]) -> None:
    """What the table says, and why the rows above did not hold."""
    out = console()
    decision, phrase = told.decision, told.phrase
    out.print(phrase.text, style="bold")
    if phrase.remark:
        out.print(phrase.remark)
    out.print()
    rows = [
        ("Row", decision.rule_id),
        ("Recommendation", phrase.recommendation),
        ("Nearest category", decision.analogue or "-"),
        ("Why", decision.why),
        ("Not recorded", ", ".join(decision.unknown) or "-"),
        *(("Conflict", conflict.message) for conflict in trial.sheet.conflicts),
        *(("Source", source) for source in decision.sources),
        ("Table", f"{decision.table_id} {decision.table_version}, SHA-256 {decision.table_sha256}"),
    ]
    out.print(_pairs(rows))
    if passed:
        out.print("\nRows that did not hold:")
        out.print(_pairs([(miss.rule_id, "\n".join(miss.reasons)) for miss in passed]))


def _pairs(rows: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for name, text in rows:
        grid.add_row(name, text)
    return grid


def diff(found: Difference) -> None:
    """What a new table changes."""
    out = console()
    if not found.rows and not found.texts:
        out.print(f"No difference: all {numbered(found.combinations)} combinations say the same.")
        return
    changed = sum(change.combinations for change in found.rows)
    out.print(f"{numbered(changed)} of {numbered(found.combinations)} combinations reach another row.")
    for change in found.rows:
        style = "red" if change.urgency in {"less urgent", "suggestion ends"} else ""
        out.print(
            f"\n{change.old} -> {change.new}: {numbered(change.combinations)} combinations, {change.urgency}",
            style=style or None,
        )
        for where in change.where:
            out.print(f"    where {where}")
        if change.parts > len(change.where):
            out.print(f"    and {change.parts - len(change.where)} smaller parts")
    for text in found.texts:
        reach = f" ({numbered(text.combinations)} combinations)" if text.combinations else ""
        out.print(f"\n{text.place}, {text.what}{reach}")
        out.print(f"  - {text.old}", style="red")
        out.print(f"  + {text.new}", style="green")


def cases(changed: Sequence[CaseChange], count: int) -> None:
    """Which stored cases would be worded otherwise."""
    out = console()
    out.print(f"\n{len(changed)} of {count} phrases would change.")
    for change in changed:
        out.print(
            f"\n{change.name}: {change.old.decision.rule_id} -> {change.new.decision.rule_id}", style="bold"
        )
        out.print(f"  - {change.old.phrase.text}", style="red")
        out.print(f"  + {change.new.phrase.text}", style="green")
