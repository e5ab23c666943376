"""Compressed frames are decoded apart: what they hold, and what becomes of those that end a decoder."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from osteoscribe.core.marks import RoiMark
from osteoscribe.decoders.frame import FrameFormat
from osteoscribe.decoders.process import begin_decoding, start_decoders
from osteoscribe.readers.ct import index_series, read_box
from osteoscribe.readers.headers import split_part10
from osteoscribe.readers.marks import read_marks
from tests.fakes.processes import wait_until
from tests.readers.ct_objects import CT, EXPLICIT, Memory, ct_slice, refused

WHOLE = (slice(None), slice(None), slice(None))
SIDE = 64


def form(syntax: str, **changes: int) -> FrameFormat:
    values = {
        "rows": SIDE,
        "columns": SIDE,
        "bits_allocated": 16,
        "bits_stored": 16,
        "signed": True,
        **changes,
    }
    return FrameFormat(transfer_syntax_uid=syntax, **values)  # type: ignore[arg-type]


def compressed(syntax: str, values: np.ndarray) -> bytes:  # type: ignore[type-arg]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = EXPLICIT
    ds.SOPClassUID, ds.SOPInstanceUID = CT, "1.2.3"
    ds.Rows, ds.Columns = values.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = values.astype("<i2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.compress(syntax, encoding_plugin="pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg")
    return get_frame(ds.PixelData, 0, number_of_frames=1)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_signed_values_come_back_as_they_were(syntax: str) -> None:
    values = np.random.default_rng(1).integers(-2000, 3000, (SIDE, SIDE))
    assert np.array_equal(begin_decoding(compressed(syntax, values), form(syntax)).result(), values)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(
    "change", [{"rows": SIDE - 1}, {"columns": 2 * SIDE}, {"rows": 8192, "columns": 8192}]
)
def test_a_frame_of_another_size_than_its_header_says_is_refused(syntax: str, change: dict[str, int]) -> None:
    frame = compressed(syntax, np.zeros((SIDE, SIDE)))
    with refused("ct.cannot-decode"):
        begin_decoding(frame, form(syntax, **change)).result()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_a_cut_frame_is_refused_not_filled_with_grey(syntax: str) -> None:
    frame = compressed(syntax, np.random.default_rng(1).integers(-2000, 3000, (SIDE, SIDE)))
    for length in (0, 1, 10, len(frame) // 2, len(frame) - 20):
        with refused("ct.cannot-decode"):
            begin_decoding(frame[:length], form(syntax)).result()


def test_an_rle_run_over_the_end_of_its_frame_is_refused() -> None:
    header = np.array([2, 64, 66, *([0] * 13)], dtype="<u4").tobytes()
    with refused("ct.cannot-decode"):
        begin_decoding(header + b"\x81\0" * 5000, form(RLELossless)).result()


def test_many_frames_come_back_in_their_order() -> None:
    frames = [compressed(RLELossless, np.full((SIDE, SIDE), number)) for number in range(20)]
    begun = [begin_decoding(frame, form(RLELossless)) for frame in frames]
    assert [int(decoding.result()[3, 5]) for decoding in begun] == list(range(20))


def children() -> list[int]:
    """Decoding processes of this one; others may have been started by tests before."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        # A thread of another test may end meanwhile.
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in found if is_decoding(pid)]


def is_decoding(pid: int) -> bool:
    try:
        return b"osteoscribe.decoders" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def kill_children() -> None:
    for pid in children():
        # Until whoever started it can know; who was using it may know already.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.slow
def test_a_decoder_that_ends_is_replaced() -> None:
    frame = compressed(RLELossless, np.full((SIDE, SIDE), 7))
    begin_decoding(frame, form(RLELossless)).result()
    kill_children()
    begun = [begin_decoding(frame, form(RLELossless)) for _ in range(12)]
    assert [int(decoding.result()[0, 0]) for decoding in begun] == [7] * 12


def test_decoders_can_be_started_ahead_of_the_first_frame() -> None:
    kill_children()
    start_decoders()
    wait_until(lambda: len(children()) == min(4, os.cpu_count() or 1), "the decoders")
    started = set(children())
    begun = [
        begin_decoding(compressed(RLELossless, np.full((SIDE, SIDE), 7)), form(RLELossless)) for _ in "1234"
    ]
    assert [int(decoding.result()[0, 0]) for decoding in begun] == [7] * 4
    assert set(children()) == started


@pytest.mark.shared
def test_a_frame_that_aborts_its_decoder_is_a_stated_problem(shared_data: Path) -> None:
    path = next((shared_data / "transfer-syntaxes-ct").glob("*.4.51.dcm"))
    data = path.read_bytes()
    # damage a Huffman table: GDCM ends its process over an exception that nobody can catch
    table = data.index(b"\xff\xc4", data.index(b"\xff\xd8\xff"))
    damaged = data[: table - 1] + b"\x40\x42\x0f" + data[table + 2 :]
    part10 = split_part10(damaged)
    memory = Memory()
    bad = memory.store_bytes(damaged[part10.dataset_offset :], part10.transfer_syntax_uid)
    with refused("ct.cannot-decode"):
        read_box(index_series([bad]), WHOLE, memory)
    good = memory.store_bytes(data[part10.dataset_offset :], part10.transfer_syntax_uid)
    assert read_box(index_series([good]), WHOLE, memory).voxels_hu.max() > 1000


@pytest.mark.shared
def test_the_code_streams_of_a_mask_are_decoded_apart(shared_data: Path) -> None:
    path = shared_data / "dcmqi-ct-liver-spine" / "seg" / "liver_j2k.dcm"
    kill_children()
    assert all(isinstance(mark, RoiMark) for mark in read_marks(dcmread(path)))
    assert children()
    ds = dcmread(path)
    start = ds.PixelData.index(b"\xff\x4f\xff\x51")
    ds.PixelData = ds.PixelData[: start + 48] + b"\xff" * 40 + ds.PixelData[start + 88 :]
    with refused("pixels.undecodable"):
        read_marks(ds)


def test_native_pixels_need_no_decoder() -> None:
    memory = Memory()
    before = children()
    read_box(index_series([memory.store(ct_slice(0))]), WHOLE, memory)
    assert children() == before


PARENT = """
import sys, time
from pathlib import Path
sys.path[:0] = {path}
from osteoscribe.decoders.frame import FrameFormat
from osteoscribe.decoders.process import begin_decoding, start_decoders
sys.executable = {executable!r}
form = FrameFormat(
    transfer_syntax_uid="1.2.840.10008.1.2.5",
    rows=9, columns=9, bits_allocated=16, bits_stored=16, signed=True,
)
print(begin_decoding(b"", form).exception(), flush=True)
tasks = Path("/proc/self/task").iterdir()
print(*[pid for task in tasks for pid in (task / "children").read_text().split()], flush=True)
time.sleep({pause_s})
"""


def parent(folder: Path, *, executable: str, pause_s: float) -> subprocess.Popen[str]:
    """A process that has one damaged frame decoded, and says what came of it and which children it has."""
    script = folder / "parent.py"
    script.write_text(PARENT.format(path=sys.path, executable=executable, pause_s=pause_s))
    return subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_machine_without_decoders_is_no_damaged_frame(tmp_path: Path) -> None:
    said, _ = parent(tmp_path, executable="/bin/true", pause_s=0).communicate(timeout=60)
    assert said.startswith("decoder.cannot-start")


@pytest.mark.slow
def test_decoders_end_with_a_killed_parent_and_say_nothing(tmp_path: Path) -> None:
    with parent(tmp_path, executable=sys.executable, pause_s=60) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ct.cannot-decode")
        (child,) = process.stdout.readline().split()
        process.kill()
        assert process.stdout.read() == ""
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the end of the decoder")
