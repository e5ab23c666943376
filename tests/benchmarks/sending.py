"""Sending reports to DCMTK's storescp, beside DCMTK's own senders and pynetdicom as its manual shows it.

    python -m tests.benchmarks --only sending

A batch of reports over one association, and one report over an association of its own or a kept one. The
archive and DCMTK's senders run as installed, where they wait for acknowledgements (Nagle), and with
TCP_NODELAY. Ways are taken in turn in each round; DCMTK's senders are processes and include their start. Then
whole nodes, one of which asks for the safekeeping of what it stored.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE

from osteoscribe.app.ports import EncodedObject
from osteoscribe.app.settings import Destination, parse_destination
from osteoscribe.net.scu import StoreSender
from tests.benchmarks.marked_series import CT, encoded_marks, lesions, make_series, renamed
from tests.benchmarks.marked_series import SEG as MARK
from tests.benchmarks.page import Goal
from tests.benchmarks.peers import Archive, Sending
from tests.benchmarks.straightforward import HEAD
from tests.conftest import find_program
from tests.fakes.dicom import COMPREHENSIVE_SR, EXPLICIT, ROOT, encode, part10, sr_object
from tests.fakes.processes import free_port, running_node, wait_until

QUICK, BATCH = ("with TCP_NODELAY",), "a batch"
COUNTS = {"with TCP_NODELAY": 100, "DCMTK as installed": 10}
"""Reports in a batch by archive: as installed, each takes 44 to 88 ms."""
SLOW = "pynetdicom"
"""In two rounds: no goal hangs on it."""
COMMITTED_SLICES = 44
ANSWER_S = 0.1
"""After which an archive answers the question for commitment."""
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
    """Milliseconds of each way in each round, by archive (none without DCMTK); and with commitment."""
    taken: dict[str, dict[str, list[float]]] = {}
    counts = {"with TCP_NODELAY": 20, "DCMTK as installed": 5} if short else COUNTS
    programs = {name: find_program(name) or "" for name in ("storescp", "storescu", "dcmsend")}
    objects, rounds = reports(max(counts.values())), 2 if short else 5
    if all(programs.values()):
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{number:03}.dcm" for number in range(len(objects))]
            for path, one in zip(files, objects, strict=True):
                path.write_bytes(part10(pydicom.dcmread(BytesIO(HEAD + one.encoded))))
            for name, count in counts.items():
                is_quick = name in QUICK
                with archive(programs["storescp"], is_quick=is_quick) as destination:
                    kept = StoreSender(ae_title="OSTEOSCRIBE", timeout_s=30, keep_s=60)
                    ways = _ways(programs, destination, objects[:count], files[:count], kept, is_quick)
                    taken[name] = _in_turn(ways, rounds)
                    kept.close()
    return {
        "rounds": rounds,
        "kilobytes": len(objects[0].encoded) / 1e3,
        "counts": counts,
        "archives": taken,
        "commitment": commitment(4 if short else 10, 1 if short else 5),
    }


def _ways(
    programs: dict[str, str],
    destination: Destination,
    objects: Sequence[EncodedObject],
    files: Sequence[Path],
    kept: StoreSender,
    is_quick: bool,
) -> dict[str, Callable[[], object]]:
    ways: dict[str, Callable[[], object]] = {}
    for count, label in ((len(objects), BATCH), (1, "one report")):
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
            if name.endswith(SLOW) and number > 2:
                continue
            began = time.perf_counter()
            way()
            if number:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return taken


def commitment(studies: int, rounds: int) -> dict[str, Any]:
    """Milliseconds until the reports of bursts of marks are stored, with and without asking for safekeeping.

    Two nodes, one of which asks; their archives answer that question after 0.1 s. Bursts in turn.
    """
    series, marked = make_series(COMMITTED_SLICES), lesions(1, COMMITTED_SLICES)
    names = [str(4000 + number) for number in range(studies)]
    found: dict[str, list[float]] = {"asked": [], "not asked": [], "committed": []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        nodes = {}
        for way in ("asked", "not asked"):
            keeper = stack.enter_context(Archive(commits_after_s=ANSWER_S))
            settings = (
                f"[store]\nreserve_mb = 10.0\n[delivery]\nask_commitment = {str(way == 'asked').lower()}\n"
            )
            place = ("--destination", f"ARCHIVE@127.0.0.1:{keeper.port}")
            node = stack.enter_context(running_node(Path(folder) / way, *place, settings=settings))
            nodes[way] = node, keeper
            sending = Sending(node.port, [CT])
            for name in names:
                for uid, parts in series.slices(name):
                    sending.store(CT, uid, parts)
            sending.release()
        for number in range(rounds + 1):
            objects = encoded_marks(marked, 1, number)
            for way, (node, keeper) in nodes.items():
                stored_ms, committed_ms = _burst(node.port, keeper, objects, names, is_asked=way == "asked")
                if number:
                    found[way].append(stored_ms)
                    found["committed"] += [committed_ms] * (way == "asked")
    return {"studies": studies, **found}


def _burst(
    port: int, keeper: Archive, objects: Sequence[tuple[str, bytes]], names: Sequence[str], *, is_asked: bool
) -> tuple[float, float]:
    """Milliseconds from the first mark of a burst to the last report stored, and to the last commitment."""
    time.sleep(1.2)  # more than `jobs.quiet_s`
    stored, committed = len(keeper.arrived) + 2 * len(names), len(keeper.committed) + len(names) * is_asked
    began = time.time()
    sending = Sending(port, [MARK])
    for name in names:
        for uid, encoded in renamed(objects, name):
            sending.store(MARK, uid, [encoded])
    sending.release()
    wait_until(lambda: len(keeper.arrived) >= stored, "reports at the archive")
    wait_until(lambda: len(keeper.committed) >= committed, "commitment")
    ends = (keeper.arrived[-1].at, keeper.committed[-1] if is_asked else keeper.arrived[-1].at)
    return 1e3 * (ends[0] - began), 1e3 * (ends[1] - began)


def tables(result: dict[str, Any]) -> str:
    """Tables of a result, in Markdown."""
    lines = []
    if result["archives"]:
        heads = [f"{name}, {result['counts'][name]} reports" for name in result["archives"]]
        lines += [
            f"Medians of {result['rounds']} rounds (pynetdicom 2) in ms, and as multiples of storescu, a "
            f"report of {result['kilobytes']:.0f} kB. DCMTK's senders are processes: their start is in it.",
            "",
            "| way | " + " | ".join(heads) + " |",
            "|---" * (len(heads) + 1) + "|",
        ]
        for way in next(iter(result["archives"].values())):
            cells = []
            for taken in result["archives"].values():
                middle = statistics.median(taken[way])
                cells.append(f"{middle:.1f} ({middle / _by(way, taken, 'storescu'):.2f} x)")
            lines.append(f"| {way} | {' | '.join(cells)} |")
    asked = result["commitment"]
    lines += [
        "",
        f"Bursts of {asked['studies']} marks on as many series through a node, by whether it asks for the "
        f"storage commitment of each report (answered after 0.1 s); medians of "
        f"{len(asked['asked'])} bursts in turn:",
        "",
        "| from the first mark to | not asked | asked |",
        "|---|---|---|",
        f"| all reports stored, ms | {_middle(asked, 'not asked'):.0f} | {_middle(asked, 'asked'):.0f} |",
        f"| all committed, ms | | {_middle(asked, 'committed'):.0f} |",
    ]
    return "\n".join(lines) + "\n"


def _by(way: str, taken: dict[str, list[float]], program: str) -> float:
    return statistics.median(taken[f"{way.partition(':')[0]}: {program}"])


def _middle(asked: dict[str, Any], name: str) -> float:
    return statistics.median(asked[name])


def goals(result: dict[str, Any]) -> list[Goal]:
    """Goal 7: no slower than DCMTK's senders, and not held up by the question for commitment."""
    found = []
    for archive_name, taken in result["archives"].items():
        for way in (one for one in taken if one.endswith((": ours", "kept association"))):
            ratios = [statistics.median(taken[way]) / _by(way, taken, one) for one in ("storescu", "dcmsend")]
            many = f"{result['counts'][archive_name]} reports over one association"
            wanted = f"{way.replace(BATCH, many)}, archive {archive_name}: no slower than storescu, dcmsend"
            said = ", ".join(f"{ratio:.2f} x" for ratio in ratios)
            found.append(Goal(number="7", goal=wanted, measured=said, met=max(ratios) <= 1))
    asked = result["commitment"]
    alone_ms, stored_ms, committed_ms = (_middle(asked, one) for one in ("not asked", "asked", "committed"))
    # One after the other each report but the first would wait for the answer about the one before.
    in_turn_ms = alone_ms + 1e3 * ANSWER_S * (asked["studies"] - 1)
    found.append(
        Goal(
            number="7",
            goal=f"storing goes on while commitment is asked for: sooner than {in_turn_ms:.0f} ms in turn",
            measured=f"{stored_ms:.0f} ms, committed after {committed_ms:.0f}; not asked {alone_ms:.0f} ms",
            met=stored_ms < in_turn_ms,
        )
    )
    return found
