"""Associations that are kept open: what goes over them, and what becomes of answers that lie."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association

from osteoscribe.app.settings import parse_destination
from osteoscribe.errors import PeerError
from osteoscribe.net.scu import StoreSender
from tests.benchmarks.peers import accepting, read_pdu
from tests.fakes.listening import Listening
from tests.fakes.processes import wait_until
from tests.fakes.sender import sender
from tests.net.test_scu import COMPREHENSIVE_SR, EXPLICIT, report_object

OK = 0x0000


@dataclass
class Seen:
    """What an archive saw."""

    port: int = 0
    stored: list[str] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    associations: list[Association] = field(default_factory=list)
    """That of each object."""
    opened: int = 0
    released: int = 0
    aborted: int = 0

    @property
    def destination(self) -> str:
        return f"PACS@127.0.0.1:{self.port}"


@contextmanager
def archive(
    answer: Callable[[evt.Event, int], int] = lambda _event, _number: OK, **options: object
) -> Iterator[Seen]:
    seen = Seen()

    def store(event: evt.Event) -> int:
        seen.associations.append(event.assoc)
        status = answer(event, len(seen.stored))
        seen.stored.append(str(event.request.AffectedSOPInstanceUID))
        seen.encoded.append(event.encoded_dataset(include_meta=False))
        return status

    def count(name: str) -> Callable[[evt.Event], None]:
        return lambda _event: setattr(seen, name, getattr(seen, name) + 1)

    ae = AE(ae_title="PACS")
    ae.add_supported_context(COMPREHENSIVE_SR, EXPLICIT)
    for name, value in options.items():
        setattr(ae, name, value)
    handlers = [
        (evt.EVT_C_STORE, store),
        (evt.EVT_ESTABLISHED, count("opened")),
        (evt.EVT_RELEASED, count("released")),
        (evt.EVT_ABORTED, count("aborted")),
    ]
    with Listening(ae, handlers) as peer:
        seen.port = peer.port
        yield seen


def statuses(one: StoreSender, seen: Seen, *numbers: int) -> list[int | None]:
    objects = [report_object(number) for number in numbers]
    return [reply.status for reply in one.send(parse_destination(seen.destination), objects)]


def test_what_follows_soon_goes_over_the_same_association_which_is_then_released() -> None:
    with archive() as seen:
        with sender() as one:
            assert [statuses(one, seen, number) for number in (1, 2, 3)] == [[OK]] * 3
        wait_until(lambda: seen.released == 1, "the release")
    assert (seen.opened, seen.aborted, len(seen.stored)) == (1, 0, 3)
    assert seen.encoded == [report_object(number).encoded for number in (1, 2, 3)]


def test_an_idle_association_is_released_after_its_time() -> None:
    with archive() as seen, sender(keep_s=0.2) as one:
        statuses(one, seen, 1)
        wait_until(lambda: seen.released == 1, "the release")
        assert statuses(one, seen, 2) == [OK]
        assert seen.opened == 2


def test_an_association_that_the_peer_ended_while_idle_is_opened_again() -> None:
    with archive() as seen, sender() as one:
        assert statuses(one, seen, 1) == [OK]
        seen.associations[-1].abort()
        assert statuses(one, seen, 2) == [OK]
    assert seen.opened == 2
    assert len(seen.stored) == 2


def test_an_abort_in_the_middle_of_a_kept_association_sends_only_what_was_not_answered() -> None:
    def abort_the_third(event: evt.Event, number: int) -> int:
        if number == 2:
            event.assoc.abort()
        return OK

    with archive(abort_the_third) as seen, sender() as one:
        assert statuses(one, seen, 1) == [OK]
        assert statuses(one, seen, 2, 3, 4) == [OK, OK, OK]
    assert seen.opened == 2
    numbers = [seen.stored.count(report_object(number).sop_instance_uid) for number in (1, 2, 3, 4)]
    assert numbers == [1, 1, 2, 1], "the third was not answered, so it goes again"


@pytest.mark.parametrize("largest_pdu", [128, 4096, 0])
def test_fragments_fit_the_peer(largest_pdu: int) -> None:
    with archive(maximum_pdu_size=largest_pdu) as seen, sender() as one:
        assert statuses(one, seen, 1, 2) == [OK, OK]
    assert seen.encoded == [report_object(1).encoded, report_object(2).encoded]


def p_data(*pieces: tuple[int, bytes], kind: int = 0x04) -> bytes:
    values = b"".join(struct.pack(">IBB", len(piece) + 2, 1, control) + piece for control, piece in pieces)
    return struct.pack(">BxI", kind, len(values)) + values


def response(number: int = 1, status: int = OK, kind: int = 0x8001) -> bytes:
    values = {0x0002: b"1.2\0", 0x0100: kind, 0x0120: number, 0x0800: 0x0101, 0x0900: status}
    body = b""
    for tag, value in values.items():
        encoded = struct.pack("<H", value) if isinstance(value, int) else value
        body += struct.pack("<HHI", 0, tag, len(encoded)) + encoded
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


@contextmanager
def scripted(answer: bytes, slowly_s: float = 0.0) -> Iterator[Seen]:
    """An archive that answers every data set with these bytes."""
    server = socket.create_server(("127.0.0.1", 0))
    seen = Seen(port=server.getsockname()[1])

    def talk(connection: socket.socket) -> None:
        connection.sendall(accepting(read_pdu(connection)[1]))
        while (pdu := read_pdu(connection))[0] == 0x04:
            if pdu[1][5] != 0x02:
                continue
            for start in range(0, len(answer), 1 if slowly_s else len(answer)):
                connection.sendall(answer[start : start + 1] if slowly_s else answer)
                time.sleep(slowly_s)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield seen
    finally:
        # Closing alone does not wake a thread that accepts.
        server.shutdown(socket.SHUT_RDWR)
        thread.join(60)
        server.close()


def code_of_the_failure(one: StoreSender, seen: Seen) -> str:
    """Code of the error that an object ends with."""
    while True:
        with pytest.raises(PeerError) as caught:
            statuses(one, seen, 1)
        # A machine that stands still for so long has not even associated; then once more.
        if caught.value.code != "peer.unreachable":
            return caught.value.code


def test_an_answer_in_pieces_is_understood() -> None:
    command = response(status=0xB000)
    answer = p_data((1, command[:7])) + p_data((1, command[7:30]), (3, command[30:]))
    with scripted(answer) as seen, sender() as one:
        assert statuses(one, seen, 1) == [0xB000]


EMPTY = struct.pack(">BxIIBB", 0x04, 6, 0, 1, 1)
"""Nothing in it, and nothing after it: the only one that the sender waits behind."""


@pytest.mark.parametrize(
    "answer",
    [
        p_data((3, response(number=7))),
        p_data((3, response(kind=0x8030))),
        p_data((3, response()[:20])),
        p_data((3, b"\x08\x00" * 12)),
        p_data((2, b"a data set")),
        p_data((3, response()), kind=0x02),
        struct.pack(">BxI", 0x04, 0xFFFFFFF0),
        struct.pack(">BxI4x", 0x07, 4),
        struct.pack(">BxI4x", 0x05, 4),
        EMPTY,
    ],
    ids=[
        "other number",
        "other kind",
        "cut",
        "no command",
        "data",
        "association",
        "endless",
        "abort",
        "release",
        "empty",
    ],
)
def test_an_answer_that_is_none_is_an_error_to_try_again(answer: bytes) -> None:
    timeout_s = 0.4 if answer == EMPTY else 30.0
    with scripted(answer) as seen, sender(timeout_s=timeout_s) as one:
        assert code_of_the_failure(one, seen) == ("peer.silent" if answer == EMPTY else "peer.aborted")


def test_an_answer_that_comes_byte_by_byte_does_not_hold_up_for_ever() -> None:
    """The whole answer would come in five seconds, and no byte takes as long as the sender waits."""
    with scripted(p_data((3, response())), slowly_s=0.05) as seen, sender(timeout_s=0.3) as one:
        assert code_of_the_failure(one, seen) == "peer.silent"
