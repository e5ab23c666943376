"""The library's own thread is held while another one speaks, wherever it was when that one began."""

from __future__ import annotations

import threading
import time

from osteoscribe.net.checkpoint import Checkpoint


def test_a_thread_that_has_just_passed_does_not_look_any_more_once_the_pause_has_begun() -> None:
    checkpoint = Checkpoint()
    passed, ended = threading.Event(), threading.Event()
    looks: list[float] = []

    def look() -> None:
        while not ended.is_set():
            checkpoint.wait()
            passed.set()
            time.sleep(0.1)
            looks.append(time.monotonic())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert passed.wait(60)
        checkpoint.clear()
        before = list(looks)
        time.sleep(0.3)
        assert looks == before
        checkpoint.set()
    finally:
        ended.set()
        checkpoint.set()
        thread.join(60)
    assert len(looks) > len(before), "it goes on afterwards"
