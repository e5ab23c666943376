"""From the last byte of a mark to its SR at the archive, through ``osteoscribe serve`` as shipped.

    python -m tests.benchmarks.latency [--short]

The CT is there and the process warm. Each round sends the marks of every case once over a fresh association,
and gives the same marks to the straightforward pipeline (`straightforward.py`), so that a busy machine hurts
both alike. Marks are balls of 5 to 30 mm as segments of full frames; one of 15 mm also as contours, caliper,
point. A case has its series for itself; each round sends the next version of its marks.
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.benchmarks import straightforward
from tests.benchmarks.arrived import BASIC_TEXT_SR, FileArchive, findings_of, is_measured
from tests.benchmarks.drawn_marks import KINDS, encoded_mark
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
from tests.benchmarks.peers import Archive, Sending
from tests.benchmarks.straightforward import series_in_files
from tests.conftest import find_program
from tests.fakes.processes import NodeProcess, free_port, running_node, storescp_archive

SETTINGS = "[store]\nreserve_mb = 10.0\n"
"""As shipped, but for the disk of a small machine."""

QUIET_S = 1.2
"""Pause between two marks on a node: longer than `jobs.quiet_s`, so that they do not count as one burst."""


@dataclass(frozen=True)
class Case:
    """Marks of one kind on one series.

    Parameters
    ----------
    name
        Four digits: names its study.
    objects
        Mark objects that hold the lesions between them.
    kind
        ``masks``, or one of `drawn_marks.KINDS`.
    archive
        ``bare``: this process notes when a report is complete; ``storescp``: DCMTK's, by the file's time.
    """

    name: str
    slices: int
    lesions: int
    objects: int = 1
    kind: str = "masks"
    archive: str = "bare"

    @property
    def label(self) -> str:
        if self.kind != "masks":
            return f"1 by {self.kind}"
        if self.archive != "bare":
            return "1 in one object, to DCMTK's storescp"
        objects = "one object" if self.objects == 1 else f"{self.objects} objects"
        return f"{self.lesions} in {objects}"


CASES = (
    Case("2001", 500, 1),
    Case("2002", 500, 10),
    Case("2003", 500, 10, 10),
    Case("2004", 500, 100),
    Case("2005", 500, 100, 100),
)
BY_SLICES = (Case("3001", 100, 1), Case("3003", 2000, 1))
OTHER_KINDS = tuple(Case(str(2006 + n), 500, 1, kind=kind) for n, kind in enumerate(KINDS))
TO_STORESCP = Case("2001", 500, 1, archive="storescp")
SHORT_CASES = (
    Case("2001", 100, 1),
    Case("2002", 100, 10),
    *(replace(one, slices=100) for one in OTHER_KINDS),
)


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
    archive: Archive | FileArchive
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
        sop_class = KINDS.get(case.kind, SEG)
        sending = Sending(self.node.port, [sop_class])
        for uid, encoded in renamed(marks, case.name):
            sent, answered = sending.store(sop_class, uid, [encoded])
        released = sending.release()
        report = self.archive.wait_for(lambda one: findings_of(one) == case.lesions, after=sent)
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
        taken.reports.append(sum(is_measured(one) for one in self.archive.arrived[before:]))

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


def marks_of(case: Case, number: int) -> list[tuple[str, bytes]]:
    """The mark objects of a case, in the version of a round."""
    chosen = lesions(case.lesions, case.slices)
    if case.kind == "masks":
        return encoded_marks(chosen, case.objects, number)
    return [encoded_mark(case.kind, chosen[0], case.slices, number)]


@contextmanager
def bench_to_storescp(folder: Path) -> Iterator[Bench | None]:
    """A node as shipped with DCMTK's storescp as archive; None where that is absent."""
    storescp = find_program("storescp")
    if storescp is None:
        yield None
        return
    port = free_port()
    with (
        storescp_archive(storescp, folder / "archive", port) as files,
        running_node(folder / "beside", "--destination", f"PACS@127.0.0.1:{port}", settings=SETTINGS) as node,
    ):
        yield Bench(node=node, archive=FileArchive(files))


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
    cases = SHORT_CASES if short else (*CASES, *OTHER_KINDS, *BY_SLICES)
    rounds = rounds or (1 if short else 5)
    compared = [case for case in cases if baseline and case.objects == 1 and case.lesions <= 10]
    compared = [case for case in compared if case not in (*BY_SLICES, *OTHER_KINDS) and case.kind == "masks"]
    ours = {case: Taken() for case in (*cases, TO_STORESCP)}
    theirs = {case: Taken() for case in cases}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_bench(Path(folder) / "node") as bench,
        bench_to_storescp(Path(folder)) as to_storescp,
    ):
        for case in cases:
            bench.send_series(case)
        if to_storescp is not None:
            to_storescp.send_series(TO_STORESCP)
        with series_in_files(bench.series[cases[0].slices]) as files, Archive() as other:
            for number in range(rounds + 1):
                for case in cases:
                    marks = marks_of(case, 2 * number)
                    bench.mark(case, marks, ours[case] if number else Taken())
                    if number and case in compared:
                        began = time.time()
                        straightforward.report(files, marks[0][1], other.port)
                        theirs[case].note(archive=1e3 * (other.arrived[-1].at - began))
                if to_storescp is not None:
                    taken = ours[TO_STORESCP] if number else Taken()
                    to_storescp.mark(TO_STORESCP, marks_of(TO_STORESCP, 2 * number), taken)
        if to_storescp is not None:
            to_storescp.node.kill()  # its rest is not to be measured
        idle = _idle_cpu(bench.node)
        assert isinstance(bench.archive, Archive)
        opened = bench.archive.associations
    return {
        "rounds": rounds,
        "idle_cpu_percent": idle,
        "associations": opened,
        "cases": [
            _result(case, ours[case], theirs.get(case, Taken())) for case in ours if ours[case].reports
        ],
    }


def _result(case: Case, ours: Taken, theirs: Taken) -> dict[str, Any]:
    return {
        "label": case.label,
        "slices": case.slices,
        "lesions": case.lesions,
        "objects": case.objects,
        "kind": case.kind,
        "archive": case.archive,
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
            if (case["lesions"], case["objects"], case["slices"], case["archive"]) == (count, 1, 500, "bare"):
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
    by_slices = [
        case
        for case in result["cases"]
        if (case["lesions"], case["kind"], case["archive"]) == (1, "masks", "bare")
    ]
    if len(by_slices) > 1:
        middles = {case["slices"]: statistics.median(case["ours_ms"]["archive"]) for case in by_slices}
        said = ", ".join(f"{ms:.0f} ms with {slices}" for slices, ms in sorted(middles.items()))
        wanted = "mark to SR at the archive within 1.25 x, whatever the number of slices"
        met = max(middles.values()) <= 1.25 * min(middles.values())
        found.append(Goal(number="3", goal=wanted, measured=said, met=met))
    idle = result["idle_cpu_percent"]
    found.append(
        Goal(number="6", goal="idle CPU under 1 %, after work", measured=f"{idle:.1f} %", met=idle < 1)
    )
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
