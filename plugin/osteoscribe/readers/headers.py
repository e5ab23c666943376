"""Typed, checked access to the elements of a received instance, and `InstanceHeader`."""

from __future__ import annotations

from dataclasses import dataclass

from osteoscribe.core.series import BlobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePlane:
    """Plane of one frame of a multi-frame image (PS3.3 C.7.6.16.2.3, C.7.6.16.2.4)."""

    image_position_patient: tuple[float, float, float]
    image_orientation_patient: tuple[float, float, float, float, float, float]
    pixel_spacing: tuple[float, float]
    slice_thickness_mm: float | None
    rescale_slope: float
    rescale_intercept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeader:
    """What is known of an instance without its pixels. No patient data.

    Values that are absent are None. UIDs are checked (PS3.5 section 9).

    Parameters
    ----------
    referenced_instances
        SOP Instance UIDs that a mark object refers to; empty for an image.
    referenced_series_uid
        The series that a mark object names, or None.
    pixel_data_offset
        Byte offset of the Pixel Data element's value in the encoded data set, or None where compressed,
        deflated or absent.
    frames
        One for each frame of a multi-frame image with functional groups, else empty.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    instance_number: int | None = None
    series_number: int | None = None
    image_type: tuple[str, ...] = ()
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int | None = None
    image_position_patient: tuple[float, float, float] | None = None
    image_orientation_patient: tuple[float, float, float, float, float, float] | None = None
    pixel_spacing: tuple[float, float] | None = None
    slice_thickness_mm: float | None = None
    frame_of_reference_uid: str | None = None
    rescale_slope: float | None = None
    rescale_intercept: float | None = None
    kvp_kv: float | None = None
    convolution_kernel: str | None = None
    contrast: bool | None = None
    pixel_data_offset: int | None = None
    frames: tuple[FramePlane, ...] = ()
    referenced_instances: tuple[str, ...] = ()
    referenced_series_uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """An instance's header and where its bytes are."""

    header: InstanceHeader
    blob: BlobRef
    sha256: str
