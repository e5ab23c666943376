"""Kill -9 at random moments loses and doubles nothing; a small number of what `tests.faults.kill` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Program
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
    assert result["kills"] >= 8


def test_kills_on_postgresql(tmp_path: Path, program: Program, new_postgresql: Callable[[], str]) -> None:
    url = new_postgresql()
    with node_with_archives(tmp_path, dcmtk_archive(tmp_path, program("storescp")), ledger_url=url) as (
        node,
        archives,
        _,
    ):
        result = run(node, 5, seed=5, archives=archives)
    assert result["kills"] >= 4
