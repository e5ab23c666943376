"""What arrived at an archive: which reports, when, and how many findings they hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom

from osteoscribe.readers.part10 import split_part10
from tests.benchmarks.peers import Arrived

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
WRITTEN_S = 0.01
"""A file that was not written to for so long is whole."""


class FileArchive:
    """DCMTK's storescp as archive: what has arrived is what lies in its folder, by the time of the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[Path, Arrived] = {}

    @property
    def arrived(self) -> list[Arrived]:
        """Reports so far, by the time of their last byte."""
        for path in self._folder.iterdir():
            if path not in self._seen:
                content, at = path.read_bytes(), path.stat().st_mtime
                if content and time.time() - at > WRITTEN_S:
                    encoded = content[split_part10(content).dataset_offset :]
                    sop_class = str(pydicom.dcmread(BytesIO(content)).SOPClassUID)
                    self._seen[path] = Arrived(at=at, sop_class=sop_class, encoded=encoded, association=0)
        return sorted(self._seen.values(), key=lambda one: one.at)

    def wait_for(self, wanted: Callable[[Arrived], bool], after: float, patience_s: float = 60.0) -> Arrived:
        """The first report of this kind that was complete after a time."""
        deadline = time.monotonic() + patience_s
        while True:
            for one in self.arrived:
                if one.at > after and wanted(one):
                    return one
            assert time.monotonic() < deadline, "waited in vain for a report"
            time.sleep(0.02)


def is_measured(one: Arrived) -> bool:
    """Whether it is a report with measurements."""
    return ".5.1.4.1.1.88." in one.sop_class and one.sop_class != BASIC_TEXT_SR


def findings_of(one: Arrived) -> int:
    """Measured lesions in an SR; 0 in any other object."""
    if not is_measured(one):
        return 0
    ds = pydicom.dcmread(_part10(one.encoded), force=True)
    (measurements,) = (child for child in ds.ContentSequence if _concept(child) == "126010")
    groups = (group for group in measurements.ContentSequence if _concept(group) == "125007")
    return len(
        {str(one.UID) for group in groups for one in group.ContentSequence if _concept(one) == "112040"}
    )


def _part10(encoded: bytes) -> BytesIO:
    meta = b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    return BytesIO(
        b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0" + len(meta).to_bytes(4, "little") + meta + encoded
    )


def _concept(child: pydicom.Dataset) -> str:
    names = child.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""
