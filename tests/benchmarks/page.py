"""docs/performance.md: the text is written by hand, what stands between two marks is written here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A goal of the project, and what was measured."""

    number: str
    goal: str
    measured: str
    met: bool | None
    """None where it could not be measured here."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one benchmark found, and where: `result` is what its `run` gave."""

    name: str
    result: dict[str, Any]
    machine: dict[str, str]
    versions: dict[str, str]
    command: str
    date: str
    seconds: float

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(vars(self), indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> Measured:
        return Measured(**json.loads(path.read_text()))


def conditions(measured: Measured) -> str:
    """Where and how a part was measured, in two lines."""
    machine = "; ".join(
        f"{name} {value}" if name == "load before" else value for name, value in measured.machine.items()
    )
    versions = ", ".join(f"{name} {value}" for name, value in measured.versions.items())
    return f"`{measured.command}`, {measured.date}, {measured.seconds:.0f} s. {machine}.  \n{versions}."


def goals_table(goals: Sequence[Goal]) -> str:
    said = {True: "met", False: "**not met**", None: "not measured"}
    rows = [f"| {one.number} | {one.goal} | {one.measured} | {said[one.met]} |" for one in goals]
    return "\n".join(["| goal | wanted | measured | |", "|---|---|---|---|", *rows])


def put(text: str, parts: Mapping[str, str]) -> str:
    """Replace the parts of a page that stand between ``<!-- NAME -->`` and ``<!-- end NAME -->``.

    A part that the page has no place for is added at its end.
    """
    for name, part in parts.items():
        block = f"<!-- {name} -->\n{part.strip()}\n<!-- end {name} -->"
        place = re.compile(rf"<!-- {re.escape(name)} -->.*?<!-- end {re.escape(name)} -->", re.DOTALL)
        text = (
            place.sub(lambda _, block=block: block, text)
            if place.search(text)
            else f"{text.rstrip()}\n\n## {name}\n{block}\n"
        )
    return text
