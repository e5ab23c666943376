"""How fast headers, series and HU boxes are read, beside what others do with the same files.

    python -m tests.benchmarks.bench_ct --slices 200 --rounds 5

Writes a series of full size into a temporary folder and prints medians and ratios to reading every file once.
Ways are taken in turn in each round, so that a busy machine hurts all alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from osteoscribe.core.series import BlobRef, SeriesIndex
from osteoscribe.readers.ct import index_series, read_box
from osteoscribe.readers.headers import StoredInstance, read_header, split_part10
from osteoscribe.store.files import read_bytes, scan
from tests.readers.ct_objects import EXPLICIT, ct_slice, encode

META = b"\0" * 128 + b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
WANTED = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "InstanceNumber",
    "Rows", "Columns", "ImageType", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceThickness", "FrameOfReferenceUID", "RescaleSlope", "RescaleIntercept", "KVP", "ConvolutionKernel",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
]  # fmt: skip
SIDE = 512


def write_series(folder: Path, slices: int) -> list[Path]:
    """Slices with a header as long as a scanner's: about 100 elements, 30 of them private."""
    noise = np.random.default_rng(1).integers(-1024, 1500, (SIDE, SIDE), dtype=np.int16)
    paths = []
    for number in range(1, slices + 1):
        ds = ct_slice(2.0 * number, number=number, values=np.roll(noise, number))
        _lengthen(ds)
        path = folder / f"{number:04}.dcm"
        path.write_bytes(META + encode(ds))
        paths.append(path)
    return paths


def _lengthen(ds: Dataset) -> None:
    for element in range(0x40, 0x60):
        ds.add_new(0x00181000 + element, "LO", "SOME TEXT OF A SCANNER")
    ds.add_new(0x00190010, "LO", "A VENDOR 1.0")
    for element in range(0x1001, 0x1021):
        ds.add_new(0x00190000 + element, "UN", b"0123456789abcdef")
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", "CODE"
    ds.ProcedureCodeSequence = [item]


def headers(heads: dict[Path, bytes]) -> list[StoredInstance]:
    """Our header reading alone, as at receive: the bytes are in memory."""
    out = []
    for path, data in heads.items():
        offset = split_part10(data).dataset_offset
        header = read_header(memoryview(data)[offset:], transfer_syntax_uid=EXPLICIT)
        blob = BlobRef(segment=str(path), offset=offset, length=path.stat().st_size - offset)
        out.append(StoredInstance(header=header, blob=blob, digest=""))
    return out


def lesion(index: SeriesIndex) -> float:
    """HU of a lesion of 30 slices and 60 x 60 pixels."""
    middle = index.grid.shape[0] // 2
    box = (slice(middle - 15, middle + 15), slice(200, 260), slice(220, 280))
    return float(read_box(index, box, read_bytes).voxels_hu.mean())


def whole_slices(paths: list[Path]) -> float:
    """The same slices as pydicom decodes them, whole."""
    middle = len(paths) // 2
    frames = []
    for path in paths[middle - 15 : middle + 15]:
        ds = pydicom.dcmread(path)
        frames.append(ds.pixel_array[200:260, 220:280] * float(ds.RescaleSlope) + float(ds.RescaleIntercept))
    return float(np.mean(frames))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_series(Path(folder), arguments.slices)
        heads = {path: path.read_bytes()[: 1 << 14] for path in paths}
        index = index_series(scan(paths).instances)
        instances = headers(heads)
        ways: dict[str, Callable[[], object]] = {
            "read every file once": lambda: [path.read_bytes() for path in paths],
            "pydicom headers": lambda: [pydicom.dcmread(p, stop_before_pixels=True) for p in paths],
            "pydicom headers, wanted tags": lambda: [
                pydicom.dcmread(p, stop_before_pixels=True, specific_tags=list[str | int](WANTED))
                for p in paths
            ],
            "scan": lambda: scan(paths),
            "read_header, bytes in memory": lambda: headers(heads),
            "index_series": lambda: index_series(instances),
            "pydicom, 30 whole slices": lambda: whole_slices(paths),
            "read_box, 30 slices x 60 x 60": lambda: lesion(index),
        }
        assert abs(lesion(index) - whole_slices(paths)) < 1e-9
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - start)
    unit = statistics.median(times["read every file once"])
    lines = ["| way | ms | x reading every file once |", "|---|---|---|"]
    for name, taken in times.items():
        median = statistics.median(taken)
        lines.append(f"| {name} | {1000 * median:.1f} | {median / unit:.3f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
