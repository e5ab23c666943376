"""All benchmarks with one command.

    python -m tests.benchmarks [--short] [--only NAME ...] [--out FOLDER]
        [--pyradiomics PYTHON] [--mirp PYTHON]

Each is a module of this folder with ``run(short) -> dict``, ``tables(result) -> str`` (Markdown) and, where
it has them, ``goals(result) -> list[Goal]`` and ``plots(result, folder)``. Each runs in a process of its own
within a time limit; one that fails or takes too long is said, and the others go on. The tables go to standard
output and, without ``--short`` or with ``--out``, to FOLDER/performance.md (docs) as soon as each is there;
a part that has its place in a page of its own, NAME.md, stands there. What was found goes to
FOLDER/performance/NAME.json, pictures to FOLDER/pictures. No timing makes this fail, an exception does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tests.benchmarks.listeners import tree
from tests.benchmarks.machine import PEERS, machine, versions
from tests.benchmarks.page import Goal, Measured, conditions, goals_table, put

PROJECT = Path(__file__).parents[2]
LIMITS_S = {
    "reception": (340, 80),
    "latency": (280, 60),
    "marks": (50, 30),
    "series_length": (70, 40),
    "measuring": (90, 60),
    "reporting": (50, 30),
    "job": (50, 40),
    "sending": (110, 50),
    "scale": (110, 50),
}
"""The benchmarks in order, and how long each may take in full and in short, in seconds."""
WANTED = {
    "1": "500 slices received, durable: at most 1.3 x raw with 1 association, 1.5 x with 4 and 8",
    "2": "mark to SR at the archive: 1 under 50 ms, 10 under 15 ms each, 100 under 1 s; 20 x the baseline",
    "3": "the cost of a mark does not depend on the number of slices",
    "4": "marks measured faster than by others, with equal values",
    "5": "SR of 1, 10, 100 findings in 20, 60, 400 ms",
    "6": "listening after 2 s; idle under 1 % CPU and 200 MB; 300 MB while 2,000 slices arrive",
    "7": "sending beside storescu",
    "8": "a hospital's, a region's, a vendor's day",
}
"""The goals of the project; each benchmark says what became of its own."""
BUDGET_S = (870, 270)


def main() -> int:
    arguments = _arguments()
    for name in PEERS:
        if given := getattr(arguments, name.lower()):
            os.environ[f"BENCHMARK_{name.upper()}"] = given
    # Ended from outside, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    names = [name for name in LIMITS_S if name in (arguments.only or LIMITS_S)]
    end = time.monotonic() + BUDGET_S[arguments.short]
    failed = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, name in enumerate(names, start=1):
            limit_s = min(LIMITS_S[name][arguments.short], end - time.monotonic())
            _say(f"[{number}/{len(names)}] {name}, at most {limit_s:.0f} s")
            said = _run(name, Path(scratch) / f"{name}.json", arguments, limit_s)
            if isinstance(said, Measured):
                _say(f"[{number}/{len(names)}] {name}: {said.seconds:.0f} s")
            else:
                failed[name] = said
                _say(f"[{number}/{len(names)}] {name}: {said}")
            try:
                _show(name, said, arguments)
            except Exception:  # noqa: BLE001  the parts that follow are measured all the same
                traceback.print_exc()
                failed[name] = "failed to show what it found"
    for name, said in failed.items():
        _say(f"{name}: {said}")
    return int(any(said.startswith("failed") for said in failed.values()))


def _show(name: str, said: Measured | str, arguments: argparse.Namespace) -> None:
    if isinstance(said, Measured):
        sys.stdout.write(f"\n## {name}\n{_module(name).tables(said.result)}\n")
        sys.stdout.flush()
    if arguments.out or not arguments.short:
        _write(arguments.out or PROJECT / "docs", name, said)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], prog="python -m tests.benchmarks"
    )
    parser.add_argument("--short", action="store_true", help="few rounds, small inputs: that all of it runs")
    parser.add_argument("--only", nargs="+", choices=list(LIMITS_S), metavar="NAME", help=", ".join(LIMITS_S))
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where performance.md lies (docs)")
    for name in PEERS:
        parser.add_argument(f"--{name.lower()}", metavar="PYTHON", help=f"interpreter that has {name}")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _module(name: str) -> ModuleType:
    return import_module(f"tests.benchmarks.{name}")


def _run(name: str, file: Path, arguments: argparse.Namespace, limit_s: float) -> Measured | str:
    """Run one benchmark in a process group of its own; say in words why there is no result."""
    if find_spec(f"tests.benchmarks.{name}") is None:
        return "not here"
    if limit_s < 5:
        return "left out: no time was left"
    before, start = machine(), time.monotonic()
    command = [sys.executable, "-m", "tests.benchmarks.one", name, str(file)] + ["--short"] * arguments.short
    path = os.pathsep.join([str(PROJECT / "plugin"), str(PROJECT)])
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
    )
    try:
        status = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        status = None
    finally:
        _end_group(process)
    if status is None:
        return f"stopped after {limit_s:.0f} s"
    if status or not file.exists():
        return f"failed with status {status}"
    return Measured(
        name=name,
        result=json.loads(file.read_text()),
        machine=before,
        versions=versions(),
        command=_command(arguments, name),
        date=datetime.now(UTC).date().isoformat(),
        seconds=time.monotonic() - start,
    )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a benchmark and whatever it started and left, also in sessions of their own."""
    for pid in tree(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _command(arguments: argparse.Namespace, name: str) -> str:
    words = ["python -m tests.benchmarks"]
    words += ["--short"] * arguments.short
    words += [f"--only {name}"]
    words += [f"--{peer.lower()} PYTHON" for peer in PEERS if getattr(arguments, peer.lower())]
    return " ".join(words)


def _write(folder: Path, name: str, said: Measured | str) -> None:
    """Write a part of the page, and all goals from what is on record."""
    page, record = folder / "performance.md", folder / "performance"
    parts = {}
    if isinstance(said, Measured):
        said.save(record)
        parts[name] = f"{_module(name).tables(said.result).strip()}\n\n{conditions(said)}"
        if hasattr(_module(name), "plots"):
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            _module(name).plots(said.result, folder / "pictures")
    elif not (record / f"{name}.json").exists() and said != "not here":
        parts[name] = f"Not measured: {said}."
    own = folder / f"{name}.md"
    own_text = own.read_text(encoding="utf-8") if own.exists() else ""
    if f"<!-- {name} -->" in own_text and name in parts:
        own.write_text(put(own_text, {name: parts.pop(name)}), encoding="utf-8")
    parts["goals"] = goals_table(_goals(record))
    text = page.read_text(encoding="utf-8") if page.exists() else "# Performance\n"
    page.write_text(put(text, parts), encoding="utf-8")
    _say(f"wrote {page}")


def _goals(record: Path) -> list[Goal]:
    found: list[Goal] = []
    for name in LIMITS_S:
        path = record / f"{name}.json"
        if path.exists() and find_spec(f"tests.benchmarks.{name}") and hasattr(_module(name), "goals"):
            try:
                found += _module(name).goals(Measured.load(path).result)
            except (LookupError, TypeError, ValueError) as error:
                _say(f"{path.name}: of another version ({type(error).__name__}); measure it again")
    missing = WANTED.keys() - {one.number for one in found}
    found += [Goal(number=n, goal=WANTED[n], measured="", met=None) for n in missing]
    return sorted(found, key=lambda one: one.number)


if __name__ == "__main__":
    sys.exit(main())
