"""Listeners that are compared in receiving, each as a process of its own, and the floors beneath them all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.fakes.processes import NodeProcess, free_port

TICKS = os.sysconf("SC_CLK_TCK")
CERTIFICATE, KEY = "listener.pem", "listener.key"
PLUGIN = Path(__file__).resolve().parents[2]
SYNCED = "storescp-synced"
FLOORS = ("raw", "synced")
"""The same bytes without DICOM: into files; into one file a sender, on disk before each answer."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A listener that listens."""

    pid: int
    port: int
    node: NodeProcess | None = None


@contextlib.contextmanager
def listener(name: str, folder: Path, associations: int) -> Iterator[Running]:
    """Start a listener by its name.

    raw, synced, ours, stock, ours-tls, orthanc, storescp, storescp-tls; storescp-synced, which has each file
    on disk before it answers, and storescp-ignore, which keeps nothing: what its sender takes.
    """
    if name.endswith("-tls"):
        make_certificate(folder.parent)
    if name in ("ours", "stock", "ours-tls"):
        settings = f"[node]\nfast_receive = {str(name != 'stock').lower()}\n"
        if name == "ours-tls":
            own, key = folder.parent / CERTIFICATE, folder.parent / KEY
            settings += f'tls_certificate = "{own}"\ntls_key = "{key}"\n'
        node = NodeProcess(folder, settings=settings)
        try:
            _wait_for_rest(node.process.pid)
            yield Running(pid=node.process.pid, port=node.port, node=node)
        finally:
            node.kill()
        return
    port = free_port()
    folder.mkdir()
    command = _command(name, port, folder, associations)
    environment = {**os.environ, "LD_PRELOAD": _sync_on_close(folder.parent)} if name == SYNCED else None
    with (folder.parent / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=PLUGIN, env=environment, start_new_session=True
        )
    try:
        _wait_for(port, process)
        yield Running(pid=process.pid, port=port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def make_certificate(folder: Path) -> None:
    """A certificate that signs itself, with its key, unless they are there."""
    if not (folder / CERTIFICATE).exists():
        words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        words += ["-keyout", KEY, "-out", CERTIFICATE, "-subj", "/CN=localhost", "-days", "2"]
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def _sync_on_close(folder: Path) -> str:
    """Path of what makes a program sync each file that it closes."""
    made = folder / "sync_on_close.so"
    if not made.exists():
        source = Path(__file__).with_name("sync_on_close.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return str(made)


def _wait_for_rest(pid: int) -> None:
    """Wait until the workers have started."""
    for _ in range(40):
        before = processor_s(tree(pid))
        time.sleep(0.5)
        if processor_s(tree(pid)) - before < 0.03:
            return


def has(name: str) -> bool:
    """Whether a listener is installed."""
    wanted = {"storescp": ("storescp",), "orthanc": ("Orthanc",), "ours-tls": ("openssl",)}
    wanted["storescp-tls"] = ("storescp", "openssl")
    wanted[SYNCED], wanted["storescp-ignore"] = ("storescp", "cc"), ("storescp",)
    return all(_program(one) is not None for one in wanted.get(name, ()))


def _program(name: str) -> str | None:
    # An environment with pynetdicom in it has a storescp of its own.
    return shutil.which(name, path="/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin")


def _command(name: str, port: int, folder: Path, associations: int) -> list[str]:
    if name in FLOORS:
        return [sys.executable, "-m", "tests.benchmarks.listeners", name, str(port), str(folder)]
    if name.startswith("storescp"):
        options = ["--fork"] if associations > 1 else []
        if name == "storescp-tls":
            options += ["+tls", str(folder.parent / KEY), str(folder.parent / CERTIFICATE), "-ic"]
        options.append("--ignore" if name == "storescp-ignore" else "+B")
        return [str(_program("storescp")), "-q", *options, "-od", str(folder), str(port)]
    settings = folder.parent / "orthanc.json"
    settings.write_text(
        json.dumps(
            {
                **{"StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": []},
                **{"DicomAet": "OSTEOSCRIBE", "DicomPort": port, "DicomCheckCalledAet": False},
                **{"DicomAlwaysAllowStore": True, "HttpServerEnabled": False, "StorageCompression": False},
            }
        )
    )
    return [str(_program("Orthanc")), str(settings)]


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not listen")


def senders(name: str, port: int, parts: Sequence[Path]) -> list[list[str]]:
    """Commands that send a folder each: DCMTK's storescu, or the floor's own."""
    if name in FLOORS:
        own = [sys.executable, "-m", "tests.benchmarks.listeners", "send", str(port)]
        return [[*own, str(part)] for part in parts]
    words = [str(_program("storescu")), "-q", "-aec", "OSTEOSCRIBE", "--max-send-pdu", "131072", "-xe", "+sd"]
    if name.endswith("-tls"):
        words += ["+tla", "+cf", str(parts[0].parent.parent / CERTIFICATE)]
    return [[*words, "127.0.0.1", str(port), str(part)] for part in parts]


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    waiting, found = [pid], []
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def processor_s(pids: Sequence[int]) -> float:
    """User and system seconds of processes and their reaped children."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(
                int(one) for one in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:15]
            )
    return total / TICKS


def running_s(pids: Sequence[int]) -> float:
    """Seconds that the living threads of processes have run: far finer than the ticks of `processor_s`."""
    total = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def shared_out_mb(pids: Sequence[int]) -> float:
    """Memory of processes together; what several of them map counts once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def memory_mb(pid: int, what: str = "VmRSS") -> float:
    """Memory of one process: VmRSS now, VmHWM at most."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    return 0.0


def _receive(port: int, folder: str, *, is_synced: bool = False) -> None:
    """A floor: length and bytes of a file, written, answered by a byte; a process a sender."""
    signal.signal(signal.SIGCHLD, lambda *_: _reap())
    server = socket.create_server(("127.0.0.1", port), backlog=64)
    number = 0
    while True:
        connection, _ = server.accept()
        number += 1
        if os.fork():
            connection.close()
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = memoryview(bytearray(1 << 20))
        count = 0
        while len(head := connection.recv(8, socket.MSG_WAITALL)) == 8:
            (left,) = struct.unpack(">Q", head)
            if not (is_synced and count):
                file = os.open(f"{folder}/{number}-{count}", os.O_WRONLY | os.O_CREAT, 0o600)
            count += 1
            while left:
                got = connection.recv_into(buffer[: min(left, len(buffer))])
                left -= os.write(file, buffer[:got])
            if is_synced:
                os.fdatasync(file)
            else:
                os.close(file)
            connection.sendall(b"k")
        os._exit(0)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _send(port: int, folder: str) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in sorted(Path(folder).iterdir()):
            with path.open("rb") as file:
                connection.sendall(struct.pack(">Q", os.fstat(file.fileno()).st_size))
                connection.sendfile(file)
            if connection.recv(1) != b"k":
                raise RuntimeError("a floor gave no answer")


if __name__ == "__main__":
    verb, port_, folder_ = sys.argv[1:]
    verbs = {"raw": _receive, "synced": partial(_receive, is_synced=True), "send": _send}
    verbs[verb](int(port_), folder_)
