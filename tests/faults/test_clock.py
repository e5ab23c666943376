"""The system's clock jumps: no mark waits for the clock to catch up, and what was given up comes back.

First the times that the ledger and the planning are told; then the clock of a whole node is moved.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from osteoscribe.app.ports import JobResult
from tests.conftest import Program
from tests.fakes.dicom import ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger
from tests.fakes.processes import running_node, wait_until
from tests.faults.kill import SAMPLES
from tests.faults.peers import KeepingSender, counting_archive, study_under_other_uids

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


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.timeout(300)
def test_a_node_whose_clock_jumps_reports_each_study_once(tmp_path: Path, program: Program) -> None:
    library, offset = tmp_path / "clock.so", tmp_path / "offset"
    source = str(Path(__file__).with_name("clock.c"))
    subprocess.run([program("gcc"), "-shared", "-fPIC", "-o", str(library), source, "-ldl"], check=True)
    offset.write_text("0")
    with (
        counting_archive() as archive,
        running_node(
            tmp_path / "node",
            *("--destination", f"ARCHIVE@127.0.0.1:{archive.port}"),
            prefix=("env", f"LD_PRELOAD={library}", f"CLOCK_OFFSET_FILE={offset}"),
        ) as node,
    ):
        done = 0

        def report_one_more() -> None:
            nonlocal done
            assert KeepingSender().send(node.port, study_under_other_uids(SAMPLES, done))
            done += 1
            wait_until(lambda: node.status()["deliveries"] == {"stored": done}, f"report {done}")

        for jump_s in (0, -10 * DAY, 10 * DAY, -HOUR):
            offset.write_text(f"{jump_s:.0f}")
            report_one_more()
        offset.write_text(f"{-20 * DAY:.0f}")
        node.kill()
        node.start()
        report_one_more()
        assert len({day[:10] for day in node.log.read_text().splitlines()}) > 3, "its clock was moved"
        assert set(archive.per_study().values()) == {1}
