"""Peers of the fault tests: a sender that keeps what was answered, and archives that count."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset, dcmread
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from osteoscribe.core.digest import new_digest
from tests.fakes.sender import associate

SR_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.88.59",
)


def digest(ds: Dataset) -> str:
    """Digest of the bytes that the sender puts on the wire for this data set."""
    syntax = ds.file_meta.TransferSyntaxUID
    encoded = encode(ds, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    assert encoded is not None
    return new_digest(encoded).hexdigest()


def study_under_other_uids(source: Path, number: int) -> list[Dataset]:
    """Data sets of a sample study, with UIDs of their own; the marks come last."""
    paths = sorted(one for one in source.rglob("*.dcm"))
    return [_renamed(dcmread(path), number) for path in paths]


def _renamed(ds: Dataset, number: int) -> Dataset:
    def rename(_ds: Dataset, element: DataElement) -> None:
        own = element.VR == "UI" and isinstance(element.value, str)
        if own and not element.value.startswith("1.2.840.10008."):
            element.value = f"{element.value[:58]}.{number}"

    ds.walk(rename)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def open_association(
    port: int, datasets: Sequence[Dataset], *, ae_title: str = "SENDER", host: str = "127.0.0.1"
) -> Association:
    """Associate with contexts for these data sets; the caller looks whether that worked."""
    ae = AE(ae_title=ae_title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    contexts = {(str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in datasets}
    for sop_class_uid, syntax in sorted(contexts):
        ae.add_requested_context(sop_class_uid, syntax)
    return associate(ae, port, host, ae_title="OSTEOSCRIBE")


class KeepingSender:
    """Sends data sets one after the other, and keeps the digest of each that was answered with success.

    Parameters
    ----------
    pause_s
        Called between two data sets; gives seconds.
    """

    def __init__(self, pause_s: Callable[[], float] = lambda: 0.0) -> None:
        self.acknowledged: set[str] = set()
        self._pause_s = pause_s
        self._digests: dict[str, str] = {}

    def send(
        self, port: int, datasets: Sequence[Dataset], *, ae_title: str = "SENDER", host: str = "127.0.0.1"
    ) -> bool:
        """Send over one association; whether every data set was answered with success."""
        association = open_association(port, datasets, ae_title=ae_title, host=host)
        if not association.is_established:
            return False
        good = True
        for ds in datasets:
            time.sleep(self._pause_s())
            try:
                status = association.send_c_store(ds)
            except (RuntimeError, ValueError):
                return False
            if "Status" not in status:
                return False
            if status.Status == 0x0000:
                self.acknowledged.add(self._digest(ds))
            else:
                good = False
        association.release()
        return good

    def _digest(self, ds: Dataset) -> str:
        uid = str(ds.SOPInstanceUID)
        if uid not in self._digests:
            self._digests[uid] = digest(ds)
        return self._digests[uid]


@dataclass
class CountingArchive:
    """What an archive was sent: how often each instance was stored, and of which study and class it is.

    Parameters
    ----------
    begun_by
        C-STOREs that each address began, answered or not.
    """

    port: int = 0
    stores: Counter[str] = field(default_factory=Counter)
    instances: dict[str, tuple[str, str]] = field(default_factory=dict)
    associations: int = 0
    begun_by: Counter[str] = field(default_factory=Counter)

    def per_study(self) -> dict[tuple[str, str], int]:
        """How many different instances of each SOP class each study got."""
        return dict(Counter(self.instances.values()))


Answer = Callable[[evt.Event, int], int]
"""Status of the n-th C-STORE (from 0) that an archive is sent."""


@contextlib.contextmanager
def counting_archive(
    answer: Answer = lambda _event, _number: 0x0000,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    sop_classes: Sequence[str] = SR_CLASSES,
    **options: Any,
) -> Iterator[CountingArchive]:
    """An archive in this process; ``options`` are attributes of its application entity."""
    archive = CountingArchive()
    lock = threading.Lock()
    number = 0

    def store(event: evt.Event) -> int:
        nonlocal number
        with lock:
            mine, number = number, number + 1
            archive.begun_by[str(event.assoc.requestor.address)] += 1
        status = answer(event, mine)
        if status == 0x0000:
            ds = event.dataset
            with lock:
                archive.stores[str(ds.SOPInstanceUID)] += 1
                archive.instances[str(ds.SOPInstanceUID)] = (str(ds.StudyInstanceUID), str(ds.SOPClassUID))
        return status

    def count(_event: evt.Event) -> None:
        archive.associations += 1

    ae = AE(ae_title="ARCHIVE")
    for sop_class_uid in sop_classes:
        ae.add_supported_context(sop_class_uid, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
    for name, value in options.items():
        setattr(ae, name, value)
    server = ae.start_server(
        (host, port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, store), (evt.EVT_ESTABLISHED, count)],
    )
    assert server is not None
    assert server.socket is not None
    archive.port = int(server.socket.getsockname()[1])
    try:
        yield archive
    finally:
        ae.shutdown()


def random_pause(seed: int, longest_s: float) -> Callable[[], float]:
    """Pauses of a reproducible length."""
    moments = random.Random(seed)
    return lambda: moments.uniform(0.0, longest_s)
