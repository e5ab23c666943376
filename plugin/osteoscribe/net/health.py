"""A small HTTP server for probes and Prometheus, on a loopback port."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from osteoscribe.app.bugs import trace_of
from osteoscribe.errors import SetupError

LOGGER = logging.getLogger(__name__)

Page = Callable[[], tuple[int, str]]
"""Gives the HTTP status and the text of a page."""


class HealthServer:
    """Serves a few pages of plain text.

    Parameters
    ----------
    port
        TCP port on 127.0.0.1; 0 takes a free one.
    pages
        Path to page.

    Raises
    ------
    SetupError
        ``net.port-taken``.
    """

    def __init__(self, port: int, pages: Mapping[str, Page]) -> None:
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(pages))
        except OSError as error:
            raise SetupError(
                "net.port-taken",
                f"found port {port} not free (error {error.errno}); choose another as node.health_port",
            ) from error
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _handler(pages: Mapping[str, Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            page = pages.get(self.path)
            try:
                status, text = page() if page else (404, "not found\n")
            except Exception as error:  # noqa: BLE001  the edge of a request
                LOGGER.error("bug in %s: %s", "health page", trace_of(error))
                status, text = 500, "internal error\n"
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing: a request path is received text."""

    return Handler
