"""Associations side by side: none waits for another or takes what is its. On both receiving paths."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.dicom import CT, ct_slice, ct_uid, encode
from tests.fakes.dimse import (
    ABORTED,
    ANSWER,
    ECHO,
    STORE,
    RawAssociation,
    command,
    fragments,
    pdus,
    raw_association,
    store_message,
)
from tests.fakes.node import RunningNode, receiving_node, stored

pytestmark = [
    pytest.mark.usefixtures("receiving_path"),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with receiving_node(tmp_path, idle_timeout_s=20.0) as running:
        yield running


def message(number: int) -> bytes:
    return b"".join(store_message(number, CT, ct_uid(number), encode(ct_slice(number)), size=200))


@contextlib.contextmanager
def associations(node: RunningNode, count: int) -> Iterator[list[RawAssociation]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(raw_association(node.port)) for _ in range(count)]


def of(*numbers: int) -> list[bytes]:
    return sorted(encode(ct_slice(number)) for number in numbers)


def test_one_that_stops_in_the_middle_holds_up_no_other(node: RunningNode) -> None:
    with associations(node, 5) as opened:
        for number, one in enumerate(opened):
            one.send(message(number)[:700])
        for number in (3, 1, 4, 0):
            opened[number].send(message(number)[700:])
            assert opened[number].answer() == (STORE | ANSWER, number, 0)
        assert sorted(stored(node)) == of(0, 1, 3, 4)
        opened[2].send(message(2)[700:])
        assert opened[2].answer() == (STORE | ANSWER, 2, 0)
    assert sorted(stored(node)) == of(*range(5))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_whoever_leaves_the_others_go_on(node: RunningNode, order: tuple[int, ...]) -> None:
    with associations(node, 4) as opened:
        sent = 0
        for leaving in order:
            for one in opened:
                if one.connection.fileno() >= 0:
                    one.send(message(sent))
                    assert one.answer() == (STORE | ANSWER, sent, 0)
                    sent += 1
            if leaving % 2:
                opened[leaving].release()
            opened[leaving].connection.close()
    assert sorted(stored(node)) == of(*range(sent))


def test_what_others_ask_and_break_meanwhile(node: RunningNode) -> None:
    with (
        associations(node, 3) as (sender, breaker, wrong),
        raw_association(node.port, [(VERIFICATION, "1.2.840.10008.1.2")]) as asking,
    ):
        sender.send(message(1)[:700])
        breaker.send(message(2)[:700])
        breaker.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        breaker.connection.close()
        wrong.send(b"\4\0\0\0\0\7\0\0\0\1\1\2x")
        while wrong.read_pdu()[0] not in (0, ABORTED):
            pass
        for number in range(3):
            echo = command(ECHO, number, data_set=False, x0002=VERIFICATION.encode())
            asking.send(*pdus(fragments(1, echo, is_command=True, size=1000)))
            assert asking.answer() == (ECHO | ANSWER, number, 0)
        sender.send(message(1)[700:])
        assert sender.answer() == (STORE | ANSWER, 1, 0)
    assert sorted(stored(node)) == of(1)


def test_messages_that_come_before_the_answers_to_those_before_them(node: RunningNode) -> None:
    with associations(node, 3) as opened:
        for one, first in zip(opened, (0, 10, 20), strict=True):
            one.send(b"".join(message(first + number) for number in range(8)))
        for one, first in zip(opened, (0, 10, 20), strict=True):
            assert [one.answer() for _ in range(8)] == [(STORE | ANSWER, first + n, 0) for n in range(8)]
            one.release()
    assert sorted(stored(node)) == of(*range(8), *range(10, 18), *range(20, 28))


def test_many_senders_at_once_lose_nothing(node: RunningNode) -> None:
    faults: list[BaseException] = []

    def send(first: int) -> None:
        try:
            for number in range(first, first + 12):
                with raw_association(node.port) as association:
                    association.send(message(number))
                    assert association.answer() == (STORE | ANSWER, number, 0)
                    if number % 3:
                        association.release()
        except BaseException as fault:  # noqa: BLE001  stated by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=send, args=(100 * one,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert sorted(stored(node)) == of(*(100 * one + number for one in range(8) for number in range(12)))


def test_all_are_ended_with_the_node(tmp_path: Path) -> None:
    """Also those that have stopped inside a PDU: the rest of it is not waited for."""
    with receiving_node(tmp_path, idle_timeout_s=600.0) as node, associations(node, 4) as opened:
        for number, one in enumerate(opened[:2]):
            one.send(message(number)[:700])
        node.listener.stop(0.2)
        for one in opened:
            assert one.read_pdu()[0] in (ABORTED, 0)
