"""A real S3 server on loopback (moto's), started once, for the tests of object stores."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from tests.fakes.processes import free_port, wait_until

WHO = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Who we are for that server; read by the library from the environment."""


class S3Server:
    """The server as a process of its own; it keeps its objects in memory."""

    def __init__(self) -> None:
        self.port = free_port()
        self._buckets = itertools.count()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def endpoint_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def new_bucket(self) -> str:
        """URL of a new empty bucket."""
        name = f"bucket{next(self._buckets)}"
        with urllib.request.urlopen(urllib.request.Request(f"{self.endpoint_url}/{name}", method="PUT")):
            return f"s3://{name}/osteoscribe"

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            with urllib.request.urlopen(f"{self.endpoint_url}/moto-api/", timeout=5):
                return True
        except OSError:
            return False

    def pause(self) -> None:
        """Have it answer nothing."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it answer again."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def end(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)


@contextlib.contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server, and the environment in which processes may use it."""
    server = S3Server()
    before = {name: os.environ.get(name) for name in WHO}
    os.environ.update(WHO)
    try:
        wait_until(server.answers, "the S3 server")
        yield server
    finally:
        server.end()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A running S3 server."""
    with running_s3() as server:
        yield server
