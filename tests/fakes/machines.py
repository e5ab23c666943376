"""Several machines on one private network: network namespaces, joined by a bridge."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HUB = "10.77.0.1"
"""Address of the namespace that this process is in: archive, database and senders."""
_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of the kernel's interface."""


@dataclass(frozen=True)
class Machine:
    """A namespace of its own.

    Parameters
    ----------
    prefix
        Command that runs commands in it.
    """

    address: str
    prefix: tuple[str, ...]
    link: str

    def cut_off(self) -> None:
        """Take it off the network; its processes go on."""
        _ip("link", "set", self.link, "down")

    def join(self) -> None:
        """Put it back."""
        _ip("link", "set", self.link, "up")


@contextlib.contextmanager
def private_network(count: int) -> Iterator[list[Machine]]:
    """Machines on a network with nothing else; this thread, and what it starts, is on it too."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, home)
        if libc.unshare(_NEW_NETWORK) != 0:
            pytest.skip("no network namespace can be made here (needs root)")
        stack.callback(libc.setns, home, _NEW_NETWORK)
        try:
            _ip("link", "set", "lo", "up")
            _ip("link", "add", "hub", "type", "bridge")
        except subprocess.CalledProcessError:
            pytest.skip("no bridge between network namespaces can be made here (needs root)")
        _ip("address", "add", f"{HUB}/24", "dev", "hub")
        _ip("link", "set", "hub", "up")
        yield [stack.enter_context(_machine(number)) for number in range(1, count + 1)]


@contextlib.contextmanager
def _machine(number: int) -> Iterator[Machine]:
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo up && exec sleep 3600"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        address, link = f"10.77.0.{number + 1}", f"m{number}"
        inside = ("nsenter", "-t", str(holder.pid), "--net")
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _ip("link", "set", link, "master", "hub", "up")
        for command in (("address", "add", f"{address}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _ip(*command, prefix=inside)
        _ip("link", "set", "lo", "up", prefix=inside)
        yield Machine(address=address, prefix=inside, link=link)
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()


def _ip(*arguments: str, prefix: tuple[str, ...] = ()) -> None:
    program = next(one for one in ("/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip") if Path(one).exists())
    subprocess.run([*prefix, program, *arguments], check=True, capture_output=True, timeout=10)
