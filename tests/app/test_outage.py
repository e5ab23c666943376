"""Archives that are away for long: one try for each pause, then everything in order over few associations."""

from __future__ import annotations

import contextlib
import heapq
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt

from osteoscribe.app.deliver import MOST_JOBS, deliver
from osteoscribe.app.desk import Desk
from osteoscribe.app.ports import EncodedObject, StoreReply
from osteoscribe.app.settings import Destination
from osteoscribe.app.work import measure
from osteoscribe.core.delivery import Patience
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import BusyError, PeerError, RefusedError, StoreError
from osteoscribe.net.scu import StoreSender
from osteoscribe.store.segments import MADE
from tests.fakes.dicom import COMPREHENSIVE_SR, EXPLICIT, ROOT, ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report
from tests.fakes.listening import Listening
from tests.fakes.processes import wait_until

PATIENCE = Patience(first_pause_s=5, longest_pause_s=600, give_up_after_s=7 * 86400, refusals=3)


class Hospital:
    """Many jobs for several destinations, and workers that do what the engine would, on our own clock."""

    def __init__(self, folder: Path, destinations: Sequence[Destination], jobs: int) -> None:
        self.ledger = FilledLedger(folder)
        self.now = START + timedelta(minutes=1)
        self.places = {one.name: one for one in destinations}
        self.keys: list[str] = []
        self.report(*range(jobs))

    def report(self, *numbers: int) -> None:
        """More studies are marked and measured."""
        for number in numbers:
            study, series = f"{ROOT}.41.{number}", f"{ROOT}.42.{number}"
            marks = mark_object(number, [ct_uid(1, series)], series=series, study=study)
            self.ledger.receive(0, ct_slice(1, series=series, study=study), marks)
        segment = self.ledger.segments.writer(MADE, START)
        for key in self.ledger.plan(5):
            self.keys.append(key)
            measure(
                key,
                ledger=self.ledger.jobs,
                pipeline=one_report,
                segment=segment,
                destinations_for=lambda _calling: list(self.places.values()),
                now=lambda: self.now + timedelta(milliseconds=len(self.keys)),
            )
        segment.close()

    def deliver(self, key: str, name: str, sender: Any) -> float | None:
        return deliver(
            key,
            Desk(
                name=name,
                destination_named=self.places.__getitem__,
                ledger=self.ledger.jobs,
                patience=PATIENCE,
                now=lambda: self.now,
            ),
            sender=sender,
            read=self.ledger.segments.read_bytes,
        )

    def run(self, sender: Any, until: datetime) -> None:
        """Work as the engine does: one delivery at a time for each destination, in order, each to its end."""
        left = {name: list(self.keys) for name in self.places}
        due = [(self.now, name) for name in self.places]
        heapq.heapify(due)
        while due and due[0][0] <= until:
            self.now, name = heapq.heappop(due)
            wait_s = self.deliver(left[name][0], name, sender)
            if wait_s is None:
                left[name].pop(0)
            if left[name]:
                heapq.heappush(due, (self.now + timedelta(seconds=wait_s or 0), name))
        self.now = max(self.now, until) if due else self.now

    def states(self, name: str) -> list[str]:
        return [self.ledger.jobs.delivery(key, name).state for key in self.keys]


class Archive:
    """A port that is closed to everybody, then an archive on the same port."""

    def __init__(self, ae_title: str) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.destination = Destination(name=ae_title, ae_title=ae_title, host="127.0.0.1", port=self.port)
        self.knocks = 0
        self.associations: list[list[str]] = []
        self.releases = 0
        self._thread = threading.Thread(target=self._slam, daemon=True)
        self._thread.start()

    def _slam(self) -> None:
        """Take a connection and close it at once, as a port forwarder does whose archive is away."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.knocks += 1
            connection.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(60)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        self.close()
        ae = AE(ae_title=self.destination.ae_title)
        ae.add_supported_context(COMPREHENSIVE_SR, EXPLICIT)
        handlers: list[Any] = [
            (evt.EVT_ACCEPTED, lambda _event: self.associations.append([])),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, self._on_release),
        ]
        with Listening(ae, handlers, self.port):
            yield

    def _on_release(self, _event: evt.Event) -> None:
        self.releases += 1

    def _on_store(self, event: evt.Event) -> int:
        self.associations[-1].append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000


# A connection that is closed at once is left to reference counting by the library.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_batch_ends_with_a_release(hospital: Callable[..., Hospital]) -> None:
    archive = Archive("PACS")
    one = hospital([archive.destination], 3)
    with archive.opened():
        one.run(StoreSender(ae_title="OSTEOSCRIBE", timeout_s=30), one.now)
        wait_until(lambda: archive.releases == 1, "the release")
    assert [len(batch) for batch in archive.associations] == [3]


def due_tries(seconds: float) -> int:
    """Tries in so many seconds: at 0, 5, 15, 35, ... and then every 600 s."""
    tries, at_s, pause_s = 0, 0.0, 5.0
    while at_s <= seconds:
        tries, at_s, pause_s = tries + 1, at_s + pause_s, min(pause_s * 2, 600.0)
    return tries


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Callable[..., Hospital]]:
    made: list[Hospital] = []
    # In memory where there is such a place: what a disk takes to sync 500 studies is not the point here.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:

        def make(destinations: Sequence[Destination], jobs: int) -> Hospital:
            made.append(Hospital(Path(folder), destinations, jobs))
            return made[-1]

        yield make
        for one in made:
            one.ledger.engine.dispose()


@pytest.mark.slow
@pytest.mark.timeout(300)
# After a connection that is closed at once the library leaves its socket to reference counting.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_archives_that_are_away_for_a_day_get_one_try_for_each_pause_and_then_all_in_order(
    hospital: Callable[..., Hospital],
) -> None:
    archives = [Archive(f"PACS{number}") for number in range(2)]
    days_s = 86400.0
    one = hospital([archive.destination for archive in archives], 500)
    began = one.now
    sender = StoreSender(ae_title="OSTEOSCRIBE", timeout_s=30)
    one.run(sender, began + timedelta(seconds=days_s))
    for archive in archives:
        assert archive.knocks == due_tries(days_s), "500 waiting reports make no more tries than one"
        assert set(one.states(archive.destination.name)) == {"queued", "waiting"}
        assert one.ledger.jobs.reach(archive.destination.name).tries == archive.knocks
    in_order = [stored.sop_instance_uid for key in one.keys for stored in one.ledger.jobs.objects(key)]
    back, away = archives
    with back.opened():
        one.run(sender, one.now + timedelta(seconds=700))
    assert set(one.states(back.destination.name)) == {"stored"}
    assert [uid for batch in back.associations for uid in batch] == in_order
    assert [len(batch) for batch in back.associations] == [1, *[MOST_JOBS] * 4, MOST_JOBS - 1]
    assert away.knocks <= due_tries(days_s) + 2
    assert set(one.states(away.destination.name)) == {"queued", "waiting"}
    away.close()


class Scripted:
    """A sender that does what the test says, and notes what it was given."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.batches: list[list[str]] = []

    def send(self, _destination: Destination, objects: Sequence[EncodedObject]) -> Iterator[StoreReply]:
        self.batches.append([one.sop_instance_uid for one in objects])
        answer = self.answers.pop(0) if self.answers else 0
        for number, one in enumerate(objects):
            given = answer[number] if isinstance(answer, list) else answer
            if isinstance(given, Exception):
                raise given
            yield StoreReply(sop_instance_uid=one.sop_instance_uid, status=given)


PACS = Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)


def test_what_was_answered_before_a_connection_broke_is_not_sent_again(
    hospital: Callable[..., Hospital],
) -> None:
    one = hospital([PACS], 4)
    sender = Scripted([0, 0, PeerError("peer.aborted", "found the association aborted")])
    assert one.deliver(one.keys[0], "pacs", sender) is None
    assert one.states("pacs") == ["stored", "stored", "waiting", "queued"]
    assert one.deliver(one.keys[2], "pacs", sender) == 5, "it rests"
    assert len(sender.batches) == 1
    one.now += timedelta(seconds=5)
    assert one.deliver(one.keys[2], "pacs", sender) is None
    assert sender.batches[1:] == [sender.batches[0][2:3]], "one shows whether it is back"
    assert one.deliver(one.keys[3], "pacs", sender) is None
    assert one.states("pacs") == ["stored"] * 4


def test_one_refused_report_does_not_stop_the_others(hospital: Callable[..., Hospital]) -> None:
    one = hospital([PACS], 4)
    sender = Scripted([0, 0xC000, 0xB006, 0])
    assert one.deliver(one.keys[0], "pacs", sender) is None
    assert one.states("pacs") == ["stored", "parked", "stored", "stored"]
    warned = one.ledger.jobs.delivery(one.keys[2], "pacs")
    assert warned.code == "peer.stored-with-warning"
    assert "0xB006 (elements discarded)" in warned.message


def test_a_destination_that_refuses_us_is_asked_once_for_all(hospital: Callable[..., Hospital]) -> None:
    one = hospital([PACS], 4)
    sender = Scripted(RefusedError("peer.rejected-permanently", "our AE title is not known there"))
    assert [one.deliver(key, "pacs", sender) for key in one.keys] == [None] * 4
    assert len(sender.batches) == 1
    assert one.states("pacs") == ["parked"] * 4
    assert one.ledger.jobs.reach("pacs").code == "peer.rejected-permanently"


def test_a_busy_destination_is_left_alone_as_long_as_it_asks_for(hospital: Callable[..., Hospital]) -> None:
    one = hospital([PACS], 2)
    sender = Scripted(BusyError("peer.http-error", "found HTTP 503", retry_after_s=120.0))
    assert one.deliver(one.keys[0], "pacs", sender) == 120
    one.now += timedelta(seconds=119)
    assert one.deliver(one.keys[0], "pacs", sender) == 1
    assert len(sender.batches) == 1


def test_a_clock_that_is_set_back_holds_nothing_up(hospital: Callable[..., Hospital]) -> None:
    one = hospital([PACS], 1)
    sender = Scripted(PeerError("peer.unreachable", "found no connection"))
    assert one.deliver(one.keys[0], "pacs", sender) == 5
    one.now -= timedelta(days=10)
    assert one.deliver(one.keys[0], "pacs", sender) is None
    assert one.states("pacs") == ["stored"]


def test_a_fault_of_ours_parks_only_the_report_it_is_about(hospital: Callable[..., Hospital]) -> None:
    one = hospital([PACS], 3)
    (ill,) = one.ledger.jobs.objects(one.keys[1])

    class Faulty(Scripted):
        """Fails at one object, before it has answered any of its batch."""

        def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> Iterator[StoreReply]:
            if any(one.sop_instance_uid == ill.sop_instance_uid for one in objects):
                raise ValueError("Canary^Name")
            return super().send(destination, objects)

    sender = Faulty()
    assert [one.deliver(key, "pacs", sender) for key in one.keys] == [None] * 3
    assert one.states("pacs") == ["stored", "parked", "stored"]
    parked = one.ledger.jobs.delivery(one.keys[1], "pacs")
    assert parked.code == "delivery.bug"
    assert "Canary" not in parked.message


def test_a_report_that_cannot_be_read_holds_nobody_up(hospital: Callable[..., Hospital]) -> None:
    one = hospital([PACS], 3)
    (lost,) = one.ledger.jobs.objects(one.keys[0])
    read = one.ledger.segments.read_bytes

    def read_what_is_there(blob: BlobRef, start: int, stop: int) -> Any:
        if blob == lost.blob:
            raise StoreError("store.unreadable", "found a segment cut short")
        return read(blob, start, stop)

    one.ledger.segments.read_bytes = read_what_is_there  # type: ignore[method-assign]
    sender = Scripted(PeerError("peer.unreachable", "found no connection"))
    assert one.deliver(one.keys[0], "pacs", sender) == 5
    one.now += timedelta(seconds=5)
    assert one.deliver(one.keys[0], "pacs", sender) is not None
    assert one.deliver(one.keys[0], "pacs", sender) is not None
    assert one.states("pacs") == ["queued", "stored", "stored"]


def test_a_report_that_comes_while_a_destination_rests_waits_with_the_others(
    hospital: Callable[..., Hospital],
) -> None:
    one = hospital([PACS], 1)
    sender = Scripted(PeerError("peer.unreachable", "found no connection"))
    assert one.deliver(one.keys[0], "pacs", sender) == 5
    one.report(1)
    assert one.deliver(one.keys[1], "pacs", sender) == 5
    assert len(sender.batches) == 1
    one.now += timedelta(seconds=5)
    assert [one.deliver(key, "pacs", sender) for key in one.keys] == [None, None]
    assert [len(batch) for batch in sender.batches] == [1, 1, 1]
