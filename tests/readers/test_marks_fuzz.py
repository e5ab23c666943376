"""Hostile marks of every dialect: whatever comes in, only marks and stated problems come out, soon.

The suite runs some hundred mutated inputs of each dialect; OSTEOSCRIBE_FUZZ sets another number
(``OSTEOSCRIBE_FUZZ=5000 pytest tests/readers/test_marks_fuzz.py`` for 10,000 of each).
"""

from __future__ import annotations

import copy
import gzip
import os
import random
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from osteoscribe.core.marks import IgnoredMark, RoiMark
from osteoscribe.errors import InputError
from osteoscribe.readers.marks import read_marks
from tests.builders_marks import (
    contour,
    group,
    image_item,
    item,
    region,
    report,
    rtstruct,
    seg,
    seg_frame,
    segment,
    tracking,
)
from tests.readers.mark_fuzz import DIALECTS, LIMIT_S, PIXELS, Way, checked, damaged, frames, lying
from tests.readers.test_gsps import SQUARE, graphic, note, pts, state, weasis

ROUNDS = int(os.environ.get("OSTEOSCRIBE_FUZZ", "120"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_unchanged_object_is_read(dialect: str) -> None:
    marks = read_marks(DIALECTS[dialect]())
    wanted = IgnoredMark if dialect == "key objects" else RoiMark
    assert marks and all(isinstance(mark, wanted) for mark in marks)


@pytest.mark.slow
@pytest.mark.timeout(60 + ROUNDS)
@pytest.mark.parametrize("way", [lying, damaged])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_hostile_objects_end_as_marks_or_problems(dialect: str, way: Way) -> None:
    of_seed = way(dialect)
    outcomes = [checked(of_seed(seed)) for seed in range(ROUNDS)]
    assert len(set[str]().union(*outcomes)) > 1


def test_each_input_of_a_dialect_is_counted_once(project: Path) -> None:
    """In a process of its own: the row says how much memory the process took."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.readers.mark_fuzz", "RTSTRUCT", "--count", "40"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    cells = [cell.strip() for cell in result.stdout.strip().strip("|").split("|")]
    assert cells[0] == "RTSTRUCT"
    total, *parts = map(int, cells[1:5])
    assert total == sum(parts) == 40


def test_an_absurd_size_allocates_nothing() -> None:
    ds = seg(PIXELS, frames(), [segment(1), segment(2)])
    for rows, columns, number in ((8192, 8192, 3), (65535, 65535, 1), (5, 7, 2**31 - 1), (8000, 8000, 10**6)):
        ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, number
        tracemalloc.start()
        try:
            with pytest.raises(InputError):
                read_marks(ds)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


@pytest.mark.slow
def test_a_large_report_takes_time_in_proportion() -> None:
    one = group(*tracking("x"), region("POLYLINE", [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 1.0]))
    wide = report(*[copy.deepcopy(one) for _ in range(2000)])
    started = time.process_time()
    assert len(read_marks(wide)) == 2000
    assert time.process_time() - started < LIMIT_S


def test_a_damaged_viewer_model_ends_as_marks_or_problems() -> None:
    xml = (
        f"<presentation><graphics><polygon>{pts(*SQUARE)}</polygon><ellipse>{pts(*SQUARE, *SQUARE)}</ellipse>"
        f"<threePointsCircle>{pts(*SQUARE[:3])}</threePointsCircle></graphics></presentation>"
    ).encode()
    outcomes: set[str] = set()
    for seed in range(ROUNDS):
        chance = random.Random(f"model {seed}")
        damaged = bytearray(xml)
        for _ in range(chance.choice([1, 2, 4])):
            damaged[chance.randrange(len(damaged))] = chance.choice(b"0123456789.-e<>&\"'/\x00\xff")
        ds = weasis("", packed=gzip.compress(bytes(damaged), mtime=0))
        outcomes |= checked(lambda: read_marks(ds))  # noqa: B023
    assert {"gsps.private-model", "RoiMark"} <= outcomes


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["segments", "annotations", "regions", "rois"])
def test_many_parts_take_time_in_proportion(parts: str) -> None:
    """Numbers of parts that a hostile object of some megabytes can hold, and that no loop may square."""
    many = 3000
    if parts == "segments":
        ds = seg(PIXELS[:1], [seg_frame(0.0, 1)], [segment(1)] * many)
    elif parts == "annotations":
        line = graphic("POLYLINE", [(0, 0), (3, 4)])
        ds = state(*[line] * many, notes=[note("x", (1, 1))] * many)
    elif parts == "regions":
        alone = region("POLYLINE", [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 1.0], item())
        ds = report(group(image_item(1), *[copy.deepcopy(alone) for _ in range(many)]))
    else:
        ds = rtstruct(*[("a", [contour([(0.0, 0.0, 5.0), (9.0, 0.0, 5.0), (9.0, 9.0, 5.0)])])] * many)
    checked(lambda: read_marks(ds))
