"""A wire between two peers that can be cut, held up and listened to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Wire:
    """Forwards connections to a port.

    Parameters
    ----------
    cut_after
        Bytes of the n-th connection (from 0) after which both ends are reset; None never cuts.
    heard
        What each connection's opener sent.
    """

    port: int
    cut_after: Callable[[int], int | None]
    heard: list[bytearray] = field(default_factory=list)


@contextlib.contextmanager
def wire(to_port: int, cut_after: Callable[[int], int | None] = lambda _number: None) -> Iterator[Wire]:
    """A wire on a free port."""
    server = socket.create_server(("127.0.0.1", 0))
    one = Wire(port=server.getsockname()[1], cut_after=cut_after)
    ends: list[socket.socket] = [server]
    threads: list[threading.Thread] = []

    def serve() -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            limit, content = one.cut_after(len(one.heard)), bytearray()
            one.heard.append(content)
            far = socket.create_connection(("127.0.0.1", to_port))
            ends.extend((near, far))
            for way in ((near, far, limit, content), (far, near, None, bytearray())):
                threads.append(threading.Thread(target=_forward, args=way, daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=serve, daemon=True)
    accepting.start()
    try:
        yield one
    finally:
        # Closing alone does not wake a thread that accepts or reads.
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        accepting.join(5)
        for thread in threads:
            thread.join(5)
        for end in ends:
            end.close()


def _forward(source: socket.socket, target: socket.socket, limit: int | None, content: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            part = data if limit is None else data[: limit - len(content)]
            content += part
            target.sendall(part)
            if limit is not None and len(content) >= limit:
                for end in (source, target):
                    reset(end)
                return
        target.shutdown(socket.SHUT_WR)


def reset(end: socket.socket) -> None:
    """End a connection as a crashed peer does."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RD)
    end.close()
