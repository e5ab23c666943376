"""Two nodes behind HAProxy, with the very configuration of docs/scale.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.fakes.processes import QUICK, NodeProcess, free_port, listens, running_node, wait_until
from tests.faults.peers import KeepingSender, counting_archive, study_under_other_uids

pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.timeout(400),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@contextmanager
def haproxy(program: str, project: Path, folder: Path, port: int, nodes: list[int]) -> Iterator[None]:
    """HAProxy with the configuration of the page, its addresses exchanged for those of the test."""
    (text,) = re.findall(
        r"```haproxy\n(.*?)```", (project / "docs" / "scale.md").read_text("utf-8"), re.DOTALL
    )
    for shown, real in zip(("10.1.0.10", "10.1.0.11", "10.1.0.12"), (port, *nodes), strict=True):
        assert text.count(f"{shown}:11112") == 1
        text = text.replace(f"{shown}:11112", f"127.0.0.1:{real}")
    (folder / "haproxy.cfg").write_text(text)
    process = subprocess.Popen([program, "-db", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), "HAProxy")
        yield
    finally:
        process.kill()
        process.wait(60)


def accepted(node: NodeProcess) -> int:
    return node.log.read_text().count("association accepted")


def test_studies_are_spread_over_two_nodes_and_one_may_die(
    tmp_path: Path, project: Path, program: Program, new_postgresql: Callable[[], str]
) -> None:
    balancer, url, port = program("haproxy"), new_postgresql(), free_port()
    sender = KeepingSender()
    place = f'[store]\nledger_url = "{url}"\nshared_folder = "{tmp_path / "shared"}"'
    with counting_archive() as archive:
        destination = ("--destination", f"ARCHIVE@127.0.0.1:{archive.port}")

        def settings(name: str) -> str:
            return f'[node]\nname = "{name}"\ndead_after_s = 10.0\n' + QUICK.replace("[store]", place)

        with (
            running_node(tmp_path / "a", *destination, settings=settings("a")) as a,
            running_node(tmp_path / "b", *destination, settings=settings("b")) as b,
            haproxy(balancer, project, tmp_path, port, [a.port, b.port]),
        ):
            studies = [
                study_under_other_uids(project / "dicom_samples" / "pelvis-thick", n) for n in range(6)
            ]
            for study in studies[:3]:
                assert sender.send(port, study[:-1])
                assert sender.send(port, study[-1:])
            assert accepted(a) and accepted(b)
            a.kill()
            for study in studies[3:]:
                wait_until(lambda one=study: sender.send(port, one), "the other node", 90)
            wait_until(lambda: b.status()["deliveries"] == {"stored": 6}, "all reports", 120)
            assert b.status()["instances"] == len(sender.acknowledged) == sum(map(len, studies))
            assert b.status()["jobs"] == {"done": 6}
        assert len(archive.instances) == 12
