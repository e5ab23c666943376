"""Every real case with an accepted interval: what other tools say of it, and what `osteoscribe process` says.

    python -m tests.benchmarks.real_cases

writes docs/real-cases.md and fails where a value is outside its interval.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from osteoscribe.cli.main import main as osteoscribe
from tests.conftest import PROJECT, shared_folder
from tests.core.test_real_cases import PHANTOMS
from tests.real_cases import OURS, RealCase, real_cases

NAMES = {"volume_mm3": "volume_voxel_mm3"}
"""Our name of a value to that of the references, where they differ."""
PAGE = PROJECT / "docs" / "real-cases.md"
HEAD = """# Real cases: what other tools measured, and what Osteoscribe measures

Written by `python -m tests.benchmarks.real_cases`; `tests/e2e/test_real_cases.py` and
`tests/core/test_real_cases.py` hold every value to its interval. The intervals come with the data: published
values and independent computations, for contours as wide as tools differ in which pixels a contour takes in.
Volumes in mm³, diameters in mm, HU. Where no other tool gave a value the cell is empty. The marks are
tumours, livers, vertebrae: they show that the arithmetic is right, not how well a radiologist's mark fits.
"""


def measured(case: RealCase) -> dict[str, float]:
    """What ``osteoscribe process`` says of a case, by the names of its intervals."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(said):
        osteoscribe(["process", str(case.ct), str(case.mark), "--out", out, "--label", "*", "--json"])
    finding = case.finding(json.loads(said.getvalue()))
    return {name: finding[OURS[name][0]][OURS[name][1]] for name in case.accept}


def rows_of(case: RealCase) -> Iterator[tuple[str, bool]]:
    """A row for each value of a case, and whether it is inside its interval."""
    ours = measured(case)
    for name, (low, high) in case.accept.items():
        others = [
            f"{tool_of(one)} {number(one[given])}"
            for one in case.references
            if one.get(given := NAMES.get(name, name)) is not None
        ]
        cells = (
            case.name,
            name,
            "; ".join(dict.fromkeys(others)),
            f"{number(low)} to {number(high)}",
            number(ours[name]),
        )
        yield f"| {' | '.join(cells)} |", low <= ours[name] <= high


def tool_of(reference: dict[str, Any]) -> str:
    """The name of a tool and, where it was given one of several masks, which."""
    mask = str(reference.get("mask") or "").removeprefix("RTSTRUCT, ").replace("|", "/")
    return f"{reference['tool']} ({mask})" if mask else str(reference["tool"])


def number(value: float) -> str:
    """Of small values two decimals, of large ones none."""
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:.0f}"


def main() -> int:
    data = shared_folder() / "data"
    lines, outside = [], []
    for case in real_cases(data):
        for row, inside in rows_of(case):
            lines.append(row)
            if not inside:
                outside.append(row)
    ibsi = [
        f"| {phantom} | {name} | {number(consensus[name]['value'])} ± {number(consensus[name]['tolerance'])}"
        f" | {number(value or 0.0)} |"
        for phantom, values_of in PHANTOMS.items()
        for consensus, ours in [values_of(data)]
        for name, value in ours.items()
    ]
    text = [
        HEAD,
        f"{len(lines)} values, {len(outside)} outside.\n",
        "## Marks on CT\n| case | value | other tools | accepted | ours |\n|---|---|---|---|---|",
        *lines,
        "\n## IBSI reference values\n| phantom | value | consensus | ours |\n|---|---|---|---|",
        *ibsi,
    ]
    PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(lines)} values, {len(outside)} outside: {PAGE.name}\n" + "\n".join(outside))
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
