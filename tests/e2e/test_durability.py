"""No C-STORE is answered before its bytes are on disk: seen from the system calls.

Its row in the ledger may come later: the segment makes it again.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.fakes.dicom import ct_slice
from tests.fakes.node import send
from tests.fakes.processes import running_node, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]

CALL = re.compile(r"(?P<name>\w+)\((?P<fd>\d+)<(?P<path>[^>]*)>(?P<rest>.*)")
WRITES = {"write", "writev", "pwrite64", "pwritev", "pwritev2"}


def whole_calls(trace: Path) -> list[str]:
    """Calls in the order of their ends; those that were interrupted by another thread are put together."""
    begun: dict[str, str] = {}
    calls = []
    for line in trace.read_text(errors="replace").splitlines():
        pid, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.removesuffix("<unfinished ...>")
        elif "resumed>" in call:
            calls.append(begun.pop(pid, "") + call.split("resumed>", 1)[1])
        else:
            calls.append(call)
    return calls


def test_every_acknowledged_byte_is_synced_before_its_answer(tmp_path: Path, program: Program) -> None:
    trace = tmp_path / "trace"
    prefix = [
        program("strace"), "-f", "-y", "-x", "-s", "2", "-o", str(trace),
        "-e", "trace=write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,sendto",
    ]  # fmt: skip
    with running_node(tmp_path / "node", prefix=prefix) as node:
        # No mark, so that nobody but the listener writes.
        assert send(node.port, [ct_slice(number) for number in range(1, 22)]) == [0] * 21
        wait_until(lambda: trace.stat().st_size > 0, "the trace")
    dirty: set[str] = set()
    synced = answers = 0
    for call in whole_calls(trace):
        found = CALL.match(call)
        if not found:
            continue
        name, path = found["name"], found["path"]
        if name in WRITES and path.endswith(".seg"):
            dirty.add(path)
        elif name in {"fdatasync", "fsync"}:
            synced += path in dirty and path.endswith(".seg")
            dirty.discard(path)
        elif name in {"sendto", "write"} and "socket" in path.lower() and r'"\x04\x00' in found["rest"]:
            answers += 1
            assert not {one for one in dirty if one.endswith(".seg")}, call
            assert not dirty, call
    assert (answers, synced) == (21, 21)


def test_the_trace_shows_what_is_missing(tmp_path: Path) -> None:
    """The reading of a trace itself: an answer between a write and its sync is seen."""
    trace = tmp_path / "trace"
    trace.write_text(
        '7  writev(3</d/a.seg>, ["\\x00\\x01"...], 1) = 9\n'
        "7  fdatasync(3</d/a.seg> <unfinished ...>\n"
        '8  sendto(4<TCP:[1]>, "\\x04\\x00"..., 9, 0, NULL, 0) = 9\n'
        "7  <... fdatasync resumed>) = 0\n"
    )
    names = [call.split("(")[0] for call in whole_calls(trace)]
    assert names == ["writev", "sendto", "fdatasync"]
