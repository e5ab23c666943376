# ruff: noqa: E501 (a line of the page is a line here)
"""``docs/rules.md``: the page for clinicians, made from the table."""

from __future__ import annotations

from collections.abc import Sequence

from osteoscribe.cli.rules.terminal import numbered
from osteoscribe.core.rules.decide import citation_line
from osteoscribe.core.rules.show import ShownRow
from osteoscribe.core.rules.table import Column, RuleTable

PICTURE = "rules-flow.svg"
"""Name of the picture beside the page."""


def guide(table: RuleTable, rows: Sequence[ShownRow]) -> str:
    """The page of the documentation as Markdown."""
    total = numbered(sum(row.combinations for row in rows))
    return "\n".join(
        [
            f"# Management rules: {table.title}",
            "",
            "Made from the table by `osteoscribe rules show --markdown`; edit the table, not this page.",
            "",
            f"Table `{table.id}` version {table.version}, status **{table.status}**.  ",
            f"SHA-256 `{table.sha256}`",
            "",
            "The table suggests a documentation phrase; the radiologist decides. For research use, not for",
            "diagnostic use. Attenuation (HU) is no input: no row can ask for it. What is not recorded is",
            "`unknown`, never `no`.",
            "",
            f"![Decision flow]({PICTURE})",
            "",
            "## How to read it",
            f"Rows are asked from top to bottom, and the first that holds wins. All {total} combinations of",
            "inputs were checked when this page was made: each meets exactly one row, and making any one input",
            "worse never makes the advice less urgent.",
            "",
            "- `{d}` is the size in whole mm, half up from the unrounded diameter.",
            "- What stands in [brackets] depends on the inputs. `-C` after a row's name: something that the",
            "  phrase rests on is not recorded, and stands in front of it as a condition.",
            "- The category is the nearest one of SSR Bone-RADS, as an analogue: the software assigns none.",
            '  SSR 2 means "another modality", not "low risk".',
            "- M rows give one phrase for the examination, with its largest lesion; all others one for each lesion.",
            "",
            "## Inputs",
            "| input | name | values | meaning |",
            "|---|---|---|---|",
            *(_input(column) for column in table.columns),
            "",
            "## Rows",
            *(line for row in rows for line in _row(row)),
            "## Words",
            "Where something is not recorded, the condition stands first, so that a display that cuts the text",
            "cannot drop it:",
            "",
            f"> {table.frame.condition}",
            "",
            "E rows name it at the end instead:",
            "",
            f"> {table.frame.not_recorded}",
            "",
            "| not recorded | the condition says | the list says |",
            "|---|---|---|",
            *(f"| `{c.column}` | {c.text} | {c.short} |" for c in table.clauses),
            "",
            f'Borderline: "{table.frame.borderline}" It stands beside the phrase and never changes the row.',
            "",
            "## Sources",
            *(f"- {_source(table, index)}" for index in range(len(table.sources))),
            "",
            "For the table as a whole:",
            *(f"- {citation_line(table, citation)}" for citation in table.cite),
            "",
            "## Trying and changing it",
            "```",
            "osteoscribe rules try size_mm=5.2 density=sclerotic malignancy_history=no",
            "osteoscribe rules try lesions_mm=3,5 density=sclerotic --json",
            "```",
            "says the phrase, the row, what is not recorded, and why each row above did not hold.",
            "",
            "1. Copy the table's file under the name of a new version, and edit the copy.",
            "2. `osteoscribe rules check FILE` proves it: no gap, no dead row, no worse input that is less urgent.",
            "3. `osteoscribe rules diff OLD NEW --cases FILE` counts the combinations and lists the stored cases that",
            "   would change.",
            "4. `osteoscribe rules show FILE --html PAGE` writes the page that the radiologist signs.",
            '5. The signed file says `status = "approved"`, and its line of `sha256sum` goes into `APPROVED` beside it.',
            "   From then on the program refuses to start when the file is not the signed one.",
            "",
            "## Open questions for the radiologist who signs",
            *(f"{number}. {question}" for number, question in enumerate(table.open_questions, start=1)),
            "",
        ]
    )


def _input(column: Column) -> str:
    bands = ", ".join(column.words[: len(column.cuts_mm)])
    named = list(zip(column.values, column.words, strict=True))[len(column.cuts_mm) :]
    values = ", ".join(f"`{value}`" if value == word else f"`{value}` ({word})" for value, word in named)
    return f"| {column.label} | `{column.name}` | {bands and f'{bands}, '}{values} | {column.meaning} |"


def _row(row: ShownRow) -> list[str]:
    lines = [f"### {row.id}", *_holds(row), "", f"> {row.phrase}", ""]
    lines += [f"- Adds: {add}" for add in row.adds]
    lines.append(f"- Recommendation: {'; '.join(row.recommendations)}")
    if row.analogue:
        lines.append(f"- Nearest category: {'; '.join(row.analogue)}")
    if row.conditional_on:
        lines.append(f"- In front where not recorded: {', '.join(row.conditional_on)}")
    if row.listed:
        lines.append(f"- At the end where not recorded: {', '.join(row.listed)}")
    lines.append(f"- Why: {row.why}")
    lines += [f"- Source: {source}" for source in row.sources]
    urgency = "no suggestion" if row.urgency is None else f"urgency {row.urgency} of 5"
    lines += [f"- {numbered(row.combinations)} combinations; {urgency}; one phrase for each {row.scope}", ""]
    return lines


def _holds(row: ShownRow) -> list[str]:
    first, *others = row.conditions
    return [f"Holds where **{first}**{''.join(f'; or **{text}**' for text in others)}."]


def _source(table: RuleTable, index: int) -> str:
    source = table.sources[index]
    number = f", doi [{source.doi}](https://doi.org/{source.doi})" if source.doi else ""
    number += f", PMID {source.pmid}" if source.pmid else ""
    return f"{source.reference}{source.title and f'. {source.title}'}{number}"
