"""`SeriesIndex`: a CT series from its headers; no voxels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from osteoscribe.core.geometry import Grid
from osteoscribe.core.marks import InstanceRef


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRef:
    """Where the received bytes of one instance lie.

    Parameters
    ----------
    segment
        Name of the append-only segment, or the path of a file.
    offset
        Byte offset of the encoded data set in it.
    length
        Its length in bytes.
    """

    segment: str
    offset: int
    length: int


ReadBytes = Callable[[BlobRef, int, int], bytes]
"""Bytes [start, stop) of a blob, counted from its first byte; how pure code is handed stored bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLayout:
    """How the stored values of one slice are written (PS3.5 section 8.1).

    Parameters
    ----------
    offset
        Byte offset of the Pixel Data's value in the data set; None where it is compressed or deflated.
    modality_lut
        Whether a Modality LUT Sequence leads to HU instead of slope and intercept.
    frames
        Number of frames in the instance.
    """

    offset: int | None
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    modality_lut: bool = False
    frames: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSource:
    """Where the pixels of one slice lie.

    Parameters
    ----------
    ref
        The instance, with its frame number where it is a multi-frame image.
    blob
        Its received bytes.
    transfer_syntax_uid
        Encoding of the data set.
    instance_number
        InstanceNumber (0020,0013), or None.
    slope, intercept
        Modality LUT: HU = stored value x slope + intercept (PS3.3 C.11.1).
    layout
        How the stored values are written.
    not_hounsfield
        Why the values of this slice are no HU, in words; empty where they are.
    """

    ref: InstanceRef
    blob: BlobRef
    transfer_syntax_uid: str
    instance_number: int | None
    slope: float
    intercept: float
    layout: PixelLayout | None = None
    not_hounsfield: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """How the CT was made; printed beside the HU."""

    slice_thickness_mm: float | None = None
    kvp_kv: float | None = None
    convolution_kernel: str | None = None
    contrast: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeriesIndex:
    """A CT series, from headers alone.

    Parameters
    ----------
    slices
        One for each slice of `grid`, in the same order.
    left_out
        Instances of the series that are no slices of the grid (localizers, duplicates), with the reason.
    doubles
        Those of them that lie at the place of a slice and could be it: number of the slice, and the image.
    """

    study_instance_uid: str
    series_instance_uid: str
    grid: Grid
    slices: tuple[SliceSource, ...]
    acquisition: Acquisition
    left_out: tuple[tuple[InstanceRef, str], ...] = ()
    doubles: tuple[tuple[int, SliceSource], ...] = ()
    by_image: Mapping[str, tuple[int, ...]] = field(init=False)
    """Numbers of the slices that an image has, by its SOP Instance UID: every mark asks."""

    def __post_init__(self) -> None:
        found: dict[str, list[int]] = {}
        for k, source in enumerate(self.slices):
            found.setdefault(source.ref.sop_instance_uid, []).append(k)
        object.__setattr__(self, "by_image", {uid: tuple(slices) for uid, slices in found.items()})
