"""From the last byte of a mark to its SR at the archive, through ``osteoscribe serve`` as shipped.

    python -m tests.benchmarks.latency [--short]

The CT is there and the process warm. Each round sends the marks of every case once over a fresh association,
and gives the same marks to the straightforward pipeline (`straightforward.py`), so that a busy machine hurts
both alike. Marks are balls of 5 to 30 mm as segments of full frames. A case has its series for itself; each
round sends the next version of its marks.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom

from tests.benchmarks import straightforward
from tests.benchmarks.marked_series import (
    CT,
    SEG,
    Series,
    encoded_marks,
    lesions,
    make_series,
    renamed,
    study_uid,
)
from tests.benchmarks.page import Goal
from tests.benchmarks.peers import Archive, Arrived, Sending
from tests.benchmarks.straightforward import series_in_files
from tests.fakes.processes import NodeProcess, running_node

SETTINGS = "[store]\nreserve_mb = 10.0\n"
"""As shipped, but for the disk of a small machine."""

QUIET_S = 1.2
"""Pause between two marks on a node: longer than `jobs.quiet_s`, so that they do not count as one burst."""

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


@dataclass(frozen=True)
class Case:
    """Marks of one kind on one series.

    Parameters
    ----------
    name
        Four digits: names its study.
    objects
        Mark objects that hold the lesions between them.
    """

    name: str
    slices: int
    lesions: int
    objects: int = 1

    @property
    def label(self) -> str:
        objects = "one object" if self.objects == 1 else f"{self.objects} objects"
        return f"{self.lesions} in {objects}"


CASES = (
    Case("2001", 500, 1),
    Case("2002", 500, 10),
    Case("2003", 500, 10, 10),
    Case("2004", 500, 100),
    Case("2005", 500, 100, 100),
)
BY_SLICES = (Case("3001", 100, 1), Case("3002", 500, 1), Case("3003", 2000, 1))
SHORT_CASES = (Case("2001", 100, 1), Case("2002", 100, 10))


@dataclass
class Taken:
    """Milliseconds of each round, counted from the last byte of the marks."""

    parts: dict[str, list[float]] = field(default_factory=dict)
    reports: list[int] = field(default_factory=list)

    def note(self, **values_ms: float) -> None:
        for name, value in values_ms.items():
            self.parts.setdefault(name, []).append(value)


@dataclass
class Bench:
    """A node with an archive, and the series that it has taken."""

    node: NodeProcess
    archive: Archive
    series: dict[int, Series] = field(default_factory=dict)

    def send_series(self, case: Case) -> None:
        """Store the CT of a case."""
        series = self.series.setdefault(case.slices, make_series(case.slices))
        sending = Sending(self.node.port, [CT])
        for uid, parts in series.slices(case.name):
            sending.store(CT, uid, parts)
        sending.release()

    def mark(self, case: Case, marks: Sequence[tuple[str, bytes]], taken: Taken) -> None:
        """Send the marks of a case, and wait for the SR that holds all of them."""
        time.sleep(QUIET_S)
        before = len(self.archive.arrived)
        sending = Sending(self.node.port, [SEG])
        for uid, encoded in renamed(marks, case.name):
            sent, answered = sending.store(SEG, uid, [encoded])
        released = sending.release()
        report = self.archive.wait_for(lambda one: _findings(one) == case.lesions, after=sent)
        text = self.archive.wait_for(lambda one: one.sop_class == BASIC_TEXT_SR, after=report.at)
        planned, measured, done = self._times(case)
        taken.note(
            answered=1e3 * (answered - sent),
            released=1e3 * (released - sent),
            planned=1e3 * (planned - sent),
            measured=1e3 * (measured - sent),
            archive=1e3 * (report.at - sent),
            companion=1e3 * (text.at - sent),
            recorded=1e3 * (done - sent),
        )
        taken.reports.append(sum(_is_measured(one) for one in self.archive.arrived[before:]))

    def _times(self, case: Case) -> tuple[float, float, float]:
        """When the newest job of a case was planned, measured and delivered."""
        query = """SELECT jobs.planned_us, jobs.measured_us, deliveries.updated_us, deliveries.state FROM jobs
            JOIN job_series ON job_series.job_key = jobs.key JOIN deliveries ON deliveries.job_key = jobs.key
            WHERE job_series.series_instance_uid LIKE ? ORDER BY jobs.planned_us DESC LIMIT 1"""
        deadline = time.monotonic() + 20
        while True:
            with closing(sqlite3.connect(self._ledger)) as ledger:
                row = ledger.execute(query, (f"{study_uid(case.name)}.%",)).fetchone()
            if row[3] == "stored":
                return row[0] / 1e6, row[1] / 1e6, row[2] / 1e6
            assert time.monotonic() < deadline, row
            time.sleep(0.02)

    @property
    def _ledger(self) -> Path:
        return self.node.folder / "data" / "ledger.sqlite"


def _is_measured(one: Arrived) -> bool:
    return ".5.1.4.1.1.88." in one.sop_class and one.sop_class != BASIC_TEXT_SR


def _findings(one: Arrived) -> int:
    """Measured lesions in an SR; 0 in any other object."""
    if not _is_measured(one):
        return 0
    ds = pydicom.dcmread(_part10(one.encoded), force=True)
    (measurements,) = (child for child in ds.ContentSequence if _concept(child) == "126010")
    groups = (group for group in measurements.ContentSequence if _concept(group) == "125007")
    return len(
        {str(one.UID) for group in groups for one in group.ContentSequence if _concept(one) == "112040"}
    )


def _part10(encoded: bytes) -> BytesIO:
    meta = b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    return BytesIO(
        b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0" + len(meta).to_bytes(4, "little") + meta + encoded
    )


def _concept(child: pydicom.Dataset) -> str:
    names = child.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


@contextmanager
def running_bench(folder: Path) -> Iterator[Bench]:
    """A node as shipped, and an archive."""
    with (
        Archive() as archive,
        running_node(folder, "--destination", f"ARCHIVE@127.0.0.1:{archive.port}", settings=SETTINGS) as node,
    ):
        yield Bench(node=node, archive=archive)


def run(short: bool = False, rounds: int = 0, baseline: bool = True) -> dict[str, Any]:
    """Measure every case.

    Parameters
    ----------
    short
        Fewer cases, slices and rounds: whether it runs, rather than how fast.
    rounds
        Rounds of each case; 0 chooses.

    Returns
    -------
    dict
        ``cases``: by label, the milliseconds of each part in each round.
    """
    cases = SHORT_CASES if short else (*CASES, *BY_SLICES)
    rounds = rounds or (1 if short else 5)
    compared = [case for case in cases if baseline and case.objects == 1 and case.lesions <= 10]
    compared = [case for case in compared if case not in BY_SLICES]
    chosen = {case: lesions(case.lesions, case.slices) for case in cases}
    ours = {case: Taken() for case in cases}
    theirs = {case: Taken() for case in cases}
    with tempfile.TemporaryDirectory() as folder, running_bench(Path(folder) / "node") as bench:
        for case in cases:
            bench.send_series(case)
        with series_in_files(bench.series[cases[0].slices]) as files, Archive() as other:
            for number in range(rounds + 1):
                for case in cases:
                    marks = encoded_marks(chosen[case], case.objects, 2 * number)
                    bench.mark(case, marks, ours[case] if number else Taken())
                    if number and case in compared:
                        began = time.time()
                        straightforward.report(files, marks[0][1], other.port)
                        theirs[case].note(archive=1e3 * (other.arrived[-1].at - began))
        idle = _idle_cpu(bench.node)
        opened = bench.archive.associations
    return {
        "rounds": rounds,
        "idle_cpu_percent": idle,
        "associations": opened,
        "cases": [_result(case, ours[case], theirs[case]) for case in cases],
    }


def _result(case: Case, ours: Taken, theirs: Taken) -> dict[str, Any]:
    return {
        "label": case.label,
        "slices": case.slices,
        "lesions": case.lesions,
        "objects": case.objects,
        "ours_ms": ours.parts,
        "reports": ours.reports,
        "straightforward_ms": theirs.parts.get("archive", []),
    }


def _idle_cpu(node: NodeProcess, seconds: float = 10.0) -> float:
    """Processor time of the node while nothing comes, as a percentage of one core."""
    time.sleep(3)
    before, began = _cpu_s(node.process.pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (_cpu_s(node.process.pid) - before) / (time.monotonic() - began)


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process and its children."""
    total = 0.0
    with suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += _cpu_s(int(child))
    return total


HEADINGS = {
    "answered": "C-STORE answered",
    "released": "released",
    "planned": "planning began",
    "measured": "measured, SR kept",
    "archive": "**SR at the archive**",
    "companion": "companion too",
    "recorded": "recorded",
}


def tables(result: dict[str, Any]) -> str:
    """Tables of a result, in Markdown."""
    lines = [
        f"Medians of {result['rounds']} rounds, in ms from the last byte of the marks to the SR complete at "
        "the archive; lowest and highest in brackets. The straightforward pipeline starts with the mark in "
        "memory and the series in files.",
        "",
        "| marks | slices | ours | a mark | SRs | straightforward | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in result["cases"]:
        taken, theirs = case["ours_ms"]["archive"], case["straightforward_ms"]
        middle = statistics.median(taken)
        other = (
            f"{statistics.median(theirs):.0f} | {statistics.median(theirs) / middle:.0f} x" if theirs else "|"
        )
        lines.append(
            f"| {case['label']} | {case['slices']} | {middle:.0f} ({min(taken):.0f}..{max(taken):.0f}) "
            f"| {middle / case['lesions']:.1f} | {statistics.median(case['reports']):.0f} | {other} |"
        )
    lines += [
        "",
        "When each part was done, on the same clock (`measured` holds the durable step, the pipeline, the "
        "gate and the sync of the reports; between it and the archive lie the ledger's commit, the durable "
        "delivery and the sending):",
        "",
        "| marks | slices | " + " | ".join(HEADINGS.values()) + " |",
        "|---" * (len(HEADINGS) + 2) + "|",
    ]
    for case in result["cases"]:
        cells = [f"{statistics.median(case['ours_ms'][name]):.1f}" for name in HEADINGS]
        lines.append(f"| {case['label']} | {case['slices']} | {' | '.join(cells)} |")
    sent = sum(len(case["reports"]) for case in result["cases"])
    lines += [
        "",
        f"Idle, the node and its worker: {result['idle_cpu_percent']:.1f} % of one core. "
        f"{result['associations']} associations to the archive for more than {sent} deliveries.",
    ]
    return "\n".join(lines) + "\n"


def goals(result: dict[str, Any]) -> list[Goal]:
    """Goal 2, as far as the cases are there, and the idle processor of goal 6."""
    found = []
    for count, name, limit_ms in (
        (1, "one mark", 50.0),
        (10, "ten marks", 150.0),
        (100, "100 marks", 1000.0),
    ):
        for case in result["cases"]:
            if (case["lesions"], case["objects"], case["slices"]) == (count, 1, 500):
                middle = statistics.median(case["ours_ms"]["archive"])
                wanted = f"{name}: last byte to SR at the archive under {limit_ms:.0f} ms"
                found.append(
                    Goal(number="2", goal=wanted, measured=f"{middle:.0f} ms", met=middle < limit_ms)
                )
                if case["straightforward_ms"]:
                    ratio = statistics.median(case["straightforward_ms"]) / middle
                    wanted = f"{name}: at least 20 x faster than the straightforward pipeline"
                    found.append(Goal(number="2", goal=wanted, measured=f"{ratio:.0f} x", met=ratio >= 20))
                break
    idle = result["idle_cpu_percent"]
    found.append(Goal(number="6", goal="idle CPU under 1 %", measured=f"{idle:.1f} %", met=idle < 1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="From the last byte of a mark to its SR at the archive.")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--no-baseline", action="store_true")
    arguments = parser.parse_args()
    sys.stdout.write(tables(run(arguments.short, arguments.rounds, baseline=not arguments.no_baseline)))


if __name__ == "__main__":
    main()
