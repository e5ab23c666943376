"""A receiving node in this process, on a free loopback port, and a sender for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE

from osteoscribe.app.settings import NodeSettings, PeerSettings, Settings, StoreSettings
from osteoscribe.bootstrap.listener import open_listener, record_left
from osteoscribe.net.scp import Listener
from osteoscribe.store.folder import DataFolder, open_folder
from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.fakes.dicom import EXPLICIT
from tests.fakes.ledger import put_ledger
from tests.fakes.sender import associate

fast_receive = True
"""Which of the two receiving paths a node takes where the test does not say; see `tests.net.conftest`."""


@dataclass(frozen=True)
class RunningNode:
    port: int
    folder: DataFolder
    listener: Listener

    def send(self, *datasets: Dataset, ae_title: str = "SENDER") -> list[int]:
        """Statuses of the data sets, sent over one association; they are in the ledger afterwards."""
        statuses = send(self.port, datasets, ae_title=ae_title)
        self.listener.record_all()
        return statuses


@contextmanager
def receiving_node(
    folder: Path, *, peers: Sequence[PeerSettings] = (), **node: object
) -> Iterator[RunningNode]:
    settings = Settings(
        node=NodeSettings(port=0, **{"fast_receive": fast_receive, **node}),  # type: ignore[arg-type]
        store=StoreSettings(folder=folder, reserve_mb=1.0),
        peer=tuple(peers),
    )
    put_ledger(folder)
    opened = open_folder(settings.store)
    record_left(settings, opened)
    listener = open_listener(settings, opened)
    port = listener.start()
    try:
        yield RunningNode(port=port, folder=opened, listener=listener)
    finally:
        listener.stop(1.0)


def send(port: int, datasets: Iterable[Dataset], *, ae_title: str = "SENDER") -> list[int]:
    datasets = list(datasets)
    ae = AE(ae_title=ae_title)
    for ds in datasets:
        ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    association = associate(ae, port, ae_title="OSTEOSCRIBE")
    assert association.is_established
    try:
        return [int(association.send_c_store(ds).Status) for ds in datasets]
    finally:
        association.release()


def store_raw(
    port: int,
    encoded: bytes,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str = EXPLICIT,
) -> int:
    """Status of a C-STORE of any bytes, whatever they are."""
    ae = AE()
    ae.add_requested_context(sop_class_uid, transfer_syntax_uid)
    association = associate(ae, port)
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class_uid, sop_instance_uid
    request.DataSet = BytesIO(encoded)
    # The library's own sending pauses its reactor in the same way.
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    return int(answer.Status)  # type: ignore[union-attr]


def stored(node: RunningNode) -> list[bytes]:
    """Data sets that stand whole in the segments of a node."""
    segments = SegmentStore(node.folder.segments)
    records = [record for name in segments.lengths(RECEIVED) for record in segments.scan(name)]
    return [segments.read_bytes(record.blob, 0, record.blob.length) for record in records]
