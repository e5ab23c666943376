"""The node on PostgreSQL: ledger and engine on one server, kills included."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.fakes.processes import QUICK, free_port, running_node, storescp_archive, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.timeout(170)]


def test_a_study_goes_through_although_the_node_is_killed(
    tmp_path: Path, project: Path, program: Program, new_postgresql: Callable[[], str]
) -> None:
    port = free_port()
    url = new_postgresql()
    settings = QUICK.replace("[store]", f'[store]\nledger_url = "{url}"')
    samples = project / "dicom_samples" / "pelvis-thick"
    with (
        storescp_archive(program("storescp"), tmp_path / "archive", port) as archive,
        running_node(tmp_path / "node", "--destination", f"PACS@127.0.0.1:{port}", settings=settings) as node,
    ):
        node.send(program("dcmsend"), samples)
        for moment_s in (0.3, 1.5):
            time.sleep(moment_s)
            node.kill()
            node.start()
        wait_until(lambda: node.status()["deliveries"] == {"stored": 1}, "the delivery", 90)
        assert node.status()["jobs"] == {"done": 1}
        assert len(list(archive.iterdir())) == 2
        assert not (tmp_path / "node" / "data" / "engine.sqlite").exists()
