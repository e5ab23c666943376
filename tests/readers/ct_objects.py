"""Small CT objects for tests of the readers, encoded as a peer would send them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from osteoscribe.core.series import BlobRef
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import StoredInstance, read_header

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """The block raises an InputError of this code."""
    with pytest.raises(InputError) as caught:
        yield caught
    assert caught.value.code == code


def identified(sop_class_uid: str = CT, uid: str = "1.2.3.1") -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class_uid, uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    ds.Modality = "CT"
    return ds


def pixels_of(ds: Dataset, values: npt.NDArray[np.integer], *, signed: bool = True, bits: int = 16) -> None:
    ds.Rows, ds.Columns = values.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
    ds.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
    ds["PixelData"].VR = "OW"


def ct_slice(
    z: float = 0.0,
    *,
    number: int = 1,
    uid: str | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    spacing: tuple[float, float] = (0.5, 0.5),
    values: npt.NDArray[np.integer] | None = None,
) -> Dataset:
    """One slice of 4 x 6 pixels whose stored values say row and column: 10 x row + column + 100 x number."""
    ds = identified(uid=uid or f"1.2.3.4.{number}")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [*origin, z]
    ds.ImageOrientationPatient = list(orientation)
    ds.PixelSpacing = list(spacing)
    ds.SliceThickness = 2
    ds.FrameOfReferenceUID = "1.2.3.5"
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    if values is None:
        values = 100 * number + 10 * np.arange(4)[:, None] + np.arange(6)[None, :]
    pixels_of(ds, values)
    return ds


def enhanced(zs: list[float], *, uid: str = "1.2.3.9") -> Dataset:
    """A multi-frame image whose frames lie at the given z."""
    ds = identified(ENHANCED_CT, uid)
    ds.ImageType, ds.FrameOfReferenceUID, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "VOLUME"], "1.2.3.5", 1
    ds.NumberOfFrames = len(zs)
    shared = Dataset()
    shared.PlaneOrientationSequence = _one(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelMeasuresSequence = _one(PixelSpacing=[0.5, 0.5], SliceThickness=2)
    shared.PixelValueTransformationSequence = _one(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for z in zs:
        frame = Dataset()
        frame.PlanePositionSequence = _one(ImagePositionPatient=[0, 0, z])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    values = np.arange(len(zs))[:, None, None] * 100 + np.arange(24).reshape(4, 6)
    pixels_of(ds, values)
    return ds


def _one(**values: object) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def encode(ds: Dataset, transfer_syntax_uid: str = EXPLICIT) -> bytes:
    """The encoded data set, as it comes over the network."""
    file = DicomBytesIO()
    file.is_implicit_VR = transfer_syntax_uid == IMPLICIT
    file.is_little_endian = transfer_syntax_uid != BIG
    if transfer_syntax_uid == BIG and "PixelData" in ds:
        swapped = Dataset()
        swapped.update(ds)
        swapped.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        swapped["PixelData"].VR = "OW"
        ds = swapped
    write_dataset(file, ds)
    data = file.getvalue()
    if transfer_syntax_uid == DEFLATED:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return deflater.compress(data) + deflater.flush()
    return data


@dataclass
class Memory:
    """Stored bytes in memory: a `ReadBytes`, and the count of bytes it was asked for."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: int = 0

    def store(self, ds: Dataset, transfer_syntax_uid: str = EXPLICIT, digest: str = "") -> StoredInstance:
        return self.store_bytes(encode(ds, transfer_syntax_uid), transfer_syntax_uid, digest)

    def store_bytes(self, encoded: bytes, transfer_syntax_uid: str, digest: str = "") -> StoredInstance:
        segment = f"blob {len(self.blobs)}"
        self.blobs[segment] = encoded
        return StoredInstance(
            header=read_header(encoded, transfer_syntax_uid=transfer_syntax_uid),
            blob=BlobRef(segment=segment, offset=0, length=len(encoded)),
            digest=digest,
        )

    def __call__(self, ref: BlobRef, start: int, stop: int) -> bytes:
        part = self.blobs[ref.segment][ref.offset + start : ref.offset + min(stop, ref.length)]
        self.asked += len(part)
        return part
