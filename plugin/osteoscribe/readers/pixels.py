"""The HU voxels of a box of a CT series: only the slices it touches, and of native pixels only the rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_modality_lut

from osteoscribe.core.region import Box
from osteoscribe.core.series import BlobRef, PixelLayout, ReadBytes, SeriesIndex, SliceSource
from osteoscribe.core.voxels import CtBox
from osteoscribe.decoders.frame import DECODER_ERRORS, DECODERS, RLE, FrameFormat
from osteoscribe.decoders.process import Values, begin_decoding, start_decoders
from osteoscribe.errors import InputError
from osteoscribe.readers.datasets import MAX_BYTES, read_dataset
from osteoscribe.readers.elements import Kind, encoding_of, walk
from osteoscribe.readers.values import DEFLATED_SYNTAXES, inflate

_IMPLICIT, _EXPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"

READABLE_TRANSFER_SYNTAXES = (_EXPLICIT, _IMPLICIT, _BIG_ENDIAN, _DEFLATED, *DECODERS)
"""Transfer syntaxes whose CT pixels can be decoded here."""

SLICES_AT_ONCE = 16
"""Slices that are decoded side by side and are in memory together; fewer where they are large."""
PIXELS_AT_ONCE = 1 << 26
MAX_BOX_VOXELS = 1 << 24
"""Largest box; a lesion of 100 mm at 0.4 mm has 16 million voxels in its box."""


def read_box(index: SeriesIndex, box: Box, read: ReadBytes) -> CtBox:
    """Read the HU of a box.

    Parameters
    ----------
    index
        The series.
    box
        Index ranges (k, r, c) in the series' grid; what lies outside the grid is cut off.
    read
        Gives stored bytes.

    Returns
    -------
    CtBox
        Padding values stay what they are.

    Raises
    ------
    InputError
        ``ct.not-hounsfield``, ``ct.cannot-decode`` or ``ct.box-too-large``; `where` is the image.

    References
    ----------
    PS3.5 section 8, PS3.3 C.11.1
    """
    (k0, k1), (r0, r1), (c0, c1) = (
        (part.indices(size)[0], max(part.indices(size)[:2]))
        for part, size in zip(box, index.grid.shape, strict=True)
    )
    shape = (k1 - k0, r1 - r0, c1 - c0)
    if shape[0] * shape[1] * shape[2] > MAX_BOX_VOXELS:
        raise InputError(
            "ct.box-too-large",
            f"the box of the mark has {shape[0]} x {shape[1]} x {shape[2]} voxels; "
            f"expected at most {MAX_BOX_VOXELS}",
        )
    voxels = np.empty(shape, dtype=np.float64)
    frames = _Frames(index.grid.shape[1:], slice(r0, r1), slice(c0, c1), read)
    _, rows, columns = index.grid.shape
    at_once = max(1, min(SLICES_AT_ONCE, PIXELS_AT_ONCE // (rows * columns)))
    for first in range(k0, k1, at_once):
        sources = index.slices[first : min(first + at_once, k1)]
        if _are_alike(sources):
            voxels[first - k0 : first - k0 + len(sources)] = frames.hounsfield_alike(sources)
            continue
        begun = [frames.begin(source) for source in sources]
        for k, (source, decoding) in enumerate(zip(sources, begun, strict=True), start=first - k0):
            voxels[k] = frames.hounsfield(source, decoding)
    return CtBox(offset=(k0, r0, c0), voxels_hu=voxels)


def prepare_decoding(index: SeriesIndex) -> None:
    """Start the decoders of a series that is compressed, ahead of its first mark."""
    if any(source.transfer_syntax_uid in DECODERS for source in index.slices):
        start_decoders()


@contextmanager
def _naming(source: SliceSource) -> Iterator[None]:
    """Let an error say which image it is about."""
    try:
        yield
    except InputError as error:
        uid = source.ref.sop_instance_uid
        raise InputError(error.code, f"image {uid}: {error.message}", where=uid) from None


def _readable(source: SliceSource) -> PixelLayout:
    """Give the layout of a slice whose values are HU and can be decoded."""
    if source.not_hounsfield or source.layout is None:
        why = source.not_hounsfield or "its header does not say how its pixels are written"
        raise InputError("ct.not-hounsfield", f"{why}; its values cannot be shown as HU")
    if source.transfer_syntax_uid not in READABLE_TRANSFER_SYNTAXES:
        raise InputError(
            "ct.cannot-decode",
            f"its transfer syntax {source.transfer_syntax_uid} is not decoded here; send it uncompressed",
        )
    return source.layout


def _are_alike(sources: Sequence[SliceSource]) -> bool:
    """Whether the values of slices lie plainly in their instances, are HU, and are all written alike."""
    forms = {_form(source) for source in sources}
    return len(forms) == 1 and None not in forms


def _form(source: SliceSource) -> tuple[object, ...] | None:
    """How the values of a slice are written and become HU; None where that takes more than its rows."""
    layout = source.layout
    if layout is None or layout.offset is None or layout.modality_lut or source.not_hounsfield:
        return None
    if source.transfer_syntax_uid not in (_IMPLICIT, _EXPLICIT):
        return None
    cells = (layout.bits_allocated, layout.bits_stored, layout.high_bit, layout.signed)
    return (*cells, source.slope, source.intercept)


class _Frames:
    """Reads frames; keeps the bytes of the last instance, for the next frame of the same."""

    def __init__(self, matrix: tuple[int, int], r: slice, c: slice, read: ReadBytes) -> None:
        self._rows, self._columns = matrix
        self._r, self._c = r, c
        self._read = read
        self._blob: BlobRef | None = None
        self._pixels = b""

    def begin(self, source: SliceSource) -> Future[Values] | None:
        """Check that a slice has HU that can be read; begin to decode it where it is compressed."""
        with _naming(source):
            layout = _readable(source)
            return self._begin_decoding(source, layout) if source.transfer_syntax_uid in DECODERS else None

    def hounsfield(self, source: SliceSource, decoding: Future[Values] | None) -> npt.NDArray[np.float64]:
        """Give the HU of the rows and columns of a slice that was begun."""
        with _naming(source):
            layout = _readable(source)
            stored = self._stored(source, layout, decoding)
            if layout.modality_lut:
                return self._through_lut(source, stored)
            return np.asarray(stored * source.slope + source.intercept, dtype=np.float64)

    def hounsfield_alike(self, sources: Sequence[SliceSource]) -> npt.NDArray[np.float64]:
        """Give the HU of the rows and columns of slices that are alike, (slices, rows, columns)."""
        values = []
        for source in sources:
            with _naming(source):
                layout = _readable(source)
                values.append(self._native(source, layout))
        raw = np.frombuffer(b"".join(values), dtype=f"<u{layout.bits_allocated // 8}")
        raw = raw.reshape(len(sources), -1, self._columns)[:, :, self._c]
        stored = stored_values(raw, layout, layout.high_bit + 1 - layout.bits_stored)
        return np.asarray(stored * sources[0].slope + sources[0].intercept, dtype=np.float64)

    def _stored(self, source: SliceSource, layout: PixelLayout, decoding: Future[Values] | None) -> Values:
        """Give the stored values of the rows and columns."""
        unused_below = layout.high_bit + 1 - layout.bits_stored
        if decoding is not None:
            shift = unused_below if source.transfer_syntax_uid == RLE else 0
            return stored_values(decoding.result()[self._r, self._c], layout, shift)
        big = source.transfer_syntax_uid == _BIG_ENDIAN
        if big and layout.bits_allocated == 8:
            raise InputError("ct.cannot-decode", "its bytes are swapped in pairs; send it little endian")
        values = self._native(source, layout)
        unsigned = np.dtype(f"{'>' if big else '<'}u{layout.bits_allocated // 8}")
        raw = np.frombuffer(values, dtype=unsigned).reshape(-1, self._columns)
        return stored_values(raw[:, self._c], layout, unused_below)

    def _native(self, source: SliceSource, layout: PixelLayout) -> bytes:
        """Give the bytes of the rows, of all columns."""
        row = self._columns * layout.bits_allocated // 8
        first = ((source.ref.frame_number or 1) - 1) * self._rows * row
        start, stop = first + self._r.start * row, first + self._r.stop * row
        if layout.offset is None:
            values = self._pixel_bytes(source)[start:stop]
        else:
            values = self._read(source.blob, layout.offset + start, layout.offset + stop)
        if len(values) != stop - start:
            raise InputError("ct.cannot-decode", "its pixel data is shorter than its matrix; send it again")
        return values

    def _pixel_bytes(self, source: SliceSource) -> bytes:
        """Give all bytes from the pixel data's value on; of a compressed or deflated instance."""
        if self._blob == source.blob:
            return self._pixels
        data = self._whole(source)
        encoding = encoding_of(source.transfer_syntax_uid, data)
        start = next(
            (e.start for e in walk(data, encoding, descend=frozenset()) if e.kind is Kind.PIXELS), None
        )
        if start is None:
            raise InputError("ct.cannot-decode", "it has no pixel data")
        self._blob, self._pixels = source.blob, data[start:]
        return self._pixels

    def _whole(self, source: SliceSource) -> bytes:
        if source.blob.length > MAX_BYTES:
            raise InputError("ct.cannot-decode", f"it is larger than {MAX_BYTES} bytes; send it uncompressed")
        data = self._read(source.blob, 0, source.blob.length)
        if source.transfer_syntax_uid in DEFLATED_SYNTAXES:
            data, complete = inflate(data, max_bytes=MAX_BYTES)
            if not complete:
                raise InputError("ct.cannot-decode", f"it inflates to more than {MAX_BYTES} bytes")
        return data

    def _begin_decoding(self, source: SliceSource, layout: PixelLayout) -> Future[Values]:
        """Find the compressed frame, and have it decoded."""
        pixels = self._pixel_bytes(source)
        number = source.ref.frame_number or 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                frame = get_frame(pixels, number - 1, number_of_frames=layout.frames)
        except DECODER_ERRORS as error:
            raise InputError(
                "ct.cannot-decode", f"its frames cannot be told apart ({type(error).__name__}); send it again"
            ) from None
        form = FrameFormat(
            transfer_syntax_uid=source.transfer_syntax_uid,
            rows=self._rows,
            columns=self._columns,
            bits_allocated=layout.bits_allocated,
            bits_stored=layout.bits_stored,
            signed=layout.signed,
        )
        return begin_decoding(frame, form)

    def _through_lut(self, source: SliceSource, stored: Values) -> npt.NDArray[np.float64]:
        """Apply the Modality LUT Sequence (PS3.3 C.11.1.1)."""
        ds = read_dataset(
            self._read(source.blob, 0, source.blob.length), transfer_syntax_uid=source.transfer_syntax_uid
        )
        try:
            if ds.ModalityLUTSequence[0].ModalityLUTType not in ("HU", "US"):
                raise InputError("ct.not-hounsfield", "its modality LUT does not lead to HU")
            return np.asarray(apply_modality_lut(stored, ds), dtype=np.float64)
        except DECODER_ERRORS as error:
            raise InputError(
                "ct.not-hounsfield", f"its modality LUT cannot be read ({type(error).__name__})"
            ) from None


def stored_values(raw: Values, layout: PixelLayout, shift: int) -> Values:
    """Take the stored values out of their cells: without overlay bits above, sign-extended.

    Parameters
    ----------
    raw
        The cells, any integer type of `bits_allocated` bits.
    layout
        How values lie in them.
    shift
        Unused bits below the values.

    References
    ----------
    PS3.5 8.1.1

    Examples
    --------
    >>> layout = PixelLayout(offset=0, bits_allocated=16, bits_stored=12, high_bit=11, signed=True)
    >>> stored_values(np.array([0x0FFF, 0xF001], dtype=np.uint16), layout, 0).tolist()
    [-1, 1]
    """
    cells: Values = raw.astype(np.int32) if layout.bits_allocated <= 16 else raw.astype(np.int64)
    values = (cells >> shift) & ((1 << layout.bits_stored) - 1)
    if layout.signed:
        sign = 1 << (layout.bits_stored - 1)
        values = (values ^ sign) - sign
    return np.asarray(values)
