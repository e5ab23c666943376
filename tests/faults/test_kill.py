"""Kill -9 at random moments loses and doubles nothing; a small number of what `tests.faults.kill` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Program
from tests.faults.kill import dcmtk_archive, node_with_archives, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.timeout(600),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_kills_on_sqlite(tmp_path: Path, program: Program) -> None:
    with node_with_archives(tmp_path, dcmtk_archive(tmp_path, program("storescp"))) as (node, archives, _):
        result = run(node, 10, seed=10, archives=archives)
    assert result["kills"] == 10


def test_kills_on_postgresql(tmp_path: Path, program: Program, new_postgresql: Callable[[], str]) -> None:
    url = new_postgresql()
    with node_with_archives(tmp_path, dcmtk_archive(tmp_path, program("storescp")), ledger_url=url) as (
        node,
        archives,
        _,
    ):
        result = run(node, 5, seed=5, archives=archives)
    assert result["kills"] == 5


def test_kills_with_orthanc_as_archive(tmp_path: Path, program: Program) -> None:
    """In a network namespace of its own, for Orthanc listens on every address."""
    for name in ("Orthanc", "curl"):
        program(name)
    result = tmp_path / "result.json"
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up || exit 77; exec "$@"', "sh"]
    campaign = [
        sys.executable,
        "-m",
        "tests.faults.kill",
        "--kills",
        "4",
        "--seed",
        "4",
        "--archive",
        "orthanc",
    ]
    finished = subprocess.run(
        [*alone, *campaign, "--result", str(result)],
        cwd=PROJECT,
        env=dict(os.environ, PYTHONPATH=str(PROJECT / "plugin")),
        check=False,
        capture_output=True,
        timeout=500,
    )
    if finished.returncode in (1, 77) and b"Operation not permitted" in finished.stderr:
        pytest.skip("no network namespace can be made here (needs root)")
    assert finished.returncode == 0, finished.stderr[-4000:].decode("utf-8", "replace")
    assert json.loads(result.read_text())["kills"] == 4
