"""A node and its peers as processes of their own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

PLUGIN = Path(__file__).resolve().parents[2] / "plugin"
QUICK = """
[jobs]
quiet_s = 0.5
[store]
reserve_mb = 10.0
[delivery]
first_pause_s = 0.2
longest_pause_s = 1.0
"""

_NUMBERS = random.SystemRandom()
_PORTS: set[int] = set()
"""Those that `free_port` gave."""


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = 90.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.01)


def free_port() -> int:
    """A port for somebody who will listen on it later.

    It lies below those that the system gives to connections: one of those could be given to another one
    meanwhile, even to a connection to this very port, which then is connected to itself.
    """
    given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    while True:
        # Not of the generator that each test begins anew.
        port = _NUMBERS.randrange(10_000, max(int(given[0]), 20_000))
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            if port not in _PORTS:
                _PORTS.add(port)
                return port


class NodeProcess:
    """``osteoscribe serve`` in a process group of its own.

    Parameters
    ----------
    prefix
        Command that starts commands elsewhere, for example in a network namespace.
    """

    def __init__(
        self, folder: Path, *arguments: str, settings: str = QUICK, prefix: Sequence[str] = (), port: int = 0
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._config = folder / "osteoscribe.toml"
        self._config.write_text(settings)
        self._arguments = arguments
        self._prefix = prefix
        self._asked_port = port
        self.log = folder / "log.txt"
        self.start()

    def start(self) -> None:
        """Start it, also again after its end."""
        command = [
            *self._prefix,
            *(sys.executable, "-m", "osteoscribe", "serve", "--config", str(self._config)),
            *("--data", str(self.folder / "data"), "--port", str(self._asked_port), *self._arguments),
        ]
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=dict(os.environ, PYTHONPATH=str(PLUGIN)),
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        found = re.search(r":([0-9]+), stop with Ctrl-C", line)
        if not found:
            self.kill()
        assert found, f"no listening line but {line!r}: {self.log.read_text()}"
        self.port = int(found[1])
        self.start_s = time.monotonic() - began

    def kill(self) -> None:
        """Kill -9 of everything it runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=60)

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.process.terminate()
        self.process.communicate(timeout=60)
        return self.process.returncode

    def send(self, dcmsend: str, *paths: Path) -> subprocess.CompletedProcess[bytes]:
        """Send files and folders by DCMTK's dcmsend, and wait for its end."""
        process = self.begin_to_send(dcmsend, *paths)
        output, _ = process.communicate(timeout=90)
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def begin_to_send(self, dcmsend: str, *paths: Path) -> subprocess.Popen[bytes]:
        """Begin to send files and folders by DCMTK's dcmsend."""
        command = [dcmsend, "-v", "--no-halt", "+sd", "+r", "-aec", "OSTEOSCRIBE", "127.0.0.1"]
        return subprocess.Popen(
            [*self._prefix, *command, str(self.port), *map(str, paths)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def status(self) -> dict[str, Any]:
        """What ``osteoscribe status --json`` says."""
        return dict(self.ask("status"))

    def jobs(self) -> list[dict[str, Any]]:
        """What ``osteoscribe jobs --json`` says."""
        return list(self.ask("jobs"))

    def run(self, *words: str) -> int:
        """Run another command on the same settings and data; its exit code."""
        command = [*self._prefix, sys.executable, "-m", "osteoscribe", *words]
        command += ["--config", str(self._config), "--data", str(self.folder / "data")]
        environment = dict(os.environ, PYTHONPATH=str(PLUGIN))
        return subprocess.run(
            command, env=environment, check=False, capture_output=True, timeout=120
        ).returncode

    def ask(self, *command: str) -> Any:
        """What a command says of this node, as JSON."""
        words = [*self._prefix, sys.executable, "-m", "osteoscribe", *command, "--config", str(self._config)]
        words += ["--data", str(self.folder / "data"), "--json"]
        output = subprocess.run(
            words,
            env=dict(os.environ, PYTHONPATH=str(PLUGIN)),
            check=False,
            capture_output=True,
            timeout=120,
        ).stdout
        return json.loads(output)


@contextlib.contextmanager
def running_node(folder: Path, *arguments: str, **options: Any) -> Iterator[NodeProcess]:
    node = NodeProcess(folder, *arguments, **options)
    try:
        yield node
    finally:
        node.kill()


@contextlib.contextmanager
def storescp_archive(storescp: str, folder: Path, port: int, *options: str) -> Iterator[Path]:
    """DCMTK's storescp; what it takes lies in the folder."""
    folder.mkdir(exist_ok=True)
    command = [storescp, "--fork", "-aet", "PACS", "-od", str(folder), *options, str(port)]
    process = subprocess.Popen(command, env=dict(os.environ, TCP_NODELAY="1"), start_new_session=True)
    try:
        wait_until(lambda: listens(port), "storescp")
        yield folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a loopback port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
