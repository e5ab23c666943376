"""Connections that one process has accepted and another serves: one interpreter serves few at full speed.

docs/decisions/097.
"""

from __future__ import annotations

import ctypes
import socket
import threading
import time
from typing import Any, Protocol

from osteoscribe.net.guard import GuardedServer

_ORPHAN_PAUSE_S = 0.1
"""Between two looks at a channel whose other end is closed: this process is about to end."""


class Counter(Protocol):
    """A number in memory that two processes share."""

    value: int


COUNTER = ctypes.c_ulong
"""What a `Counter` is made of."""


class Handing:
    """Hands connections to a process. For one thread.

    Parameters
    ----------
    channel
        Unix socket to the process.
    ended
        How many of them have ended; counted there.
    """

    def __init__(self, channel: socket.socket, ended: Counter) -> None:
        self._channel = channel
        self._ended = ended
        self._given = 0

    @property
    def open_connections(self) -> int:
        """How many the process has."""
        return max(self._given - self._ended.value, 0)

    def give(self, connection: socket.socket) -> bool:
        """Hand over a connection, which stays open here too; False where nobody takes it."""
        try:
            socket.send_fds(self._channel, [b"!"], [connection.fileno()], socket.MSG_DONTWAIT)
        except OSError:
            return False
        self._given += 1
        return True


class HandedServer(GuardedServer):
    """Serves the connections that another process hands over.

    Parameters
    ----------
    channel
        Unix socket to that process, which has looked who may connect.
    ended
        Where it counts the connections that have ended.
    """

    def __init__(self, *arguments: Any, channel: socket.socket, ended: Counter, **named: Any) -> None:
        self._channel = channel
        self._ended = ended
        self._taken = 0
        self._counting = threading.Lock()
        super().__init__(*arguments, **named)

    def server_bind(self) -> None:
        """Listen to the channel; the port is the other process's."""
        unused: Any = self.socket
        unused.close()
        self.socket = self._channel

    def server_activate(self) -> None:
        """Do nothing: the channel is there."""

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take the connection that comes.

        Raises
        ------
        OSError
            None has come, or it is broken.
        """
        handed, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1, socket.MSG_CMSG_CLOEXEC)
        if not handed:
            time.sleep(_ORPHAN_PAUSE_S)
            raise ConnectionAbortedError("the other end of the channel is closed")
        with self._counting:
            self._taken += 1
            if not descriptors:
                self._tell()
                raise ConnectionAbortedError("no more connections find room in this process")
            connection = socket.socket(fileno=descriptors[0])
            self.take(connection)
        try:
            return connection, connection.getpeername()
        except OSError:
            self.shutdown_request(connection)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is taken: it was."""
        del request, client_address
        return True

    def end(self, request: Any) -> None:
        """Count it no more, and tell so."""
        with self._counting:
            super().end(request)
            self._tell()

    def _tell(self) -> None:
        self._ended.value = self._taken - self.open_connections
