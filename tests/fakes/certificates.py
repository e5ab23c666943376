"""Certificates of an authority that lives for one test module, made by OpenSSL's own program."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """An authority, and a stranger of which nobody has heard.

    Parameters
    ----------
    openssl
        Path of the program.
    folder
        Where the files lie: ``ca.pem``, ``other.pem`` and those that are issued.
    """

    def __init__(self, openssl: str, folder: Path) -> None:
        self._openssl, self.folder = openssl, folder
        for name, subject in (("ca", "authority"), ("other", "other")):
            self._run(
                *("req", "-x509", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2"),
                *("-subj", f"/CN={subject}"),
            )

    def issue(self, name: str, subject: str, alternative: str = "", days: int = 2) -> None:
        """Make ``NAME.key`` and ``NAME.pem``; a negative number of days gives one that is over."""
        made_out = ("-addext", f"subjectAltName={alternative}") if alternative else ()
        self._run(
            *("req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}"),
            *made_out,
        )
        self._run(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-copy_extensions", "copy", "-out", f"{name}.pem", "-days", str(days)),
        )

    def file(self, name: str) -> str:
        """Path of a file."""
        return str(self.folder / name)

    def server(self, name: str, *, asks: bool = False) -> ssl.SSLContext:
        """Context of a server with one of the certificates, which may ask for the client's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file(f"{name}.pem"), self.file(f"{name}.key"))
        if asks:
            context.load_verify_locations(self.file("ca.pem"))
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], cwd=self.folder, check=True, capture_output=True)
