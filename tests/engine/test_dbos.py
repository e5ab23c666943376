"""The durable engine: work that a kill interrupts is finished by the next process, once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, sys, threading, time
from pathlib import Path
from osteoscribe.engine.dbos import DurableEngine

folder = Path(sys.argv[1])
log = folder / "log.txt"

def note(text):
    with log.open("a") as file:
        file.write(text + "\\n")
        file.flush()
        os.fsync(file.fileno())

def measure(key):
    note(f"begin {key}")
    if key == "slow" and not (folder / "second").exists():
        time.sleep(60)
    if key == "faulty":
        raise ValueError(key)
    while key == "report-2" and "send" not in log.read_text():
        time.sleep(0.01)
    note(f"end {key}")
    if key.startswith("report"):
        engine.hand_over("P@h:1")
    return 0.2 if key == "postponed" and log.read_text().count("end postponed") < 3 else None

def deliver(key, destination):
    note(f"deliver {key} {destination}")
    tries = log.read_text().count(f"deliver {key} {destination}\\n")
    is_alone = not any(one.startswith("other/") for one in sys.argv) or "deliver other" in log.read_text()
    return 0.2 if key == "late" and (tries < 3 or not is_alone) else None

engine = DurableEngine(
    database_url=f"sqlite:///{folder / 'engine.sqlite'}",
    executor_id="worker-0",
    measure=measure,
    errands={"delivery": deliver},
    is_open=lambda key, destination: key != "gone",
    send_waiting=lambda destination: note(f"send {destination}"),
    is_alone=(folder / "alone").exists(),
    on_progress=lambda: note("progress") if (folder / "tells").exists() else None,
)
engine.start()
for key in sys.argv[2:]:
    if key.startswith("ready:"):
        engine.make_ready(lambda key=key: note(key))
    elif "/" in key:
        engine.submit_delivery(*key.split("/"), 0)
    else:
        engine.submit_job(key, 0)
note("submitted")
deadline = time.monotonic() + 90
polling = {"queue_thread", "queue-worker", "dynamic_scheduler", "dbos-background"}
is_noted = has_given_up = False
while time.monotonic() < deadline and not (folder / "stop").exists():
    time.sleep(0.05)
    if (folder / "more").exists():
        engine.submit_job("more", 0)
        (folder / "more").unlink()
    engine.rest()
    names = " ".join(one.name for one in threading.enumerate())
    if not is_noted and not any(name in names for name in polling):
        note("rests")
        is_noted = True
    if not has_given_up and engine.given_up_jobs():
        note("gave up")
        has_given_up = True
print(engine.given_up_jobs())
os._exit(0)
"""


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *keys: str) -> subprocess.Popen[bytes]:
        source = Path(__file__).resolve().parents[2] / "plugin"
        environment = dict(os.environ, PYTHONPATH=str(source))
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(self.folder), *keys], env=environment, stdout=subprocess.PIPE
        )

    @property
    def log(self) -> list[str]:
        path = self.folder / "log.txt"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, line: str, count: int = 1) -> None:
        deadline = time.monotonic() + 90
        while self.log.count(line) < count:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate()

    def stop(self, process: subprocess.Popen[bytes]) -> str:
        (self.folder / "stop").touch()
        output, _ = process.communicate(timeout=60)
        (self.folder / "stop").unlink()
        return output.decode()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(params=["one of several", "alone"])
def any_bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    if request.param == "alone":
        (tmp_path / "alone").touch()
    return Bench(tmp_path)


@pytest.mark.slow
def test_a_job_that_is_postponed_is_tried_again_and_one_that_fails_is_given_up(any_bench: Bench) -> None:
    first = any_bench.start("postponed", "next", "faulty")
    any_bench.wait_for("end next")
    any_bench.wait_for("begin faulty")
    any_bench.wait_for("gave up")
    any_bench.stop(first)
    assert any_bench.log.count("end postponed") == 3
    assert any_bench.log.index("end next") > any_bench.log.index("end postponed")
    begun = any_bench.log.count("begin faulty")
    second = any_bench.start("last")
    any_bench.wait_for("end last")
    assert "faulty" in any_bench.stop(second)
    assert any_bench.log.count("begin faulty") == begun


@pytest.mark.slow
def test_what_makes_ready_is_done_before_a_job_and_never_while_one_is_under_way(bench: Bench) -> None:
    process = bench.start("ready:early", "slow", "ready:late")
    bench.wait_for("submitted")
    bench.wait_for("begin slow")
    bench.kill(process)
    assert bench.log.index("ready:early") < bench.log.index("begin slow")
    assert "ready:late" not in bench.log


@pytest.mark.slow
def test_work_that_a_kill_interrupts_is_resumed_by_the_next_process(bench: Bench) -> None:
    first = bench.start("quick", "slow", "queued")
    bench.wait_for("begin slow")
    bench.wait_for("submitted")
    bench.kill(first)
    (bench.folder / "second").touch()
    second = bench.start("quick", "slow", "queued")
    bench.wait_for("end slow")
    bench.wait_for("end queued")
    bench.stop(second)
    assert bench.log.count("end quick") == 1
    assert bench.log.count("end slow") == 1
    assert bench.log.count("begin slow") == 2


@pytest.mark.slow
def test_the_library_stops_polling_once_nothing_is_to_be_resumed(bench: Bench) -> None:
    first = bench.start("slow")
    bench.wait_for("begin slow")
    time.sleep(1.5)
    bench.kill(first)
    (bench.folder / "second").touch()
    second = bench.start()
    bench.wait_for("rests")
    done = [line for line in bench.log if line != "submitted"]
    assert done == ["begin slow", "begin slow", "end slow", "rests"]
    bench.stop(second)


@pytest.mark.slow
def test_what_comes_while_it_rests_is_done(bench: Bench) -> None:
    process = bench.start("late/P@h:1", "quick")
    bench.wait_for("rests")
    (bench.folder / "more").touch()
    bench.wait_for("end more")
    bench.stop(process)


@pytest.mark.slow
def test_the_same_key_twice_is_one_workflow_also_after_a_restart(bench: Bench) -> None:
    first = bench.start("a", "a", "b")
    bench.wait_for("end b")
    bench.stop(first)
    second = bench.start("a", "b", "c")
    bench.wait_for("end c")
    bench.stop(second)
    assert [bench.log.count(f"end {key}") for key in "abc"] == [1, 1, 1]


@pytest.mark.slow
def test_deliveries_go_one_at_a_time_and_in_order_for_each_destination(bench: Bench) -> None:
    process = bench.start("late/P@h:1", "next/P@h:1", "other/Q@h:1")
    bench.wait_for("deliver next P@h:1")
    bench.stop(process)
    to_p = [line for line in bench.log if line.endswith("P@h:1")]
    assert len(to_p) >= 4
    assert to_p == ["deliver late P@h:1"] * (len(to_p) - 1) + ["deliver next P@h:1"]
    assert bench.log.index("deliver other Q@h:1") < bench.log.index("deliver next P@h:1")


@pytest.mark.slow
def test_however_often_its_process_is_killed_a_job_is_resumed(any_bench: Bench) -> None:
    for number in range(1, 7):
        process = any_bench.start("slow")
        any_bench.wait_for("begin slow", number)
        any_bench.kill(process)
    (any_bench.folder / "second").touch()
    last = any_bench.start("slow")
    any_bench.wait_for("end slow")
    assert "slow" not in any_bench.stop(last)


@pytest.mark.slow
def test_what_a_job_recorded_is_tried_at_once_and_no_delivery_begins_that_is_at_its_end(bench: Bench) -> None:
    process = bench.start("report", "report-2")
    bench.wait_for("end report-2")
    bench.wait_for("send P@h:1", 2)
    bench.stop(process)
    second = bench.start("gone/P@h:1", "next/P@h:1")
    bench.wait_for("deliver next P@h:1")
    bench.stop(second)
    assert "deliver gone P@h:1" not in bench.log
    assert bench.log.index("end report") < bench.log.index("send P@h:1"), "and the next job waited for it"


@pytest.mark.slow
def test_the_end_of_a_job_is_told_once_and_not_before_what_it_recorded_has_gone(bench: Bench) -> None:
    (bench.folder / "alone").touch()
    (bench.folder / "tells").touch()
    process = bench.start("report")
    bench.wait_for("progress")
    bench.stop(process)
    told = [line for line in bench.log if line not in ("submitted", "rests")]
    assert told == ["begin report", "end report", "send P@h:1", "progress"]
