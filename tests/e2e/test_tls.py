"""A node and an archive that speaks TLS only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Program
from tests.e2e.test_node import lines, reports_in
from tests.fakes.certificates import Authority
from tests.fakes.processes import QUICK, free_port, running_node, storescp_archive, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_report_waits_for_a_certificate_that_can_be_trusted(
    tmp_path: Path, project: Path, program: Program
) -> None:
    authority = Authority(program("openssl"), tmp_path)
    authority.issue("pacs", "pacs", "IP:127.0.0.1")
    authority.issue("expired", "pacs", "IP:127.0.0.1", days=-1)
    authority.issue("node", "node")
    port, storescp = free_port(), program("storescp")
    settings = f"""{QUICK}
[[destination]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
tls = true
ca_file = "{authority.file("ca.pem")}"
tls_certificate = "{authority.file("node.pem")}"
tls_key = "{authority.file("node.key")}"
"""

    def secured(name: str) -> list[str]:
        own = ["+tls", authority.file(f"{name}.key"), authority.file(f"{name}.pem")]
        return [*own, "+cf", authority.file("ca.pem")]

    with running_node(tmp_path / "node", settings=settings) as node:
        with storescp_archive(storescp, tmp_path / "archive", port, *secured("expired")) as archive:
            node.send(program("dcmsend"), project / "dicom_samples" / "pelvis-thick")
            wait_until(lambda: bool(lines(node, "code=peer.tls")), "the first failed try")
            (told,) = node.ask("echo")
            assert (told["is_usable"], told["code"]) == (False, "peer.tls")
            assert reports_in(archive) == {}
        with storescp_archive(storescp, tmp_path / "archive", port, *secured("pacs")) as archive:
            wait_until(lambda: len(reports_in(archive)) == 2, "the report")
            wait_until(lambda: node.status()["deliveries"] == {"stored": 1}, "the state")
            (told,) = node.ask("echo")
            assert (told["is_usable"], told["code"]) == (True, "")
        assert node.stop() == 0
