"""An HTTP server that answers whatever bytes a test hands it, well-formed or not."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DICOM_JSON = "application/dicom+json"


@dataclass(frozen=True)
class Request:
    """What came: the first line, headers by lower-case name, the body."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebServer:
    """A server on a free port, and what it was asked."""

    port: int
    requests: list[Request] = field(default_factory=list)


Answers = Callable[[Request], Iterable[bytes]]
"""Gives the bytes of an answer, in pieces; between two pieces 0.1 s pass."""


def answer(
    status: int, body: bytes = b"", media_type: str = DICOM_JSON, headers: Sequence[str] = ()
) -> list[bytes]:
    """One whole answer."""
    head = [f"HTTP/1.1 {status} x", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *headers]
    return ["\r\n".join([*head, "", ""]).encode() + body]


def store_response(
    stored: Sequence[str] = (), failed: dict[str, int] | None = None, warned: dict[str, int] | None = None
) -> bytes:
    """Store response in DICOM JSON (PS3.18 I.2)."""

    def item(uid: str, tag: str = "", reason: int | None = None) -> dict[str, Any]:
        made: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
        return made if reason is None else {**made, tag: {"vr": "US", "Value": [reason]}}

    good = [item(uid) for uid in stored]
    good += [item(uid, "00081196", reason) for uid, reason in (warned or {}).items()]
    bad = [item(uid, "00081197", reason) for uid, reason in (failed or {}).items()]
    return json.dumps(
        {"00081199": {"vr": "SQ", "Value": good}, "00081198": {"vr": "SQ", "Value": bad}}
    ).encode()


@contextlib.contextmanager
def web_server(answers: Answers, context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Answer one request of each connection, then close it."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = WebServer(port=listening.getsockname()[1])
    threads: list[threading.Thread] = []

    def serve_one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_ones:
            open_ones.enter_context(connection)
            connection.settimeout(10)
            if context is not None:
                connection = open_ones.enter_context(context.wrap_socket(connection, server_side=True))
            request = _read(connection)
            server.requests.append(request)
            for number, piece in enumerate(answers(request)):
                time.sleep(0.1 if number else 0)
                connection.sendall(piece)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve_one, args=(connection,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=serve, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in (accepting, *threads):
            thread.join(12)


def _read(connection: socket.socket) -> Request:
    content = b""
    while b"\r\n\r\n" not in content:
        content += _more(connection)
    head, _, body = content.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
    while len(body) < int(headers.get("content-length", "0")):
        body += _more(connection)
    return Request(line=line, headers=headers, body=body)


def _more(connection: socket.socket) -> bytes:
    piece = connection.recv(1 << 20)
    if not piece:
        raise ConnectionError
    return piece


def certificate(openssl: str, folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate of 127.0.0.1, and the context of a server that shows it."""
    key, certificate_ = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=pacs"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate_)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_, key)
    return certificate_, context
