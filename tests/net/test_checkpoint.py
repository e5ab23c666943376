"""The library's own thread is held while another one speaks, wherever it was when that one began."""

from __future__ import annotations

import threading
import time

from pynetdicom import AE
from pynetdicom.association import MODE_REQUESTOR, Association

from osteoscribe.net.checkpoint import Checkpoint
from tests.fakes.processes import wait_until


def test_a_thread_that_has_just_passed_does_not_look_any_more_once_the_pause_has_begun() -> None:
    checkpoint = Checkpoint(Association(AE(), MODE_REQUESTOR))
    passed, ended = threading.Event(), threading.Event()
    looks: list[float] = []

    def look() -> None:
        while not ended.is_set():
            checkpoint.wait()
            passed.set()
            time.sleep(0.05)
            looks.append(time.monotonic())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert passed.wait(60)
        checkpoint.clear()
        before = list(looks)
        time.sleep(0.15)
        assert looks == before
        checkpoint.set()
    finally:
        ended.set()
        checkpoint.set()
        thread.join(60)
    assert len(looks) > len(before), "it goes on afterwards"


def test_a_thread_that_stands_is_known_to_stand_whatever_another_one_noted_last() -> None:
    """The library's thread that serves an N-EVENT-REPORT ends by noting that nothing stands."""
    association = Association(AE(), MODE_REQUESTOR)
    checkpoint = Checkpoint(association)
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            checkpoint.wait()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        checkpoint.clear()
        association._is_paused = False
        wait_until(lambda: association._is_paused, "the thread to say that it stands")
    finally:
        ended.set()
        checkpoint.set()
        thread.join(60)
