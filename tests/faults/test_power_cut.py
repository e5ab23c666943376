"""No success is answered before the bytes are on disk: shown by the system calls of a real node."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT, Program
from tests.fakes.dicom import ct_slice, mark_object
from tests.fakes.node import send
from tests.fakes.processes import running_node
from tests.faults.trace import CALLS, calls_of, check_trace

pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.timeout(170)]

ASSOCIATIONS, INSTANCES = 6, 8


def traced_reception(folder: Path, strace: str) -> list[str]:
    """Lines of strace's output while a node takes instances over several associations at the same time."""
    trace = folder / "trace.txt"
    prefix = [strace, "-f", "-qq", "-y", "-xx", "-s", "512", "-o", str(trace), "-e", f"trace={CALLS}"]
    with running_node(folder / "node", prefix=prefix) as node:
        script = (
            "import sys; from tests.fakes.dicom import ct_slice; from tests.fakes.node import send;"
            "n = int(sys.argv[2]);"
            f"print(send(int(sys.argv[1]), [ct_slice(n * 100 + k) for k in range({INSTANCES})]))"
        )

        senders = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(node.port), str(number)],
                cwd=PROJECT,
                env={"PYTHONPATH": f"plugin:{PROJECT}"},
                stdout=subprocess.PIPE,
            )
            for number in range(1, ASSOCIATIONS + 1)
        ]
        for sender in senders:
            output, _ = sender.communicate(timeout=100)
            assert output.decode().strip() == str([0] * INSTANCES)
        assert send(node.port, [mark_object(1, ["1.2.3"])]) == [0]
        assert send(node.port, [ct_slice(9999)]) == [0]
    return trace.read_text("latin-1").splitlines()


def test_success_is_answered_only_after_bytes_and_names_are_synced(tmp_path: Path, program: Program) -> None:
    lines = traced_reception(tmp_path, program("strace"))
    proof = check_trace(calls_of(lines))
    assert proof.successes == ASSOCIATIONS * INSTANCES + 2
    assert proof.too_early == ()
    for call in ("fdatasync(", "fsync("):
        without = [line for line in lines if call not in line and f"{call[:-1]} resumed" not in line]
        assert len(check_trace(calls_of(without)).too_early) == proof.successes, (
            "the check sees what it should"
        )


def test_the_check_tells_a_late_sync_from_an_early_one(tmp_path: Path, program: Program) -> None:
    """Each sync moved behind the answer that follows it is found."""
    del tmp_path, program
    uid = "1.2.3"
    name = "/data/x.seg"
    answer = bytes.fromhex("00000001020000000180") + bytes.fromhex("00000009020000000000")
    answer += bytes.fromhex("00000010") + (6).to_bytes(4, "little") + uid.encode() + b"\0"
    lines = {
        "open": f'1 openat(AT_FDCWD, "x", O_WRONLY|O_CREAT|O_EXCL) = 5<{name}>',
        "folder": "1 fsync(6</data>) = 0",
        "write": f'1 writev(5<{name}>, [{{iov_base="{_hex(uid.encode() + bytes(1))}", iov_len=6}}], 1) = 6',
        "sync": f"1 fdatasync(5<{name}>) = 0",
        "answer": f'1 sendto(7<socket:[1]>, "{_hex(answer)}", 99, 0, NULL, 0) = 99',
    }
    right = [
        order
        for order in itertools.permutations(lines)
        if check_trace(calls_of(lines[one] for one in order)).too_early == ()
    ]
    assert right
    for order in right:
        place = {one: order.index(one) for one in order}
        assert place["write"] < place["sync"] < place["answer"]
        assert place["open"] < place["folder"] < place["answer"]


def _hex(content: bytes) -> str:
    return "".join(f"\\x{one:02x}" for one in content)
