"""TLS of the listener: BCP 195, TLS 1.2 or newer with forward secrecy (PS3.15 B.12)."""

from __future__ import annotations

import ssl

from osteoscribe.app.settings import NodeSettings
from osteoscribe.errors import SetupError

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
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    try:
        # An encrypted key would ask the terminal; nobody sits there.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key or None, password=lambda: "")
        if settings.tls_ca:
            context.load_verify_locations(settings.tls_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        raise SetupError(
            "settings.tls-unusable",
            f"found TLS files that cannot be used ({type(error).__name__} "
            f"{getattr(error, 'reason', None) or getattr(error, 'errno', '')}), expected PEM files: "
            "node.tls_certificate with node.tls_key, unencrypted, and node.tls_ca; correct them",
        ) from error
    return context
