"""TLS of the listener and towards destinations: 1.2 or newer with forward secrecy (BCP 195, PS3.15 B.12)."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any

from pynetdicom.transport import AssociationSocket

from osteoscribe.app.settings import NodeSettings, Secured
from osteoscribe.errors import PeerError, SetupError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
"""For TLS 1.2; those of TLS 1.3 are all good."""


def server_context(settings: NodeSettings) -> ssl.SSLContext | None:
    """Make what accepts secured connections; None where no certificate is set.

    Raises
    ------
    SetupError
        ``settings.tls-unusable``: certificate, key or authorities cannot be read, or do not belong together.
    """
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        _restrict(context)
        _show(context, settings.tls_certificate, settings.tls_key)
        if settings.tls_ca:
            context.load_verify_locations(settings.tls_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        files = "node.tls_certificate with node.tls_key, unencrypted, and node.tls_ca"
        raise _unusable(error, files) from error
    return context


def client_context(secured: Secured) -> ssl.SSLContext:
    """Make what opens secured connections to a place; the files are read anew, so they may be renewed.

    Raises
    ------
    SetupError
        ``settings.ca-unreadable``; ``settings.tls-unusable``: certificate and key cannot be read, or do not
        belong together.
    """
    try:
        context = ssl.create_default_context(cafile=secured.ca_file or None)
    except (OSError, ValueError) as error:
        raise SetupError(
            "settings.ca-unreadable",
            f"found no readable certificates in {secured.ca_file!r}; check the file",
        ) from error
    _restrict(context)
    context.check_hostname = secured.check_host_name
    if secured.ca_file:
        # Whoever stands in it is trusted: the authority, one that it has signed, or the device itself.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if secured.tls_certificate:
        try:
            _show(context, secured.tls_certificate, secured.tls_key)
        except (OSError, ValueError) as error:
            files = "tls_certificate of the destination with its tls_key, unencrypted"
            raise _unusable(error, files) from error
    context.sslsocket_class = SecuredSocket
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # An encrypted key would ask the terminal; nobody sits there.
    context.load_cert_chain(certificate, key or None, password=lambda: "")


def _unusable(error: Exception, files: str) -> SetupError:
    return SetupError(
        "settings.tls-unusable",
        f"found TLS files that cannot be used ({type(error).__name__} "
        f"{getattr(error, 'reason', None) or getattr(error, 'errno', '')}), expected PEM files: "
        f"{files}; correct them",
    )


def reason_of(error: OSError) -> str:
    """Why TLS failed, in words of OpenSSL's and ours, never the peer's: a certificate may name a person."""
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", None)
    if reason:
        return str(reason)
    return "no answer in time" if isinstance(error, TimeoutError) else "the connection was ended"


def not_secured(reason: str, place: str) -> PeerError:
    """Error of a TLS connection that did not come about, or ended in a fault; to be tried again."""
    return PeerError(
        "peer.tls",
        f"found no trusted TLS connection to {place} ({reason}); check its address and certificate, ca_file "
        "and tls_certificate; tried again",
    )


class SecuredSocket(ssl.SSLSocket):
    """A connection to a destination that remembers its fault and tells data from TLS's own messages."""

    fault = ""
    """What ended the handshake or, where a peer refuses our certificate, the connection after it."""
    _ahead = b""

    def connect(self, addr: Any) -> None:
        """Connect, and agree with the peer; closed where that fails."""
        try:
            super().connect(addr)
        except OSError:
            self.close()
            raise

    def do_handshake(self, block: bool = False) -> None:
        """Agree with the peer, within the time-out as a whole, however its bytes come."""
        try:
            super().do_handshake(block)
        except OSError as error:
            self.fault = reason_of(error)
            raise

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Read what is there; into the buffer where one is given."""
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            if buffer is None:
                return ahead
            buffer[:1] = ahead
            return 1
        try:
            return super().read(len, buffer)
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            self.fault = reason_of(error)
            raise

    def send(self, data: Any, flags: int = 0) -> int:
        """Send what the connection takes at once."""
        try:
            return super().send(data, flags)
        except OSError:
            # A peer that refuses our certificate says so, and may have gone before we say anything.
            self.has_data()
            raise

    def has_data(self) -> bool:
        """Whether data or an end has come: a session ticket, say, can be seen on the connection but not read.

        Who waits for a connection to become readable and then reads would wait in vain.
        """
        if self._ahead:
            return True
        patience_s = self.gettimeout()
        try:
            self.settimeout(0.0)
            try:
                self._ahead = self.read(1)
            finally:
                self.settimeout(patience_s)
        except ssl.SSLWantReadError:
            return False
        except (OSError, ValueError):
            # Whoever reads next gets to know.
            return True
        return True

    def shutdown(self, how: int) -> None:
        """End the transport alone: the base would let what follows through undecrypted."""
        # The library does not close a socket of which it cannot end what its peer has ended already.
        with suppress(OSError):
            socket.socket.shutdown(self, how)

    def end(self) -> None:
        """Close, and tell the peer that nothing was cut off (RFC 8446 6.1); its own word is not awaited."""
        with suppress(OSError, ValueError):
            self.settimeout(0.0)
            self.unwrap()
        self.close()


class Opening:
    """What the library makes its secured connection with, in place of a context: it tells no faults."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._made: ssl.SSLSocket | None = None

    @property
    def fault(self) -> str:
        """What ended the connection, if TLS did."""
        return self._made.fault if isinstance(self._made, SecuredSocket) else ""

    def wrap_socket(self, plain: socket.socket, *, server_side: bool, server_hostname: str) -> ssl.SSLSocket:
        """Make the secured socket, not yet connected."""
        self._made = self._context.wrap_socket(
            plain, server_side=server_side, server_hostname=server_hostname
        )
        return self._made


class SecuredTransport(AssociationSocket):
    """The library's hold on a secured connection, which reads only when there is something to read."""

    @property
    def ready(self) -> bool:
        """Whether data or an end has come."""
        return super().ready and (not isinstance(self.socket, SecuredSocket) or self.socket.has_data())
