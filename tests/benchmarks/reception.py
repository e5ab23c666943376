"""Receiving a series of 512 x 512 CT slices: ``osteoscribe serve`` as shipped beside other listeners.

"raw" is the same bytes over a loopback socket into files, not synced; storescp (+B) and Orthanc sync
nothing either, ours is on disk before each success: "raw, synced" is the least that this costs, "storescp,
synced" what it costs a receiver in C++. On a memory file system it costs nothing, and what is left there is
the program's. Every run has fresh listeners on fresh folders of one file system, a warm-up of a few slices,
and DCMTK's storescu as sender; the listeners take turns in each round. Processor time is that of the
listener and all its processes.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from tests.benchmarks.listeners import (
    SYNCED,
    Running,
    has,
    listener,
    memory_mb,
    processor_s,
    running_s,
    senders,
    tree,
)
from tests.benchmarks.marked_series import CT as MARKED_CT
from tests.benchmarks.marked_series import SEG as MARK
from tests.benchmarks.marked_series import Series, encoded_marks, lesions, renamed
from tests.benchmarks.marked_series import make_series as make_series_of_marks
from tests.benchmarks.page import Goal
from tests.benchmarks.peers import Sending
from tests.benchmarks.whole_node import node, one_object
from tests.fakes.dicom import ct_slice

NAMES = ("raw", "synced", "storescp-ignore", "storescp", SYNCED, "ours", "orthanc", "stock")
IN_MEMORY_NAMES = ("raw", "storescp", "ours")
MEMORY = Path("/dev/shm")
TLS_NAMES = ("raw", "storescp-tls", "ours-tls")
SLOW = {"orthanc", "stock", "storescp-tls", "ours-tls"}
"""Measured in fewer rounds; no goal hangs on them."""
WARM_UP = 3
MARKED_SLICES = 100
ALLOWED = {1: 1.3, 4: 1.5, 8: 1.5}
ROOM_IN_MEMORY = 2_000_000_000


def run(short: bool) -> dict[str, Any]:
    """Everything on receiving; short: 40 slices, one round."""
    slices, rounds = (40, 1) if short else (500, 5)
    with tempfile.TemporaryDirectory(prefix="reception") as folder:
        work = Path(folder)
        make_series(work / "series", slices)
        result: dict[str, Any] = {"slices": slices, "rounds": rounds}
        result["series"] = {
            str(count): series(work, count, rounds, names=NAMES[:6] if short else NAMES)
            for count in ((1,) if short else ALLOWED)
        }
        if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_IN_MEMORY:
            with tempfile.TemporaryDirectory(prefix="reception", dir=MEMORY) as memory:
                result["memory"] = {
                    count: series(
                        Path(memory), int(count), rounds, names=IN_MEMORY_NAMES, source=work / "series"
                    )
                    for count in result["series"]
                }
        result["tls"] = series(work, 1, min(rounds, 2), names=TLS_NAMES)
        few = work / "few"
        few.mkdir()
        for path in sorted((work / "series").iterdir())[: 20 if short else 100]:
            os.link(path, few / path.name)
        result["nagle"] = series(
            work, 1, rounds, names=("raw", "storescp", "ours"), source=few, nodelay=False
        )
        result["busy"] = busy(work, rounds, marked=2 if short else 6)
        result["one_object"] = one_object(work, ("storescp", "ours"), repeats=5 if short else 25)
        result["node"] = node(work, large_series=100 if short else 2000)
    return result


def make_series(folder: Path, count: int) -> None:
    """Slices of 0.5 MB that differ in UID, number, position and pixels."""
    folder.mkdir()
    random = np.random.default_rng(1)
    for number in range(1, count + 1):
        ds = large_slice(number, random)
        ds.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)


def large_slice(number: int, random: np.random.Generator) -> Dataset:
    ds = ct_slice(number)
    ds.Rows = ds.Columns = 512
    ds.PixelData = random.integers(0, 4096, (512, 512), dtype="<u2").tobytes()
    return ds


def parts_of(source: Path, count: int) -> tuple[list[Path], Path]:
    """Folders with a share of the series for each association, and one for the warm-up."""
    files = sorted(source.iterdir())
    target = Path(tempfile.mkdtemp(dir=source.parent))
    parts = []
    for number in range(count):
        parts.append(target / f"part{number}")
        parts[-1].mkdir()
        for path in files[WARM_UP:][number::count]:
            os.link(path, parts[-1] / path.name)
    warm = target / "warm"
    warm.mkdir()
    for path in files[:WARM_UP]:
        os.link(path, warm / path.name)
    return parts, warm


def series(
    work: Path,
    associations: int,
    rounds: int,
    *,
    names: Sequence[str] = NAMES,
    source: Path | None = None,
    nodelay: bool = True,
) -> dict[str, Any]:
    """Wall and processor seconds of each listener, medians over the rounds."""
    parts, warm = parts_of(source or work / "series", associations)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names if has(name)}
    for turn in range(rounds):
        for name, runs in found.items():
            if name not in SLOW or turn < (2 if associations == 1 else 1):
                runs.append(one_run(work, name, parts, warm, nodelay=nodelay))
    shutil.rmtree(parts[0].parent)
    return {name: _medians(runs) for name, runs in found.items()}


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {
        **middle,
        "least_wall_s": min(run["wall_s"] for run in runs),
        "most_wall_s": max(run["wall_s"] for run in runs),
    }


def one_run(work: Path, name: str, parts: Sequence[Path], warm: Path, *, nodelay: bool) -> dict[str, float]:
    folder = work / f"{name}-run"
    environment = {key: value for key, value in os.environ.items() if key != "TCP_NODELAY"}
    environment |= {"TCP_NODELAY": "1"} if nodelay else {}
    os.environ.pop("TCP_NODELAY", None)
    os.environ.update({"TCP_NODELAY": "1"} if nodelay else {})
    try:
        with listener(name, folder, len(parts)) as running:
            measured = send(name, running, parts, warm, environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return measured


def send(
    name: str, running: Running, parts: Sequence[Path], warm: Path, environment: dict[str, str]
) -> dict[str, float]:
    for command in senders(name, running.port, [warm]):
        subprocess.run(command, check=True, env=environment, timeout=60)
    before = processor_s(tree(running.pid))
    start = time.perf_counter()
    processes = [subprocess.Popen(one, env=environment) for one in senders(name, running.port, parts)]
    guard = threading.Timer(60, lambda: [one.kill() for one in processes])
    guard.start()
    statuses = [process.wait() for process in processes]
    wall_s = time.perf_counter() - start
    guard.cancel()
    time.sleep(0.05)
    pids = tree(running.pid)
    if any(statuses):
        raise RuntimeError(f"a sender to {name} ended with {statuses}")
    return {
        "wall_s": wall_s,
        "cpu_s": processor_s(pids) - before,
        "peak_mb": max(memory_mb(pid, "VmHWM") for pid in pids),
    }


def busy(work: Path, rounds: int, marked: int) -> dict[str, float]:
    """Half the series while a worker measures, beside the other half on the same node at rest before.

    The worker has series with a hundred marks each to measure, some seconds of work.
    """
    idle, loaded, shares = [], [], []
    parts, warm = parts_of(work / "series", 2)
    environment = {**os.environ, "TCP_NODELAY": "1"}
    series_of_marks, marks = make_series_of_marks(MARKED_SLICES), lesions(100, MARKED_SLICES)
    objects = encoded_marks(marks, 1, 0)
    for turn in range(rounds):
        at_rest, under_load = parts if turn % 2 else reversed(parts)
        folder = work / "busy-run"
        with listener("ours", folder, 1) as running:
            idle.append(send("ours", running, [at_rest], warm, environment)["wall_s"])
            _mark(running.port, series_of_marks, objects, [str(6000 + number) for number in range(marked)])
            workers = [pid for pid in tree(running.pid) if pid != running.pid]
            before, began = running_s(workers), time.perf_counter()
            loaded.append(send("ours", running, [under_load], warm, environment)["wall_s"])
            shares.append((running_s(workers) - before) / (time.perf_counter() - began))
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "idle_s": statistics.median(idle),
        "busy_s": statistics.median(loaded),
        "least_load": min(shares),
    }


def _mark(port: int, series: Series, objects: Sequence[tuple[str, bytes]], names: Sequence[str]) -> None:
    """Send series, then their marks; the worker has begun with them when this returns."""
    for sop_class in (MARKED_CT, MARK):
        sending = Sending(port, [sop_class])
        for name in names:
            sent = renamed(objects, name) if sop_class == MARK else []
            for uid, encoded in sent:
                sending.store(sop_class, uid, [encoded])
            for uid, parts in series.slices(name) if sop_class == MARKED_CT else []:
                sending.store(sop_class, uid, parts)
        sending.release()
    time.sleep(0.2)


def tables(result: dict[str, Any]) -> str:
    """Tables of a result, in Markdown."""
    slices, rounds = result["slices"], result["rounds"]
    lines = [
        f"{slices} slices of 0.5 MB, {rounds} rounds (Orthanc and pynetdicom's path at most 2); wall time "
        "as a multiple of raw, in brackets lowest to highest; processor time as a multiple of storescp's.",
        "",
        *_series_lines("listener", result["series"]),
    ]
    if "memory" in result:
        lines += ["", *_series_lines("on a memory file system", result["memory"])]
    lines += _tls_lines(result["tls"])
    nagle, one, own = result["nagle"], result["one_object"], result["node"]
    lines += ["", "| besides | |", "|---|---|"]
    for name in ("storescp", "ours"):
        if name in nagle:
            ratio = _ratio(nagle, name)
            lines.append(f"| {_LABELS[name]}, sender with Nagle's algorithm, x raw | {ratio:.2f} |")
    at_rest, share = _load(result), result["busy"]["least_load"]
    lines += [
        f"| while a worker measures (at least {share:.0%} of a core), x the node at rest | {at_rest:.2f} |",
        *(
            f"| one association, one small object, {_SENDERS[sender]}, ms | "
            + ", ".join(f"{_LABELS[name]} {ms:.1f}" for name, ms in found.items())
            + " |"
            for sender, found in one.items()
            if found
        ),
        f"| start to listening, s | {own['start_s']:.2f} |",
        "| memory at rest, MB: listener and receiver (pages of others in part), a worker | "
        f"{own['idle_mb']:.0f}, {own['worker_idle_mb']:.0f} |",
        f"| the same of the whole node, shared pages counted once | {own['idle_all_mb']:.0f} |",
        f"| idle processor time of the whole node, % of a core | {own['idle_percent']:.2f} |",
        "| of listener and receiver alone, and with 8 open associations | "
        f"{own['listener_idle_percent']:.2f}, {own['associations_idle_percent']:.2f} |",
        f"| peaks of listener and receiver together, {own['sent']} slices on 8 associations, MB | "
        f"{own['peak_mb']:.0f} |",
        f"| of these byte-identical in `osteoscribe store export` | {own['identical']} of {own['sent']} |",
    ]
    return "\n".join(lines)


def _series_lines(title: str, results: dict[str, Any]) -> list[str]:
    lines = [
        f"| {title} | " + " | ".join(f"{n} assoc.: wall | CPU" for n in results) + " | peak MB |",
        "|---|" + "---|---|" * len(results) + "---|",
    ]
    for name in NAMES:
        cells = [_cells(one, name) for one in results.values() if name in one]
        if cells:
            peak = max(one[name]["peak_mb"] for one in results.values())
            lines.append(f"| {_LABELS[name]} | " + " | ".join(cells) + f" | {peak:.0f} |")
    return lines


def _tls_lines(found: dict[str, Any]) -> list[str]:
    lines = ["", "| over TLS, one association, 2 rounds | x raw without TLS | CPU, x storescp's over TLS |"]
    lines.append("|---|---|---|")
    for name in TLS_NAMES[1:]:
        if name in found:
            cpu = f"{_ratio(found, name, 'cpu_s', 'storescp-tls'):.1f}" if "storescp-tls" in found else "-"
            lines.append(f"| {_LABELS[name]} | {_ratio(found, name):.2f} | {cpu} |")
    return lines


_SENDERS = {"bare": "bare sender", "storescu": "storescu with its start"}
_LABELS = {
    "raw": "raw",
    "synced": "raw, synced: one file a sender, on disk before each answer",
    "storescp-ignore": "DCMTK storescp --ignore: keeps nothing, what storescu takes",
    "storescp": "DCMTK storescp +B",
    SYNCED: "DCMTK storescp +B, made to sync each file before its answer",
    "ours": "**osteoscribe serve**",
    "orthanc": "Orthanc",
    "stock": "osteoscribe serve, `fast_receive = false`",
    "storescp-tls": "DCMTK storescp +B",
    "ours-tls": "**osteoscribe serve**",
}


def _ratio(found: dict[str, Any], name: str, key: str = "wall_s", to: str = "raw") -> float:
    return float(found[name][key] / max(found[to][key], 0.01))


def _load(result: dict[str, Any]) -> float:
    return float(result["busy"]["busy_s"] / result["busy"]["idle_s"])


def _cells(found: dict[str, Any], name: str) -> str:
    raw = found["raw"]["wall_s"]
    span = f"{found[name]['least_wall_s'] / raw:.2f}..{found[name]['most_wall_s'] / raw:.2f}"
    cpu = f"{_ratio(found, name, 'cpu_s', 'storescp'):.1f}" if "storescp" in found else "-"
    return f"{_ratio(found, name):.2f} ({span}) | {cpu}"


def goals(result: dict[str, Any]) -> list[Goal]:
    """Goals 1 and 6 of the issue on speed."""
    by_count = {int(count): found for count, found in result["series"].items()}
    wall = {count: _ratio(found, "ours") for count, found in by_count.items()}
    own, nagle = result["node"], _ratio(result["nagle"], "ours")
    reception = _goal("1", "reception, x raw: 1.3 with one association, 1.5 with 4 and 8", wall, ALLOWED)
    found = [
        _beside(reception, by_count, "wall_s", {"synced": "raw, synced", SYNCED: "storescp, synced"}),
        *_in_memory(result),
        Goal(number="1", goal="senders with Nagle, 1.5 x raw", measured=f"{nagle:.2f}", met=nagle <= 1.5),
    ]
    if all("storescp" in one for one in by_count.values()):
        cpu = {count: _ratio(one, "ours", "cpu_s", "storescp") for count, one in by_count.items()}
        processor = _goal("1", "processor time, 1.5 x storescp's", cpu, dict.fromkeys(cpu, 1.5))
        found.append(_beside(processor, by_count, "cpu_s", {SYNCED: "storescp, synced"}, to="storescp"))
    load = _load(result)
    one = result["one_object"]["bare"]
    small = one["ours"] / one["storescp"] if "storescp" in one else None
    return [
        *found,
        Goal(
            number="1", goal="while workers measure, 1.5 x at rest", measured=f"{load:.2f}", met=load <= 1.5
        ),
        Goal(
            number="1",
            goal="one association with one small object, 6 x storescp",
            measured="-"
            if small is None
            else f"{small:.1f} ({one['ours']:.1f} ms to {one['storescp']:.1f} ms)",
            met=None if small is None else small <= 6,
        ),
        Goal(
            number="1",
            goal="8 idle associations cost no processor time (under 0.1 % of a core)",
            measured=f"{max(0.0, own['associations_idle_percent'] - own['listener_idle_percent']):.2f} %",
            met=own["associations_idle_percent"] - own["listener_idle_percent"] < 0.1,
        ),
        Goal(
            number="1",
            goal="every stored data set byte-identical",
            measured=f"{own['identical']} of {own['sent']}",
            met=own["identical"] == own["sent"] == own["stored"],
        ),
        Goal(number="6", goal="listening in 2 s", measured=f"{own['start_s']:.2f} s", met=own["start_s"] < 2),
        Goal(
            number="6",
            goal="idle CPU under 1 %, after the start",
            measured=f"{own['idle_percent']:.2f} %",
            met=own["idle_percent"] < 1,
        ),
        Goal(
            number="6",
            goal="memory of who receives: 200 MB at rest, 300 MB with 8 associations",
            measured=f"{own['idle_mb']:.0f}, {own['peak_mb']:.0f} MB",
            met=own["idle_mb"] < 200 and own["peak_mb"] < 300,
        ),
    ]


def _beside(
    goal: Goal, by_count: dict[int, dict[str, Any]], key: str, others: dict[str, str], to: str = "raw"
) -> Goal:
    """A goal with what others reach that keep the same promise."""
    measured = goal.measured
    for name, label in others.items():
        if all(name in one for one in by_count.values()):
            ratios = ", ".join(f"{_ratio(one, name, key, to):.2f}" for one in by_count.values())
            measured += f"; {label}: {ratios}"
    return dataclasses.replace(goal, measured=measured)


def _in_memory(result: dict[str, Any]) -> list[Goal]:
    if "memory" not in result:
        return []
    wall = {int(count): _ratio(found, "ours") for count, found in result["memory"].items()}
    return [_goal("1", "the same on a memory file system, where a sync costs nothing", wall, ALLOWED)]


def _goal(number: str, goal: str, measured: dict[int, float], allowed: dict[int, float]) -> Goal:
    return Goal(
        number=number,
        goal=goal,
        measured=", ".join(f"{ratio:.2f} ({count})" for count, ratio in measured.items()),
        met=all(ratio <= allowed[count] for count, ratio in measured.items()),
    )
