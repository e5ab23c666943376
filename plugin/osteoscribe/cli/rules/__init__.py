"""``osteoscribe rules``: show, check, try and compare the management rules."""

from __future__ import annotations

import argparse
from pathlib import Path

from osteoscribe.cli.status import add_folder_options, store_settings

DESCRIPTION = "Show, check, try and compare the tables of management rules. HU is no input of any of them."

INPUTS = """\
inputs (what is not named is unknown):
  size_mm=LENGTH        unrounded, or size=not_measurable
  lesions_mm=3,5        unrounded lengths of all lesions of the examination
  density               sclerotic, mixed, other, unknown
  morphology            typical, atypical, unknown
  multiplicity          solitary, multiple, unknown
  largest               <5, >=5, unknown
  malignancy_history, known_metastasis, symptoms, soft_tissue_mass, cortical_destruction,
  other_aggressive      no, yes, unknown
  growth                stable_24, stable, no_prior, up_or_new, unknown
  location_risk         none, site_only, risk_canal, risk_fracture, unknown
  age                   adult, child, unknown
  prior_date=YYYY-MM-DD, site=ilium, laterality=left   named in the sentence
example: osteoscribe rules try size_mm=5 density=sclerotic malignancy_history=no symptoms=no"""

CODES = "exit codes: 0 as it should be; 1 findings or differences; 2 usage or settings"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``rules`` to the command line."""
    parser = subparsers.add_parser(
        "rules", help="show, check, try and compare the management rules", description=DESCRIPTION
    )
    commands = parser.add_subparsers(dest="rules_command", required=True, metavar="COMMAND")
    _add_show(commands)
    _add_check(commands)
    _add_try(commands)
    _add_diff(commands)
    _add_cases(commands)


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, epilog: str = CODES
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _add_show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "show", "print a table in words, with how many combinations reach each row")
    parser.add_argument("table", nargs="?", type=Path, metavar="FILE", help="a table; else the shipped one")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--html", type=Path, metavar="FILE", help="write one page that a clinician can sign")
    form.add_argument("--picture", type=Path, metavar="FILE", help="write the decision flow as SVG")
    form.add_argument("--markdown", action="store_true", help="print the page of the documentation")
    form.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--language", default="en", metavar="CODE", help="of the phrases; en or de")
    parser.set_defaults(run=run_show)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "check", "prove tables: no gap, no dead row, no worse input that is less urgent")
    parser.add_argument("tables", nargs="*", type=Path, metavar="FILE", help="tables; else all shipped ones")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run_check)


def _add_try(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "try", "say what a table says for some inputs, and why", f"{INPUTS}\n{CODES}")
    parser.add_argument("inputs", nargs="*", metavar="NAME=VALUE", help="inputs, see below")
    parser.add_argument("--table", type=Path, metavar="FILE", help="a table; else the shipped one")
    parser.add_argument("--language", default="en", metavar="CODE", help="of the phrases; en or de")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run_try)


def _add_diff(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "diff", "say which combinations of inputs a new table changes, and how")
    parser.add_argument("old", type=Path, metavar="OLD")
    parser.add_argument("new", type=Path, metavar="NEW")
    parser.add_argument(
        "--cases", type=Path, metavar="FILE", help="stored cases as JSON lines: which phrases would change"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run_diff)


def _add_cases(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "print the facts of a node's past findings as JSON lines for diff --cases, without patient data"
    parser = _add(commands, "cases", text)
    add_folder_options(parser)
    parser.set_defaults(run=run_cases)


def run_show(options: argparse.Namespace) -> int:
    """Print or write a table in words."""
    from osteoscribe.cli.rules.run import show

    return show(options)


def run_check(options: argparse.Namespace) -> int:
    """Prove tables."""
    from osteoscribe.cli.rules.run import check_tables

    return check_tables(options)


def run_try(options: argparse.Namespace) -> int:
    """Say what a table says for some inputs."""
    from osteoscribe.cli.rules.run import attempt

    return attempt(options)


def run_diff(options: argparse.Namespace) -> int:
    """Say what a new table changes."""
    from osteoscribe.cli.rules.run import diff

    return diff(options)


def run_cases(options: argparse.Namespace) -> int:
    """Print past findings as cases."""
    from osteoscribe.bootstrap.operate import past_cases

    for line in past_cases(store_settings(options)):
        print(line)
    return 0
