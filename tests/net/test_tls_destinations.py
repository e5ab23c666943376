"""TLS towards destinations: DCMTK's and pynetdicom's archives, and peers that do it wrongly or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from osteoscribe.app.ports import CommitmentReport, Place, StoredObject
from osteoscribe.app.safekeep import Verdict
from osteoscribe.app.settings import Destination, Secured
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import PeerError, RefusedError, SetupError
from osteoscribe.net.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, CommitmentAsker
from osteoscribe.net.echo import VERIFICATION, echo
from osteoscribe.net.query import STUDY_ROOT_FIND, QueryProver
from osteoscribe.net.safekeeping import SafekeepingReporter
from osteoscribe.net.scu import StoreSender, associate
from osteoscribe.net.stow import StowSender
from osteoscribe.net.tls import SecuredSocket, client_context
from tests.benchmarks.peers import Archive as PlainArchive
from tests.benchmarks.peers import accepting, read_pdu
from tests.conftest import Program
from tests.fakes.certificates import Authority
from tests.fakes.dicom import COMPREHENSIVE_SR, EXPLICIT, ROOT
from tests.fakes.dimse import ABORT
from tests.fakes.listening import Listening
from tests.fakes.processes import free_port, listens, wait_until
from tests.fakes.sender import sender
from tests.fakes.web import answer, store_response, web_server
from tests.net.test_scu import report_object

pytestmark = pytest.mark.peer

OK = 0x0000


@pytest.fixture(scope="module")
def authority(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(program("openssl"), tmp_path_factory.mktemp("tls"))
    made.issue("pacs", "pacs", "IP:127.0.0.1")
    made.issue("elsewhere", "elsewhere", "IP:127.0.0.9,DNS:elsewhere")
    made.issue("expired", "pacs", "IP:127.0.0.1", days=-1)
    made.issue("node", "node")
    return made


@dataclass
class Archive:
    """DCMTK's storescp."""

    port: int
    folder: Path
    log: Path

    @property
    def stored(self) -> int:
        return len(list(self.folder.iterdir()))

    def lines(self, words: str) -> int:
        return self.log.read_text(errors="replace").count(words)


@contextmanager
def storescp(program: str, folder: Path, *options: str) -> Iterator[Archive]:
    archive = Archive(port=free_port(), folder=folder / "archive", log=folder / "log.txt")
    archive.folder.mkdir()
    command = [program, "-v", "-aet", "PACS", "-od", str(archive.folder), *options, str(archive.port)]
    with archive.log.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ, TCP_NODELAY="1")
        )
    try:
        wait_until(lambda: listens(archive.port), "storescp")
        yield archive
    finally:
        process.kill()
        process.wait(60)


def secured(authority: Authority, name: str = "pacs", *, asks: bool = False) -> list[str]:
    """Options of DCMTK's storescp."""
    own = ["+tls", authority.file(f"{name}.key"), authority.file(f"{name}.pem")]
    return [*own, "+cf", authority.file("ca.pem")] if asks else [*own, "-ic"]


def pacs(authority: Authority, port: int, **more: Any) -> Destination:
    files = {"ca_file": authority.file("ca.pem"), **more}
    return Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, tls=True, **files)


def statuses(one: StoreSender, destination: Destination, *numbers: int) -> list[int | None]:
    objects = [report_object(number) for number in numbers]
    return [reply.status for reply in one.send(destination, objects)]


def failure(destination: Destination, timeout_s: float = 30.0) -> PeerError:
    """What a try to send ends with: always an error to try again."""
    with sender(timeout_s=timeout_s) as one, pytest.raises(PeerError) as caught:
        statuses(one, destination, 1)
    assert not isinstance(caught.value, RefusedError)
    return caught.value


def test_reports_go_over_one_secured_association_that_is_kept(
    tmp_path: Path, program: Program, authority: Authority
) -> None:
    with storescp(program("storescp"), tmp_path, *secured(authority)) as archive:
        with sender() as one:
            there = pacs(authority, archive.port)
            assert [statuses(one, there, *numbers) for numbers in ((1, 2), (3,), (4,))] == [
                [OK, OK],
                [OK],
                [OK],
            ]
        wait_until(lambda: archive.lines("Association Release") == 1, "the release")
        assert archive.lines("Association Received") == 1
        assert archive.stored == 4


def test_a_large_object_goes_over_tls_as_it_was_made(authority: Authority) -> None:
    received = []

    def keep(event: evt.Event) -> int:
        received.append(event.encoded_dataset(include_meta=False))
        return OK

    element = b"\x09\x00\x10\x10OB\x00\x00" + (1_000_000).to_bytes(4, "little")
    large = dataclasses.replace(
        report_object(), encoded=report_object().encoded + element + os.urandom(1_000_000)
    )
    ae = AE(ae_title="PACS")
    ae.add_supported_context(COMPREHENSIVE_SR, EXPLICIT)
    with (
        Listening(ae, [(evt.EVT_C_STORE, keep)], tls=authority.server("pacs")) as peer,
        sender() as one,
    ):
        (reply,) = one.send(pacs(authority, peer.port), [large])
    assert reply.status == OK
    assert received == [large.encoded]


@pytest.mark.parametrize(
    ("certificate", "ca", "reason"),
    [
        ("pacs", "other.pem", "unable to get local issuer certificate"),
        ("pacs", "", "unable to get local issuer certificate"),
        ("elsewhere", "ca.pem", "not valid for '127.0.0.1'"),
        ("expired", "ca.pem", "certificate has expired"),
    ],
)
def test_nothing_goes_to_a_peer_whose_certificate_is_not_to_be_trusted(
    tmp_path: Path, program: Program, authority: Authority, certificate: str, ca: str, reason: str
) -> None:
    with storescp(program("storescp"), tmp_path, *secured(authority, certificate)) as archive:
        there = pacs(authority, archive.port, ca_file=authority.file(ca) if ca else "")
        found = failure(there)
        assert (found.code, archive.stored) == ("peer.tls", 0)
        assert reason in found.message


def test_the_name_of_a_certificate_may_be_left_unchecked_and_a_device_trusted_by_its_own(
    tmp_path: Path, program: Program, authority: Authority
) -> None:
    with (
        storescp(program("storescp"), tmp_path, *secured(authority, "elsewhere")) as archive,
        sender(keep_s=0) as one,
    ):
        assert statuses(one, pacs(authority, archive.port, check_host_name=False), 1) == [OK]
        own = pacs(authority, archive.port, check_host_name=False, ca_file=authority.file("elsewhere.pem"))
        assert statuses(one, own, 2) == [OK]
        other = pacs(authority, archive.port, check_host_name=False, ca_file=authority.file("pacs.pem"))
        assert failure(other).code == "peer.tls"


def test_a_peer_that_asks_for_a_certificate_gets_ours_and_nothing_without(
    tmp_path: Path, program: Program, authority: Authority
) -> None:
    shown = {"tls_certificate": authority.file("node.pem"), "tls_key": authority.file("node.key")}
    strange = {"tls_certificate": authority.file("other.pem"), "tls_key": authority.file("other.key")}
    with storescp(program("storescp"), tmp_path, *secured(authority, asks=True)) as archive:
        for files in ({}, strange):
            found = failure(pacs(authority, archive.port, **files))
            assert found.code == "peer.tls"
            assert "ALERT" in found.message, "the peer's reason"
        assert archive.stored == 0
        with sender() as one:
            assert statuses(one, pacs(authority, archive.port, **shown), 1, 2) == [OK, OK]
        assert archive.stored == 2


def test_the_reason_of_a_peer_that_has_gone_is_told(authority: Authority) -> None:
    """It refuses our certificate and resets the connection before it has read what we say."""

    def refusing(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        authority.server("pacs", asks=True).wrap_socket(connection, server_side=True)

    context = client_context(Secured(ca_file=authority.file("ca.pem")))
    with (
        talking(refusing) as port,
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        assert isinstance(connection, SecuredSocket)
        with pytest.raises(OSError, match=r".*"):
            while True:
                connection.send(bytes(10))
                time.sleep(0.01)
        assert "CERTIFICATE_REQUIRED" in connection.fault


def test_a_peer_without_tls_gets_nothing(tmp_path: Path, program: Program, authority: Authority) -> None:
    with storescp(program("storescp"), tmp_path) as archive:
        assert failure(pacs(authority, archive.port)).code == "peer.tls"
        assert archive.stored == 0


def test_tls_1_1_is_not_spoken(authority: Authority) -> None:
    old = authority.server("pacs")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    ae = AE(ae_title="PACS")
    ae.add_supported_context(COMPREHENSIVE_SR, EXPLICIT)
    with Listening(ae, tls=old) as peer:
        assert failure(pacs(authority, peer.port)).code == "peer.tls"


def test_nobody_there_is_told_apart(authority: Authority) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert failure(pacs(authority, taken.getsockname()[1])).code == "peer.unreachable"


def stored_object(sop_instance_uid: str) -> StoredObject:
    return StoredObject(
        profile="standard",
        role="sr",
        sop_class_uid=COMPREHENSIVE_SR,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=EXPLICIT,
        blob=BlobRef(segment="a", offset=0, length=0),
    )


Talk = Callable[[socket.socket], None]


@contextmanager
def talking(talk: Talk) -> Iterator[int]:
    """A peer that does what the test says with one connection, then closes it; its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        thread.join(60)
        server.close()
        assert not thread.is_alive()


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def closing(connection: socket.socket) -> None:
    connection.recv(4096)


def noisy(connection: socket.socket) -> None:
    connection.sendall(b"Canary^Patient" * 100)
    silent(connection)


class Dripping:
    """Sends a TLS record byte by byte: none comes late, and the record never ends."""

    def __init__(self) -> None:
        self.was_left = False

    def __call__(self, connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"\x16\x03\x03\x3f\xff")
        try:
            for _ in range(600):
                connection.sendall(b"\x02")
                if self._is_over(connection):
                    return
        except OSError:
            self.was_left = True

    def _is_over(self, connection: socket.socket) -> bool:
        connection.settimeout(0.05)
        try:
            self.was_left = not connection.recv(4096)
        except TimeoutError:
            return False
        return self.was_left


@pytest.mark.parametrize("talk", [silent, closing, noisy])
def test_a_peer_that_stops_in_the_handshake_is_an_error_to_try_again(
    authority: Authority, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    with talking(talk) as port:
        found = failure(pacs(authority, port), timeout_s=0.3)
    assert found.code == "peer.tls"
    assert "Canary" not in found.message + caplog.text


def test_a_handshake_that_drips_has_an_end(authority: Authority) -> None:
    peer = Dripping()
    with talking(peer) as port:
        assert failure(pacs(authority, port), timeout_s=0.3).code == "peer.tls"
    assert peer.was_left
    peer = Dripping()
    with talking(peer) as port, pytest.raises(PeerError, match=r"peer.silent"):
        web = Destination(url=f"https://127.0.0.1:{port}/dicom-web", ca_file=authority.file("ca.pem"))
        StowSender(timeout_s=0.3).send(web, [report_object()])
    assert peer.was_left


def securely(authority: Authority, talk: Talk) -> Talk:
    def secure(connection: socket.socket) -> None:
        with authority.server("pacs").wrap_socket(connection, server_side=True) as wrapped:
            talk(wrapped)

    return secure


@pytest.mark.parametrize("length", [0, 3, 9], ids=["at once", "in the head", "in the body"])
def test_a_peer_that_falls_silent_in_the_middle_of_its_acceptance_is_left(
    authority: Authority, length: int
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(accepting(read_pdu(connection)[1])[:length])
        silent(connection)

    with talking(securely(authority, talk)) as port:
        # Where the machine stands still for so long, the handshake has not ended.
        assert failure(pacs(authority, port), timeout_s=0.2).code in ("peer.unreachable", "peer.tls")


@pytest.mark.parametrize(
    ("then", "code", "timeout_s"),
    [
        (b"\4\0\0\0\0\x30abc", "peer.silent", 0.4),
        (ABORT, "peer.aborted", 30.0),
        (b"", "peer.silent", 0.4),
    ],
    ids=["in a PDU", "an abort", "at once"],
)
def test_a_peer_that_falls_silent_after_a_report_is_left(
    authority: Authority, then: bytes, code: str, timeout_s: float
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(accepting(read_pdu(connection)[1]))
        read_pdu(connection)
        read_pdu(connection)
        connection.sendall(then)
        silent(connection)

    with talking(securely(authority, talk)) as port:
        # A machine that stands still for so long has not even associated.
        assert failure(pacs(authority, port), timeout_s).code in (code, "peer.unreachable", "peer.tls")


def test_a_kept_association_that_the_peer_has_ended_is_opened_again(authority: Authority) -> None:
    associations = []

    def keep(event: evt.Event) -> int:
        associations.append(event.assoc)
        return OK

    ae = AE(ae_title="PACS")
    ae.add_supported_context(COMPREHENSIVE_SR, EXPLICIT)
    with (
        Listening(ae, [(evt.EVT_C_STORE, keep)], tls=authority.server("pacs")) as peer,
        sender() as one,
    ):
        there = pacs(authority, peer.port)
        assert statuses(one, there, 1) == [OK]
        associations[-1].abort()
        assert statuses(one, there, 2) == [OK]
    assert len({id(one) for one in associations}) == 2


@contextmanager
def renewing(program: str, authority: Authority, behind: int) -> Iterator[tuple[int, Callable[[], None]]]:
    """OpenSSL's own server before a peer without TLS: its port, and what has it renew its key.

    What it reads is sent as it is, unless it is the single letter of a command.
    """
    port = free_port()
    near, far = socket.socketpair()
    command = [program, "s_server", "-accept", str(port), "-tls1_3", "-cert", authority.file("pacs.pem")]
    with far:
        process = subprocess.Popen(
            [*command, "-key", authority.file("pacs.key")], stdin=far, stdout=far, stderr=subprocess.DEVNULL
        )
    inner = socket.create_connection(("127.0.0.1", behind))
    _pass_over(near, b"ACCEPT\n")

    def towards_inner() -> None:
        _pass_over(near, b"Secure Renegotiation IS supported\n")
        pump(near, inner)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                # The program's own word on a renewal goes where the data goes.
                target.sendall(piece.replace(b"SSL_do_handshake -> 1\n", b""))

    threads = [threading.Thread(target=towards_inner), threading.Thread(target=pump, args=(inner, near))]
    for one in threads:
        one.start()
    try:
        yield port, lambda: near.sendall(b"k\n")
    finally:
        process.kill()
        process.wait(60)
        for connection in (near, inner):
            connection.shutdown(socket.SHUT_RDWR)
        for one in threads:
            one.join(60)
        near.close()
        inner.close()


def _pass_over(source: socket.socket, words: bytes) -> None:
    """Read up to the end of these words and no further."""
    read = b""
    while not read.endswith(words):
        piece = source.recv(1)
        assert piece, read
        read += piece


def test_a_message_of_tls_itself_is_no_answer_and_no_end(program: Program, authority: Authority) -> None:
    """A new key (RFC 8446 4.6.3) makes the connection readable; who then waits for data waits in vain."""
    with PlainArchive() as archive:
        with renewing(program("openssl"), authority, archive.port) as (port, renew), sender() as one:
            there = pacs(authority, port)
            assert statuses(one, there, 1) == [OK]
            renew()
            # Time for it to arrive; without it less is tried.
            time.sleep(0.2)
            assert statuses(one, there, 2) == [OK]
        assert [found.association for found in archive.arrived] == [1, 1]
        with renewing(program("openssl"), authority, archive.port) as (port, renew):
            contexts = [(VERIFICATION, [EXPLICIT])]
            association = associate(pacs(authority, port), contexts, ae_title="OSTEOSCRIBE", timeout_s=10.0)
            renew()
            time.sleep(0.2)
            assert association.send_c_echo().Status == OK
            association.release()
        assert association.is_released


def test_all_else_that_is_asked_of_a_destination_goes_over_tls_too(authority: Authority) -> None:
    """C-ECHO, storage commitment with its answer, proof by query, and the report to one who asked us."""
    ae = AE(ae_title="PACS")
    for sop_class in (VERIFICATION, COMPREHENSIVE_SR, STUDY_ROOT_FIND):
        ae.add_supported_context(sop_class, EXPLICIT)
    ae.add_supported_context(PUSH_MODEL, EXPLICIT, scu_role=True, scp_role=True)
    place = Place(
        study_instance_uid=f"{ROOT}.1", series_instance_uid=f"{ROOT}.8", sop_instance_uid=f"{ROOT}.5.1"
    )
    told, answers = [], []

    def on_action(event: evt.Event) -> tuple[int, None]:
        information = event.action_information
        report = Dataset()
        report.TransactionUID = information.TransactionUID
        report.ReferencedSOPSequence = information.ReferencedSOPSequence
        threading.Thread(
            target=lambda: event.assoc.send_n_event_report(report, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE),
            daemon=True,
        ).start()
        return OK, None

    def on_find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        yield 0xFF00, event.identifier

    def on_report(event: evt.Event) -> tuple[int, None]:
        told.append(str(event.event_information.TransactionUID))
        return OK, None

    handlers: list[Any] = [
        (evt.EVT_C_ECHO, lambda _event: OK),
        (evt.EVT_N_ACTION, on_action),
        (evt.EVT_C_FIND, on_find),
        (evt.EVT_N_EVENT_REPORT, on_report),
    ]

    def take(report: CommitmentReport) -> bool:
        answers.append(report)
        return True

    named = {"ae_title": "OSTEOSCRIBE", "timeout_s": 30.0}
    with Listening(ae, handlers, tls=authority.server("pacs")) as peer:
        there = pacs(authority, peer.port)
        shown = echo(there, {"reports": COMPREHENSIVE_SR}, **named)
        assert (shown["refuses"], len(shown["accepts"])) == ([], 4)
        asker = CommitmentAsker(take=take, answer_wait_s=30.0, **named)
        asker.ask(
            there,
            "1.2.3",
            [stored_object(place.sop_instance_uid)],
        )
        assert [(one.transaction_uid, set(one.committed)) for one in answers] == [
            ("1.2.3", {place.sop_instance_uid})
        ]
        assert QueryProver(**named).found(there, [place]) == {place.sop_instance_uid}
        SafekeepingReporter(**named).report(
            there, "1.2.4", Verdict(kept={place.sop_instance_uid: COMPREHENSIVE_SR}, failed={})
        )
        assert told == ["1.2.4"]
        with pytest.raises(PeerError, match=r"peer.tls"):
            echo(pacs(authority, peer.port, ca_file=authority.file("other.pem")), {}, **named)


def test_files_that_cannot_be_used_are_a_clear_error(authority: Authority, tmp_path: Path) -> None:
    absent, own = str(tmp_path / "absent"), authority.file("node.pem")
    for files, code in (
        ({"ca_file": absent}, "settings.ca-unreadable"),
        ({"ca_file": authority.file("node.key")}, "settings.ca-unreadable"),
        ({"tls_certificate": absent}, "settings.tls-unusable"),
        ({"tls_certificate": own}, "settings.tls-unusable"),
        ({"tls_certificate": own, "tls_key": authority.file("pacs.key")}, "settings.tls-unusable"),
    ):
        with sender() as one, pytest.raises(SetupError, match=code):
            statuses(one, pacs(authority, 1, **files), 1)


def test_a_web_destination_gets_our_certificate_too(authority: Authority) -> None:
    shown = {"tls_certificate": authority.file("node.pem"), "tls_key": authority.file("node.key")}
    one = report_object()
    reply = answer(200, store_response([one.sop_instance_uid]))
    with web_server(lambda _request: reply, authority.server("elsewhere", asks=True)) as server:
        url, ca_file = f"https://127.0.0.1:{server.port}/dicom-web", authority.file("ca.pem")
        there = Destination(url=url, ca_file=ca_file, check_host_name=False, **shown)
        (found,) = StowSender(timeout_s=30).send(there, [one])
        assert found.status == OK
        for worse in ({}, shown):
            with pytest.raises(PeerError, match=r"peer.tls"):
                StowSender(timeout_s=30).send(
                    Destination(url=url, ca_file=ca_file, check_host_name=bool(worse), **worse), [one]
                )
        assert len(server.requests) == 1
