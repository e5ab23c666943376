"""Processes of a node, found and ended one by one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

from tests.fakes.processes import NodeProcess, wait_until


def worker_pids(node: NodeProcess) -> list[int]:
    """Process ids of the node's workers: the children of the process that forks them, without receivers."""
    receivers = _receivers(node)
    return [one for one in _forked(node) if one not in receivers]


def receiver_pids(node: NodeProcess) -> list[int]:
    """Process ids of the processes to which the node's listener hands connections, once they take any."""
    receivers = _receivers(node)
    return [one for one in _forked(node) if one in receivers]


def _forked(node: NodeProcess) -> list[int]:
    return [one for child in _children(node.process.pid) if is_running(child) for one in _children(child)]


def _receivers(node: NodeProcess) -> set[int]:
    """Process ids of all receivers that this node has had, as they say themselves."""
    return {int(one) for one in re.findall(r"receiver \d+ ready process=(\d+)", node.log.read_text())}


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_running(pid: int) -> bool:
    """Whether a worker process, or the one that forks them, is still there."""
    return b"forkserver" in _command(pid)


def kill_all(pids: list[int]) -> bool:
    """Kill -9 of some of the node's processes alone; whether there was one."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def kill_listener(node: NodeProcess) -> None:
    """Kill -9 of the listener alone; its workers notice that and end by themselves."""
    os.kill(node.process.pid, signal.SIGKILL)
    node.process.wait(60)
    assert node.process.stdout is not None
    node.process.stdout.close()


def wait_for_end(pids: list[int], patience_s: float = 60.0) -> None:
    """Wait until these workers have ended."""
    wait_until(lambda: not any(is_running(pid) for pid in pids), "the end of the workers", patience_s)
