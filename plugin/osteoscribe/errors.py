"""The errors of Osteoscribe: the class says who must act, the code says what happened.

- ``OsteoscribeError``
    - ``SetupError``: the administrator; the program refuses to start
    - ``InputError``: the sender or the radiologist; never retried, becomes a stated problem
    - ``PeerError``: the network or the archive; retried with growing pauses
        - ``RefusedError``: the peer refuses for good; parked at once, a person must act
        - ``BusyError``: the peer says how long it wants to be left alone
    - ``StoreError``: the administrator; the sender is told to keep its copy
"""

from __future__ import annotations

OUT_OF_RESOURCES = 0xA700
"""C-STORE status *Refused: Out of Resources*, PS3.4 B.2.3."""
DOES_NOT_MATCH_SOP_CLASS = 0xA900
"""C-STORE status *Error: Data Set does not match SOP Class*, PS3.4 B.2.3."""
CANNOT_UNDERSTAND = 0xC000
"""C-STORE status *Error: Cannot understand*, PS3.4 B.2.3."""
PROCESSING_FAILURE = 0xC001
"""C-STORE status in the *Cannot understand* range, for a bug of ours."""


class OsteoscribeError(Exception):
    """Anything that Osteoscribe states as an error.

    Parameters
    ----------
    code
        Stable kebab words with one dot, for example ``roi.empty``; documented in ``docs/problems.md``.
    message
        What was found, what was expected and what to do. UIDs and numbers, never patient data.
    where
        The object or item it is about, for example ``segment 2`` or a SOP Instance UID.
    """

    dimse_status: int = PROCESSING_FAILURE

    def __init__(self, code: str, message: str, *, where: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.where = where

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (_rebuild, (type(self), self.code, self.message, self.where))


def _rebuild(kind: type[OsteoscribeError], code: str, message: str, where: str) -> OsteoscribeError:
    return kind(code, message, where=where)


class SetupError(OsteoscribeError):
    """The administrator must act: settings, rule tables or the store are not usable as they are."""


class InputError(OsteoscribeError):
    """The sender or the radiologist must act: what was received cannot be used. Never retried."""

    dimse_status = CANNOT_UNDERSTAND


class WrongClassError(InputError):
    """The data set is not what its SOP Class says."""

    dimse_status = DOES_NOT_MATCH_SOP_CLASS


class PeerError(OsteoscribeError):
    """The network or the archive must act; the delivery is tried again with growing pauses."""


class RefusedError(PeerError):
    """The peer refuses for good: another try cannot succeed before a person has acted."""


class BusyError(PeerError):
    """The peer asks to be left alone for a while.

    Parameters
    ----------
    retry_after_s
        Seconds that it asks for.
    """

    def __init__(self, code: str, message: str, *, where: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(code, message, where=where)
        self.retry_after_s = retry_after_s


class StoreError(OsteoscribeError):
    """The administrator must act: the store cannot take more. The sender keeps its copy."""

    dimse_status = OUT_OF_RESOURCES
