"""Two machines on one PostgreSQL and one shared folder: one is killed, stopped or cut off; then count.

Run ``python -m tests.faults.machines --rounds 50`` for the large number (results: ``docs/reliability.md``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import Dataset

from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.conftest import PROJECT
from tests.fakes.machines import HUB, Machine, private_network
from tests.fakes.processes import QUICK, NodeProcess, wait_until
from tests.faults.peers import (
    CountingArchive,
    KeepingSender,
    counting_archive,
    random_pause,
    study_under_other_uids,
)
from tests.postgresql import postgresql_server

SAMPLES = PROJECT / "dicom_samples" / "pelvis-thick"
PATIENCE_S = 180.0
"""With the others, who finish a dead machine's work: far beyond what they take."""


@dataclass
class Pair:
    """Two nodes on machines of their own, an archive that counts, and a shared folder."""

    nodes: list[NodeProcess]
    machines: list[Machine]
    archive: CountingArchive
    shared: Path


@contextlib.contextmanager
def running_pair(folder: Path, *, dead_after_s: float) -> Iterator[Pair]:
    """Two nodes; a slow archive makes deliveries last."""
    pauses = random.Random(1)

    def slowly(_event: object, _number: int) -> int:
        time.sleep(pauses.uniform(0.0, 1.0))
        return 0x0000

    with contextlib.ExitStack() as stack:
        machines = stack.enter_context(private_network(2))
        url = stack.enter_context(postgresql_server(HUB))()
        archive = stack.enter_context(counting_archive(slowly, host=HUB))
        nodes = []
        for name, machine in zip("ab", machines, strict=True):
            settings = f"""
[node]
name = "machine-{name}"
host = "0.0.0.0"
allowed_calling_aes = ["*"]
dead_after_s = {dead_after_s:.1f}
"""
            place = f'[store]\nledger_url = "{url}"\nshared_folder = "{folder / "shared"}"'
            settings += QUICK.replace("[store]", place)
            nodes.append(
                NodeProcess(
                    folder / name,
                    *("--destination", f"ARCHIVE@{HUB}:{archive.port}"),
                    settings=settings,
                    prefix=machine.prefix,
                )
            )
            stack.callback(nodes[-1].kill)
        yield Pair(nodes=nodes, machines=machines, archive=archive, shared=folder / "shared")


@dataclass
class Campaign:
    """Rounds of faults against a pair: what was sent, done to whom, and how long the other took.

    Parameters
    ----------
    seed
        Makes victims and moments; how far the node is at each depends on the machine.
    """

    pair: Pair
    seed: int
    moments: random.Random = field(init=False)
    sender: KeepingSender = field(init=False)
    studies: list[list[Dataset]] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.moments = random.Random(self.seed)
        self.sender = KeepingSender(random_pause(self.seed, 0.08))

    def round(self, fault: str) -> None:
        """Send to both machines, do this to one at a random moment, and have the other finish everything."""
        victim = self.moments.randrange(2)
        new = [study_under_other_uids(SAMPLES, len(self.studies) + k) for k in range(4)]
        self.studies += new
        # Images over one machine, the mark over the other, as a balancer would do it; or both over one.
        halves = [(new[0][:-1], 0), (new[0][-1:], 1), (new[1], victim), (new[2], 0), (new[3], 1)]
        senders = [threading.Thread(target=self._send, args=half) for half in halves]
        for one in senders:
            one.start()
        self._wait_for_moment(victim)
        heal = self._break(fault, victim)
        began = time.monotonic()
        for one in senders:
            one.join()
        for datasets, _ in halves:
            other = 1 - victim
            wait_until(
                lambda d=datasets, o=other: self._send(d, o), "what was not acknowledged, sent again", 90
            )
        self._wait_for_all(1 - victim, began)
        self.done[fault] += 1
        heal()

    def _wait_for_moment(self, victim: int) -> None:
        """Any moment; in half of the rounds one in which the victim is sending a report."""
        address, archive = self.pair.machines[victim].address, self.pair.archive
        if self.moments.random() < 0.5:
            begun = archive.begun_by[address]
            until = time.monotonic() + 6
            while archive.begun_by[address] == begun and time.monotonic() < until:
                time.sleep(0.02)
        else:
            time.sleep(self.moments.uniform(0.0, 3.0))

    def _send(self, datasets: list[Dataset], machine: int) -> bool:
        node = self.pair.nodes[machine]
        return self.sender.send(node.port, datasets, host=self.pair.machines[machine].address)

    def _break(self, fault: str, victim: int) -> Callable[[], None]:
        node, machine = self.pair.nodes[victim], self.pair.machines[victim]
        if fault == "killed":
            node.kill()
            return node.start
        if fault == "stopped":
            os.killpg(node.process.pid, signal.SIGSTOP)
            return lambda: os.killpg(node.process.pid, signal.SIGCONT)
        machine.cut_off()
        return machine.join

    def _wait_for_all(self, survivor: int, began: float) -> None:
        expected = {"stored": len(self.studies)}
        wait_until(
            lambda: self.pair.nodes[survivor].status()["deliveries"] == expected,
            "all deliveries by the survivor",
            PATIENCE_S,
        )
        self.seconds.append(round(time.monotonic() - began, 1))

    def counts(self) -> dict[str, Any]:
        """Everything that was sent, stored, reported and delivered."""
        segments = SegmentStore(self.pair.shared / "segments")
        names = list(segments.lengths(RECEIVED))
        stored = Counter(record.digest for name in names for record in segments.scan(name))
        status = self.pair.nodes[0].status()
        return {
            "rounds": dict(self.done),
            "seconds_until_finished": self.seconds,
            "studies": len(self.studies),
            "instances_sent": sum(len(one) for one in self.studies),
            "instances_acknowledged": len(self.sender.acknowledged),
            "instances_lost": len(self.sender.acknowledged - set(stored)),
            "instances_in_the_ledger": status["instances"],
            "jobs": status["jobs"],
            "findings": status["findings"],
            "deliveries": status["deliveries"],
            "archive_instances": len(self.pair.archive.instances),
            "archive_most_of_one_class_in_a_study": max(self.pair.archive.per_study().values()),
            "workflows_taken_over": self._logged(r"taken over .* workflows=([0-9]+)"),
            "instances_recorded_for_the_dead": self._logged(r"nodes living=.* recorded=([0-9]+)"),
            "repeated_c_stores": sum(n - 1 for n in self.pair.archive.stores.values()),
        }

    def _logged(self, pattern: str) -> int:
        logs = [node.log.read_text("utf-8") for node in self.pair.nodes]
        return sum(int(found) for text in logs for found in re.findall(pattern, text))

    def check(self) -> dict[str, Any]:
        """Nothing is lost, nothing is doubled; gives the counts."""
        # Whoever was stopped or cut off comes back here with what it still meant to do.
        time.sleep(5)
        found, studies = self.counts(), len(self.studies)
        assert found["instances_acknowledged"] == found["instances_sent"], found
        assert found["instances_lost"] == 0, found
        assert found["instances_in_the_ledger"] == found["instances_sent"], found
        assert found["jobs"] == {"done": studies}, found
        assert found["findings"] == studies, found
        assert found["deliveries"] == {"stored": studies}, found
        assert found["archive_instances"] == 2 * studies, found
        assert found["archive_most_of_one_class_in_a_study"] == 1, found
        return found


def main() -> int:
    """Run a campaign and write its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no round after so long")
    parser.add_argument("--dead-after", type=float, default=20.0, help="seconds; the node's default is 20")
    parser.add_argument("--result", type=Path, default=Path("machines-result.json"))
    asked = parser.parse_args()
    until = time.monotonic() + asked.minutes * 60
    with (
        tempfile.TemporaryDirectory(prefix="osteoscribe-machines-") as folder,
        running_pair(Path(folder), dead_after_s=asked.dead_after) as pair,
    ):
        campaign = Campaign(pair, asked.seed)
        try:
            for number in range(asked.rounds):
                if time.monotonic() > until:
                    break
                campaign.round(("killed", "stopped", "cut off")[number % 3])
                sys.stdout.write(f"{dict(campaign.done)} {campaign.seconds[-1]} s\n")
                sys.stdout.flush()
            result = campaign.check()
        except BaseException:
            for node in pair.nodes:
                sys.stderr.write("\n".join(node.log.read_text().splitlines()[-60:]) + "\n\n")
            raise
    asked.result.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
