"""A real Orthanc in a network namespace of its own, for it listens on every address."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.fakes.processes import wait_until

CLONE_NEWNET = 0x40000000
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
Result = TypeVar("Result")

HTTP_PORT, DICOM_PORT, NODE_PORT = 8042, 4242, 11112

ROUTE_EVERYTHING = """
function OnStoredInstance(instanceId, tags, metadata, origin)
  SendToModality(instanceId, 'osteoscribe')
end
"""
"""What a site would write; it also sends our own reports back to us, which must do no harm."""


@contextlib.contextmanager
def network_namespace() -> Iterator[list[str]]:
    """A namespace with nothing but loopback; yields the command that runs commands in it."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"up\n":
            pytest.skip("no network namespace can be made here (needs root)")
        yield ["nsenter", "-t", str(holder.pid), "--net"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(holder.pid, signal.SIGKILL)
        holder.communicate()


def inside(prefix: Sequence[str], work: Callable[[], Result]) -> Result:
    """Do something in a namespace, in a thread of this process that enters it."""
    outcome: list[Result] = []
    errors: list[BaseException] = []

    def enter_and_work() -> None:
        try:
            with open(f"/proc/{prefix[2]}/ns/net") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001  raised again by who waits
            errors.append(error)

    thread = threading.Thread(target=enter_and_work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


class Orthanc:
    """An Orthanc in a namespace; its REST interface is asked by curl, which runs there too."""

    def __init__(self, prefix: Sequence[str], curl: str) -> None:
        self._command = [*prefix, curl, "-s", "--max-time", "20"]

    def get(self, path: str) -> Any:
        """JSON of a GET."""
        output = subprocess.run(
            [*self._command, f"http://127.0.0.1:{HTTP_PORT}/{path}"],
            check=False,
            capture_output=True,
            timeout=30,
        ).stdout
        return json.loads(output) if output else None

    def post(self, path: str, body: object) -> Any:
        """JSON of a POST of JSON."""
        output = subprocess.run(
            [*self._command, "-d", json.dumps(body), f"http://127.0.0.1:{HTTP_PORT}/{path}"],
            check=True,
            capture_output=True,
            timeout=30,
        ).stdout
        return json.loads(output)

    def find(self, level: str, **query: str) -> list[dict[str, Any]]:
        """Expanded resources that match a query."""
        body = json.dumps({"Level": level, "Query": query, "Expand": True})
        output = subprocess.run(
            [*self._command, "-d", body, f"http://127.0.0.1:{HTTP_PORT}/tools/find"],
            check=True,
            capture_output=True,
            timeout=30,
        ).stdout
        return list(json.loads(output))


@contextlib.contextmanager
def running_orthanc(
    program: str,
    curl: str,
    prefix: Sequence[str],
    folder: Path,
    *,
    lua: str = "",
    plugins: Sequence[str] = (),
    **more: object,
) -> Iterator[Orthanc]:
    folder.mkdir()
    script = folder / "route.lua"
    script.write_text(lua)
    configuration = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": HTTP_PORT,
        "DicomPort": DICOM_PORT,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": False,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomModalities": {"osteoscribe": ["OSTEOSCRIBE", "127.0.0.1", NODE_PORT]},
        "LuaScripts": [str(script)] if lua else [],
        "Plugins": list(plugins),
        "OverwriteInstances": False,
        **more,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*prefix, program, str(folder / "orthanc.json")],
            stdout=log,
            stderr=log,
            env=dict(os.environ, TCP_NODELAY="1"),
            start_new_session=True,
        )
    orthanc = Orthanc(prefix, curl)
    try:
        wait_until(lambda: orthanc.get("system") is not None, "Orthanc")
        yield orthanc
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
