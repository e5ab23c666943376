"""The system's clock jumps: no mark waits for the clock to catch up, and what was given up comes back.

The times are those that the ledger and the planning are told; the kernel's clock is not moved.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from osteoscribe.app.ports import JobResult
from tests.fakes.dicom import ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger

HOUR, DAY = 3600.0, 86400.0
JUMPS = [-10 * DAY, -HOUR, -2.0, 2.0, HOUR, 10 * DAY]


@pytest.mark.parametrize("jump_s", JUMPS)
def test_a_whole_study_is_planned_after_a_jump(tmp_path: Path, jump_s: float) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, ct_slice(1), ct_slice(2), released=True)
    ledger.receive(jump_s, mark_object(1, [ct_uid(1)]), released=True)
    planned = [key for step in (0.1, 1.5, 3.0) for key in ledger.plan(jump_s + step)]
    assert len(planned) == 1
    assert ledger.plan(jump_s + 2 * DAY) == ()


@pytest.mark.parametrize("jump_s", JUMPS)
def test_a_jump_while_images_are_missing_leaves_one_whole_job_at_the_end(
    tmp_path: Path, jump_s: float
) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, mark_object(1, [ct_uid(1), ct_uid(2)]), ct_slice(1), released=True)
    assert ledger.plan(0.1) == ()
    early = ledger.plan(jump_s)
    assert len(early) == (1 if jump_s > ledger.settings.give_up_after_s else 0)
    for key in early:
        ledger.jobs.record(key, JobResult(), {}, (), START)
    ledger.receive(jump_s + 1, ct_slice(2), released=True)
    late = [key for step in (1.1, 2.5, 5.0) for key in ledger.plan(jump_s + step)]
    assert len(late) == 1
    assert ledger.uids_of(late[0]) >= {ct_uid(1), ct_uid(2)}
