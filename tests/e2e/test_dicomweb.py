"""A node whose reports go to a real Orthanc by STOW-RS and by C-STORE, each proved by a query afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Program
from tests.fakes.orthanc import (
    DICOM_PORT,
    DICOMWEB,
    HTTP_PORT,
    NODE_PORT,
    network_namespace,
    running_orthanc,
)
from tests.fakes.processes import QUICK, running_node, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]

DESTINATIONS = f"""
[[destination]]
name = "web"
url = "http://127.0.0.1:{HTTP_PORT}/dicom-web"
prove_by_query = true
[[destination]]
name = "dimse"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {DICOM_PORT}
prove_by_query = true
"""


def test_reports_arrive_by_both_ways_and_are_proved(tmp_path: Path, project: Path, program: Program) -> None:
    if not DICOMWEB.exists():
        pytest.skip("outside program absent: Orthanc's DICOMweb plugin")
    samples = project / "dicom_samples" / "pelvis"
    programs = (program("Orthanc"), program("curl"))
    with (
        network_namespace() as prefix,
        running_node(tmp_path / "node", settings=QUICK + DESTINATIONS, prefix=prefix, port=NODE_PORT) as node,
    ):
        command = [*prefix, program("dcmsend"), "+sd", "+r", "127.0.0.1", str(NODE_PORT)]
        subprocess.run([*command, str(samples)], check=True, timeout=60)

        def waiting() -> dict[str, str]:
            return {one["name"]: one["code"] for one in node.status()["destinations"]}

        wait_until(lambda: set(waiting().values()) == {"peer.unreachable"}, "tries without an archive", 90)
        assert set(waiting()) == {"web", "dimse"}
        with running_orthanc(*programs, prefix, tmp_path / "o", plugins=[str(DICOMWEB)]) as orthanc:
            wait_until(lambda: node.status()["proofs"] == {"proved": 2}, "the proofs", 90)
            status = node.status()
            assert status["deliveries"] == {"stored": 2}
            assert status["jobs"] == {"done": 1}
            assert {one["state"] for one in status["destinations"]} == {"reachable"}
            classes = [
                orthanc.get(f"instances/{one['ID']}/simplified-tags")["SOPClassUID"]
                for one in orthanc.find("Instance")
            ]
        assert sorted(classes) == ["1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.34"]
