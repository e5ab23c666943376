"""The state table of a conversation, and what of pynetdicom it stands on; without sockets."""

from __future__ import annotations

import inspect
import struct
from dataclasses import dataclass, field

import pynetdicom.association
import pynetdicom.dimse
import pynetdicom.dul
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom import AE

from osteoscribe.net.command import StoreRequest, read_store_request
from osteoscribe.net.conversation import (
    LARGEST_OTHER,
    LONGEST_COMMAND,
    TRANSITIONS,
    Conversation,
    Fragment,
    ProtocolViolation,
    State,
)
from osteoscribe.net.receive import HOOKS
from tests.fakes.dicom import CT, EXPLICIT
from tests.fakes.dimse import (
    ECHO,
    REPORT,
    STORE,
    command,
    fragments,
    pdus,
    store_command,
)


@dataclass
class Notes:
    """What a conversation does with its association."""

    stored: list[tuple[str, bytes]] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    handed_over: list[tuple[int, bytes]] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    held: list[memoryview] = field(default_factory=list)
    announced: dict[str, str] = field(default_factory=dict)

    def begin(self, **announced: str) -> Notes:
        self.content, self.announced = bytearray(), announced
        return self

    def write(self, pieces: list[memoryview]) -> None:
        self.held += pieces

    def let_go(self) -> None:
        self.content += b"".join(self.held)
        self.held.clear()

    def finish(self) -> int:
        self.let_go()
        self.stored.append((self.announced["sop_instance_uid"], bytes(self.content)))
        return 0

    def transfer_syntax(self, context_id: int) -> str | None:
        return EXPLICIT if context_id in (1, 3) else None

    def answer(self, pdu: bytes) -> None:
        self.answers.append(pdu)

    def hand_over(self, context_id: int, value: bytes) -> None:
        self.handed_over.append((context_id, value))


MESSAGES = st.tuples(st.sampled_from([1, 3]), st.binary(max_size=300), st.integers(1, 80), st.integers(1, 90))


@settings(deadline=None)
@given(messages=st.lists(MESSAGES, max_size=4), per_pdu=st.integers(1, 9), let_go_every=st.integers(1, 5))
def test_what_was_cut_is_put_together(
    messages: list[tuple[int, bytes, int, int]], per_pdu: int, let_go_every: int
) -> None:
    """Also where the memory of what was taken is overwritten after each time that it is let go of."""
    notes = Notes()
    conversation = Conversation(notes)
    values = []
    for number, (context_id, content, size, command_size) in enumerate(messages, start=1):
        request = store_command(number, CT, f"1.2.{number}")
        values += fragments(context_id, request, is_command=True, size=command_size)
        values += fragments(context_id, content, is_command=False, size=size)
    buffers = []
    for number, pdu in enumerate(pdus(values, per_pdu=per_pdu)):
        buffers.append(bytearray(pdu[6:]))
        conversation.take(memoryview(buffers[-1]))
        if number % let_go_every == 0:
            conversation.let_go()
            for one in buffers:
                one[:] = b"\xee" * len(one)
            buffers.clear()
    conversation.let_go()
    assert notes.stored == [(f"1.2.{n}", content) for n, (_, content, _, _) in enumerate(messages, start=1)]
    assert len(notes.answers) == len(messages)
    assert conversation.state is State.IDLE


REACHED: dict[State, list[bytes]] = {
    State.IDLE: [],
    State.COMMAND: fragments(1, b"begun", is_command=True, size=3)[:1],
    State.STORING: fragments(1, store_command(1, CT, "1.2"), is_command=True, size=1000),
    State.OTHER: fragments(1, command(REPORT, 1, data_set=True, x0002=b"1.2"), is_command=True, size=1000),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("fragment", Fragment)
def test_every_state_takes_the_fragments_of_the_table_and_no_other(state: State, fragment: Fragment) -> None:
    conversation = Conversation(Notes())
    for value in REACHED[state]:
        conversation.take(memoryview(value))
    assert conversation.state is state
    one = memoryview(struct.pack(">LBB", 4, 1, 0xFC | fragment) + b"ab")
    if (state, fragment) in TRANSITIONS:
        conversation.take(one)
    else:
        with pytest.raises(ProtocolViolation):
            conversation.take(one)


@pytest.mark.parametrize("state", [State.COMMAND, State.STORING, State.OTHER])
@pytest.mark.parametrize("fragment", Fragment)
def test_a_fragment_of_another_context_inside_a_message_is_a_violation(
    state: State, fragment: Fragment
) -> None:
    conversation = Conversation(Notes())
    for value in REACHED[state]:
        conversation.take(memoryview(value))
    with pytest.raises(ProtocolViolation):
        conversation.take(memoryview(struct.pack(">LBB", 4, 3, fragment) + b"ab"))


def test_commands_and_other_messages_that_do_not_end_are_violations() -> None:
    part = memoryview(struct.pack(">LBB", 60002, 1, Fragment.COMMAND) + bytes(60000))
    conversation = Conversation(Notes())
    conversation.take(part)
    with pytest.raises(ProtocolViolation):
        conversation.take(part)
    assert LONGEST_COMMAND < 120000
    conversation = Conversation(Notes())
    conversation.take(memoryview(REACHED[State.OTHER][0]))
    large = memoryview(struct.pack(">LBB", (1 << 20) + 2, 1, Fragment.DATA) + bytes(1 << 20))
    with pytest.raises(ProtocolViolation):
        for _ in range(LARGEST_OTHER // (1 << 20) + 1):
            conversation.take(large)


@pytest.mark.parametrize("end", range(0, 150, 7))
def test_a_broken_command_is_no_store_request(end: int) -> None:
    whole = store_command(5, CT, "1.2.3")
    assert read_store_request(whole) == StoreRequest(
        message_id=b"\5\0", sop_class_uid=CT, sop_instance_uid="1.2.3"
    )
    cut = whole[: min(end, len(whole) - 1)]
    assert read_store_request(cut) is None


@pytest.mark.parametrize(
    "wrong",
    [
        store_command(1, CT, "../../x"),
        store_command(1, "CANARY^NAME", "1.2"),
        store_command(1, CT, ""),
        command(STORE, 1, data_set=False, x0002=CT.encode(), x1000=b"1.2"),
        command(ECHO, 1, data_set=True, x0002=CT.encode(), x1000=b"1.2"),
        store_command(1, CT, "1.2") + store_command(1, CT, "1.2"),
        store_command(1, CT, "1.2") + struct.pack("<HHL", 8, 0x1140, 0),
    ],
)
def test_what_is_no_plain_store_request_is_left_to_the_library(wrong: bytes) -> None:
    assert read_store_request(wrong) is None


def test_the_library_has_what_the_fast_path_stands_on() -> None:
    """Tells when another release of pynetdicom has renamed or removed one of the names."""
    ae = AE()
    association = pynetdicom.association.Association(ae, "acceptor")
    found = {
        "DULServiceProvider": pynetdicom.dul.DULServiceProvider,
        "DULServiceProvider()": association.dul,
        "Association()": association,
        "DIMSEServiceProvider()": association.dimse,
    }
    assert {
        name: [one for one in names if not hasattr(found[name], one)] for name, names in HOOKS.items()
    } == {name: [] for name in HOOKS}
    reactor = inspect.getsource(pynetdicom.dul.DULServiceProvider.run_reactor)
    for used in (
        "self._is_transport_event()",
        "self._run_loop_delay",
        "self._kill_thread",
        "_process_recv_primitive",
    ):
        assert used in reactor
    loop = inspect.getsource(pynetdicom.association.Association._run_reactor)
    for used in ("_reactor_checkpoint.wait()", "send_release(is_response=True)", "evt.EVT_RELEASED"):
        assert used in loop
    assert "self._run_reactor()" in inspect.getsource(pynetdicom.association.Association.run_reactor)
