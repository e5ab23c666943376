"""Two machines share the work; one dies, sleeps or loses its network, and nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.machines import Campaign, running_pair

pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.timeout(700),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # So does the state machine of a sender whose peer is killed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.mark.usefixtures("new_postgresql")
def test_a_dead_slow_or_lost_machine_is_no_loss(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with running_pair(tmp_path, dead_after_s=20.0) as pair:
        campaign = Campaign(pair, seed=3)
        for fault in ("killed", "stopped", "cut off"):
            campaign.round(fault)
        campaign.check()
