"""Compressed frames are decoded in processes of their own.

Decoders are native code, and a damaged frame can end the process they run in: GDCM aborts over a bad Huffman
table, CharLS runs for seconds over a cut frame. So children decode frame after frame, within limits of time
and memory, several side by side. A frame that ends a child is a stated problem, and the next frame gets a new
child. Children send bare bytes and JSON, never objects: what a hostile frame might make of one stays there.
"""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from multiprocessing.connection import Connection

import numpy as np
import numpy.typing as npt

from osteoscribe.decoders.frame import FrameFormat, decode_frame
from osteoscribe.errors import InputError, SetupError

CPU_LIMIT_S = 4
"""Processor time for one frame; the largest CT frames take half a second."""
WALL_LIMIT_S = 60
"""Clock time for one frame: long, so that a busy machine never makes a sound frame a damaged one."""
START_LIMIT_S = 60
"""Clock time for a child to load its libraries; half a second on an idle machine."""
MOST_CHILDREN = 4
MEMORY_LIMIT = 2 << 30
"""Address space of a child, in bytes; its libraries map most of a gigabyte that they never touch."""

Values = npt.NDArray[np.integer]
_OF_THREAD = threading.local()
_READY = b"ready"


def begin_decoding(frame: bytes, form: FrameFormat) -> Future[Values]:
    """Decode a frame as `decode_frame` does, in a decoding process.

    Returns
    -------
    Future[Values]
        Its result raises `InputError` ``ct.cannot-decode``, also where the frame ended the decoder, and
        `SetupError` ``decoder.cannot-start`` where no decoder runs here at all: no fault of the frame.
    """
    return _threads_of(os.getpid()).submit(_decode, frame, form)


def start_decoders() -> None:
    """Start the decoding processes ahead of the first frame, and do not wait for them."""
    threads = _threads_of(os.getpid())
    for _ in range(_children()):
        threads.submit(lambda: _child().get_ready())


def _children() -> int:
    return min(MOST_CHILDREN, os.cpu_count() or 1)


@lru_cache(maxsize=1)
def _threads_of(_pid: int) -> ThreadPoolExecutor:
    """Give the threads that wait for the children; a forked process makes its own."""
    return ThreadPoolExecutor(_children(), thread_name_prefix="decoding")


def _decode(frame: bytes, form: FrameFormat) -> Values:
    return _child().decode(frame, form)


def _child() -> _Child:
    """Give the child of this thread."""
    child: _Child | None = getattr(_OF_THREAD, "child", None)
    if child is None:
        _OF_THREAD.child = child = _Child()
        atexit.register(child.close)
    return child


class _Child:
    """A decoding process, started ahead or with its first frame; one for each thread."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def decode(self, frame: bytes, form: FrameFormat) -> Values:
        """Decode a frame; see `begin_decoding`."""
        pipe = self.get_ready()
        try:
            pipe.send_bytes(json.dumps(dataclasses.asdict(form)).encode())
            pipe.send_bytes(frame)
            if not pipe.poll(WALL_LIMIT_S):
                raise TimeoutError
            reply = json.loads(pipe.recv_bytes())
            if "code" in reply:
                raise InputError(reply["code"], reply["message"])
            return np.frombuffer(pipe.recv_bytes(), dtype=reply["dtype"]).reshape(form.rows, form.columns)
        except (OSError, EOFError, ValueError, TypeError):
            self._end()
            raise InputError(
                "ct.cannot-decode", "its pixel data is damaged (it ended the decoder); send it again"
            ) from None

    def get_ready(self) -> Connection:
        """Start the process where none runs."""
        if self._process is not None and self._process.poll() is not None:
            self._end()  # ended while it had nothing to do: no fault of the next frame
        return self._pipe or self._start()

    def close(self) -> None:
        """End the process."""
        if os.getpid() == self._pid:
            self._end()

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this module, and a number
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # the decoders print what they think of a frame
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
            )
        self._pipe = Connection(ours.detach())
        try:
            if self._pipe.poll(START_LIMIT_S) and self._pipe.recv_bytes() == _READY:
                return self._pipe
        except (OSError, EOFError):
            pass
        self._end()
        raise SetupError(
            "decoder.cannot-start",
            f"found that {sys.executable} does not start a decoding process, expected one within "
            f"{START_LIMIT_S} s and {MEMORY_LIMIT >> 30} GB of address space; repair the installation",
        )

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._pipe = None


def serve(pipe: Connection) -> None:
    """Say that the libraries are loaded; decode what comes through the pipe, until its end is closed."""
    pipe.send_bytes(_READY)
    while True:
        try:
            form = FrameFormat(**json.loads(pipe.recv_bytes()))
            frame = pipe.recv_bytes()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)  # its signal ends the process
        try:
            values = decode_frame(frame, form)
        except InputError as error:
            pipe.send_bytes(json.dumps({"code": error.code, "message": error.message}).encode())
        else:
            pipe.send_bytes(json.dumps({"dtype": values.dtype.str}).encode())
            pipe.send_bytes(values.tobytes())
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    serve(Connection(int(sys.argv[1])))
