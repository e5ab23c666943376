"""Whether a mark costs the same on short and long series, and what of a compressed series is decoded."""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame

from osteoscribe.core.marks import RoiMark
from osteoscribe.core.placement import place
from osteoscribe.core.region import Box
from osteoscribe.core.series import BlobRef, SeriesIndex
from osteoscribe.readers.ct import index_series, prepare_decoding, read_box
from osteoscribe.readers.datasets import read_dataset
from osteoscribe.readers.headers import StoredInstance, read_header
from osteoscribe.readers.marks import read_marks
from osteoscribe.store.files import read_bytes
from tests.benchmarks.marked_series import encoded_marks, lesions
from tests.benchmarks.marks import PARTS, measured, stored_series
from tests.benchmarks.page import Goal
from tests.readers.ct_objects import EXPLICIT, ct_slice, encode

SLICES = (100, 500, 2000)
SYNTAXES = {
    "RLE": ("1.2.840.10008.1.2.5", "pylibjpeg"),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", "pyjpegls"),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", "pylibjpeg"),
}
NEAR = 1.5
"""Times of long and short series that differ by less are the same on a busy machine."""


def one_mark(index: SeriesIndex) -> bytes:
    """A ball of 15 mm."""
    return encoded_marks(lesions(1, index.grid.shape[0]), 1, 0)[0][1]


def box_of(index: SeriesIndex) -> Box:
    (mark,) = read_marks(read_dataset(one_mark(index), transfer_syntax_uid=EXPLICIT))
    assert isinstance(mark, RoiMark)
    return place(mark, index).on_ct.box


def by_length(folder: Path, lengths: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    instances = stored_series(folder, max(lengths))
    indexes = {slices: index_series(instances[:slices]) for slices in lengths}
    marks = {slices: one_mark(index) for slices, index in indexes.items()}
    times: dict[int, list[float]] = {slices: [] for slices in lengths}
    for _ in range(rounds + 1):
        for slices, index in indexes.items():
            times[slices].append(sum(measured(marks[slices], index)[part] for part in PARTS))
    peaks = {}
    for slices, index in indexes.items():
        tracemalloc.start()
        measured(marks[slices], index)
        peaks[slices] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return {
        str(slices): {
            "seconds": statistics.median(taken[1:]),
            "least": min(taken[1:]),
            "most": max(taken[1:]),
            "peak_mb": peaks[slices] / 2**20,
        }
        for slices, taken in times.items()
    }


def compressed_series(folder: Path, slices: int, syntax: str, plugin: str) -> SeriesIndex:
    """Smooth noise of a body, compressed; the same again every four slices."""
    rng = np.random.default_rng(1)
    coarse = rng.normal(0, 300, (64, 64))
    values = (np.kron(coarse, np.ones((8, 8))) + rng.normal(0, 20, (512, 512))).astype(np.int16)
    frames = [_compressed(np.roll(values, 13 * n, axis=0), syntax, plugin) for n in range(4)]
    instances, offset = [], 0
    path = folder / f"{syntax}.segment"
    with path.open("wb") as file:
        for number in range(slices):
            ds = ct_slice(1.0 * number, number=number + 1, uid=f"1.2.3.4.{number + 1}", spacing=(0.7, 0.7))
            ds.Rows, ds.Columns = values.shape
            ds.PixelData = encapsulate([frames[number % 4]])
            ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
            data = encode(ds, syntax)
            file.write(data)
            blob = BlobRef(segment=str(path), offset=offset, length=len(data))
            header = read_header(memoryview(data), transfer_syntax_uid=syntax)
            instances.append(StoredInstance(header=header, blob=blob, digest=""))
            offset += len(data)
    return index_series(instances)


def _compressed(values: np.ndarray, syntax: str, plugin: str) -> bytes:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    ds.Rows, ds.Columns = values.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW"
    ds.compress(syntax, encoding_plugin=plugin)
    return bytes(get_frame(ds.PixelData, 0, number_of_frames=1))


def decoding(folder: Path, slices: int, rounds: int, syntaxes: Sequence[str]) -> dict[str, dict[str, float]]:
    """A mark on a compressed series: slices decoded, time with decoders that run; one thread of pydicom."""
    box = (slice(slices // 2, slices // 2 + 16), slice(200, 240), slice(200, 240))
    found = {}
    for name in syntaxes:
        syntax, plugin = SYNTAXES[name]
        index = compressed_series(folder, slices, syntax, plugin)
        asked: set[BlobRef] = set()

        def counting(ref: BlobRef, start: int, stop: int, asked: set[BlobRef] = asked) -> bytes:
            asked.add(ref)
            return read_bytes(ref, start, stop)

        began = time.perf_counter()
        prepare_decoding(index)
        first = read_box(index, box, counting)
        started = time.perf_counter() - began
        ours, theirs = [], []
        for _ in range(rounds):
            began = time.perf_counter()
            read_box(index, box, read_bytes)
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            single = _by_pydicom(index, box, folder)
            theirs.append(time.perf_counter() - began)
        assert np.array_equal(single, first.voxels_hu), name
        found[name] = {
            "decoded": len(asked),
            "first": started,
            "seconds": statistics.median(ours),
            "pydicom": statistics.median(theirs),
        }
    return found


def _by_pydicom(index: SeriesIndex, box: Box, folder: Path) -> np.ndarray:
    """The same slices, one after the other."""
    slices = []
    for source in index.slices[box[0]]:
        path = folder / "one.dcm"
        uid = source.transfer_syntax_uid.encode()
        uid += b"\0" * (len(uid) % 2)
        element = b"\x02\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid
        path.write_bytes(
            b"\0" * 128
            + b"DICM\x02\0\0\0UL\4\0"
            + len(element).to_bytes(4, "little")
            + element
            + read_bytes(source.blob, 0, source.blob.length)
        )
        ds = dcmread(path)
        slices.append(ds.pixel_array[box[1], box[2]] * float(ds.RescaleSlope) + float(ds.RescaleIntercept))
    return np.stack(slices)


def run(short: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        lengths = (50, 100) if short else SLICES
        length = by_length(Path(folder), lengths, 3 if short else 9)
        chosen = list(SYNTAXES)[: 1 if short else None]
        compressed = decoding(Path(folder), 40 if short else 100, 2 if short else 5, chosen)
    return {"length": length, "compressed": compressed, "compressed_slices": 40 if short else 100}


def tables(result: dict[str, Any]) -> str:
    lines = ["| slices | a mark of 15 mm, ms | least to most | memory it takes, MB |", "|---|---|---|---|"]
    for slices, one in result["length"].items():
        lines.append(
            f"| {slices} | {1e3 * one['seconds']:.1f} | {1e3 * one['least']:.1f} to {1e3 * one['most']:.1f} "
            f"| {one['peak_mb']:.1f} |"
        )
    lines += [
        "",
        f"Compressed, {result['compressed_slices']} slices of 512 x 512, a mark on 16 of them:",
        "",
        "| encoding | slices decoded | ms | ms a slice | first mark, decoders starting, ms "
        "| pydicom, those slices in one thread, ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in result["compressed"].items():
        lines.append(
            f"| {name} | {one['decoded']} | {1e3 * one['seconds']:.0f} "
            f"| {1e3 * one['seconds'] / one['decoded']:.1f} | {1e3 * one['first']:.0f} "
            f"| {1e3 * one['pydicom']:.0f} |"
        )
    return (
        "From the bytes of the mark to its size and HU; the series is stored and indexed.\n\n"
        "![Time of a mark by number of slices](pictures/performance-slices.png)\n\n" + "\n".join(lines)
    )


def goals(result: dict[str, Any]) -> list[Goal]:
    seconds = {slices: one["seconds"] for slices, one in result["length"].items()}
    peaks = [one["peak_mb"] for one in result["length"].values()]
    said = ", ".join(f"{1e3 * taken:.1f} ms with {slices}" for slices, taken in seconds.items())
    decoded = {one["decoded"] for one in result["compressed"].values()}
    return [
        Goal(
            number="3",
            goal="a mark takes the same time and memory with 100, 500 and 2,000 slices",
            measured=f"{said}; {min(peaks):.1f} to {max(peaks):.1f} MB",
            met=max(seconds.values()) < NEAR * min(seconds.values()) and max(peaks) < NEAR * min(peaks),
        ),
        Goal(
            number="3",
            goal="of compressed series only the slices that the mark touches are decoded",
            measured=f"{max(decoded)} of {result['compressed_slices']} for a mark on 16",
            met=decoded == {16},
        ),
    ]


def plots(result: dict[str, Any], folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(5, 3.2))
    slices = [int(name) for name in result["length"]]
    middle = [1e3 * one["seconds"] for one in result["length"].values()]
    low = [1e3 * one["least"] for one in result["length"].values()]
    high = [1e3 * one["most"] for one in result["length"].values()]
    ax.fill_between(slices, low, high, color="tab:green", alpha=0.2, label="least to most")
    ax.plot(slices, middle, "o-", color="tab:green", label="median")
    ax.set_xlabel("slices of the series")
    ax.set_ylabel("a mark of 15 mm, ms")
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ax.legend()
    figure.tight_layout()
    figure.savefig(folder / "performance-slices.png", dpi=110)
