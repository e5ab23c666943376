"""The demonstration: a real node in a process of its own, and a small archive, on free loopback ports."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom

from osteoscribe.app.draw import picture_of
from osteoscribe.app.ports import EncodedObject
from osteoscribe.app.received import ReceivedLesion, is_measurement_report, lesions_of
from osteoscribe.app.settings import Destination, NodeSettings
from osteoscribe.app.shipped import data_folder
from osteoscribe.bootstrap.files import process_paths
from osteoscribe.errors import OsteoscribeError, PeerError
from osteoscribe.net.scp import Listener
from osteoscribe.net.scu import StoreSender
from osteoscribe.readers.ct import READABLE_TRANSFER_SYNTAXES
from osteoscribe.store.files import read_bytes, scan
from osteoscribe.store.inbox import FolderInbox

CASES = (("pelvis", "seg.dcm"), ("pelvis-thick", "sr-ohif.dcm"))
"""Sample patient and the mark object that is sent with its CT."""
ARCHIVE_AE = "ARCHIVE"
START_PATIENCE_S, REPORT_PATIENCE_S, STOP_PATIENCE_S = 30.0, 60.0, 10.0

Tell = Callable[[str], None]
"""Told what was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What came back for one sample patient.

    Parameters
    ----------
    label
        What stands on the mark.
    lesions
        Read from the received measurement report.
    agrees
        Whether the same files without a network give the same tracking UIDs and phrases.
    """

    name: str
    label: str
    lesions: tuple[ReceivedLesion, ...]
    report: Path
    companion: Path
    picture: Path
    agrees: bool


def run_demo(out: Path, tell: Tell) -> tuple[Shown, ...]:
    """Send the samples to a node, receive the reports in an archive, and draw them.

    Parameters
    ----------
    out
        Folder for the reports and pictures, made if absent; files of the same names are replaced.

    Raises
    ------
    PeerError
        ``demo.no-node``, ``demo.no-report``: the node did not start, or sent no report in time.
    """
    samples = data_folder() / "dicom_samples"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="osteoscribe-demo-") as temporary:
        inbox = FolderInbox(Path(temporary) / "archive")
        with (
            _archive(inbox) as archive_port,
            _node(Path(temporary) / "node", archive_port, out / "node.log") as port,
        ):
            tell(f"node OSTEOSCRIBE on 127.0.0.1:{port}, archive {ARCHIVE_AE} on 127.0.0.1:{archive_port}")
            sender = StoreSender(ae_title="VIEWER", timeout_s=30.0)
            for name, mark in CASES:
                files = [*sorted((samples / name / "ct").glob("*.dcm")), samples / name / "marks" / mark]
                _send(sender, Destination(ae_title="OSTEOSCRIBE", host="127.0.0.1", port=port), files)
                tell(f"{name}: sent {len(files) - 1} CT images and the mark by C-STORE")
            _wait_for_reports(inbox, len(CASES))
            tell(f"{ARCHIVE_AE} received {len(inbox.files)} objects by C-STORE")
        return tuple(_show(samples / name, mark, inbox, out) for name, mark in CASES)


@contextmanager
def _archive(inbox: FolderInbox) -> Iterator[int]:
    settings = NodeSettings(ae_title=ARCHIVE_AE, host="127.0.0.1", port=0)
    listener = Listener(
        settings, transfer_syntaxes=tuple(READABLE_TRANSFER_SYNTAXES), open_reception=lambda _at: inbox
    )
    port = listener.start()
    try:
        yield port
    finally:
        listener.stop(1.0)


@contextmanager
def _node(folder: Path, archive_port: int, log: Path) -> Iterator[int]:
    """``osteoscribe serve`` as a user would run it; gives its port."""
    command = [sys.executable, "-m", "osteoscribe", "serve", "--port", "0", "--data", str(folder)]
    command += ["--destination", f"{ARCHIVE_AE}@127.0.0.1:{archive_port}"]
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,  # noqa: S603
    ):
        try:
            yield _port_of(process, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _port_of(process: subprocess.Popen[str], log: Path) -> int:
    """Wait for the line by which the node says that it listens."""
    said: list[str] = []
    stdout = process.stdout
    if stdout is None:
        raise AssertionError("the process was started with a pipe")
    reader = threading.Thread(target=lambda: said.append(stdout.readline()), daemon=True)
    reader.start()
    reader.join(START_PATIENCE_S)
    place = said[0].partition(" listens on ")[2].partition(",")[0] if said else ""
    if not place:
        raise PeerError(
            "demo.no-node", f"the node did not start within {START_PATIENCE_S:.0f} s; {log} says why"
        )
    return int(place.rpartition(":")[2])


def _send(sender: StoreSender, destination: Destination, files: Sequence[Path]) -> None:
    instances = scan(files).instances
    replies = sender.send(
        destination,
        [
            EncodedObject(
                sop_class_uid=one.header.sop_class_uid,
                sop_instance_uid=one.header.sop_instance_uid,
                transfer_syntax_uid=one.header.transfer_syntax_uid,
                encoded=read_bytes(one.blob, 0, one.blob.length),
            )
            for one in instances
        ],
    )
    for reply in replies:
        if reply.status != 0:
            raise PeerError("demo.refused", f"the node answered {reply.status} {reply.message}")


def _wait_for_reports(inbox: FolderInbox, count: int) -> None:
    """Wait until each patient has a measurement report and its text companion."""
    deadline = time.monotonic() + REPORT_PATIENCE_S
    while len(inbox.files) < 2 * count:
        if time.monotonic() > deadline:
            raise PeerError(
                "demo.no-report",
                f"{len(inbox.files)} of {2 * count} objects came within {REPORT_PATIENCE_S:.0f} s; "
                "node.log says why",
            )
        time.sleep(0.1)


def _show(sample: Path, mark: str, inbox: FolderInbox, out: Path) -> Shown:
    """Sort out what came back for one patient, and draw it."""
    paths = [sample / "ct", sample / "marks" / mark]
    outcome = process_paths(paths)
    offline = outcome.written[0].report
    report, companion = _received_for(offline.study_instance_uid, inbox)
    kept = []
    for path, kind in ((report, "sr"), (companion, "text")):
        kept.append(out / f"{sample.name}-{kind}.dcm")
        shutil.copyfile(path, kept[-1])
    lesions = lesions_of(pydicom.dcmread(report))
    picture = out / f"{sample.name}.png"
    picture_of(offline, scan(paths).instances, read_bytes).save(picture)
    return Shown(
        name=sample.name,
        label=offline.findings[0].lesion.mark.label,
        lesions=lesions,
        report=kept[0],
        companion=kept[1],
        picture=picture,
        agrees={(one.tracking_uid, one.phrase) for one in lesions}
        == {(one.lesion.tracking_uid, one.phrase.text) for one in offline.findings},
    )


def _received_for(study_instance_uid: str, inbox: FolderInbox) -> tuple[Path, Path]:
    found: dict[bool, Path] = {}
    for path in inbox.files:
        ds = pydicom.dcmread(path)
        if study_instance_uid == ds.StudyInstanceUID:
            found[is_measurement_report(ds)] = path
    if len(found) != 2:
        raise OsteoscribeError(
            "demo.no-report", "a measurement report or its text companion is missing; node.log says why"
        )
    return found[True], found[False]
