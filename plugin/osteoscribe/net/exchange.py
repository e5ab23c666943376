"""One HTTP request and its answer, within limits: of time, of size, and of trust in the other side."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from osteoscribe import __version__
from osteoscribe.app.settings import Destination, Secured
from osteoscribe.errors import BusyError, PeerError, RefusedError, SetupError
from osteoscribe.net.tls import client_context, not_secured, reason_of

DICOM_JSON = "application/dicom+json"

LARGEST_ANSWER = 4_000_000
"""Bytes of an answer that are read; a store response of 1000 instances is a tenth of it."""

LONGEST_RETRY_AFTER_S = 3600.0
"""What a server may ask for at most in Retry-After."""

_PASSING = (408, 425, 429)
"""Of the 4xx: too slow, too early, too many."""

_SLOWEST_BYTES_S = 100_000
"""A connection that is slower than this is given up."""

_SILENCES = 4
"""How many times the patience with a silent server a whole answer may take: bytes can also drip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A DICOMweb service.

    Parameters
    ----------
    url
        Its base, such as ``https://pacs.example/dicom-web``.
    token_file
        File that holds a bearer token, read anew for each request; empty: none.
    secured
        What the server's certificate is checked with, and ours.
    timeout_s
        Patience with a silent server.
    """

    url: str
    token_file: str = ""
    secured: Secured = field(default_factory=Secured)
    timeout_s: float = 30.0

    @property
    def parts(self) -> SplitResult:
        """The URL taken apart."""
        return urlsplit(self.url)


def endpoint_of(destination: Destination, timeout_s: float) -> Endpoint:
    """Service behind a destination."""
    return Endpoint(
        url=destination.url,
        token_file=destination.token_file,
        secured=destination,
        timeout_s=timeout_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server's answer.

    Parameters
    ----------
    status
        HTTP status.
    media_type
        Of the body, lower case, without parameters.
    retry_after_s
        How long the server asks to be left alone (RFC 9110 10.2.3).
    """

    status: int
    media_type: str
    body: bytes = field(repr=False)
    retry_after_s: float | None = None


def exchange(
    endpoint: Endpoint,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str],
    body: Sequence[bytes] = (),
) -> Answer:
    """Send a request and read the whole answer. Redirects are not followed.

    Parameters
    ----------
    path
        Below the endpoint's URL, beginning with a slash.
    body
        Sent one after the other.

    Raises
    ------
    PeerError
        ``peer.unreachable``, ``peer.silent``, ``peer.aborted``, ``peer.tls``, ``peer.answer-too-large``: to
        be tried again.
    RefusedError
        ``peer.redirected``: the address is another.
    SetupError
        ``settings.token-unreadable``, ``settings.ca-unreadable``, ``settings.tls-unusable``.
    """
    parts = endpoint.parts
    sent = {"User-Agent": f"osteoscribe/{__version__}", "Connection": "close", **_token(endpoint), **headers}
    if body:
        sent["Content-Length"] = str(sum(map(len, body)))
    connection = _connection(endpoint)
    allowed_s = endpoint.timeout_s * _SILENCES + sum(map(len, body)) / _SLOWEST_BYTES_S
    try:
        connection.connect()
        with _ended_after(connection.sock, allowed_s):
            # A server that refuses a body may answer, and close, before it has read all of it.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, parts.path.rstrip("/") + path, iter(body) if body else None, sent)
            answer = _read(connection.getresponse(), endpoint)
    except (OSError, http.client.HTTPException) as error:
        raise _not_exchanged(error, endpoint) from error
    finally:
        connection.close()
    if 300 <= answer.status < 400:
        raise RefusedError(
            "peer.redirected",
            f"found a redirect (HTTP {answer.status}) from {endpoint.url}, which is not followed; set the "
            "address that it leads to, then run osteoscribe jobs retry",
        )
    return answer


def http_error(answer: Answer, endpoint: Endpoint) -> PeerError:
    """Error of an answer that is none of those that were expected: to be tried again, or for a person."""
    if 400 <= answer.status < 500 and answer.status not in _PASSING:
        way_out = "check token_file" if answer.status in (401, 403) else "check its address"
        return RefusedError(
            "peer.http-refused",
            f"found HTTP {answer.status} of {endpoint.url}, expected 200; {way_out} or ask the administrator "
            "of the destination, then run osteoscribe jobs retry",
        )
    message = f"found HTTP {answer.status} of {endpoint.url}, expected 200; tried again"
    if answer.retry_after_s is not None:
        return BusyError("peer.http-error", message, retry_after_s=answer.retry_after_s)
    return PeerError("peer.http-error", message)


def _connection(endpoint: Endpoint) -> http.client.HTTPConnection:
    parts = endpoint.parts
    host = parts.hostname or ""
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, parts.port, timeout=endpoint.timeout_s)
    context = client_context(endpoint.secured)
    return http.client.HTTPSConnection(host, parts.port, timeout=endpoint.timeout_s, context=context)


def _token(endpoint: Endpoint) -> dict[str, str]:
    """Header of the bearer token (RFC 6750 2.1)."""
    if not endpoint.token_file:
        return {}
    try:
        token = Path(endpoint.token_file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    # A line break in it would be a header of its own.
    if not token or not token.isprintable() or " " in token:
        raise SetupError(
            "settings.token-unreadable",
            f"found no readable token in {endpoint.token_file!r}, expected one line of ASCII; check file and "
            "rights",
        )
    return {"Authorization": f"Bearer {token}"}


@contextlib.contextmanager
def _ended_after(connection: socket.socket, allowed_s: float) -> Iterator[None]:
    """End the connection when the time is over, even if bytes still drip: its own time-out cannot."""
    over = threading.Event()

    def end() -> None:
        over.set()
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    watchdog = threading.Timer(allowed_s, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise (TimeoutError() if over.is_set() else error) from error
    finally:
        watchdog.cancel()
    if over.is_set():
        raise TimeoutError


def _read(response: http.client.HTTPResponse, endpoint: Endpoint) -> Answer:
    body = response.read(LARGEST_ANSWER + 1)
    if len(body) > LARGEST_ANSWER:
        raise PeerError(
            "peer.answer-too-large",
            f"found an answer of over {LARGEST_ANSWER} bytes from {endpoint.url}, expected a few for each "
            "object; tried again",
        )
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return Answer(
        status=response.status,
        media_type=(response.getheader("Content-Type") or "").split(";")[0].strip().lower(),
        body=body,
        retry_after_s=_retry_after_s(response.getheader("Retry-After") or "", datetime.now(UTC)),
    )


def _retry_after_s(text: str, now: datetime) -> float | None:
    """Seconds of a Retry-After header: a number, or a date."""
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)


def _not_exchanged(error: Exception, endpoint: Endpoint) -> PeerError:
    if isinstance(error, ssl.SSLError):
        return not_secured(reason_of(error), endpoint.url)
    if isinstance(error, TimeoutError):
        return PeerError(
            "peer.silent",
            f"found no whole answer of {endpoint.url} within the time allowed (timeout_s = "
            f"{endpoint.timeout_s:g}); tried again",
        )
    if isinstance(error, (http.client.HTTPException, ConnectionResetError, BrokenPipeError)):
        return PeerError(
            "peer.aborted", f"found the connection ended by {endpoint.url} or no HTTP there; tried again"
        )
    return PeerError("peer.unreachable", f"found no connection to {endpoint.url}; tried again")
