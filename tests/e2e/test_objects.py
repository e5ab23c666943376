"""The node with its received bytes and reports in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from osteoscribe.core.digest import new_digest
from osteoscribe.readers.headers import split_part10
from tests.conftest import Program
from tests.fakes.processes import QUICK, free_port, running_node, storescp_archive, wait_until
from tests.faults.peers import KeepingSender
from tests.objects import S3Server, running_s3

pytestmark = [pytest.mark.slow, pytest.mark.peer, pytest.mark.timeout(170)]


@pytest.fixture
def own_s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


def data_set_digests(folder: Path) -> set[str]:
    contents = [path.read_bytes() for path in folder.rglob("*.dcm")]
    return {new_digest(one[split_part10(one).dataset_offset :]).hexdigest() for one in contents}


def test_a_study_goes_through_although_the_object_store_falls_silent_and_the_node_is_killed(
    tmp_path: Path, project: Path, program: Program, own_s3: S3Server
) -> None:
    port = free_port()
    place = f'[store]\nobjects_url = "{own_s3.new_bucket()}"\nobjects_endpoint_url = "{own_s3.endpoint_url}"'
    samples = project / "dicom_samples" / "pelvis-thick"
    with (
        storescp_archive(program("storescp"), tmp_path / "archive", port) as archive,
        running_node(
            tmp_path / "node",
            *("--destination", f"PACS@127.0.0.1:{port}"),
            settings=QUICK.replace("[store]", place),
        ) as node,
    ):
        own_s3.pause()
        one = next((samples / "ct").iterdir())
        refused = node.send(program("dcmsend"), one)
        assert b"with status REFUSED  : 1" in refused.stdout, refused.stdout
        own_s3.go_on()
        sender, study = KeepingSender(), [dcmread(path) for path in sorted(samples.rglob("*.dcm"))]
        assert sender.send(node.port, study[:-1])
        node.kill()
        node.start()
        assert sender.send(node.port, study)
        wait_until(lambda: node.status()["deliveries"] == {"stored": 1}, "the delivery", 90)
        assert node.status()["jobs"] == {"done": 1}
        assert len(list(archive.iterdir())) == 2
        assert not list((tmp_path / "node" / "data").rglob("*.seg"))
        exported = tmp_path / "exported"
        assert node.run("store", "export", str(exported)) == 0
    assert len(sender.acknowledged) == len(study)
    assert sender.acknowledged <= data_set_digests(exported / "received")
    sent_reports = {str(dcmread(path).SOPInstanceUID) for path in archive.iterdir()}
    assert {str(dcmread(path).SOPInstanceUID) for path in (exported / "made").iterdir()} == sent_reports
