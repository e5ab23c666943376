"""The library's own thread is held while another one speaks, wherever it was when that one began."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pynetdicom import AE
from pynetdicom.association import MODE_REQUESTOR, Association

from osteoscribe.net.checkpoint import pause_for_certain
from osteoscribe.net.scp import VERIFICATION
from tests.fakes.listening import Listening
from tests.fakes.sender import associate


class Looking(Association):
    """An association whose thread passes its checkpoint again and again, and is slow to look behind it."""

    def __init__(self) -> None:
        super().__init__(AE(), MODE_REQUESTOR)
        self.looks = 0

    def run(self) -> None:
        while not self._kill:
            self._reactor_checkpoint.wait()
            time.sleep(0.05)
            self.looks += 1


@contextmanager
def looking() -> Iterator[Looking]:
    one = Looking()
    one.start()
    pause_for_certain(one)
    try:
        yield one
    finally:
        one._kill = True
        one._reactor_checkpoint.set()
        one.join(60)


def test_a_thread_that_has_just_passed_does_not_look_any_more_once_the_pause_has_begun() -> None:
    with looking() as one:
        one._reactor_checkpoint.clear()
        before = one.looks
        time.sleep(0.15)
        assert one.looks == before
        one._reactor_checkpoint.set()
    assert one.looks > before, "it goes on afterwards"


def test_the_end_of_a_thread_ends_the_pause_that_waits_for_it() -> None:
    with looking() as one:
        one._kill = True
        one.join(60)
        one._reactor_checkpoint.clear()
        assert not one.is_alive()


def test_a_release_waits_for_no_note_that_another_thread_may_overwrite() -> None:
    """The library's thread that serves an N-EVENT-REPORT ends by noting that nothing stands."""
    ae, over = AE(), threading.Event()
    for one in (ae, peer := AE()):
        one.add_requested_context(VERIFICATION)
        one.add_supported_context(VERIFICATION)
    with Listening(peer) as listening:
        association = associate(ae, listening.port)

        def note() -> None:
            while not over.is_set():
                association._is_paused = False

        noting = threading.Thread(target=note)
        noting.start()
        try:
            association.release()
        finally:
            over.set()
            noting.join(60)
        assert association.is_released
