"""Sending to real peers: every answer, rejection and silence is told apart."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from pynetdicom import AE, evt

from osteoscribe.app.ports import EncodedObject, StoreReply
from osteoscribe.app.settings import Destination
from osteoscribe.errors import PeerError, RefusedError
from osteoscribe.net.commitment import CommitmentAsker
from osteoscribe.net.scu import StoreSender, associate
from tests.benchmarks.peers import accepting, read_pdu
from tests.fakes.dicom import COMPREHENSIVE_SR, EXPLICIT, ROOT, encode, sr_object
from tests.fakes.dimse import ABORT
from tests.fakes.listening import Listening

IMPLICIT = "1.2.840.10008.1.2"


def report_object(number: int = 1) -> EncodedObject:
    uid = f"{ROOT}.5.{number}"
    return EncodedObject(
        sop_class_uid=COMPREHENSIVE_SR,
        sop_instance_uid=uid,
        transfer_syntax_uid=EXPLICIT,
        encoded=encode(sr_object(uid)),
    )


def pacs_at(port: int) -> Destination:
    return Destination(ae_title="PACS", host="127.0.0.1", port=port)


@contextmanager
def archive(
    answer: Callable[[evt.Event], int],
    *,
    syntax: str = EXPLICIT,
    sop_class: str = COMPREHENSIVE_SR,
    **options: object,
) -> Iterator[Destination]:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(sop_class, syntax)
    for name, value in options.items():
        setattr(ae, name, value)
    with Listening(ae, [(evt.EVT_C_STORE, answer)]) as peer:
        yield pacs_at(peer.port)


def send(
    destination: Destination, objects: Sequence[EncodedObject], timeout_s: float = 30.0
) -> list[StoreReply]:
    return list(StoreSender(ae_title="OSTEOSCRIBE", timeout_s=timeout_s).send(destination, objects))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_objects_arrive_whole_over_one_association(syntax: str) -> None:
    received, associations = {}, set()

    def keep(event: evt.Event) -> int:
        received[event.request.AffectedSOPInstanceUID] = event.dataset
        associations.add(id(event.assoc))
        return 0x0000

    objects = [report_object(1), report_object(2)]
    with archive(keep, syntax=syntax) as destination:
        replies = send(destination, objects)
    assert [reply.status for reply in replies] == [0, 0]
    assert len(associations) == 1
    for one in objects:
        assert (
            received[one.sop_instance_uid].StudyInstanceUID
            == sr_object(one.sop_instance_uid).StudyInstanceUID
        )


def test_bytes_arrive_as_they_were_made() -> None:
    received = []

    def keep(event: evt.Event) -> int:
        received.append(event.encoded_dataset(include_meta=False))
        return 0x0000

    with archive(keep) as destination:
        send(destination, [report_object()])
    assert received == [report_object().encoded]


def test_the_status_of_each_object_is_reported() -> None:
    statuses = iter([0xB000, 0xA700])
    with archive(lambda _event: next(statuses)) as destination:
        replies = send(destination, [report_object(1), report_object(2)])
    assert [reply.status for reply in replies] == [0xB000, 0xA700]


# After a refused connection the library leaves its socket to be closed by reference counting.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_there_is_an_error_to_try_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(PeerError, match=r"peer.unreachable") as caught:
            send(pacs_at(taken.getsockname()[1]), [report_object()])
    assert not isinstance(caught.value, RefusedError)


def test_a_host_name_that_cannot_be_one_is_an_error_to_try_again() -> None:
    with pytest.raises(PeerError, match=r"peer.unreachable"):
        send(Destination(ae_title="PACS", host="pacs..example", port=104), [report_object()])


def test_an_unknown_calling_ae_is_refused_for_good_with_the_exact_reason() -> None:
    with (
        archive(lambda _event: 0, require_calling_aet=["SOMEONE"]) as destination,
        pytest.raises(RefusedError, match=r"peer.rejected-permanently.*our AE title is not known there"),
    ):
        send(destination, [report_object()])


def test_a_rejection_is_understood_however_late_it_is_looked_at() -> None:
    """A thread that wakes up only after the library has taken the answer and closed the connection."""
    context = (COMPREHENSIVE_SR, [EXPLICIT])
    with (
        archive(lambda _event: 0, require_calling_aet=["SOMEONE"]) as destination,
        pytest.raises(RefusedError, match=r"peer.rejected-permanently.*our AE title is not known there"),
    ):
        asleep = (evt.EVT_REQUESTED, lambda _event: time.sleep(0.3))
        associate(destination, [context], ae_title="OSTEOSCRIBE", timeout_s=30.0, handlers=[asleep])


def test_an_archive_without_structured_reports_is_refused_for_good() -> None:
    with (
        archive(lambda _event: 0, sop_class="1.2.840.10008.5.1.4.1.1.2") as destination,
        pytest.raises(RefusedError, match=r"peer.no-context"),
    ):
        send(destination, [report_object()])


def test_a_silent_archive_is_an_error_to_try_again() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(PeerError) as caught:
            send(pacs_at(silent.getsockname()[1]), [report_object()], timeout_s=0.2)
    assert not isinstance(caught.value, RefusedError)


@contextmanager
def falling_silent(accepts: Callable[[bytes], bytes], then: bytes = b"") -> Iterator[Destination]:
    """A peer that answers the request for an association and what follows, and then holds the line."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(accepts(read_pdu(connection)[1]))
            if then:
                read_pdu(connection)
                connection.sendall(then)
            while connection.recv(4096):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield pacs_at(server.getsockname()[1])
    finally:
        thread.join(60)
        server.close()


@pytest.mark.parametrize("length", [3, 9], ids=["in the head", "in the body"])
def test_a_peer_that_falls_silent_in_the_middle_of_its_acceptance_is_left(length: int) -> None:
    with (
        falling_silent(lambda request: accepting(request)[:length]) as destination,
        pytest.raises(PeerError, match=r"peer.unreachable"),
    ):
        send(destination, [report_object()], timeout_s=0.2)


# Where the machine stands still for so long the library ends the association in the middle of our question.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("answer", [b"\4\0\0", b"\4\0\0\0\0\x30abc"], ids=["in the head", "in the body"])
def test_a_peer_that_falls_silent_in_the_middle_of_an_answer_is_left(answer: bytes) -> None:
    asker = CommitmentAsker(ae_title="OSTEOSCRIBE", timeout_s=0.2, take=lambda _report: True)
    with falling_silent(accepting, then=answer) as destination, pytest.raises(PeerError) as caught:
        asker.ask(destination, "1.2.3", [])
    assert not isinstance(caught.value, RefusedError)


def test_a_peer_that_aborts_as_soon_as_it_has_accepted_is_an_error_to_try_again() -> None:
    with (
        falling_silent(lambda request: accepting(request) + ABORT) as destination,
        pytest.raises(PeerError) as caught,
    ):
        send(destination, [report_object()])
    assert caught.value.code in ("peer.aborted", "peer.unreachable")


def test_an_archive_that_aborts_is_an_error_to_try_again() -> None:
    def abort(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    with archive(abort) as destination, pytest.raises(PeerError) as caught:
        send(destination, [report_object(1), report_object(2)], timeout_s=2.0)
    assert not isinstance(caught.value, RefusedError)
