"""``osteoscribe process``: the pipeline without a network."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from osteoscribe.errors import SetupError

if TYPE_CHECKING:
    from osteoscribe.app.pipeline import Outcome
    from osteoscribe.app.write import Written

DESCRIPTION = """\
Find every mark and the CT series it refers to, measure it, apply the rules, and write one structured
report (SR) for each marked CT series, with a text companion. For research use, not for diagnostic use."""

EPILOG = """\
exit codes: 0 every mark became a finding; 1 at least one stated problem; 2 usage or settings
example: osteoscribe process ct/ marks.seg.dcm --out reports --label '*'"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``process`` to the command line."""
    parser = subparsers.add_parser(
        "process",
        help="measure marks in files and folders, and write the reports",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="files and folders, CT and marks mixed",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for the reports, made if absent",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="PATTERN",
        help="take the ROIs of this label as marks, whatever the settings say; '*' takes all; repeatable",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of a site (TOML)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Process the paths; returns the exit code."""
    from osteoscribe.bootstrap.files import process_paths

    missing = [path for path in options.paths if not (path.is_file() or path.is_dir())]
    if missing:
        print(f"osteoscribe process: no such file or folder: {missing[0]}", file=sys.stderr)
        return 2
    _make_writable(options.out)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("starting", total=None)

        def show(stage: str, done: int, total: int) -> None:
            progress.update(task, description=stage, completed=done, total=total)

        outcome = process_paths(options.paths, config=options.config, label_patterns=options.label, show=show)
    written = [(one, _write(one, options.out)) for one in outcome.written]
    if options.json:
        json.dump(_document(outcome, written), sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        _print_tables(outcome, written)
    return 1 if outcome.all_problems else 0


def _make_writable(folder: Path) -> None:
    """Make the folder of the reports, before the work is done that would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        why = "" if os.access(folder, os.W_OK | os.X_OK) else "it is not writable"
    except OSError as error:
        why = str(error.strerror)
    if why:
        raise SetupError("out.unwritable", f"{folder} cannot take the reports: {why}; name another folder")


def _write(written: Written, folder: Path) -> Path | None:
    """Write the objects of one report; gives the path of the one that carries the result, if any."""
    paths = [folder / f"{one.role}.{one.sop_instance_uid}.dcm" for one in written.objects]
    for one, path in zip(written.objects, paths, strict=True):
        beside = path.with_suffix(".part")
        beside.write_bytes(one.encoded)
        beside.replace(path)
    return paths[0] if paths else None


def _document(outcome: Outcome, written: list[tuple[Written, Path | None]]) -> dict[str, Any]:
    from osteoscribe.app.summary import summarise_ignored, summarise_problem, summarise_report

    return {
        "reports": [
            {"sr": str(path) if path else None, **summarise_report(one.report)} for one, path in written
        ],
        "problems": [summarise_problem(problem) for problem in outcome.problems],
        "ignored": [summarise_ignored(ignored) for ignored in outcome.ignored],
    }


def _print_tables(outcome: Outcome, written: list[tuple[Written, Path | None]]) -> None:
    from osteoscribe.app.summary import summarise_report

    console = Console()
    for one, path in written:
        report = summarise_report(one.report)
        console.print(Text(f"CT series {report['series_instance_uid']}", style="bold"))
        if report["findings"]:
            console.print(_findings_table(report["findings"]))
        for finding in report["findings"]:
            console.print(Text(f"{finding['name']}: {finding['phrase']}"))
            if finding["recommendation"]:
                console.print(Text(f"  Recommendation: {finding['recommendation']}", style="dim"))
        _print_problems(console, report["problems"], report["ignored"])
        if path:
            console.print(Text(f"written: {path}\n"))
    rest = _document(outcome, [])
    _print_problems(console, rest["problems"], rest["ignored"])
    if not written and not rest["problems"]:
        console.print("no marks found")


def _findings_table(findings: list[dict[str, Any]]) -> Table:
    table = Table(show_edge=False, header_style="bold")
    for name in (
        "lesion",
        "label",
        "from",
        "long x short (mm)",
        "volume (mm³)",
        "HU, reference only",
        "rule",
    ):
        table.add_column(name)
    for finding in findings:
        size, intensity = finding["size"], finding["intensity"]
        table.add_row(
            finding["name"],
            Text(finding["label"]),
            finding["dialect"],
            "not measurable"
            if size["long_axis_mm"] is None
            else _number(size["long_axis_mm"]) + " x " + _number(size["short_axis_mm"]),
            _number(size["volume_mm3"]),
            "-"
            if intensity is None
            else f"{intensity['mean_hu']:.0f} ± {intensity['standard_deviation_hu']:.0f}",
            finding["decision"]["rule"],
        )
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _print_problems(console: Console, problems: list[dict[str, str]], ignored: list[dict[str, str]]) -> None:
    for problem in problems:
        console.print(Text(f"problem {problem['code']}: {problem['message']}", style="red"))
        console.print(Text(f"  at {problem['where']}", style="dim"))
    for left_out in ignored:
        name = " ".join(filter(None, (left_out["label"], f"({left_out['item'] or left_out['source']})")))
        console.print(Text(f"left out: {name}: {left_out['reason']}"))
