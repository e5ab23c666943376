"""What is kept of one open association, and of one C-STORE of it: its errors become the status answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.ports import Envelope
from osteoscribe.errors import PROCESSING_FAILURE, OsteoscribeError
from osteoscribe.readers.values import is_uid

LOGGER = logging.getLogger(__name__)

SUCCESS = 0x0000
"""PS3.7 C.1.1."""


class Incoming(Protocol):
    """One instance on its way in."""

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next pieces; their memory stays as it is until `let_go`, or the end."""
        ...

    def let_go(self) -> None:
        """Need the memory of what was taken no more."""
        ...

    def finish(self, envelope: Envelope) -> object:
        """Store the instance; it is on disk when this returns."""
        ...

    def abandon(self) -> None:
        """Keep nothing of it."""
        ...


class Reception(Protocol):
    """Takes the instances of one association, one after the other."""

    def begin(self, transfer_syntax_uid: str) -> Incoming:
        """Begin an instance."""
        ...

    def close(self) -> None:
        """Stop; the association has ended, and with it the instance that is under way."""
        ...


class Caller:
    """One open association that stores. Its end may come from any thread.

    Parameters
    ----------
    reception
        Where its instances go.
    calling_ae
        AE title of the sender, printable.
    """

    def __init__(self, reception: Reception, calling_ae: str) -> None:
        self.calling_ae = calling_ae
        self.stored = 0
        self.refused = 0
        self._reception = reception
        self._lock = threading.Lock()
        self._closed = False

    def begin(self, **announced: str) -> Storing:
        """Begin a C-STORE of what its request announces: the UIDs of an `Envelope`."""
        return Storing(self, announced)

    def close(self) -> None:
        """End it; a C-STORE under way is refused."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._reception.close()


class Storing:
    """One C-STORE under way. After a fault the rest of its data set is taken and dropped.

    Parameters
    ----------
    caller
        The association it came over.
    announced
        What its request announces: the UIDs of an `Envelope`, by their names there.
    """

    def __init__(self, caller: Caller, announced: Mapping[str, str]) -> None:
        self._caller = caller
        self._announced = announced
        self._incoming: Incoming | None = None
        self._fault: Exception | None = None
        with caller._lock:
            try:
                self._incoming = self._open()
            except Exception as error:  # noqa: BLE001  stated and answered by finish
                self._fault = error

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next pieces of the data set; their memory stays as it is until `let_go`, or the end."""
        self._do(lambda incoming: incoming.write(pieces))

    def let_go(self) -> None:
        """Need the memory of what was taken no more."""
        self._do(lambda incoming: incoming.let_go())

    def finish(self) -> int:
        """Store the instance, count and log what came of it; returns the status to answer."""
        envelope = Envelope(
            calling_ae=self._caller.calling_ae, received_at=datetime.now(UTC), **self._announced
        )
        with self._caller._lock:
            if self._fault is None:
                try:
                    self._open().finish(envelope)
                except Exception as error:  # noqa: BLE001  a bug must not end the association
                    self._fail(error)
        if self._fault is None:
            self._caller.stored += 1
            return SUCCESS
        self._caller.refused += 1
        return _state(self._fault, self._caller.calling_ae, envelope.sop_class_uid)

    def _do(self, what: Callable[[Incoming], None]) -> None:
        with self._caller._lock:
            if self._fault is None:
                try:
                    what(self._open())
                except Exception as error:  # noqa: BLE001  stated and answered by finish
                    self._fail(error)

    def _open(self) -> Incoming:
        if self._caller._closed:
            raise _Ended
        if self._incoming is None:
            self._incoming = self._caller._reception.begin(self._announced["transfer_syntax_uid"])
        return self._incoming

    def _fail(self, error: Exception) -> None:
        self._fault = error
        if self._incoming is not None and not self._caller._closed:
            self._incoming.abandon()


class _Ended(Exception):  # noqa: N818  no fault: the node ended the association
    """The association has ended while its last C-STORE was under way."""


def _state(fault: Exception, calling_ae: str, sop_class_uid: str) -> int:
    """Log a fault and give its status."""
    if isinstance(fault, OsteoscribeError):
        LOGGER.warning(
            "refused instance calling=%s sop_class=%s code=%s status=0x%04X",
            calling_ae,
            uid_for_log(sop_class_uid),
            fault.code,
            fault.dimse_status,
        )
        return fault.dimse_status
    if not isinstance(fault, _Ended):
        LOGGER.error("bug while receiving: %s", trace_of(fault))
    return PROCESSING_FAILURE


def uid_for_log(received: object) -> str:
    """Received UID for a log line; any other text stays out of it."""
    return str(received) if is_uid(str(received)) else "(no UID)"


@lru_cache(maxsize=256)
def printable(text: str, longest: int) -> str:
    """Received text for a log line or a column: printable ASCII only, cut to a length."""
    return "".join(one if " " <= one <= "~" else "?" for one in text.strip())[:longest]
