"""Kill -9 of listener, worker or both at random moments; then count what is there.

Run ``python -m tests.faults.kill --kills 300`` for the large number; ``docs/reliability.md`` has its results.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from osteoscribe.store.segments import MADE_AHEAD_FOR, RECEIVED, SegmentStore, made_at
from tests.conftest import PROJECT, find_program
from tests.fakes.orthanc import DICOM_PORT, Orthanc, running_orthanc
from tests.fakes.processes import QUICK, NodeProcess, free_port, running_node, storescp_archive, wait_until
from tests.faults.peers import (
    CountingArchive,
    KeepingSender,
    counting_archive,
    random_pause,
    study_under_other_uids,
)
from tests.faults.processes import kill_all, kill_listener, receiver_pids, wait_for_end, worker_pids
from tests.postgresql import postgresql_server

PHASES = ("reception", "measuring", "delivery")
Counts = dict[tuple[str, str], int]
"""Number of different instances by study and SOP class."""

SAMPLES = PROJECT / "dicom_samples" / "pelvis-thick"


@dataclass
class Campaign:
    """A run of kills against one node: what was sent, killed and found.

    Parameters
    ----------
    seed
        Makes victims and moments; how far the node is at each depends on the machine.
    """

    node: NodeProcess
    seed: int
    moments: random.Random = field(init=False)
    sender: KeepingSender = field(init=False)
    studies: list[list[Dataset]] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    workers_seen: set[int] = field(default_factory=set)
    _verified: set[str] = field(default_factory=set)
    _last_segment: str = ""

    def __post_init__(self) -> None:
        self.moments = random.Random(self.seed)
        self.sender = KeepingSender(random_pause(self.seed, 0.08))

    def kill_once(self) -> None:
        """Send a study, kill at a random moment of a random phase, start again, send the study whole."""
        study = study_under_other_uids(SAMPLES, len(self.studies))
        self.studies.append(study)
        log_start = self.node.log.stat().st_size
        done = threading.Event()

        is_handed = self.moments.random() < 0.5

        def send() -> None:
            with contextlib.ExitStack() as beside:
                if is_handed:
                    # With a connection open already, a receiver gets the next one.
                    beside.enter_context(socket.create_connection(("127.0.0.1", self.node.port)))
                if self.sender.send(self.node.port, study):
                    done.set()

        sending = threading.Thread(target=send)
        sending.start()
        self._wait_for_moment(done, log_start)
        phase = self._phase(done, log_start)
        victim = self.moments.choice(("all", "listener", "worker", "receiver"))
        self.workers_seen.update(worker_pids(self.node))
        alone = {"worker": worker_pids, "receiver": receiver_pids}.get(victim)
        if alone is not None and not kill_all(alone(self.node)):
            # The last one killed is not back yet.
            victim = "all"
        if victim == "all":
            self.node.kill()
        elif victim == "listener":
            kill_listener(self.node)
        self.kills[f"{victim}, {phase}"] += 1
        sending.join()
        if victim in ("all", "listener"):
            self.node.start()
        self.check_acknowledged()
        if not done.is_set():
            wait_until(lambda: self.sender.send(self.node.port, study), "the study sent whole", 120)

    def _wait_for_moment(self, done: threading.Event, log_start: int) -> None:
        aim = self.moments.choice(PHASES)
        if aim == "reception":
            time.sleep(self.moments.uniform(0.0, 0.8))
            return
        done.wait(10)
        if aim == "delivery":
            deadline = time.monotonic() + 8
            while time.monotonic() < deadline and "job measured" not in self._log(log_start):
                time.sleep(0.02)
            time.sleep(self.moments.uniform(0.0, 0.6))
        else:
            time.sleep(self.moments.uniform(0.3, 2.5))

    def _phase(self, done: threading.Event, log_start: int) -> str:
        if not done.is_set():
            return "reception"
        log = self._log(log_start)
        if "job measured" not in log:
            return "measuring"
        return "delivery" if log.count("state=stored") < 2 * log.count("job measured") else "nothing to do"

    def _log(self, start: int) -> str:
        with self.node.log.open("rb") as file:
            file.seek(start)
            return file.read().decode("utf-8", "replace")

    def check_acknowledged(self) -> None:
        """Every instance that was answered with success is in the segments, byte for byte."""
        self._verified |= self.stored_digests(self._last_segment)
        lost = self.sender.acknowledged - self._verified
        assert not lost, f"{len(lost)} acknowledged instances are not in the segments"
        segments = SegmentStore(self.node.folder / "data" / "segments")
        # A segment may be made ahead of others, and used behind them: so far back they are read again.
        names = list(segments.lengths(RECEIVED))
        if names:
            since = made_at(names[-1]) - MADE_AHEAD_FOR
            self._last_segment = min(one for one in names if made_at(one) >= since)

    def stored_digests(self, after: str = "") -> set[str]:
        """SHA-256 of the received instances; `SegmentStore.scan` computes each from the bytes."""
        segments = SegmentStore(self.node.folder / "data" / "segments")
        names = [one for one in segments.lengths(RECEIVED) if one >= after]
        return {record.digest for name in names for record in segments.scan(name)}

    def settled(self, destinations: int) -> dict[str, Any]:
        """Status of the node once nothing is under way any more."""
        status: dict[str, Any] = {}

        def quiet() -> bool:
            nonlocal status
            status = self.node.status()
            ended = sum(status["deliveries"].get(one, 0) for one in ("stored", "parked"))
            failed = status["jobs"].get("failed", 0)
            return bool(ended == destinations * (len(self.studies) - failed))

        wait_until(quiet, "all deliveries", 120 + 4.0 * len(self.studies))
        return status


def run(
    node: NodeProcess,
    kills: int,
    seed: int,
    archives: dict[str, Callable[[], Counts]],
    progress: Callable[[str], None] = lambda _line: None,
    until: float = float("inf"),
) -> dict[str, Any]:
    """Kill so many times, let the node finish, and count.

    Parameters
    ----------
    archives
        For each archive, what gives the number of different instances by study and SOP class.
    until
        `time.monotonic` value after which no more kills begin.

    Raises
    ------
    AssertionError
        Something is lost or doubled.
    """
    campaign = Campaign(node, seed)
    started = time.monotonic()
    for number in range(1, kills + 1):
        if time.monotonic() > until:
            break
        campaign.kill_once()
        if number % 10 == 0:
            progress(f"{number} kills, {time.monotonic() - started:.0f} s, {dict(campaign.kills)}")
    status = campaign.settled(len(archives))
    campaign.check_acknowledged()
    sent = sum(len(study) for study in campaign.studies)
    result = {
        "kills": campaign.kills.total(),
        "by_victim_and_phase": dict(sorted(campaign.kills.items())),
        "seconds": round(time.monotonic() - started),
        "seed": seed,
        "studies": len(campaign.studies),
        "instances_sent": sent,
        "instances_acknowledged": len(campaign.sender.acknowledged),
        "instances_in_segments": len(campaign.stored_digests()),
        "status": status,
        "problem_codes": dict(Counter(one["code"] for job in node.jobs() for one in job["problems"])),
        "archives": {name: _summary(campaign, count()) for name, count in archives.items()},
    }
    _check(result, campaign)
    return result


def _summary(campaign: Campaign, counts: Counts) -> dict[str, int]:
    studies = {str(study[0].StudyInstanceUID) for study in campaign.studies}
    kinds = Counter(study for study, _ in counts)
    return {
        "studies_with_one_sr_and_one_companion": sum(kinds[one] == 2 for one in studies),
        "most_of_one_class_in_a_study": max(counts.values(), default=0),
        "studies_that_nobody_sent": len(set(kinds) - studies),
    }


def _check(result: dict[str, Any], campaign: Campaign) -> None:
    studies, status = result["studies"], result["status"]
    assert result["instances_acknowledged"] == result["instances_sent"], result
    assert result["instances_in_segments"] == result["instances_sent"], result
    assert status["instances"] == result["instances_sent"], result
    assert status["marks"] == studies, result
    failed = status["jobs"].get("failed", 0)
    assert sum(status["jobs"].values()) == studies, result
    assert status["findings"] + failed == studies, result
    assert sum(result["problem_codes"].values()) == failed, result
    assert status["jobs"].get("done", 0) + failed == studies, result
    for counts in result["archives"].values():
        assert counts["studies_with_one_sr_and_one_companion"] == studies - failed, result
        assert counts["most_of_one_class_in_a_study"] == (1 if studies > failed else 0), result
        assert counts["studies_that_nobody_sent"] == 0, result
    alive = set(worker_pids(campaign.node))
    # One that was killed in the middle of its start notices that at its end.
    wait_for_end(sorted(campaign.workers_seen - alive))


def instances_in_folder(folder: Path) -> Counts:
    """How many different instances of each SOP class each study has in the folder of DCMTK's storescp."""
    found = {}
    for path in folder.iterdir():
        ds = dcmread(path, stop_before_pixels=True)
        found[str(ds.SOPInstanceUID)] = (str(ds.StudyInstanceUID), str(ds.SOPClassUID))
    assert len(found) == len(list(folder.iterdir()))
    return dict(Counter(found.values()))


def instances_in_orthanc(orthanc: Orthanc) -> Counts:
    """How many instances of each SOP class each study has in an Orthanc."""
    found: Counter[tuple[str, str]] = Counter()
    for instance in orthanc.find("Instance"):
        tags = orthanc.get(f"instances/{instance['ID']}/simplified-tags")
        found[tags["StudyInstanceUID"], tags["SOPClassUID"]] += 1
    return dict(found)


@contextlib.contextmanager
def dcmtk_archive(folder: Path, storescp: str) -> Iterator[tuple[str, Callable[[], Counts]]]:
    """DCMTK's storescp: its destination, and what counts in it."""
    port = free_port()
    with storescp_archive(storescp, folder / "archive", port) as files:
        yield f"PACS@127.0.0.1:{port}", lambda: instances_in_folder(files)


@contextlib.contextmanager
def orthanc_archive(folder: Path) -> Iterator[tuple[str, Callable[[], Counts]]]:
    """An Orthanc beside this process, which must run in a network namespace of its own."""
    program, curl = find_program("Orthanc"), find_program("curl")
    assert program, "Orthanc is absent"
    assert curl, "curl is absent"
    with running_orthanc(program, curl, (), folder / "orthanc") as orthanc:
        yield f"ORTHANC@127.0.0.1:{DICOM_PORT}", lambda: instances_in_orthanc(orthanc)


@contextlib.contextmanager
def node_with_archives(
    folder: Path,
    archive: AbstractContextManager[tuple[str, Callable[[], Counts]]],
    *,
    ledger_url: str = "",
    slow_s: float = 0.4,
) -> Iterator[tuple[NodeProcess, dict[str, Callable[[], Counts]], CountingArchive]]:
    """A node that delivers to a real archive and to a counting one that takes its time."""
    pauses = random.Random(1)

    def slowly(_event: object, _number: int) -> int:
        time.sleep(pauses.uniform(0.0, slow_s))
        return 0x0000

    settings = QUICK.replace("[store]", f'[store]\nledger_url = "{ledger_url}"') if ledger_url else QUICK
    with archive as (destination, count), counting_archive(slowly) as counting:
        places = ["--destination", destination, "--destination", f"ARCHIVE@127.0.0.1:{counting.port}"]
        with running_node(folder / "node", *places, settings=settings) as node:
            yield node, {destination.partition("@")[0]: count, "pynetdicom": counting.per_study}, counting


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run a campaign and write its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no kill after so long")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument(
        "--archive",
        choices=("dcmtk", "orthanc"),
        default="dcmtk",
        help="orthanc: only through unshare --net, with loopback up, for it listens on every address",
    )
    parser.add_argument("--result", type=Path, default=Path("kill-result.json"))
    asked = parser.parse_args()
    storescp = find_program("storescp")
    if asked.archive == "dcmtk" and storescp is None:
        parser.error("DCMTK's storescp is absent")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="osteoscribe-kill-")))
        url = ""
        if asked.database == "postgresql":
            url = stack.enter_context(postgresql_server())()
        archive = (
            dcmtk_archive(folder, str(storescp)) if asked.archive == "dcmtk" else orthanc_archive(folder)
        )
        node, archives, counting = stack.enter_context(node_with_archives(folder, archive, ledger_url=url))
        try:
            result = run(
                node,
                asked.kills,
                asked.seed,
                archives,
                progress=_say,
                until=time.monotonic() + asked.minutes * 60,
            )
        except BaseException:
            sys.stderr.write("\n".join(node.log.read_text().splitlines()[-60:]) + "\n")
            raise
    result["database"] = asked.database
    result["repeated_c_stores_of_the_same_instance"] = sum(n - 1 for n in counting.stores.values())
    asked.result.write_text(json.dumps(result, indent=2) + "\n")
    _say(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
