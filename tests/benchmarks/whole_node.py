"""A whole node: one association with one object, start, rest, and a large series on eight associations."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from osteoscribe.core.digest import new_digest
from osteoscribe.readers.part10 import split_part10
from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.benchmarks.listeners import (
    Running,
    has,
    listener,
    memory_mb,
    running_s,
    senders,
    shared_out_mb,
    tree,
)
from tests.fakes.dicom import CT, EXPLICIT, ct_slice, encode
from tests.fakes.dimse import raw_association, store_message
from tests.fakes.processes import NodeProcess, wait_until
from tests.faults.processes import receiver_pids

WARM_UP = 3
IDLE_S = 10.0
"""How long processor time at rest is counted."""


def one_object(work: Path, names: Sequence[str], repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of an association with one small object, until its release was answered; medians.

    All listeners run at once and are sent to in turn, by a bare sender and by DCMTK's storescu, whose own
    start is in its figures.
    """
    small = work / "small"
    small.mkdir()
    ct_slice(1).save_as(small / "one.dcm", enforce_file_format=True)
    environment = {**os.environ, "TCP_NODELAY": "1"}
    os.environ["TCP_NODELAY"] = "1"
    times: dict[str, dict[str, list[float]]] = {"bare": {}, "storescu": {}}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(listener(name, work / f"{name}-one", 1)) for name in names if has(name)
        }
        for number in range(repeats + WARM_UP):
            for name, one in running.items():
                taken = {"bare": _bare_association(one.port, number)}
                if has("storescp"):
                    (command,) = senders(name, one.port, [small])
                    began = time.perf_counter()
                    assert subprocess.Popen(command, env=environment).wait() == 0
                    taken["storescu"] = time.perf_counter() - began
                if number >= WARM_UP:
                    for sender, seconds in taken.items():
                        times[sender].setdefault(name, []).append(seconds)
    for name in names:
        shutil.rmtree(work / f"{name}-one", ignore_errors=True)
    return {
        sender: {name: 1e3 * statistics.median(seconds) for name, seconds in found.items()}
        for sender, found in times.items()
    }


def _bare_association(port: int, number: int) -> float:
    """Seconds from connecting to the answer to the release."""
    ds = ct_slice(number + 1)
    message = store_message(1, CT, ds.SOPInstanceUID, encode(ds))
    began = time.perf_counter()
    with raw_association(port, [(CT, EXPLICIT)]) as association:
        association.send(*message)
        assert association.answer()[2] == 0
        association.release()
    return time.perf_counter() - began


def node(work: Path, large_series: int) -> dict[str, Any]:
    """Start, memory, idle processor time, a large series on eight associations, and what came out of it."""
    folder, found = work / "node-run", dict[str, Any]()
    with listener("ours", folder, 8) as running:
        assert running.node is not None
        found["start_s"] = running.node.start_s
        receiving = _receiving(running.node)
        found["idle_mb"] = shared_out_mb(receiving)
        found["worker_idle_mb"] = max(memory_mb(pid) for pid in tree(running.pid) if pid not in receiving)
        found["idle_all_mb"] = shared_out_mb(tree(running.pid))
        found["idle_percent"], found["listener_idle_percent"] = _idle_percent(running, receiving)
        ds = dcmread(next((work / "series").iterdir()))
        with ThreadPoolExecutor(8) as pool:
            shares = [range(10_000 + share, 10_000 + large_series, 8) for share in range(8)]
            sent = set().union(*pool.map(lambda share: _send_share(running.port, ds, share), shares))
        found["peak_mb"] = sum(memory_mb(pid, "VmHWM") for pid in receiving)
        with raw_associations(running.port, 8):
            _, found["associations_idle_percent"] = _idle_percent(running, receiving)
        segments = SegmentStore(folder / "data" / "segments")
        stored = [one.digest for name in segments.lengths(RECEIVED) for one in segments.scan(name)]
        found["stored"] = len(stored)
        assert running.node.run("store", "export", str(work / "out")) == 0
    exported = [split_and_digest(path) for path in (work / "out").rglob("*.dcm")]
    found["identical"] = len(sent.intersection(exported))
    found["sent"] = len(sent)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(work / "out", ignore_errors=True)
    return found


def split_and_digest(path: Path) -> str:
    content = path.read_bytes()
    return new_digest(content[split_part10(content).dataset_offset :]).hexdigest()


def raw_associations(port: int, count: int) -> ExitStack:
    """Open associations that send nothing."""
    stack = ExitStack()
    for _ in range(count):
        stack.enter_context(raw_association(port))
    return stack


def _receiving(node: NodeProcess) -> list[int]:
    """The node's listener and receivers."""
    wait_until(lambda: bool(receiver_pids(node)), "a receiver")
    return [node.process.pid, *receiver_pids(node)]


def _idle_percent(running: Running, receiving: list[int]) -> tuple[float, float]:
    """Processor time of the node, and of its listener and receivers alone, in per cent of a core."""
    time.sleep(1)
    pids = tree(running.pid), receiving
    before = [running_s(one) for one in pids]
    time.sleep(IDLE_S)
    node, alone = (100 * (running_s(one) - was) / IDLE_S for one, was in zip(pids, before, strict=True))
    return node, alone


def _send_share(port: int, ds: Dataset, numbers: range) -> set[str]:
    """Send copies of a slice under other UIDs; the digests of their data sets."""
    own = deepcopy(ds)
    sent = set()
    with raw_association(port, timeout_s=60) as association:
        for number in numbers:
            own.SOPInstanceUID, own.InstanceNumber = f"1.2.3.{number}", number
            encoded = encode(own)
            association.send(*store_message(1, CT, f"1.2.3.{number}", encoded, size=131066))
            assert association.answer()[2] == 0
            sent.add(new_digest(encoded).hexdigest())
        association.release()
    return sent
