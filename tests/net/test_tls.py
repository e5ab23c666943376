"""TLS of the listener, with pynetdicom's and DCMTK's senders, on both receiving paths."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from pynetdicom import AE

from osteoscribe.app.settings import NodeSettings, parse_settings
from osteoscribe.errors import SetupError
from osteoscribe.net.tls import server_context
from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.fakes.certificates import Authority
from tests.fakes.dicom import CT, EXPLICIT, ct_slice, encode
from tests.fakes.node import RunningNode, receiving_node
from tests.fakes.sender import associate

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("receiving_path"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/bin")
    if found is None:
        pytest.skip(f"{name} is absent")
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of the node, of a sender, and of a stranger."""
    authority = Authority(program("openssl"), tmp_path_factory.mktemp("tls"))
    authority.issue("node", "localhost")
    authority.issue("sender", "sender")
    return authority.folder


def secured(files: Path, *, clients: bool = False) -> dict[str, str]:
    settings = {"tls_certificate": str(files / "node.pem"), "tls_key": str(files / "node.key")}
    return {**settings, "tls_ca": str(files / "ca.pem")} if clients else settings


def client(files: Path, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    context.check_hostname = False
    if name:
        context.load_cert_chain(files / f"{name}.pem", files / f"{name}.key")
    return context


def send(node: RunningNode, context: ssl.SSLContext, *numbers: int) -> list[int]:
    """Statuses; none where there was no association."""
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(CT, EXPLICIT)
    association = associate(ae, node.port, tls_args=(context, "localhost"))
    if not association.is_established:
        return []
    statuses = [int(association.send_c_store(ct_slice(number)).Status) for number in numbers]
    association.release()
    return statuses


def stored(node: RunningNode) -> set[bytes]:
    segments = SegmentStore(node.folder.segments)
    records = [record for name in segments.lengths(RECEIVED) for record in segments.scan(name)]
    return {segments.read_bytes(record.blob, 0, record.blob.length) for record in records}


def test_a_secured_sender_stores(tmp_path: Path, files: Path) -> None:
    with receiving_node(tmp_path, **secured(files)) as node:
        assert send(node, client(files), *range(1, 30)) == [0] * 29
        assert stored(node) == {encode(ct_slice(number)) for number in range(1, 30)}


def test_only_senders_with_a_certificate_of_the_authority_where_one_is_named(
    tmp_path: Path, files: Path
) -> None:
    with receiving_node(tmp_path, **secured(files, clients=True)) as node:
        assert send(node, client(files, "sender"), 1) == [0]
        assert send(node, client(files), 2) == []
        assert send(node, client(files, "other"), 3) == []
        assert stored(node) == {encode(ct_slice(1))}


def test_old_protocols_plain_text_and_silence_get_nothing(
    tmp_path: Path, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with receiving_node(tmp_path, **secured(files)) as node, caplog.at_level(logging.WARNING):
        silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(20)]
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", node.port)) as one, pytest.raises(ssl.SSLError):
            old.wrap_socket(one)
        plain = AE(ae_title="SENDER")
        plain.add_requested_context(CT, EXPLICIT)
        assert not plain.associate("127.0.0.1", node.port).is_established
        assert send(node, client(files), 1) == [0]
        for one in silent:
            one.close()
    assert "net.tls-failed" in caplog.text


@pytest.mark.parametrize("clients", [False, True])
def test_dcmtk_sends_over_tls(tmp_path: Path, files: Path, clients: bool) -> None:
    paths = []
    for number in range(1, 6):
        paths.append(str(tmp_path / f"{number}.dcm"))
        ct_slice(number).save_as(paths[-1], enforce_file_format=True)
    own = ["+tls", str(files / "sender.key"), str(files / "sender.pem")] if clients else ["+tla"]
    with receiving_node(tmp_path / "data", **secured(files, clients=clients)) as node:
        command = [program("storescu"), *own, "+cf", str(files / "ca.pem"), "-xe"]
        subprocess.run([*command, "127.0.0.1", str(node.port), *paths], check=True, timeout=60)
        assert stored(node) == {encode(ct_slice(number)) for number in range(1, 6)}


def test_files_that_cannot_be_used_are_a_clear_error(files: Path, tmp_path: Path) -> None:
    good = secured(files)
    wrong = [
        {**good, "tls_key": str(files / "sender.key")},
        {**good, "tls_key": str(tmp_path / "absent")},
        {**good, "tls_ca": str(files / "node.key")},
    ]
    for one in wrong:
        with pytest.raises(SetupError, match=r"settings.tls-unusable.*node.tls_certificate"):
            server_context(NodeSettings(**one))
    with pytest.raises(SetupError, match=r"settings.wrong-value.*tls_certificate"):
        parse_settings({"node": {"tls_ca": "ca.pem"}})
