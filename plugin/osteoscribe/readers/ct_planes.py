"""One CT image or frame: where it lies and how its pixels are written, or why it is no slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.marks import InstanceRef
from osteoscribe.core.series import PixelLayout, SliceSource
from osteoscribe.readers.headers import FramePlane, InstanceHeader, StoredInstance

CT_SOP_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
)
"""SOP classes whose images can be slices of a CT series."""

MAX_MATRIX = 4096
"""Largest number of rows or columns; CT scanners make up to 2048."""
MAX_SPACING_MM = 100
MAX_POSITION_MM = 100_000
_HOUNSFIELD_TYPES = ("HU", "HU_MOD", "US")
"""Rescale Types that are HU; US is what is written where nothing is specified (PS3.3 C.11.1.1.2)."""
_LOCALIZER = "LOCALIZER"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CtPlane:
    """One image or frame with a usable plane."""

    instance: StoredInstance
    source: SliceSource
    matrix: tuple[int, int]
    origin: FloatArray
    directions: FloatArray
    spacing: tuple[float, float]
    slice_thickness_mm: float | None

    @property
    def order(self) -> tuple[int, str, int]:
        """Where it stands among others: by InstanceNumber, then UID and frame."""
        number = self.source.instance_number
        ref = self.source.ref
        return (number if number is not None else 1 << 31, ref.sop_instance_uid, ref.frame_number or 0)


class Unusable(Exception):  # noqa: N818 - a reason, not an error
    """Why an image is no slice: a code for the case that none is, and words."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def ref_of(header: InstanceHeader, frame_number: int | None = None) -> InstanceRef:
    """Name an instance, or a frame of it."""
    return InstanceRef(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        frame_number=frame_number,
    )


def frames_of(header: InstanceHeader) -> list[tuple[int | None, FramePlane]]:
    """Give the frames of an instance with their numbers; raise `Unusable` where it has no plane."""
    if header.sop_class_uid not in CT_SOP_CLASSES:
        raise Unusable("ct.not-ct", "not a CT image by its SOP class")
    if header.frames:
        return list(enumerate(header.frames, start=1))
    if (header.number_of_frames or 1) > 1 or header.sop_class_uid != CT_SOP_CLASSES[0]:
        raise Unusable("ct.no-geometry", "a multi-frame image that does not say where each frame lies")
    if header.image_position_patient is None or header.image_orientation_patient is None:
        raise Unusable("ct.no-geometry", "no position or orientation (a summary page or a capture?)")
    if header.pixel_spacing is None:
        raise Unusable("ct.no-pixel-spacing", "no pixel spacing")
    rescaled = header.rescale_slope is not None and header.rescale_intercept is not None
    frame = FramePlane(
        image_position_patient=header.image_position_patient,
        image_orientation_patient=header.image_orientation_patient,
        pixel_spacing=header.pixel_spacing,
        slice_thickness_mm=header.slice_thickness_mm,
        rescale_slope=header.rescale_slope if rescaled and header.rescale_slope is not None else 1.0,
        rescale_intercept=header.rescale_intercept
        if rescaled and header.rescale_intercept is not None
        else 0.0,
        rescale_type=(header.rescale_type or "HU") if rescaled or header.modality_lut else None,
        image_type=header.image_type,
    )
    return [(None, frame)]


def plane_of(instance: StoredInstance, frame: FramePlane, number: int | None) -> CtPlane:
    """Check one frame; raise `Unusable` where it is no slice."""
    header = instance.header
    if _LOCALIZER in frame.image_type or _LOCALIZER in header.image_type:
        raise Unusable("ct.localizer", "a localizer")
    rows, columns = header.rows or 0, header.columns or 0
    if not (0 < rows <= MAX_MATRIX and 0 < columns <= MAX_MATRIX):
        raise Unusable("ct.no-matrix", f"{rows} rows and {columns} columns; expected 1 to {MAX_MATRIX}")
    directions = _directions(frame.image_orientation_patient)
    if directions is None:
        raise Unusable("ct.bad-geometry", "its orientation is no pair of perpendicular unit vectors")
    if not all(0 < spacing < MAX_SPACING_MM for spacing in frame.pixel_spacing):
        raise Unusable(
            "ct.no-pixel-spacing", f"a pixel spacing that is not between 0 and {MAX_SPACING_MM} mm"
        )
    if max(map(abs, frame.image_position_patient)) > MAX_POSITION_MM:
        raise Unusable("ct.bad-geometry", f"its position is more than {MAX_POSITION_MM} mm away")
    return CtPlane(
        instance=instance,
        source=SliceSource(
            ref=ref_of(header, number),
            blob=instance.blob,
            transfer_syntax_uid=header.transfer_syntax_uid,
            instance_number=header.instance_number,
            slope=frame.rescale_slope,
            intercept=frame.rescale_intercept,
            layout=_layout(instance, number),
            not_hounsfield=_not_hounsfield(frame),
        ),
        matrix=(rows, columns),
        origin=np.array(frame.image_position_patient, dtype=np.float64),
        directions=directions,
        spacing=frame.pixel_spacing,
        slice_thickness_mm=frame.slice_thickness_mm,
    )


@lru_cache(maxsize=64)
def _directions(image_orientation_patient: tuple[float, ...]) -> FloatArray | None:
    """Give the (2, 3) unit vectors along a row and a column, or None; mostly those of the slice before."""
    directions = np.reshape(np.array(image_orientation_patient, dtype=np.float64), (2, 3))
    if np.abs(directions).max() > 2:
        return None
    lengths = np.linalg.norm(directions, axis=1)
    if np.abs(lengths - 1.0).max() > 0.01 or abs(directions[0] @ directions[1]) > 0.01:
        return None
    directions /= lengths[:, None]
    directions.setflags(write=False)
    return directions


def _layout(instance: StoredInstance, number: int | None) -> PixelLayout:
    """Check how the pixels are written; raise `Unusable` where they cannot be grey values."""
    header = instance.header
    allocated, stored = header.bits_allocated or 0, header.bits_stored or 0
    high = header.high_bit if header.high_bit is not None else stored - 1
    if header.samples_per_pixel not in (None, 1):
        raise Unusable("ct.not-ct", "a colour picture")
    if allocated not in (8, 16, 32) or not (0 < stored <= high + 1 <= allocated):
        raise Unusable("ct.bad-pixel-layout", f"{stored} bits stored of {allocated}, highest {high}")
    offset = header.pixel_data_offset
    if offset is not None:
        end = offset + (number or 1) * (header.rows or 0) * (header.columns or 0) * allocated // 8
        if end > instance.blob.length:
            raise Unusable("ct.bad-pixel-layout", "its pixel data is shorter than its matrix")
    return PixelLayout(
        offset=offset,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high,
        signed=header.pixel_representation == 1,
        modality_lut=header.modality_lut,
        frames=max(1, len(header.frames)),
    )


def _not_hounsfield(frame: FramePlane) -> str:
    """Say why values times slope plus intercept are no HU; empty where they are."""
    if frame.rescale_type is None:
        return "it has no rescale slope and intercept"
    if frame.rescale_type.upper() not in _HOUNSFIELD_TYPES:
        return "its rescale type is neither HU nor unspecified"
    if not (0 < abs(frame.rescale_slope) < 1e6 and abs(frame.rescale_intercept) < 1e9):
        return "its rescale slope or intercept is absurd"
    return ""
