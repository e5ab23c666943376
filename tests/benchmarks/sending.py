"""Sending reports to DCMTK's storescp, beside DCMTK's own senders and pynetdicom as its manual shows it.

    python -m tests.benchmarks --only sending

100 reports of 25 kB over one association, and one report over an association of its own or a kept one. The
archive and DCMTK's senders run as installed, where they wait for acknowledgements (Nagle), and with
TCP_NODELAY. Ways are taken in turn in each round; DCMTK's senders are processes and include their start.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE

from osteoscribe.app.ports import EncodedObject
from osteoscribe.app.settings import Destination, parse_destination
from osteoscribe.net.scu import StoreSender
from tests.benchmarks.page import Goal
from tests.benchmarks.straightforward import HEAD
from tests.conftest import find_program
from tests.fakes.dicom import COMPREHENSIVE_SR, EXPLICIT, ROOT, encode, part10, sr_object
from tests.fakes.processes import free_port, wait_until

REFERENCES = 300
"""Images that a report cites: makes it as long as one of ours."""


def reports(count: int) -> list[EncodedObject]:
    made = []
    for number in range(1, count + 1):
        uid = f"{ROOT}.5.{number}"
        ds = sr_object(uid, references=[f"{ROOT}.2.{n}" for n in range(1, REFERENCES)])
        made.append(
            EncodedObject(
                sop_class_uid=COMPREHENSIVE_SR,
                sop_instance_uid=uid,
                transfer_syntax_uid=EXPLICIT,
                encoded=encode(ds),
            )
        )
    return made


@contextmanager
def archive(storescp: str, *, is_quick: bool) -> Iterator[Destination]:
    """DCMTK's storescp, which keeps nothing; as installed, or with TCP_NODELAY."""
    port = free_port()
    command = [storescp, "--fork", "--ignore", "-aet", "PACS", str(port)]
    process = subprocess.Popen(command, env=_environment(is_quick=is_quick), start_new_session=True)
    try:
        destination = parse_destination(f"PACS@127.0.0.1:{port}")
        wait_until(lambda: _takes_one(destination), "storescp")
        yield destination
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _takes_one(destination: Destination) -> bool:
    try:
        ours(destination, reports(1))
    except Exception:  # noqa: BLE001  whatever it is, it does not listen yet
        return False
    return True


def ours(destination: Destination, objects: Sequence[EncodedObject]) -> None:
    """All over one association, as a delivery of many jobs."""
    sender = StoreSender(ae_title="OSTEOSCRIBE", timeout_s=30)
    assert all(reply.status == 0 for reply in sender.send(destination, objects))


def by_pynetdicom(destination: Destination, objects: Sequence[EncodedObject]) -> None:
    """One association, data sets read from files."""
    entity = AE(ae_title="STRAIGHT")
    entity.add_requested_context(COMPREHENSIVE_SR, EXPLICIT)
    association = entity.associate(destination.host, destination.port)
    assert association.is_established
    for one in objects:
        ds = pydicom.dcmread(BytesIO(HEAD + one.encoded))
        assert association.send_c_store(ds).Status == 0
    association.release()


def by_dcmtk(program: str, destination: Destination, files: Sequence[Path], *, is_quick: bool) -> None:
    """DCMTK's storescu or dcmsend."""
    command = [program, "-aec", "PACS", destination.host, str(destination.port), *map(str, files)]
    subprocess.run(command, check=True, env=_environment(is_quick=is_quick), capture_output=True)


def _environment(*, is_quick: bool) -> dict[str, str]:
    return {**os.environ, **({"TCP_NODELAY": "1"} if is_quick else {})}


def run(short: bool = False) -> dict[str, Any]:
    """Milliseconds of each way in each round, by archive; empty where DCMTK is absent."""
    programs = {name: find_program(name) or "" for name in ("storescp", "storescu", "dcmsend")}
    if not all(programs.values()):
        return {"archives": {}}
    objects, rounds = reports(20 if short else 100), 2 if short else 7
    taken: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number:03}.dcm" for number in range(len(objects))]
        for path, one in zip(files, objects, strict=True):
            path.write_bytes(part10(pydicom.dcmread(BytesIO(HEAD + one.encoded))))
        for name, is_quick in (("with TCP_NODELAY", True), ("DCMTK as installed", False)):
            with archive(programs["storescp"], is_quick=is_quick) as destination:
                kept = StoreSender(ae_title="OSTEOSCRIBE", timeout_s=30, keep_s=60)
                taken[name] = _in_turn(_ways(programs, destination, objects, files, kept, is_quick), rounds)
                kept.close()
    return {"rounds": rounds, "kilobytes": len(objects[0].encoded) / 1e3, "archives": taken}


def _ways(
    programs: dict[str, str],
    destination: Destination,
    objects: Sequence[EncodedObject],
    files: Sequence[Path],
    kept: StoreSender,
    is_quick: bool,
) -> dict[str, Callable[[], object]]:
    ways: dict[str, Callable[[], object]] = {}
    for count, label in ((len(objects), f"{len(objects)} reports"), (1, "one report")):
        some, paths = objects[:count], files[:count]
        for name in ("storescu", "dcmsend"):
            ways[f"{label}: {name}"] = partial(
                by_dcmtk, programs[name], destination, paths, is_quick=is_quick
            )
        ways[f"{label}: pynetdicom"] = partial(by_pynetdicom, destination, some)
        ways[f"{label}: ours"] = partial(ours, destination, some)
    ways["one report: ours, kept association"] = lambda: list(kept.send(destination, objects[:1]))
    return ways


def _in_turn(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return taken


def tables(result: dict[str, Any]) -> str:
    """Tables of a result, in Markdown."""
    if not result["archives"]:
        return "DCMTK is not here.\n"
    lines = [
        f"Medians of {result['rounds']} rounds in ms, and as multiples of storescu, a report of "
        f"{result['kilobytes']:.0f} kB.",
        "",
        "| way | " + " | ".join(result["archives"]) + " |",
        "|---" * (len(result["archives"]) + 1) + "|",
    ]
    for way in next(iter(result["archives"].values())):
        cells = []
        for taken in result["archives"].values():
            middle = statistics.median(taken[way])
            cells.append(f"{middle:.1f} ({middle / _storescu(way, taken):.2f} x)")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _storescu(way: str, taken: dict[str, list[float]]) -> float:
    return statistics.median(taken[f"{way.partition(':')[0]}: storescu"])


def goals(result: dict[str, Any]) -> list[Goal]:
    """Goal 7: no slower than storescu."""
    found = []
    for archive_name, taken in result["archives"].items():
        for way in (one for one in taken if one.endswith((": ours", "kept association"))):
            ratio = statistics.median(taken[way]) / _storescu(way, taken)
            wanted = f"{way}, {archive_name}: no slower than storescu"
            found.append(Goal(number="7", goal=wanted, measured=f"{ratio:.2f} x", met=ratio <= 1))
    return found
