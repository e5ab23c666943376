"""Archives that are down, slow, refusing, aborting or late: stored once, or parked with the reason."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import evt

from osteoscribe.store.schema import open_database
from osteoscribe.store.status import StatusView
from tests.fakes.processes import QUICK, NodeProcess, free_port, running_node, wait_until
from tests.fakes.wire import wire
from tests.faults.kill import SAMPLES
from tests.faults.peers import (
    Answer,
    CountingArchive,
    KeepingSender,
    counting_archive,
    study_under_other_uids,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    # The library leaves a connection that its peer closed first to be closed by reference counting.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TIMEOUT_S = 3.0
PASSING = {"peer.unreachable", "peer.silent", "peer.aborted"}
"""Codes of tries that the archive did not answer."""


def deliveries(node: NodeProcess) -> dict[str, dict[str, Any]]:
    """State of the one job's deliveries, by destination."""
    engine = open_database(f"sqlite:///{node.folder / 'data' / 'ledger.sqlite'}")
    try:
        jobs = StatusView(engine).jobs()
    finally:
        engine.dispose()
    return {one["destination"].split("@")[0]: one for job in jobs for one in job["deliveries"]}


def tries(node: NodeProcess, name: str) -> list[tuple[str, str]]:
    """State and code after each try to deliver to a destination, as the node's log has them.

    How many tries found nobody in time depends on the machine; what an archive answered does not.
    """
    found = re.findall(
        rf"delivery key=\S+ destination={name}@.* state=(\S+) .*code=(\S+)", node.log.read_text()
    )
    return [one for one in found if one[1] not in PASSING]


def aborting(event: evt.Event, number: int) -> int:
    if number < 2:
        event.assoc.abort()
    return 0x0000


def late(_event: evt.Event, number: int) -> int:
    if number < 2:
        time.sleep(TIMEOUT_S + 1.5)
    return 0x0000


def slow(_event: evt.Event, _number: int) -> int:
    time.sleep(TIMEOUT_S / 2)
    return 0x0000


def after(refusal: int, times: int) -> Answer:
    return lambda _event, number: refusal if number < times else 0x0000


ENDS_STORED: dict[str, Answer] = {
    "SLOW": slow,
    "LATE": late,
    "ABORTING": aborting,
    "BUSY_AT_FIRST": after(0xA700, 2),
}
PARKED: dict[str, tuple[Answer, dict[str, Any], str, str]] = {
    "FULL": (after(0xA700, 999), {}, "peer.refused", "0xA700"),
    "UNSUITED": (after(0xC000, 999), {}, "peer.refused", "0xC000"),
    "NOT_ALLOWED": (after(0x0124, 999), {}, "peer.refused", "0x0124"),
    "STRICT": (after(0, 0), {"require_calling_aet": ["ELSE"]}, "peer.rejected-permanently", "AE title"),
    "WITHOUT_SR": (
        after(0, 0),
        {"sop_classes": ["1.2.840.10008.1.1"]},
        "peer.no-context",
        "no SOP Class accepted",
    ),
}
ANSWERS_STORED = {"DUPLICATE": 0x0111, "COERCED": 0xB000}
"""Answers other than success that mean the object is there (PS3.4 B.2.3, PS3.7 C.5.6)."""


@contextlib.contextmanager
def silent_peer() -> Iterator[int]:
    """Takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield int(server.getsockname()[1])


def test_each_bad_archive_ends_stored_once_or_parked_with_its_reason(tmp_path: Path) -> None:
    settings = QUICK + f"timeout_s = {TIMEOUT_S}\nrefusals = 4\n"
    with contextlib.ExitStack() as stack:
        archives: dict[str, CountingArchive] = {}
        for name, answer in ENDS_STORED.items():
            archives[name] = stack.enter_context(counting_archive(answer))
        for name, (answer, options, _, _) in PARKED.items():
            archives[name] = stack.enter_context(counting_archive(answer, **options))
        for name, status in ANSWERS_STORED.items():
            archives[name] = stack.enter_context(counting_archive(after(status, 999)))
        archives["CUT_OFF"] = stack.enter_context(counting_archive())
        cuts = [100, 1500, 3000]
        cutting = stack.enter_context(
            wire(archives["CUT_OFF"].port, lambda number: cuts[number] if number < len(cuts) else None)
        )
        ports = {name: archive.port for name, archive in archives.items()} | {"CUT_OFF": cutting.port}
        ports |= {"DOWN": free_port(), "DOWN_AT_FIRST": free_port()}
        ports["SILENT"] = stack.enter_context(silent_peer())
        places = [
            word for name, port in ports.items() for word in ("--destination", f"{name}@127.0.0.1:{port}")
        ]
        node = stack.enter_context(running_node(tmp_path / "node", *places, settings=settings))
        assert KeepingSender().send(node.port, study_under_other_uids(SAMPLES, 1))
        wait_until(
            lambda: deliveries(node).get("DOWN_AT_FIRST", {}).get("tries", 0) >= 2, "failed tries", 120
        )
        archives["DOWN_AT_FIRST"] = stack.enter_context(counting_archive(port=ports["DOWN_AT_FIRST"]))
        stored = {*ENDS_STORED, *ANSWERS_STORED, "CUT_OFF", "DOWN_AT_FIRST"}

        def states() -> dict[str, str]:
            return {name: one["state"] for name, one in deliveries(node).items()}

        expected = dict.fromkeys(stored, "stored") | dict.fromkeys(PARKED, "parked")
        expected |= {"DOWN": "waiting", "SILENT": "waiting"}
        with contextlib.suppress(AssertionError):
            wait_until(lambda: states() == expected, "the end of each delivery", 180)
        assert states() == expected
        time.sleep(2)
        found = deliveries(node)
        for name, (_, _, code, reason) in PARKED.items():
            assert found[name]["code"] == code
            assert reason in found[name]["message"], name
            refusals = 4 if name == "FULL" else 1
            assert tries(node, name) == [("waiting", code)] * (refusals - 1) + [("parked", code)]
        assert {found[name]["code"] for name in ("DOWN", "SILENT")} == {"peer.unreachable"}
        for name in (*ENDS_STORED, "CUT_OFF", "DOWN_AT_FIRST"):
            assert len(archives[name].instances) == 2, name
            assert set(archives[name].per_study().values()) == {1}, name
        for name in ("SLOW", "DOWN_AT_FIRST"):
            answered = not re.search(f"destination={name}@.*code=peer.(silent|aborted)", node.log.read_text())
            if answered:
                assert set(archives[name].stores.values()) == {1}, "no C-STORE is repeated after its answer"
