"""Serves the OHIF viewer's files and passes DICOMweb on to Orthanc, on one origin.

Arguments: folder of the viewer's build, port, port of Orthanc. Runs inside the namespace of the test.
"""

from __future__ import annotations

import http.client
import mimetypes
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIST, PORT, ORTHANC = Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3])
CONFIGURATION = Path(__file__).with_name("app-config.js")
mimetypes.add_type("application/wasm", ".wasm")
mimetypes.add_type("text/javascript", ".js")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        status, kind, body = self._passed_on() if self.path.startswith("/dicom-web") else self._file()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(body)

    def _passed_on(self) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", ORTHANC, timeout=120)
        wanted = {k: v for k, v in self.headers.items() if k.lower() == "accept"}
        connection.request("GET", self.path, None, wanted)
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        kind = reply.getheader("Content-Type") or ""
        if "json" in kind:
            here = self.headers["Host"].encode()
            body = body.replace(f"http://127.0.0.1:{ORTHANC}".encode(), b"http://" + here)
        return reply.status, kind, body

    def _file(self) -> tuple[int, str, bytes]:
        path = (DIST / self.path.split("?")[0].lstrip("/")).resolve()
        if self.path.startswith("/app-config.js"):
            path = CONFIGURATION
        elif not (path.is_relative_to(DIST) and path.is_file()):
            path = DIST / "index.html"
        return 200, mimetypes.guess_type(path)[0] or "application/octet-stream", path.read_bytes()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
