"""No success is answered before the bytes are on disk: shown by the system calls of a real node."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.fakes.dicom import ct_slice, mark_object
from tests.fakes.node import send
from tests.fakes.processes import running_node
from tests.faults.trace import CALLS, calls_of, check_trace

pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.timeout(170)]

ASSOCIATIONS, INSTANCES = 4, 6


def traced_reception(folder: Path, strace: str) -> list[str]:
    """Lines of strace's output while a node takes instances over several associations at the same time."""
    trace = folder / "trace.txt"
    prefix = [strace, "-f", "-qq", "-y", "-xx", "-s", "512", "-o", str(trace), "-e", f"trace={CALLS}"]
    with running_node(folder / "node", prefix=prefix) as node, ThreadPoolExecutor(ASSOCIATIONS) as senders:

        def send_some(number: int) -> list[int]:
            return send(node.port, [ct_slice(number * 100 + index) for index in range(INSTANCES)])

        assert list(senders.map(send_some, range(1, ASSOCIATIONS + 1))) == [[0] * INSTANCES] * ASSOCIATIONS
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


def test_the_check_tells_a_late_sync_from_an_early_one() -> None:
    """Of all orders of five calls, those pass in which each sync lies between its write and the answer."""
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
    for order in itertools.permutations(lines):
        place = {one: order.index(one) for one in order}
        right = place["write"] < place["sync"] < place["answer"]
        right &= place["open"] < place["folder"] < place["answer"]
        assert (check_trace(calls_of(lines[one] for one in order)).too_early == ()) == right


def _hex(content: bytes) -> str:
    return "".join(f"\\x{one:02x}" for one in content)
