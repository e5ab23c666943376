"""Mark objects are read as soon as they are on disk, while their association ends and their rows wait."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from functools import cached_property

from pydicom import Dataset

from osteoscribe.core.series import BlobRef, ReadBytes
from osteoscribe.errors import InputError
from osteoscribe.readers.datasets import read_dataset
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
    StoreError
        Its bytes cannot be read.
    """

    def __init__(self, blob: BlobRef, transfer_syntax_uid: str, read: ReadBytes) -> None:
        self.dataset: Dataset = read_dataset(
            read(blob, 0, blob.length), transfer_syntax_uid=transfer_syntax_uid
        )

    @cached_property
    def marks(self) -> tuple[Mark, ...]:
        """Its marks; `InputError` as `osteoscribe.readers.marks.read_marks`."""
        return read_marks(self.dataset)


_kept: OrderedDict[tuple[BlobRef, str, ReadBytes], OpenedObject] = OrderedDict()
_lock = threading.Lock()


def read_ahead(blob: BlobRef, transfer_syntax_uid: str, read: ReadBytes) -> None:
    """Read an object for the job that comes; what is wrong with it, that job says.

    Raises
    ------
    StoreError
        Its bytes cannot be read.
    """
    if blob.length > LARGEST:
        return
    with suppress(InputError):
        opened = OpenedObject(blob, transfer_syntax_uid, read)
        with suppress(InputError):
            _ = opened.marks
        with _lock:
            _kept[blob, transfer_syntax_uid, read] = opened
            if len(_kept) > MOST_KEPT:
                _kept.popitem(last=False)


def open_object(blob: BlobRef, transfer_syntax_uid: str, read: ReadBytes) -> OpenedObject:
    """Give an object that was read ahead, and forget it; else read it now. Errors as `OpenedObject`."""
    with _lock:
        opened = _kept.pop((blob, transfer_syntax_uid, read), None)
    return opened or OpenedObject(blob, transfer_syntax_uid, read)
