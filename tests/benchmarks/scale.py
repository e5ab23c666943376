"""Throughput with 1, 2 and 4 workers on PostgreSQL, and a day of a hospital, a region and a vendor's cloud.

    python -m tests.benchmarks.scale [--short]

Marked studies are sent as fast as they are taken; then their marks, all at once. What each part cost is the
input of the simulation in `day.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from osteoscribe.app.ports import Envelope, Stored
from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import BlobRef
from osteoscribe.readers.headers import read_header
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.schema import open_database
from tests.benchmarks import day
from tests.benchmarks.marked_series import CT, SEG, Series, encoded_marks, lesions, make_series, renamed
from tests.benchmarks.page import Goal
from tests.benchmarks.peers import EXPLICIT, Archive, Sending
from tests.fakes.processes import NodeProcess, running_node
from tests.faults.processes import receiver_pids, worker_pids
from tests.postgresql import postgresql_server

SLICES = 44
"""Enough for a ball of 15 mm in the middle."""
OBJECTS_IN_A_REPORT = 2
SETTINGS = """
[store]
reserve_mb = 10.0
ledger_url = "{url}"
[jobs]
workers = {workers}
"""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def run(short: bool = False) -> dict[str, Any]:
    """Measure, then simulate.

    Parameters
    ----------
    short
        Few studies: whether it runs, rather than how fast.

    Returns
    -------
    dict
        ``runs``: what was measured with each number of workers; ``costs``: of one instance and one job;
        ``days``: what became of each simulated day.
    """
    studies, numbers = (4, (1, 2)) if short else (16, (1, 2, 4))
    series = make_series(SLICES)
    runs = []
    with tempfile.TemporaryDirectory() as folder, postgresql_server() as new_database:
        writer_s = _writer_s_an_instance(new_database(), series, 5 if short else 30)
        for workers in numbers:
            runs.append(_measure(Path(folder) / str(workers), new_database(), workers, studies, series))
    costs = {**_costs(runs), "writer_s_an_instance": writer_s}
    return {"cores": os.cpu_count(), "runs": runs, "costs": costs, "days": day.simulate(costs, short=short)}


def _measure(folder: Path, url: str, workers: int, studies: int, series: Series) -> dict[str, float]:
    names = [str(3000 + number) for number in range(studies)]
    marks = encoded_marks(lesions(1, SLICES), 1, 0)
    database = sa.create_engine(url)
    with (
        Archive() as archive,
        running_node(
            folder,
            *("--destination", f"ARCHIVE@127.0.0.1:{archive.port}"),
            settings=SETTINGS.format(url=url, workers=workers),
        ) as node,
    ):
        _warm_up(node, archive, workers, series)
        warmed = len(archive.arrived)
        before = _used(node, database)
        began = time.perf_counter()
        _send_series(node, series, names)
        received_s = time.perf_counter() - began
        time.sleep(1.5)
        received = _used(node, database)
        began = time.perf_counter()
        _send_marks(node, marks, names)
        _wait(lambda: len(archive.arrived) >= warmed + OBJECTS_IN_A_REPORT * studies, "all reports")
        worked_s = time.perf_counter() - began
        time.sleep(0.5)
        done = _used(node, database)
    database.dispose()
    instances = studies * SLICES
    return {
        "workers": workers,
        "studies": studies,
        "instances": instances,
        "received_per_s": instances / received_s,
        "jobs_per_s": studies / worked_s,
        "listener_cpu_s_an_instance": (received["listener"] - before["listener"]) / instances,
        "database_cpu_s_an_instance": (received["database"] - before["database"]) / instances,
        "ledger_bytes_an_instance": (received["bytes"] - before["bytes"]) / instances,
        "worker_cpu_s_a_job": (done["workers"] - received["workers"]) / studies,
        "database_cpu_s_a_job": (done["database"] - received["database"]) / studies,
        "listener_cpu_s_a_job": (done["listener"] - received["listener"]) / studies,
        "commits_a_job": (done["commits"] - received["commits"]) / studies,
    }


def _warm_up(node: NodeProcess, archive: Archive, workers: int, series: Series) -> None:
    """Have every worker report once or be at rest: on a busy machine one that still starts seems to rest."""
    names = [str(2000 + number) for number in range(2 * workers)]
    _send_series(node, series, names)
    _send_marks(node, encoded_marks(lesions(1, SLICES), 1, 0), names)
    _wait(lambda: len(archive.arrived) >= OBJECTS_IN_A_REPORT * len(names), "the first reports")
    _wait(lambda: _workers_rest(node, workers), "workers at rest")


def _send_series(node: NodeProcess, series: Series, names: Sequence[str]) -> None:
    sending = Sending(node.port, [CT])
    for name in names:
        for uid, parts in series.slices(name):
            sending.store(CT, uid, parts)
    sending.release()


def _send_marks(node: NodeProcess, marks: Sequence[tuple[str, bytes]], names: Sequence[str]) -> None:
    sending = Sending(node.port, [SEG])
    for name in names:
        for uid, encoded in renamed(marks, name):
            sending.store(SEG, uid, [encoded])
    sending.release()


def _writer_s_an_instance(url: str, series: Series, batches: int) -> float:
    """Median seconds for which recording an instance keeps the ledger's other writers out; batches of 100."""
    table = InstanceTable(open_database(url))
    header = read_header(b"".join(series.slices("3999")[0][1]), transfer_syntax_uid=EXPLICIT.decode())
    at = datetime(2026, 1, 1, tzinfo=UTC)
    taken = []
    for batch in range(batches):
        rows = []
        for number in range(100):
            uid = f"{header.sop_instance_uid}.{batch}.{number}"
            envelope = Envelope(
                sop_class_uid=CT,
                sop_instance_uid=uid,
                transfer_syntax_uid=EXPLICIT.decode(),
                calling_ae="SENDER",
                received_at=at,
            )
            rows.append(
                Stored(
                    header=replace(header, sop_instance_uid=uid),
                    blob=BlobRef(segment="received/20260101/1-1-1.seg", offset=number, length=1),
                    digest=new_digest(uid.encode()).hexdigest(),
                    envelope=envelope,
                    is_mark=False,
                )
            )
        began = time.perf_counter()
        table.add(rows)
        taken.append((time.perf_counter() - began) / len(rows))
    return statistics.median(taken)


def _costs(runs: list[dict[str, float]]) -> dict[str, float]:
    """Costs of one instance and one job, from the run with one worker: nothing else competes there."""
    one = runs[0]
    return {name: value for name, value in one.items() if name.endswith(("an_instance", "a_job"))}


def _used(node: NodeProcess, database: sa.Engine) -> dict[str, float]:
    """Processor seconds of each part so far, and what the database counts."""
    with database.connect() as connection:
        pids = list(connection.exec_driver_sql("SELECT pid FROM pg_stat_activity").scalars())
        counts = "SELECT xact_commit, pg_database_size(datname) FROM pg_stat_database"
        commits, size = connection.exec_driver_sql(f"{counts} WHERE datname = current_database()").one()
    return {
        "listener": sum(map(_cpu_s, [node.process.pid, *receiver_pids(node)])),
        "workers": sum(map(_cpu_s, worker_pids(node))),
        "database": sum(map(_cpu_s, pids)),
        "commits": float(commits),
        "bytes": float(size),
    }


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _workers_rest(node: NodeProcess, workers: int) -> bool:
    """Whether all have started: a worker that imports its libraries is busy."""
    before = [_cpu_s(pid) for pid in worker_pids(node)]
    time.sleep(0.5)
    after = [_cpu_s(pid) for pid in worker_pids(node)]
    return len(after) == workers and all(b > 0.5 and a - b < 0.1 for b, a in zip(before, after, strict=True))


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def tables(result: dict[str, Any]) -> str:
    """Tables of a result, in Markdown."""
    runs, costs = result["runs"], result["costs"]
    lines = [
        f"{runs[0]['studies']} CT series of {SLICES} slices of 0.5 MB, one mark each, PostgreSQL on the same "
        f"machine of {result['cores']} cores; marks sent all at once.",
        "",
        "| workers | instances a second | reports a second | worker CPU a report | database CPU a report |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['workers']} | {one['received_per_s']:.0f} | {one['jobs_per_s']:.1f} | "
        f"{1e3 * one['worker_cpu_s_a_job']:.0f} ms | {1e3 * one['database_cpu_s_a_job']:.0f} ms |"
        for one in runs
    ]
    lines += [
        "",
        "What the simulation takes from it (one worker):",
        "",
        "| cost | an instance | a report |",
        "|---|---|---|",
        f"| listener CPU | {1e3 * costs['listener_cpu_s_an_instance']:.2f} ms | "
        f"{1e3 * costs['listener_cpu_s_a_job']:.1f} ms |",
        f"| worker CPU | | {1e3 * costs['worker_cpu_s_a_job']:.0f} ms |",
        f"| database CPU | {1e3 * costs['database_cpu_s_an_instance']:.2f} ms | "
        f"{1e3 * costs['database_cpu_s_a_job']:.0f} ms |",
        f"| the ledger's one writer at a time | {1e3 * costs['writer_s_an_instance']:.2f} ms | |",
        f"| ledger | {costs['ledger_bytes_an_instance']:.0f} bytes | {costs['commits_a_job']:.0f} commits |",
        "",
    ]
    return "\n".join(lines) + "\n" + day.tables(result["days"])


def goals(result: dict[str, Any]) -> list[Goal]:
    """Goal 8: days simulated from what was measured here; docs/scale.md says what follows."""
    return [
        Goal(
            number="8",
            goal="a hospital's, a region's and a vendor's day, from measured costs",
            measured=f"{len(result['days'])} of 3 simulated ([scale](scale.md))",
            met=len(result["days"]) == 3,
        )
    ]


def plots(result: dict[str, Any], folder: Path) -> None:
    """Draw how busy each part is by number of sites."""
    day.plot(result["costs"], folder / "scale.png")


def main() -> int:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--plot", type=Path, help="folder of the picture")
    asked = parser.parse_args()
    result = run(asked.short)
    sys.stdout.write(tables(result))
    if asked.plot:
        plots(result, asked.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
