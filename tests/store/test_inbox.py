"""Received objects become Part 10 files, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest

from osteoscribe.app.ports import Envelope
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import split_part10
from osteoscribe.store.inbox import FolderInbox
from tests.conftest import PROJECT

SAMPLE = PROJECT / "dicom_samples" / "pelvis-thick" / "ct" / "001.dcm"


def envelope(**changes: str) -> Envelope:
    ds = pydicom.dcmread(SAMPLE, stop_before_pixels=True)
    values = {
        "sop_class_uid": str(ds.SOPClassUID),
        "sop_instance_uid": str(ds.SOPInstanceUID),
        "transfer_syntax_uid": str(ds.file_meta.TransferSyntaxUID),
        **changes,
    }
    return Envelope(calling_ae="VIEWER", received_at=datetime(2026, 1, 5, tzinfo=UTC), **values)


def test_the_file_holds_the_bytes_as_they_came_and_can_be_read(tmp_path: Path) -> None:
    data = SAMPLE.read_bytes()
    encoded = data[split_part10(data).dataset_offset :]
    inbox = FolderInbox(tmp_path / "new")
    inbox.accept(memoryview(encoded), envelope())
    inbox.close()
    (file,) = inbox.files
    assert file.read_bytes().endswith(encoded)
    assert (pydicom.dcmread(file).pixel_array == pydicom.dcmread(SAMPLE).pixel_array).all()


def test_objects_are_numbered_in_the_order_they_came(tmp_path: Path) -> None:
    inbox = FolderInbox(tmp_path)
    for _ in range(2):
        inbox.accept(memoryview(b""), envelope())
    assert [file.name for file in inbox.files] == ["000001.dcm", "000002.dcm"]


def test_a_received_uid_never_becomes_a_path(tmp_path: Path) -> None:
    inbox = FolderInbox(tmp_path / "inbox")
    with pytest.raises(InputError, match=r"instance\.bad-uid"):
        inbox.accept(memoryview(b""), envelope(sop_instance_uid="../../outside"))
    assert [path.name for path in tmp_path.rglob("*")] == ["inbox"]
