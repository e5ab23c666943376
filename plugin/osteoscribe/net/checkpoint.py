"""Pauses of the library's own thread that hold it for certain."""

from __future__ import annotations

import threading

from pynetdicom.association import Association

_LOOK_AGAIN_S = 0.05
"""How often a pause looks whether the thread has ended: that is announced by nobody."""


class Checkpoint:
    """Where an association's thread stops while another one speaks; in place of the library's event.

    With an event the thread may have passed just before it was cleared, and then takes the answer that the
    other one waits for: of 10,000 on a busy machine some ten were lost.
    """

    def __init__(self, association: Association) -> None:
        self._association = association
        self._changed = threading.Condition()
        self._open = True
        self._held = False

    def set(self) -> None:
        """Let the thread go on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Stop the thread; it stands, or has come to its end, when this returns."""
        with self._changed:
            self._open = False
            while not self._held and self._association.is_alive() and not self._association._kill:
                self._changed.wait(_LOOK_AGAIN_S)

    def wait(self) -> None:
        """Pass, or stand until it is open."""
        with self._changed:
            self._held = not self._open
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open)
            self._held = False


class _PausedForCertain(Association):
    """An association of which a pause need not be waited for once it has begun.

    The library waits until its thread has noted that it stands. Another one of its threads, which serves an
    N-EVENT-REPORT, ends by noting the opposite: a release that began meanwhile waited for ever.
    """

    @property
    def _is_paused(self) -> bool:
        return True

    @_is_paused.setter
    def _is_paused(self, _noted: bool) -> None: ...


def pause_for_certain(association: Association) -> None:
    """Have an association that we asked for lose no answer to its own thread."""
    association._reactor_checkpoint = Checkpoint(association)  # type: ignore[assignment]
    association.__class__ = _PausedForCertain
