"""STOW-RS to a real archive, and to servers that answer everything else."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from osteoscribe.app.ports import EncodedObject, StoreReply
from osteoscribe.app.settings import Destination
from osteoscribe.errors import BusyError, PeerError, RefusedError, SetupError
from osteoscribe.net.stow import StowSender
from tests.conftest import Program
from tests.fakes.orthanc import DICOMWEB, HTTP_PORT, inside, network_namespace, running_orthanc
from tests.fakes.web import WebServer, answer, certificate, store_response, web_server
from tests.net.test_scu import report_object

ONE, TWO = report_object(1), report_object(2)
UID_1, UID_2 = ONE.sop_instance_uid, TWO.sop_instance_uid


def send(
    server: WebServer,
    objects: Sequence[EncodedObject],
    *,
    scheme: str = "http",
    host: str = "127.0.0.1",
    timeout_s: float = 30.0,
    **more: str,
) -> tuple[StoreReply, ...]:
    destination = Destination(name="web", url=f"{scheme}://{host}:{server.port}/dicom-web", **more)
    return StowSender(timeout_s=timeout_s).send(destination, objects)


@pytest.mark.slow
def test_a_real_archive_keeps_what_it_can_use_once_and_says_what_it_cannot(
    tmp_path: Path, program: Program
) -> None:
    if not DICOMWEB.exists():
        pytest.skip("outside program absent: Orthanc's DICOMweb plugin")
    broken = dataclasses.replace(report_object(3), encoded=bytes(40))
    programs = (program("Orthanc"), program("curl"))
    with (
        network_namespace() as prefix,
        running_orthanc(*programs, prefix, tmp_path / "orthanc", plugins=[str(DICOMWEB)]) as orthanc,
    ):
        url = f"http://127.0.0.1:{HTTP_PORT}"
        one, there = StowSender(timeout_s=30), Destination(url=f"{url}/dicom-web")
        for _ in range(2):
            replies = inside(prefix, lambda: one.send(there, [ONE, TWO]))
            assert [reply.status for reply in replies] == [0, 0], "a duplicate is no failure"
        mixed = inside(prefix, lambda: one.send(there, [broken, report_object(4), report_object(5)]))
        assert [(reply.status, reply.code) for reply in mixed] == [
            (None, "peer.http-refused"),
            (0, ""),
            (0, ""),
        ]
        kept = {found["MainDicomTags"]["SOPInstanceUID"] for found in orthanc.find("Instance")}
        assert kept == {report_object(number).sop_instance_uid for number in (1, 2, 4, 5)}
        there = Destination(url=f"{url}/no-such-service")
        with pytest.raises(RefusedError, match=r"peer.http-refused.*HTTP 404"):
            inside(prefix, lambda: one.send(there, [ONE]))


def test_one_request_holds_each_object_as_a_dicom_file(tmp_path: Path) -> None:
    with web_server(lambda _request: answer(200, store_response([UID_1, UID_2]))) as server:
        replies = send(server, [ONE, TWO])
    assert [reply.status for reply in replies] == [0, 0]
    (request,) = server.requests
    assert request.line == "POST /dicom-web/studies HTTP/1.1"
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    parts = [part.get_payload(decode=True) for part in message.iter_parts()]  # type: ignore[attr-defined]
    assert [dcmread(BytesIO(part)).SOPInstanceUID for part in parts] == [UID_1, UID_2]
    assert all(part.endswith(one.encoded) for part, one in zip(parts, (ONE, TWO), strict=True))


def test_each_object_gets_the_status_that_the_answer_states() -> None:
    body = store_response(warned={UID_1: 0xB006}, failed={UID_2: 0xA900})
    with web_server(lambda _request: answer(202, body)) as server:
        replies = send(server, [ONE, TWO])
    assert [reply.status for reply in replies] == [0xB006, 0xA900]


def test_an_answer_in_xml_is_understood() -> None:
    def attribute(tag: str, vr: str, value: str) -> str:
        return f'<DicomAttribute tag="{tag}" vr="{vr}"><Value number="1">{value}</Value></DicomAttribute>'

    good = attribute("00081155", "UI", UID_1)
    bad = attribute("00081155", "UI", UID_2) + attribute("00081197", "US", str(0x0122))
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models">'
        f'<DicomAttribute tag="00081199" vr="SQ"><Item number="1">{good}</Item></DicomAttribute>'
        f'<DicomAttribute tag="00081198" vr="SQ"><Item number="1">{bad}</Item></DicomAttribute>'
        "</NativeDicomModel>"
    )
    with web_server(lambda _request: answer(409, body.encode(), "application/dicom+xml")) as server:
        replies = send(server, [ONE, TWO])
    assert [reply.status for reply in replies] == [0, 0x0122]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"00081199": 5}',
        b'{"00081199": {"Value": [[], 5, {"00081155": {"Value": [5]}}]}}',
        store_response(["1.2.3"]),
    ],
)
def test_an_object_of_which_the_answer_says_nothing_is_not_stored(body: bytes) -> None:
    with web_server(lambda _request: answer(200, body)) as server:
        (reply,) = send(server, [ONE])
    assert (reply.status, reply.code, reply.passing) == (None, "peer.no-word", True)


BILLION_LAUGHS = b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><a>&b;</a>'


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"<html>Please sign in</html>", "text/html"),
        (b"[" * 100_000, "application/dicom+json"),
        (b"\xff\xfe\x00", "application/dicom+json"),
        (BILLION_LAUGHS, "application/dicom+xml"),
        (b"<a>" * 100_000, "application/xml"),
        (b"<a>", "application/xml"),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error_to_try_again(body: bytes, media_type: str) -> None:
    with (
        web_server(lambda _request: answer(200, body, media_type)) as server,
        pytest.raises(PeerError, match=r"peer.answer-unreadable") as caught,
    ):
        send(server, [ONE])
    assert not isinstance(caught.value, RefusedError)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 410, 451])
def test_what_cannot_get_better_by_itself_is_refused_for_good(status: int) -> None:
    with (
        web_server(lambda _request: answer(status)) as server,
        pytest.raises(RefusedError, match=rf"peer.http-refused.*HTTP {status}"),
    ):
        send(server, [ONE, TWO])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Retry-After: 120", 120.0),
        ("Retry-After: 99999999999999999999", 3600.0),
        ("Retry-After: Wed, 01 Jan 2020 00:00:00 GMT", 0.0),
        ("Retry-After: Wed, 01 Jan 2200 00:00:00 GMT", 3600.0),
    ],
)
def test_a_busy_server_says_how_long_it_wants_to_be_left_alone(header: str, expected: float) -> None:
    with (
        web_server(lambda _request: answer(503, headers=[header])) as server,
        pytest.raises(BusyError, match=r"peer.http-error.*HTTP 503") as caught,
    ):
        send(server, [ONE])
    assert caught.value.retry_after_s == expected


@pytest.mark.parametrize("status", [100, 204, 408, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_get_better_by_itself_is_tried_again(status: int) -> None:
    with (
        web_server(lambda _request: answer(status, headers=["Retry-After: soon"])) as server,
        pytest.raises(PeerError) as caught,
    ):
        send(server, [ONE], timeout_s=1.0)
    assert not isinstance(caught.value, (RefusedError, BusyError))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_goes_nowhere(tmp_path: Path, status: int) -> None:
    (tmp_path / "token").write_text("secret-token\n")
    with web_server(lambda _request: answer(200)) as other:
        there = f"Location: http://127.0.0.1:{other.port}/studies"
        with (
            web_server(lambda _request: answer(status, headers=[there])) as server,
            pytest.raises(RefusedError, match=r"peer.redirected"),
        ):
            send(server, [ONE], token_file=str(tmp_path / "token"))
        assert server.requests[0].headers["authorization"] == "Bearer secret-token"
        assert other.requests == []


@pytest.mark.parametrize("content", [None, b"", b"two\r\nX-Evil: 1", "gehe\u00efm".encode(), b"two words"])
def test_a_token_that_is_none_sends_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with (
        web_server(lambda _request: answer(200)) as server,
        pytest.raises(SetupError, match=r"settings.token-unreadable") as caught,
    ):
        send(server, [ONE], token_file=str(tmp_path / "token"))
    assert server.requests == []
    assert "Evil" not in str(caught.value)


def test_a_batch_that_is_too_large_is_sent_in_halves() -> None:
    def at_most_one(request: object) -> list[bytes]:
        body: bytes = request.body  # type: ignore[attr-defined]
        found = [one.sop_instance_uid for one in objects if one.encoded in body]
        return answer(200, store_response(found)) if len(found) == 1 else answer(413)

    objects = [report_object(number) for number in range(1, 6)]
    with web_server(at_most_one) as server:
        replies = send(server, objects)
    assert [reply.status for reply in replies] == [0] * 5
    assert [reply.sop_instance_uid for reply in replies] == [one.sop_instance_uid for one in objects]


def endless() -> list[bytes]:
    return [b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n\r\n", b"0" * 5_000_000]


def dripping() -> list[bytes]:
    return [b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n\r\n", *([b"0"] * 60)]


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (endless, "peer.answer-too-large"),
        pytest.param(dripping, "peer.silent", marks=pytest.mark.slow),
        (lambda: [], "peer.aborted"),
        (lambda: [b"HTTP/1.1 200 x\r\nContent-Length: 50\r\n\r\n{"], "peer.aborted"),
        (lambda: [b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"], "peer.aborted"),
        (lambda: [b"HTTP/1.1 200 x\r\n" + b"A: b\r\n" * 1000], "peer.aborted"),
        (lambda: [b"HTTP/1.1 200 x\r\nA: " + b"b" * 100_000], "peer.aborted"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_an_error_to_try_again(
    make: Callable[[], list[bytes]], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        web_server(lambda _request: make()) as server,
        pytest.raises(PeerError, match=code),
    ):
        send(server, [ONE], timeout_s=0.5 if code == "peer.silent" else 30.0)
    assert caplog.text == ""


def test_nobody_there_and_a_silent_server_are_told_apart() -> None:
    with web_server(lambda _request: []) as server:
        pass
    with pytest.raises(PeerError, match=r"peer.unreachable"):
        send(server, [ONE])
    over = threading.Event()

    def silent(_request: object) -> Iterator[bytes]:
        yield b""
        over.wait(60)

    with web_server(silent) as server:
        with pytest.raises(PeerError, match=r"peer.silent"):
            send(server, [ONE], timeout_s=0.3)
        over.set()


def test_only_a_certificate_that_is_trusted_for_the_host_is(tmp_path: Path, program: Program) -> None:
    trusted, context = certificate(program("openssl"), tmp_path)
    with web_server(lambda _request: answer(200, store_response([UID_1])), context) as server:
        with pytest.raises(PeerError, match=r"peer.tls.*self.signed"):
            send(server, [ONE], scheme="https")
        assert server.requests == []
        (reply,) = send(server, [ONE], scheme="https", ca_file=str(trusted))
        assert reply.status == 0
        with pytest.raises(PeerError, match=r"peer.tls"):
            send(server, [ONE], scheme="https", host="localhost", ca_file=str(trusted))
        with pytest.raises(SetupError, match=r"settings.ca-unreadable"):
            send(server, [ONE], scheme="https", ca_file=str(tmp_path / "none"))
