"""Pauses of the library's own thread that hold it for certain."""

from __future__ import annotations

import threading

from pynetdicom.association import Association

_PATIENCE_S = 1.0
"""How long a pause waits for the thread: it may have ended."""

_SAY_AGAIN_S = 0.01
"""How often the thread says that it stands, while it does."""


class Checkpoint:
    """Where an association's thread stops while another one speaks; in place of the library's event.

    With an event the thread may have passed just before it was cleared, and then takes the answer that the
    other one waits for: of 10,000 on a busy machine some ten were lost.

    While it stands, the thread says so again and again: the library serves an N-EVENT-REPORT in a thread of
    its own, and that one's last step is to note that nothing stands. A release that began meanwhile would
    wait for the opposite for ever.
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
        """Stop the thread; it stands when this returns."""
        with self._changed:
            self._open = False
            self._changed.wait_for(lambda: self._held, _PATIENCE_S)

    def wait(self) -> None:
        """Pass, or stand until it is open."""
        with self._changed:
            while not self._open:
                self._held = self._association._is_paused = True
                self._changed.notify_all()
                self._changed.wait(_SAY_AGAIN_S)
            self._held = False


def pause_for_certain(association: Association) -> None:
    """Have an association that we asked for lose no answer to its own thread."""
    association._reactor_checkpoint = Checkpoint(association)  # type: ignore[assignment]
