"""A CT series of full size and marks of 5 to 30 mm on it, encoded as a peer would send them.

The same series goes out under many UIDs: its bytes are made once and the UIDs, all of one length, exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits

from tests.builders_marks import coded, item
from tests.readers.ct_objects import ct_slice, encode

CT = "1.2.840.10008.5.1.4.1.1.2"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SIDE, PIXEL_MM, STEP_MM = 512, 0.7, 1.0
ROOT = "1.2.826.0.1.3680043.10.1.7"
TEMPLATE = "1000"


def study_uid(name: str = TEMPLATE) -> str:
    return f"{ROOT}.{name}"


def series_uid(name: str = TEMPLATE) -> str:
    return f"{study_uid(name)}.2"


def image_uid(number: int, name: str = TEMPLATE) -> str:
    return f"{series_uid(name)}.{10001 + number}"


def _named(encoded: bytes, name: str) -> bytes:
    """The same object in another study: all UIDs begin with the study's."""
    return encoded.replace(study_uid().encode(), study_uid(name).encode())


@dataclass(frozen=True)
class Series:
    """A CT series: the header of each slice, and the pixels that follow it."""

    headers: tuple[bytes, ...]
    pixels: tuple[bytes, ...]

    def slices(self, name: str) -> list[tuple[str, list[bytes]]]:
        """SOP Instance UID and encoded parts of each slice under the UIDs of this name."""
        return [
            (image_uid(number, name), [_named(header, name), self.pixels[number % len(self.pixels)]])
            for number, header in enumerate(self.headers)
        ]


def make_series(slices: int) -> Series:
    """Axial slices of 512 x 512 pixels of 0.7 mm, 1 mm apart: noise, the same again every 50 slices."""
    noise = np.random.default_rng(1).integers(-200, 900, (SIDE, SIDE), dtype=np.int16)
    headers = []
    for number in range(slices):
        ds = ct_slice(
            STEP_MM * number, number=number + 1, uid=image_uid(number), spacing=(PIXEL_MM, PIXEL_MM)
        )
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid(), series_uid()
        ds.FrameOfReferenceUID = f"{study_uid()}.3"
        ds.SliceThickness = STEP_MM
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Bench^Mark", "BENCH", "19500101"
        ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "20260101", "120000", ""
        ds.ReferringPhysicianName, ds.StudyID, ds.PatientSex, ds.SeriesNumber = "", "1", "", 1
        ds.Manufacturer, ds.PositionReferenceIndicator, ds.KVP = "X", "", 120
        for element in range(0x40, 0x60):
            ds.add_new(0x00181000 + element, "LO", "SOME TEXT OF A SCANNER")
        ds.Rows, ds.Columns = SIDE, SIDE
        ds.PixelData = noise.tobytes()
        encoded = encode(ds)
        headers.append(encoded[: len(encoded) - noise.nbytes])
    pixels = tuple(np.roll(noise, 7 * number).tobytes() for number in range(min(slices, 50)))
    return Series(headers=tuple(headers), pixels=pixels)


@dataclass(frozen=True)
class Lesion:
    """A ball: its middle (slice, row, column) and diameter in mm."""

    middle: tuple[int, int, int]
    diameter_mm: float

    def mask(self, shift: int) -> tuple[int, npt.NDArray[np.bool_]]:
        """First slice, and full slices of the ball, moved by some columns."""
        half = self.diameter_mm / 2
        reach = int(half / STEP_MM)
        k, r, c = self.middle
        z = np.arange(-reach, reach + 1) * STEP_MM
        rows = (np.arange(SIDE) - r) * PIXEL_MM
        columns = (np.arange(SIDE) - c - shift) * PIXEL_MM
        inside = z[:, None, None] ** 2 + rows[:, None] ** 2 + columns**2 <= half**2
        return k - reach, inside


def lesions(count: int, slices: int) -> list[Lesion]:
    """Balls of 5 to 30 mm that do not touch."""
    layers = range(20, slices - 20, 40)
    places = [(k, r, c) for k in layers for r in range(40, 480, 60) for c in range(40, 460, 60)]
    chosen = np.random.default_rng(2).permutation(len(places))[:count]
    diameters = np.random.default_rng(3).permutation(np.linspace(5.0, 30.0, count))
    return [
        Lesion(places[place], float(mm) if count > 1 else 15.0)
        for place, mm in zip(chosen, diameters, strict=True)
    ]


def encoded_marks(chosen: Sequence[Lesion], objects: int, version: int) -> list[tuple[str, bytes]]:
    """SOP Instance UID and data set of mark objects that hold the lesions between them.

    Parameters
    ----------
    version
        Versions differ in where the lesions are; their SOP Instance UIDs are the same.
    """
    made = []
    for number in range(objects):
        uid = f"{study_uid()}.4.{objects}.{10001 + number}"
        made.append((uid, encode(seg_of(chosen[number::objects], uid, version, first=number + 1))))
    return made


def renamed(marks: Sequence[tuple[str, bytes]], name: str) -> list[tuple[str, bytes]]:
    """The same mark objects on the series of this name."""
    return [(_named(uid.encode(), name).decode(), _named(encoded, name)) for uid, encoded in marks]


def seg_of(chosen: Sequence[Lesion], uid: str, version: int, first: int) -> Dataset:
    """A binary segmentation with full frames, one segment for each lesion, as viewers write them."""
    frames, pixels, touched = [], [], set[int]()
    for number, lesion in enumerate(chosen, 1):
        start, mask = lesion.mask(version)
        for plane, inside in enumerate(mask):
            if inside.any():
                frames.append(_frame(number, start + plane, len(frames)))
                pixels.append(pack_bits(inside.astype(np.uint8)))
                touched.add(start + plane)
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = SEG, uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid(), f"{study_uid()}.5"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = f"{study_uid()}.3", ""
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Bench^Mark", "BENCH", "19500101", ""
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20260101", "120000", "", "1"
    ds.ReferringPhysicianName, ds.Manufacturer, ds.ManufacturerModelName = "", "X", "X"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.ContentDate, ds.ContentTime = "20260102", f"12{version % 60:02}00"
    ds.SeriesDate, ds.SeriesTime = "20260102", "120000"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "SEG", 9, 1
    ds.ImageType, ds.ContentLabel, ds.ContentDescription = ["DERIVED", "PRIMARY"], "MARKS", ""
    ds.ContentCreatorName = "Reader"
    ds.SegmentationType, ds.SegmentationFractionalType, ds.SegmentsOverlap = "BINARY", "", "NO"
    del ds.SegmentationFractionalType
    ds.LossyImageCompression = "00"
    ds.Rows = ds.Columns = SIDE
    ds.NumberOfFrames = len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.DimensionOrganizationSequence = [item(DimensionOrganizationUID=f"{study_uid()}.6")]
    ds.DimensionIndexSequence = [
        _dimension(0x0062000B, 0x0062000A, "Segment"),
        _dimension(0x00200032, 0x00209113, "Position"),
    ]
    ds.SegmentSequence = [
        _segment(n, f"Lesion {first + n - 1}", f"{uid}.{n}") for n in range(1, len(chosen) + 1)
    ]
    measures = item(PixelSpacing=[PIXEL_MM, PIXEL_MM], SliceThickness=STEP_MM, SpacingBetweenSlices=STEP_MM)
    ds.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[measures],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.ReferencedSeriesSequence = [
        item(
            SeriesInstanceUID=series_uid(),
            ReferencedInstanceSequence=[_reference(number) for number in sorted(touched)],
        )
    ]
    ds.PixelData = b"".join(pixels)
    ds["PixelData"].VR = "OB"
    return ds


def _reference(number: int, **more: object) -> Dataset:
    return item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=image_uid(number), **more)


def _dimension(pointer: int, group: int, label: str) -> Dataset:
    return item(
        DimensionOrganizationUID=f"{study_uid()}.6",
        DimensionIndexPointer=pointer,
        FunctionalGroupPointer=group,
        DimensionDescriptionLabel=label,
    )


def _segment(number: int, label: str, uid: str) -> Dataset:
    return item(
        SegmentNumber=number,
        SegmentLabel=label,
        SegmentAlgorithmType="MANUAL",
        TrackingID=label,
        TrackingUID=uid,
        SegmentedPropertyCategoryCodeSequence=[coded("49755003", "SCT", "Morphologically Altered Structure")],
        SegmentedPropertyTypeCodeSequence=[coded("52988006", "SCT", "Lesion")],
    )


def _frame(segment: int, plane: int, number: int) -> Dataset:
    source = _reference(
        plane,
        PurposeOfReferenceCodeSequence=[
            coded("121322", "DCM", "Source image for image processing operation")
        ],
    )
    derived = item(
        SourceImageSequence=[source], DerivationCodeSequence=[coded("113076", "DCM", "Segmentation")]
    )
    return item(
        FrameContentSequence=[item(DimensionIndexValues=[segment, plane + 1])],
        PlanePositionSequence=[item(ImagePositionPatient=[0.0, 0.0, STEP_MM * plane])],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
        DerivationImageSequence=[derived],
    )
