"""Frames of masks in every depth and encoding that is read, each against the pixels it was made from."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from osteoscribe.errors import InputError
from osteoscribe.readers.frames import DEFLATED_IMAGE_FRAME, frame_layout, iter_frames
from tests.builders_marks import LABEL_MAP, mark_object
from tests.examples import many

EXPLICIT_BIG = "1.2.840.10008.1.2.2"
frames_of_8_or_16 = st.sampled_from([np.uint8, np.uint16]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9))
)


def holding(pixels: np.ndarray, syntax: str, data: bytes) -> Dataset:
    bits = pixels.dtype.itemsize * 8
    ds = mark_object(
        LABEL_MAP,
        Rows=pixels.shape[1],
        Columns=pixels.shape[2],
        NumberOfFrames=len(pixels),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=0,
        PixelData=data,
    )
    ds["PixelData"].VR = "OW" if bits == 16 else "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def read(ds: Dataset) -> np.ndarray:
    layout = frame_layout(ds)
    frames = []
    for frame in iter_frames(ds, layout):
        whole = np.zeros((layout.rows, layout.columns), dtype=frame.pixels.dtype)
        whole[frame.row : frame.row + len(frame.pixels)] = frame.pixels
        frames.append(whole)
    return np.stack(frames)


@given(frames_of_8_or_16, st.booleans())
@settings(max_examples=many(60))
def test_native_words_are_read_in_either_byte_order(pixels: np.ndarray, big: bool) -> None:
    order = pixels.dtype.newbyteorder(">" if big else "<")
    data = pixels.astype(order).tobytes()
    ds = holding(pixels, EXPLICIT_BIG if big else "1.2.840.10008.1.2.1", data)
    assert np.array_equal(read(ds), pixels)


@given(frames_of_8_or_16)
@settings(max_examples=many(60))
def test_rle_as_pydicom_writes_it_is_read(pixels: np.ndarray) -> None:
    encoder = get_encoder(RLELossless)
    like = holding(pixels, RLELossless, b"")
    encoded = [
        encoder.encode(
            frame.tobytes(),
            encoding_plugin="pydicom",
            rows=like.Rows,
            columns=like.Columns,
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=like.BitsAllocated,
            bits_stored=like.BitsStored,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            pixel_keyword="PixelData",
        )
        for frame in pixels
    ]
    assert np.array_equal(read(holding(pixels, RLELossless, encapsulate(encoded))), pixels)


@given(frames_of_8_or_16)
@settings(max_examples=many(40))
def test_deflated_frames_are_read(pixels: np.ndarray) -> None:
    encoded = []
    for frame in pixels:
        deflater = zlib.compressobj(wbits=-15)
        encoded.append(
            deflater.compress(frame.astype(frame.dtype.newbyteorder("<")).tobytes()) + deflater.flush()
        )
    assert np.array_equal(read(holding(pixels, DEFLATED_IMAGE_FRAME, encapsulate(encoded))), pixels)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_jpegs_are_read(syntax: str, dtype: type) -> None:
    pixels = np.random.default_rng(7).integers(0, 4, (2, 40, 67)).astype(dtype)
    ds = holding(pixels, "1.2.840.10008.1.2.1", pixels.tobytes())
    ds.compress(syntax, generate_instance_uid=False)
    assert np.array_equal(read(ds), pixels)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_stream_of_another_size_is_refused_before_it_is_decoded(syntax: str) -> None:
    pixels = np.zeros((1, 40, 67), dtype=np.uint8)
    ds = holding(pixels, "1.2.840.10008.1.2.1", pixels.tobytes())
    ds.compress(syntax, generate_instance_uid=False)
    ds.Rows = 41
    with pytest.raises(InputError) as caught:
        read(ds)
    assert caught.value.code == "pixels.undecodable"


@pytest.mark.parametrize(
    ("syntax", "code"),
    [("1.2.840.10008.1.2.4.50", "pixels.encoding-unsupported"), (JPEG2000Lossless, "pixels.undecodable")],
)
def test_lossy_or_damaged_encodings_are_refused(syntax: str, code: str) -> None:
    ds = holding(np.zeros((1, 2, 2), dtype=np.uint8), syntax, encapsulate([b"\xff\xd8 no image"]))
    with pytest.raises(InputError) as caught:
        read(ds)
    assert caught.value.code == code


def test_a_bomb_of_deflated_bytes_is_refused_small() -> None:
    deflater = zlib.compressobj(wbits=-15)
    bomb = deflater.compress(bytes(50_000_000)) + deflater.flush()
    ds = holding(np.zeros((1, 2, 2), dtype=np.uint8), DEFLATED_IMAGE_FRAME, encapsulate([bomb]))
    with pytest.raises(InputError) as caught:
        read(ds)
    assert caught.value.code == "pixels.undecodable"


def test_missing_frames_are_refused() -> None:
    pixels = np.zeros((3, 4, 4), dtype=np.uint8)
    encoded = zlib.compress(bytes(16), wbits=-15)
    ds = holding(pixels, DEFLATED_IMAGE_FRAME, encapsulate([encoded, encoded]))
    with pytest.raises(InputError) as caught:
        read(ds)
    assert caught.value.code == "pixels.undecodable"
