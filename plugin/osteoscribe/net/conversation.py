"""The messages of one association, fragment by fragment: a table of states, without sockets.

A plain C-STORE request is received here, everything else is handed to pynetdicom. docs/decisions/080 has the
table in words.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NoReturn, Protocol, cast

from osteoscribe.net.command import StoreRequest, encode_answer, has_data_set, read_store_request

LONGEST_COMMAND = 1 << 16
"""Bytes of a command set; a C-STORE request has some 250."""
LARGEST_OTHER = 1 << 24
"""Bytes of the data set of any other message, which is held in memory."""

_PDV_HEAD = struct.Struct(">LBB")


class Fragment(IntEnum):
    """What a presentation data value is: the two bits of its control header (PS3.8 E.2)."""

    DATA = 0
    COMMAND = 1
    LAST_DATA = 2
    LAST_COMMAND = 3


class State(IntEnum):
    """What the next fragment of an association can belong to."""

    IDLE = 0
    """No message has begun."""
    COMMAND = 1
    """A command that is not whole yet."""
    STORING = 2
    """The data set of a C-STORE."""
    OTHER = 3
    """The data set of a message that pynetdicom answers."""


TRANSITIONS: Mapping[tuple[State, Fragment], str] = {
    (State.IDLE, Fragment.COMMAND): "_collect",
    (State.IDLE, Fragment.LAST_COMMAND): "_dispatch",
    (State.COMMAND, Fragment.COMMAND): "_collect",
    (State.COMMAND, Fragment.LAST_COMMAND): "_dispatch",
    (State.STORING, Fragment.DATA): "_store",
    (State.STORING, Fragment.LAST_DATA): "_store_last",
    (State.OTHER, Fragment.DATA): "_hand_over",
    (State.OTHER, Fragment.LAST_DATA): "_hand_over_last",
}
"""What is done with a fragment; where nothing stands here, the association is aborted."""


class ProtocolViolation(Exception):  # noqa: N818  the name of the standard's own event would say less
    """What was received is no DICOM conversation: the association is aborted (PS3.8 AA-8)."""


class Storing(Protocol):
    """One C-STORE under way."""

    def write(self, pieces: list[memoryview]) -> None:
        """Take the next pieces of the data set; their memory stays as it is until `let_go`, or the end."""
        ...

    def let_go(self) -> None:
        """Need the memory of what was taken no more."""
        ...

    def finish(self) -> int:
        """Store the instance; returns the status to answer."""
        ...


class Upper(Protocol):
    """What a conversation needs of the association around it."""

    @property
    def begin(self) -> Callable[..., Storing]:
        """Begin a C-STORE of what its request announces."""
        ...

    def transfer_syntax(self, context_id: int) -> str | None:
        """Transfer syntax of a presentation context that was accepted for storage; None for any other."""
        ...

    def answer(self, pdu: bytes) -> None:
        """Send a P-DATA-TF PDU."""
        ...

    def hand_over(self, context_id: int, value: bytes) -> None:
        """Give pynetdicom a fragment, control header in front."""
        ...


class Conversation:
    """The messages of one association, fragment by fragment.

    Parameters
    ----------
    upper
        The association around it.
    """

    def __init__(self, upper: Upper) -> None:
        self.state = State.IDLE
        self._upper = upper
        self._context_id = 0
        self._command = bytearray()
        self._other_length = 0
        self._request = StoreRequest()
        self._storing: Storing | None = None
        self._pieces: list[memoryview] = []
        self._actions = [
            [getattr(self, TRANSITIONS.get((state, fragment), "_refuse")) for fragment in Fragment]
            for state in State
        ]

    def take(self, variable_field: memoryview) -> None:
        """Take what a P-DATA-TF PDU holds: presentation data values, one behind the other (PS3.8 9.3.5).

        Pieces of a data set are kept where they are until `let_go`, or the end of their message.

        Raises
        ------
        ProtocolViolation
            A length that leads out of the PDU, or a fragment that cannot come here.
        """
        position, end = 0, len(variable_field)
        while position < end:
            if end - position < _PDV_HEAD.size:
                raise ProtocolViolation("a value that is not whole")
            length, context_id, control = _PDV_HEAD.unpack_from(variable_field, position)
            start, position = position + _PDV_HEAD.size, position + 4 + length
            if length < 2 or position > end:
                raise ProtocolViolation("a length that leads out of its PDU")
            if context_id != self._context_id:
                if self.state is not State.IDLE:
                    self._refuse()
                self._context_id = context_id
            self._actions[self.state][control & 3](variable_field[start:position])

    def pass_on(self) -> None:
        """Have looked at the pieces of a data set that were taken, while more of it comes."""
        if self._pieces and self._storing is not None:
            self._storing.write(self._pieces)
            self._pieces.clear()

    def let_go(self) -> None:
        """Need the memory of what was taken no more."""
        self.pass_on()
        if self._storing is not None:
            self._storing.let_go()

    def _refuse(self, _payload: object = None) -> NoReturn:
        raise ProtocolViolation("a fragment that cannot come here")

    def _collect(self, payload: memoryview) -> None:
        if len(self._command) + len(payload) > LONGEST_COMMAND:
            raise ProtocolViolation("a command set that does not end")
        self._command += payload
        self.state = State.COMMAND

    def _dispatch(self, payload: memoryview) -> None:
        """A whole command: a C-STORE is received here, everything else by pynetdicom."""
        self._collect(payload)
        command = bytes(self._command)
        self._command.clear()
        syntax = self._upper.transfer_syntax(self._context_id)
        request = read_store_request(command) if syntax is not None else None
        if request is not None and syntax is not None:
            self._request = request
            self._storing = self._upper.begin(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                transfer_syntax_uid=syntax,
            )
            self.state = State.STORING
        else:
            self._other_length = 0
            self._upper.hand_over(self._context_id, bytes([Fragment.LAST_COMMAND]) + command)
            self.state = State.OTHER if has_data_set(command) else State.IDLE

    def _store(self, payload: memoryview) -> None:
        self._pieces.append(payload)

    def _store_last(self, payload: memoryview) -> None:
        self._pieces.append(payload)
        self.pass_on()
        storing, self._storing = cast(Storing, self._storing), None
        self.state = State.IDLE
        self._upper.answer(encode_answer(self._context_id, self._request, storing.finish()))

    def _hand_over(self, payload: memoryview, control: int = Fragment.DATA) -> None:
        self._other_length += len(payload)
        if self._other_length > LARGEST_OTHER:
            raise ProtocolViolation("a message that is no C-STORE and does not end")
        self._upper.hand_over(self._context_id, bytes([control]) + bytes(payload))

    def _hand_over_last(self, payload: memoryview) -> None:
        self._hand_over(payload, Fragment.LAST_DATA)
        self.state = State.IDLE
