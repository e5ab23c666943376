"""A shelf of DICOM objects in memory, as a source of instances for the pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from osteoscribe.app.pipeline import Outcome, Request, run
from osteoscribe.app.practice import Practice
from osteoscribe.core.series import BlobRef
from osteoscribe.readers.headers import StoredInstance, read_header, split_part10


class Shelf:
    """Objects in memory; the pipeline reads them as it reads stored bytes."""

    def __init__(self) -> None:
        self.instances: list[StoredInstance] = []
        self._encoded: list[bytes] = []

    def add(self, encoded: bytes, transfer_syntax_uid: str = str(ExplicitVRLittleEndian)) -> None:
        """Put an encoded data set, without file meta group, on the shelf."""
        blob = BlobRef(segment=str(len(self._encoded)), offset=0, length=len(encoded))
        header = read_header(encoded, transfer_syntax_uid=transfer_syntax_uid)
        self._encoded.append(encoded)
        self.instances.append(StoredInstance(header=header, blob=blob, digest=""))

    def add_file(self, path: Path) -> None:
        """Put a Part 10 file on the shelf."""
        data = path.read_bytes()
        part10 = split_part10(data)
        self.add(data[part10.dataset_offset :], part10.transfer_syntax_uid)

    def add_dataset(self, ds: Dataset) -> None:
        """Put a data set on the shelf, as explicit little endian."""
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, ds, implicit_vr=False, little_endian=True, force_encoding=True)
        data = buffer.getvalue()
        self.add(data[132:] if data[128:132] == b"DICM" else data)

    def beside(self, *datasets: Dataset) -> Shelf:
        """Give another shelf with the same objects, not encoded again, and these."""
        other = Shelf()
        other.instances, other._encoded = [*self.instances], [*self._encoded]
        for ds in datasets:
            other.add_dataset(ds)
        return other

    def read(self, ref: BlobRef, start: int, stop: int) -> bytes:
        """Give bytes of an object; a `ReadBytes`."""
        return self._encoded[int(ref.segment)][start:stop]

    def process(self, practice: Practice, *label_patterns: str) -> Outcome:
        """Run the pipeline over all objects."""
        return run(Request(instances=self.instances, read=self.read, label_patterns=label_patterns), practice)


def shelf_of(paths: Iterable[Path]) -> Shelf:
    """A shelf with these files."""
    shelf = Shelf()
    for path in paths:
        shelf.add_file(path)
    return shelf
