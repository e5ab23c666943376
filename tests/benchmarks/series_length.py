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
BY_LENGTH = "JPEG-LS"
"""The encoding that is measured on series of all lengths."""
TOUCHED = 16
"""Slices of a compressed series that the mark touches."""
NEAR = 1.25
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


def compressed_series(
    folder: Path, lengths: Sequence[int], syntax: str, plugin: str
) -> dict[int, SeriesIndex]:
    """Smooth noise of a body, compressed; the same again every four slices."""
    rng = np.random.default_rng(1)
    coarse = rng.normal(0, 300, (64, 64))
    values = (np.kron(coarse, np.ones((8, 8))) + rng.normal(0, 20, (512, 512))).astype(np.int16)
    frames = [_compressed(np.roll(values, 13 * n, axis=0), syntax, plugin) for n in range(4)]
    instances, offset = [], 0
    path = folder / f"{syntax}.segment"
    with path.open("wb") as file:
        for number in range(max(lengths)):
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
    return {slices: index_series(instances[:slices]) for slices in lengths}


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


def decoding(
    folder: Path, lengths: Sequence[int], rounds: int, syntaxes: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """A mark on compressed series of each length: slices decoded, time with decoders that run, memory.

    Beside it pydicom decodes the same slices in one thread.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in syntaxes:
        syntax, plugin = SYNTAXES[name]
        indexes = compressed_series(folder, lengths if name == BY_LENGTH else lengths[:1], syntax, plugin)
        found[name] = {str(slices): _decoding(index, folder, rounds) for slices, index in indexes.items()}
    return found


def _decoding(index: SeriesIndex, folder: Path, rounds: int) -> dict[str, float]:
    middle = index.grid.shape[0] // 2
    box = (slice(middle, middle + TOUCHED), slice(200, 240), slice(200, 240))
    asked: set[BlobRef] = set()

    def counting(ref: BlobRef, start: int, stop: int) -> bytes:
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
    assert np.array_equal(single, first.voxels_hu)
    tracemalloc.start()
    read_box(index, box, read_bytes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "decoded": len(asked),
        "first": started,
        "seconds": statistics.median(ours),
        "least": min(ours),
        "most": max(ours),
        "peak_mb": peak / 2**20,
        "pydicom": statistics.median(theirs),
    }


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
        chosen = [BY_LENGTH] if short else list(SYNTAXES)
        compressed = decoding(Path(folder), lengths, 2 if short else 5, chosen)
    return {"length": length, "compressed": compressed}


def tables(result: dict[str, Any]) -> str:
    lines = ["| slices | a mark of 15 mm, ms | least to most | memory it takes, MB |", "|---|---|---|---|"]
    for slices, one in result["length"].items():
        lines.append(
            f"| {slices} | {1e3 * one['seconds']:.1f} | {1e3 * one['least']:.1f} to {1e3 * one['most']:.1f} "
            f"| {one['peak_mb']:.1f} |"
        )
    lines += [
        "",
        f"Compressed slices of 512 x 512, a mark on {TOUCHED} of them:",
        "",
        "| encoding | slices | decoded | ms | ms a decoded slice | memory, MB "
        "| first mark, decoders starting, ms | pydicom, those slices in one thread, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in result["compressed"].items():
        for slices, one in found.items():
            lines.append(
                f"| {name} | {slices} | {one['decoded']} | {1e3 * one['seconds']:.0f} "
                f"| {1e3 * one['seconds'] / one['decoded']:.1f} | {one['peak_mb']:.1f} "
                f"| {1e3 * one['first']:.0f} | {1e3 * one['pydicom']:.0f} |"
            )
    return (
        "From the bytes of the mark to its size and HU; the series is stored and indexed.\n\n"
        "![Time and memory of a mark by number of slices](pictures/performance-slices.png)\n\n"
        + "\n".join(lines)
    )


def goals(result: dict[str, Any]) -> list[Goal]:
    by_slices = result["compressed"][BY_LENGTH]
    decoded = {one["decoded"] for found in result["compressed"].values() for one in found.values()}
    said = ", ".join(map(str, decoded))
    return [
        _independent("a mark takes the same time and memory, within 1.25 x", result["length"]),
        _independent(f"the same of a compressed series ({BY_LENGTH})", by_slices),
        Goal(
            number="3",
            goal="of compressed series only the slices that the mark touches are decoded",
            measured=f"{said} of {' and of '.join(by_slices)} for a mark on {TOUCHED}",
            met=decoded == {TOUCHED},
        ),
    ]


def _independent(goal: str, found: dict[str, Any]) -> Goal:
    """Whether time and memory are the same for all numbers of slices; a megabyte more or less is."""
    seconds, peaks = ([one[name] for one in found.values()] for name in ("seconds", "peak_mb"))
    said = ", ".join(f"{1e3 * one['seconds']:.1f} ms with {slices}" for slices, one in found.items())
    is_met = max(seconds) < NEAR * min(seconds) and max(peaks) < max(NEAR * min(peaks), min(peaks) + 1)
    measured = f"{said}; {min(peaks):.1f} to {max(peaks):.1f} MB"
    return Goal(number="3", goal=goal, measured=measured, met=is_met)


def plots(result: dict[str, Any], folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (times, memory) = plt.subplots(1, 2, figsize=(9, 3.4))
    curves = {
        "uncompressed: size and HU": (result["length"], "tab:green"),
        f"{BY_LENGTH}: HU of its {TOUCHED} slices": (result["compressed"][BY_LENGTH], "tab:blue"),
    }
    for label, (found, colour) in curves.items():
        slices = [int(name) for name in found]
        low, middle, high = (
            [1e3 * one[name] for one in found.values()] for name in ("least", "seconds", "most")
        )
        times.fill_between(slices, low, high, color=colour, alpha=0.2, lw=0)
        times.plot(slices, middle, "o-", color=colour, label=label)
        memory.plot(slices, [one["peak_mb"] for one in found.values()], "o-", color=colour, label=label)
    times.set(xlabel="slices of the series", ylabel="a mark of 15 mm, ms", ylim=(0, None), xlim=(0, None))
    memory.set(
        xlabel="slices of the series", ylabel="memory that it takes, MB", ylim=(0, None), xlim=(0, None)
    )
    times.set_title("time: median, least to most", fontsize=10)
    memory.set_title("memory", fontsize=10)
    for axes in (times, memory):
        axes.set_ylim(top=1.5 * axes.get_ylim()[1])
        axes.legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(folder / "performance-slices.png", dpi=110)
    plt.close(figure)
