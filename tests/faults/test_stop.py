"""A stop does not wait for what is under way; that is finished at the next start."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from pathlib import Path

import pytest

from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.fakes.processes import running_node, wait_until
from tests.faults.kill import SAMPLES
from tests.faults.peers import KeepingSender, counting_archive, study_under_other_uids
from tests.faults.processes import receiver_pids, wait_for_end, worker_pids

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


ANSWERS_AFTER_S = 180.0


@pytest.mark.parametrize(("number", "is_handed"), [(signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_stop_in_the_middle_of_everything(tmp_path: Path, number: signal.Signals, is_handed: bool) -> None:
    """An association that goes on sending, and a delivery to an archive that takes minutes."""
    answers = threading.Event()

    def answer(_event: object, _number: int) -> int:
        answers.wait(ANSWERS_AFTER_S)
        return 0x0000

    studies = [study_under_other_uids(SAMPLES, one) for one in range(2)]
    sender = KeepingSender(lambda: 0.5)
    with (
        counting_archive(answer) as archive,
        contextlib.ExitStack() as ending,
        running_node(tmp_path / "node", "--destination", f"ARCHIVE@127.0.0.1:{archive.port}") as node,
    ):
        ending.callback(answers.set)
        assert KeepingSender().send(node.port, studies[0])
        wait_until(lambda: archive.associations > 0, "the delivery under way", 90)
        wait_until(lambda: bool(receiver_pids(node)), "a receiver")
        if is_handed:
            # With this connection open the receiver gets the next one.
            ending.enter_context(socket.create_connection(("127.0.0.1", node.port)))
        sending = threading.Thread(target=lambda: sender.send(node.port, studies[1] * 20))
        sending.start()
        wait_until(lambda: len(sender.acknowledged) >= 3, "some instances")
        others = [*worker_pids(node), *receiver_pids(node)]
        node.process.send_signal(number)
        node.process.communicate(timeout=ANSWERS_AFTER_S / 3)
        assert node.process.returncode == 0
        wait_for_end(others, ANSWERS_AFTER_S / 3)
        sending.join(60)
        segments = SegmentStore(node.folder / "data" / "segments")
        names = list(segments.lengths(RECEIVED))
        stored = {record.digest for name in names for record in segments.scan(name)}
        assert sender.acknowledged <= stored
        answers.set()
        node.start()
        assert KeepingSender().send(node.port, studies[1])
        wait_until(lambda: node.status()["deliveries"] == {"stored": 2}, "both deliveries", 150)
        assert set(archive.per_study().values()) == {1}
        assert len(archive.per_study()) == 4
