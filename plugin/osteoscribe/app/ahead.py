"""Mark objects are read as soon as they have come, while they are synced and recorded and their rows wait.

What was read is kept by the digest of its bytes: nothing depends on where they stood then, nor on whether
they stayed there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from functools import cached_property

from pydicom import Dataset

from osteoscribe.app.ports import WrittenMark
from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import ReadBytes
from osteoscribe.errors import InputError
from osteoscribe.readers.datasets import read_dataset
from osteoscribe.readers.headers import StoredInstance
from osteoscribe.readers.marks import Mark, read_marks

MOST_KEPT = 4
"""Objects that wait for their job; the first of more is forgotten, and read again by its job."""

LARGEST = 1 << 26
"""Bytes of an object that is worth memory before its job begins."""


class OpenedObject:
    """A mark object whose bytes were parsed; for one job.

    Raises
    ------
    InputError
        As `osteoscribe.readers.datasets.read_dataset`.
    """

    def __init__(self, encoded: bytes, transfer_syntax_uid: str) -> None:
        self.dataset: Dataset = read_dataset(encoded, transfer_syntax_uid=transfer_syntax_uid)

    @cached_property
    def marks(self) -> tuple[Mark, ...]:
        """Its marks; `InputError` as `osteoscribe.readers.marks.read_marks`."""
        return read_marks(self.dataset)


_kept: OrderedDict[tuple[str, str], OpenedObject] = OrderedDict()
_lock = threading.Lock()


def read_ahead(mark: WrittenMark, read: ReadBytes) -> None:
    """Read an object for the job that comes; what is wrong with it, that job says.

    Raises
    ------
    StoreError
        Its bytes cannot be read.
    """
    if mark.blob.length > LARGEST:
        return
    encoded = read(mark.blob, 0, mark.blob.length)
    # Before they are safe, bytes may be given up, and others take their place.
    if new_digest(encoded).hexdigest() != mark.digest:
        return
    with suppress(InputError):
        opened = OpenedObject(encoded, mark.transfer_syntax_uid)
        with suppress(InputError):
            _ = opened.marks
        with _lock:
            _kept[mark.digest, mark.transfer_syntax_uid] = opened
            if len(_kept) > MOST_KEPT:
                _kept.popitem(last=False)


def open_object(instance: StoredInstance, read: ReadBytes) -> OpenedObject:
    """Give an object that was read ahead, and forget it; else read it now.

    Raises
    ------
    InputError
        As `OpenedObject`.
    StoreError
        Its bytes cannot be read.
    """
    blob, syntax = instance.blob, instance.header.transfer_syntax_uid
    with _lock:
        opened = _kept.pop((instance.digest, syntax), None)
    return opened or OpenedObject(read(blob, 0, blob.length), syntax)
