"""What one mark costs between its bytes and its measurement, part by part.

The CT is stored and indexed as at its arrival, as the node has it when a mark comes.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from osteoscribe.core.intensity import reference
from osteoscribe.core.marks import RoiMark
from osteoscribe.core.placement import place
from osteoscribe.core.series import BlobRef, SeriesIndex
from osteoscribe.core.size import Size, measure_size, outline_on_ct
from osteoscribe.readers.ct import index_series, read_box
from osteoscribe.readers.datasets import read_dataset
from osteoscribe.readers.headers import StoredInstance, read_header
from osteoscribe.readers.marks import read_marks
from osteoscribe.store.files import read_bytes
from tests.benchmarks.drawn_marks import KINDS, encoded_mark
from tests.benchmarks.marked_series import TEMPLATE, encoded_marks, lesions, make_series
from tests.readers.ct_objects import EXPLICIT

PARTS = {
    "parse": "parse the object",
    "read": "read its marks",
    "place": "lay on the CT",
    "size": "size",
    "box": "read HU of the box",
    "hu": "HU statistics",
    "outline": "outline",
}


def stored_series(folder: Path, slices: int) -> list[StoredInstance]:
    """A series in one append-only file, with its headers."""
    instances, offset = [], 0
    path = folder / f"{slices}.segment"
    with path.open("wb") as file:
        for _, parts in make_series(slices).slices(TEMPLATE):
            encoded = b"".join(parts)
            file.write(encoded)
            blob = BlobRef(segment=str(path), offset=offset, length=len(encoded))
            header = read_header(memoryview(encoded), transfer_syntax_uid=EXPLICIT)
            instances.append(StoredInstance(header=header, blob=blob, digest=""))
            offset += len(encoded)
    return instances


def measured(encoded: bytes, index: SeriesIndex) -> dict[str, float]:
    """Seconds of each part for all marks of an object."""
    taken = dict.fromkeys(PARTS, 0.0)
    at = time.perf_counter()

    def took(part: str) -> None:
        nonlocal at
        now = time.perf_counter()
        taken[part] += now - at
        at = now

    dataset = read_dataset(encoded, transfer_syntax_uid=EXPLICIT)
    took("parse")
    marks = read_marks(dataset)
    took("read")
    for mark in marks:
        assert isinstance(mark, RoiMark), mark
        placement = place(mark, index)
        took("place")
        size = measure_size(placement.measured, index.acquisition.slice_thickness_mm)
        took("size")
        box = read_box(index, placement.on_ct.box, read_bytes)
        took("box")
        reference(placement.on_ct, box)
        took("hu")
        if isinstance(size, Size):  # a point has none
            outline_on_ct(placement, size)
            took("outline")
    return taken


def run(short: bool) -> dict[str, Any]:
    counts = (1, 10) if short else (1, 10, 100)
    rounds = 2 if short else 7
    with tempfile.TemporaryDirectory() as folder:
        index = index_series(stored_series(Path(folder), 100 if short else 500))
        chosen = {count: encoded_marks(lesions(count, index.grid.shape[0]), 1, 0)[0][1] for count in counts}
        slices = index.grid.shape[0]
        objects = {f"{count} mask" + "s" * (count > 1): encoded for count, encoded in chosen.items()}
        (ball,) = lesions(1, slices)
        objects |= {kind: encoded_mark(kind, ball, slices, 0)[1] for kind in KINDS}
        found: dict[str, list[dict[str, float]]] = {name: [] for name in objects}
        for number in range(rounds + 1):
            for name, encoded in objects.items():
                taken = measured(encoded, index)
                if number:
                    found[name].append(taken)
    return {
        "slices": slices,
        "counts": {name: int(name.split()[0]) if " " in name else 1 for name in objects},
        "seconds": {
            name: {part: statistics.median(one[part] for one in taken) for part in PARTS}
            for name, taken in found.items()
        },
    }


def tables(result: dict[str, Any]) -> str:
    lines = [
        "| marks | " + " | ".join(PARTS.values()) + " | all | a mark |",
        "|---" * (len(PARTS) + 3) + "|",
    ]
    for name, taken in result["seconds"].items():
        whole = sum(taken.values())
        cells = [
            f"{1e3 * seconds:.2f}" for seconds in (*taken.values(), whole, whole / result["counts"][name])
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return (
        f"Milliseconds, wall clock, on {result['slices']} stored slices. Masks: balls of 5 to 30 mm as "
        "segments of one SEG with full frames. Contours: a ball of 15 mm as 15 circles of 64 corners "
        "(RTSTRUCT); caliper: its long and short axis, and point (SR).\n\n" + "\n".join(lines)
    )
