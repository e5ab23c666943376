"""What one job costs in a warm worker: from the ledger's rows to encoded, gated documents, and by which part.

Balls of 5 to 30 mm as one segmentation with full frames; once by the number of marks on 500 slices, and once
by the number of slices with one mark: the first mark on a series that was not prepared, and any after it.
Processor time of one thread; memory is what Python allocates at most while the job runs.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from osteoscribe.app import job as job_module
from osteoscribe.app import pipeline
from osteoscribe.app.intake import Incoming
from osteoscribe.app.ports import Envelope, Stored
from osteoscribe.app.practice import Practice, load_practice
from osteoscribe.app.settings import JobSettings, PracticeSettings
from osteoscribe.app.shelf import parted
from osteoscribe.readers.headers import InstanceHeader
from osteoscribe.store.jobs import JobTable
from osteoscribe.store.schema import JOBS
from osteoscribe.store.segments import RECEIVED
from tests.benchmarks.marked_series import (
    CT,
    SEG,
    STEP_MM,
    TEMPLATE,
    encoded_marks,
    image_uid,
    lesions,
    make_series,
)
from tests.builders_marks import RTSTRUCT, contour, item, rtstruct
from tests.fakes.ledger import START, FilledLedger
from tests.readers.ct_objects import EXPLICIT, ct_slice, encode
from tests.scene import BENIGN, on

MARKS, SLICES = (1, 10, 100), (100, 500, 2000)
SIDE = 128
"""Rows and columns where only the number of slices matters."""
MEMORY = Path("/dev/shm")
PARTS = {
    "sort_instances": "read marks",
    "rois_of": "read marks",
    "place_on_series": "place",
    "measure": "measure",
    "word_series": "decide and word",
    "write_report": "write and gate",
}
"""Functions of the pipeline, and what they are called here."""
COLUMNS = ("request", *dict.fromkeys(PARTS.values()), "rest", "all")


class _Batch:
    """Collects what came, to be recorded at once."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []

    def has_instance(self, _header: InstanceHeader, _sha256: str) -> bool:
        return False

    def add(self, stored: Sequence[Stored]) -> None:
        self.stored += stored


class Node:
    """A ledger in a folder with one series, and jobs of marks on it."""

    def __init__(self, folder: Path, series: Iterable[tuple[str, Sequence[bytes]]]) -> None:
        folder.mkdir()
        self.ledger = FilledLedger(folder, settings=JobSettings(quiet_s=0.0, quiet_after_release_s=0.0))
        self.practice: Practice = load_practice(PracticeSettings())
        self._receive(CT, series)

    def job(self, sop_class_uid: str, mark: tuple[str, bytes]) -> str:
        """Send a mark object; the key of its job."""
        uid, encoded = mark
        self._receive(sop_class_uid, [(uid, [encoded])])
        (key,) = self.ledger.plan(100.0)
        with self.ledger.engine.begin() as connection:
            connection.execute(JOBS.update().values(state="done"))  # the next job does not wait for it
        return key

    def _receive(self, sop_class_uid: str, objects: Iterable[tuple[str, Sequence[bytes]]]) -> None:
        writer, batch = self.ledger.segments.writer(RECEIVED, START), _Batch()
        for uid, parts in objects:
            envelope = Envelope(
                sop_class_uid=sop_class_uid,
                sop_instance_uid=uid,
                transfer_syntax_uid=EXPLICIT,
                calling_ae="SENDER",
                received_at=START,
            )
            incoming = Incoming(writer.begin(), batch)
            incoming.write(parts)
            incoming.finish(envelope)
        writer.close()
        self.ledger.instances.add(batch.stored, ended=[writer.name])

    def run(self, jobs: JobTable, key: str) -> dict[str, float]:
        """Run a job; seconds of each part."""
        taken = dict.fromkeys(COLUMNS, 0.0)
        start = time.process_time()
        request = jobs.request(key)
        taken["request"] = time.process_time() - start
        with ExitStack() as timing:
            for function, part in PARTS.items():
                timing.enter_context(_timed(function, part, taken))
            result = job_module.report_job(request, self.ledger.segments.read_bytes, self.practice)
        taken["all"] = time.process_time() - start
        taken["rest"] = taken["all"] - sum(taken[part] for part in COLUMNS[:-2])
        assert sum(report.findings for report in result.reports) >= 1
        return taken


@contextmanager
def _timed(function: str, part: str, taken: dict[str, float]) -> Iterator[None]:
    inner = getattr(pipeline, function)

    def timed(*values: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return inner(*values, **named)
        finally:
            taken[part] += time.process_time() - start

    setattr(pipeline, function, timed)
    try:
        yield
    finally:
        setattr(pipeline, function, inner)


def by_marks(folder: Path, marks: Sequence[int], slices: int, rounds: int) -> dict[str, Any]:
    """Median seconds of each part, by number of marks."""
    node = Node(folder / "marks", make_series(slices).slices(TEMPLATE))
    keys = {count: node.job(SEG, encoded_marks(lesions(count, slices), 1, 1)[0]) for count in marks}
    taken: dict[int, list[dict[str, float]]] = {count: [] for count in marks}
    for number in range(rounds + 1):
        for count, key in keys.items():
            parts = node.run(node.ledger.jobs, key)
            if number:  # the first warms up
                taken[count].append(parts)
    return {str(count): _medians(found) for count, found in taken.items()}


def by_slices(folder: Path, slices: Sequence[int], rounds: int) -> dict[str, Any]:
    """Median seconds of a first mark and of any after it, and the memory it takes, by number of slices."""
    nodes: dict[int, Node] = {}
    keys: dict[int, str] = {}
    for count in slices:
        ct = [
            ct_slice(STEP_MM * n, number=n + 1, uid=image_uid(n), values=np.full((SIDE, SIDE), 1500))
            for n in range(count)
        ]
        nodes[count] = Node(folder / f"slices{count}", [(ds.SOPInstanceUID, [encode(ds)]) for ds in ct])
        keys[count] = nodes[count].job(RTSTRUCT, ball_on(ct))
    found: dict[int, dict[str, list[float]]] = {
        count: {"first": [], "next": [], "next, MB": []} for count in slices
    }
    for number in range(rounds + 1):
        for count, node in nodes.items():
            parted.cache_clear()
            jobs = JobTable(node.ledger.engine)
            first, following = (node.run(jobs, keys[count])["all"] for _ in range(2))
            tracemalloc.start()
            node.run(jobs, keys[count])
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            if number:
                for name, value in zip(found[count], (first, following, peak / 1e6), strict=True):
                    found[count][name].append(value)
    return {
        str(count): {name: statistics.median(values) for name, values in one.items()}
        for count, one in found.items()
    }


def ball_on(ct: Sequence[Dataset]) -> tuple[str, bytes]:
    """A structure set with the outlines of a ball of 15 mm on a series."""
    outlines = []
    for n in range(12, 27):
        radius_mm = math.sqrt(max(7.5**2 - (n - 19) ** 2, 0.25))
        turns = [2 * math.pi * corner / 32 for corner in range(32)]
        points = [(20 + radius_mm * math.cos(a), 20 + radius_mm * math.sin(a), STEP_MM * n) for a in turns]
        outlines.append(contour([[round(x, 3) for x in point] for point in points]))
        image = item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=ct[n].SOPInstanceUID)
        outlines[-1].ContourImageSequence = [image]
    mark = on(ct, rtstruct((BENIGN, outlines)))
    return mark.SOPInstanceUID, encode(mark)


def _medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {part: statistics.median(one[part] for one in found) for part in COLUMNS}


def run(short: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        place = Path(folder)
        return {
            "slices": 100 if short else 500,
            "marks": by_marks(place, MARKS[: 2 if short else 3], 100 if short else 500, 1 if short else 3),
            "by slices": by_slices(place, SLICES[: 2 if short else 3], 1 if short else 5),
        }


def tables(result: dict[str, Any]) -> str:
    lines = [
        f"Milliseconds of processor time of a job, marks on {result['slices']} slices, by part.",
        "",
        "| marks | " + " | ".join(COLUMNS) + " |",
        "|---|" + "---|" * len(COLUMNS),
    ]
    for marks, one in result["marks"].items():
        lines.append(f"| {marks} | " + " | ".join(f"{1e3 * one[part]:.1f}" for part in COLUMNS) + " |")
    lines += [
        "",
        "One mark, by the number of slices: the first on a series that was not prepared, and any after it.",
        "",
        "| slices | first, ms | next, ms | memory of the next, MB |",
        "|---|---|---|---|",
    ]
    for slices, one in result["by slices"].items():
        lines.append(
            f"| {slices} | {1e3 * one['first']:.1f} | {1e3 * one['next']:.1f} | {one['next, MB']:.1f} |"
        )
    return "\n".join(lines)
