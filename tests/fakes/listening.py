"""A peer of pynetdicom that listens, and stops at once: its own way waits for half a second."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Sequence
from socketserver import BaseServer
from typing import Any, Self

from pynetdicom import AE
from pynetdicom.transport import ThreadedAssociationServer

_POLL_S = 0.005
_ENDS_WITHIN_S = 0.1


class _Server(ThreadedAssociationServer):
    def service_actions(self) -> None:
        """The library's own collects garbage, for a quarter of a second in a process of so many tests."""

    def shutdown(self) -> None:
        # The library's own takes the server out of a list that only `AE.start_server` puts it in.
        BaseServer.shutdown(self)
        self.server_close()


class Listening:
    """An application entity that listens on loopback until it is stopped.

    Parameters
    ----------
    ae
        The application entity with the contexts that it takes.
    handlers
        What it does on events.
    port
        Where it listens; 0 for any free port.
    tls
        What it secures its connections with; None: nothing.
    """

    def __init__(
        self, ae: AE, handlers: Sequence[Any] = (), port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._server: Any = ae.make_server(
            ("127.0.0.1", port), evt_handlers=list(handlers), server_class=_Server, ssl_context=tls
        )
        self.port = int(self._server.socket.getsockname()[1])
        threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and cut off what stays open."""
        open_ones = self._server.active_associations
        self._server.shutdown()
        for association in open_ones:
            association.join(_ENDS_WITHIN_S)
            transport = association.dul.socket
            # Not aborted: the library has no state for that where an association is ending already.
            with contextlib.suppress(OSError, AttributeError):
                transport.socket.shutdown(socket.SHUT_RDWR)
            association.join(_ENDS_WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
