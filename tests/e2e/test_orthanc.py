"""An Orthanc that routes by its own script: marks and CT go to the node, the report comes into the study."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from pydicom import dcmread

from osteoscribe.writers.document import MANUFACTURER
from tests.conftest import Program
from tests.fakes.orthanc import DICOM_PORT, NODE_PORT, ROUTE_EVERYTHING, network_namespace, running_orthanc
from tests.fakes.processes import QUICK, running_node, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]

PEER = f'[[peer]]\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {DICOM_PORT}\n'


def recipe(project: Path) -> str:
    """The script that the recipe tells a site to use."""
    page = (project / "docs" / "recipes" / "orthanc.md").read_text("utf-8")
    found = re.search(r"```lua\n(.*?)```", page, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize("script", ["everything", "recipe"])
def test_the_report_comes_back_into_the_study(
    tmp_path: Path, project: Path, program: Program, script: str
) -> None:
    lua = ROUTE_EVERYTHING if script == "everything" else recipe(project)
    samples = project / "dicom_samples" / "pelvis"
    study = str(dcmread(next((samples / "ct").iterdir())).StudyInstanceUID)
    with (
        network_namespace() as prefix,
        running_orthanc(
            program("Orthanc"), program("curl"), prefix, tmp_path / "orthanc", lua=lua
        ) as orthanc,
        running_node(
            tmp_path / "node",
            settings=QUICK.replace("quiet_s = 0.5", "quiet_s = 2.0") + PEER,
            prefix=prefix,
            port=NODE_PORT,
        ) as node,
    ):
        command = [program("dcmsend"), "+sd", "+r", "-aec", "ORTHANC", "127.0.0.1", str(DICOM_PORT)]
        # The marks first: whatever order things come in, there is one report.
        subprocess.run([*prefix, *command, str(samples / "marks")], check=True, timeout=60)
        subprocess.run([*prefix, *command, str(samples / "ct")], check=True, timeout=60)

        def state() -> dict[str, int]:
            return dict(node.status()["deliveries"])

        wait_until(lambda: state() == {"stored": 1}, "the delivery", 90)
        time.sleep(5)
        status = node.status()
        assert status["jobs"] == {"done": 1}, "our own report, routed back, is no mark"
        assert status["marks_by_state"].get("own", 0) == (2 if script == "everything" else 0)
        classes = [
            tags["SOPClassUID"]
            for instance in orthanc.find("Instance", StudyInstanceUID=study)
            if (tags := orthanc.get(f"instances/{instance['ID']}/simplified-tags"))["Manufacturer"]
            == MANUFACTURER
        ]
        assert sorted(classes) == ["1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.34"]
        assert len(orthanc.get("studies")) == 1
