"""Every code of an error stands in docs/problems.md, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

CLASSES = {
    "InputError", "NotMeasurable", "OsteoscribeError", "PeerError", "Problem", "SetupError", "StoreError",
    "UnreadableMark", "WrongClassError", "Unusable",
}  # fmt: skip
CODE = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\.[a-z0-9]+(?:-[a-z0-9]+)*")


def literals(node: ast.expr) -> Iterator[str]:
    """The texts an expression can be, where it says so."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


def codes_of(source: str) -> set[str]:
    """Codes that are literally the first argument, or `code`, of an error."""
    found: set[str] = set()
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in CLASSES:
            named = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
            for argument in (*call.args[:1], *named):
                found.update(literals(argument))
    return found


def source_of(project: Path) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted((project / "plugin").rglob("*.py"))}


def listed(project: Path) -> set[str]:
    text = (project / "docs" / "problems.md").read_text(encoding="utf-8")
    return {code for code in re.findall(r"`([^`]+)`", text) if CODE.fullmatch(code) and code != "labels.toml"}


def test_every_code_has_its_cause_and_cure(project: Path) -> None:
    raised = set().union(*(codes_of(source) for source in source_of(project).values()))
    assert len(raised) > 100
    assert {code for code in raised if not CODE.fullmatch(code)} == set()
    assert raised - listed(project) == set()


def test_no_code_is_listed_that_nothing_says(project: Path) -> None:
    sources = "\n".join(source_of(project).values())
    unused = {code for code in listed(project) if f'"{code}"' not in sources}
    assert unused == set()


def test_codes_are_found_where_they_are() -> None:
    source = 'raise InputError("a.b" if x else "a.c", "m")\nerrors.Problem(code="d.e", message="f.g")'
    assert codes_of(source) == {"a.b", "a.c", "d.e"}
