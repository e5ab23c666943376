"""A CT series from its headers: which images are its slices, and the grid they lie on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from osteoscribe.core.geometry import STEP_TOLERANCE_MM, FloatArray, Grid
from osteoscribe.core.marks import InstanceRef
from osteoscribe.core.series import Acquisition, PixelLayout, SeriesIndex, SliceSource
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import FramePlane, InstanceHeader, StoredInstance
from osteoscribe.readers.pixels import READABLE_TRANSFER_SYNTAXES, read_box

__all__ = ["CT_SOP_CLASSES", "READABLE_TRANSFER_SYNTAXES", "index_series", "read_box"]

CT_SOP_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
)
"""SOP classes whose images can be slices of a CT series."""

MAX_MATRIX = 8192
"""Largest number of rows or columns; CT scanners make up to 2048."""
MAX_SPACING_MM = 100
MAX_POSITION_MM = 100_000
MAX_STACKS = 32
"""Stacks of parallel images that are told apart in one series."""
_DIRECTION_TOLERANCE = 1e-3
"""Difference of two direction cosines that are the same: DICOM decimals are often cut to 4 digits."""
_SPACING_TOLERANCE = 1e-4
"""Relative difference of two pixel spacings that are the same."""
_HOUNSFIELD_TYPES = ("HU", "HU_MOD", "US")
"""Rescale Types that are HU; US is what is written where nothing is specified (PS3.3 C.11.1.1.2)."""
_LOCALIZER = "LOCALIZER"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plane:
    """One image or frame with a usable plane."""

    instance: StoredInstance
    source: SliceSource
    image_type: tuple[str, ...]
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


class _Unusable(Exception):  # noqa: N818 - a reason, not an error
    """Why an image is no slice: a code for the case that none is, and words."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def index_series(
    instances: Sequence[StoredInstance], *, referenced: frozenset[str] = frozenset()
) -> SeriesIndex:
    """Find the slices of a CT series and the grid they lie on, from headers alone.

    Slices are parallel images of one matrix, orientation, spacing and frame of reference; where a series
    holds several such stacks, the one the mark refers to, else the one with most slices. They are sorted
    along their normal. Gaps and gantry tilt stay as they are: each slice keeps its own origin.

    Parameters
    ----------
    instances
        The stored instances of one series, in any order.
    referenced
        SOP Instance UIDs that a mark refers to; they go before others where a choice has to be made.

    Returns
    -------
    SeriesIndex
        Every image or frame is either a slice or in `left_out` with its reason.

    Raises
    ------
    InputError
        ``ct.no-images``, ``ct.several-series``, or, where no image is usable, what the first lacks:
        ``ct.not-ct``, ``ct.localizer``, ``ct.no-matrix``, ``ct.no-geometry``, ``ct.no-pixel-spacing``,
        ``ct.bad-geometry``, ``ct.bad-pixel-layout``, ``ct.no-slice-thickness``.

    References
    ----------
    PS3.3 C.7.6.2.1.1, C.7.6.16
    """
    _check_one_series(instances)
    planes, left_out = _usable_planes(instances)
    stack, others = _largest_stack(planes, referenced)
    left_out += others
    slices, doubles = _sorted_without_doubles(stack, referenced)
    left_out += doubles
    first = slices[0]
    header = first.instance.header
    return SeriesIndex(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        grid=_grid(slices),
        slices=tuple(plane.source for plane in slices),
        acquisition=Acquisition(
            slice_thickness_mm=_most_common([plane.slice_thickness_mm for plane in slices]),
            kvp_kv=_most_common([plane.instance.header.kvp_kv for plane in slices]),
            convolution_kernel=_most_common([plane.instance.header.convolution_kernel for plane in slices]),
            contrast=_most_common([plane.instance.header.contrast for plane in slices]),
        ),
        left_out=tuple(
            sorted(left_out, key=lambda entry: (entry[0].sop_instance_uid, entry[0].frame_number or 0))
        ),
    )


_T = TypeVar("_T")
LeftOut = list[tuple[InstanceRef, str]]


def _check_one_series(instances: Sequence[StoredInstance]) -> None:
    if not instances:
        raise InputError(
            "ct.no-images", "the series has no images here; expected the CT that the mark lies on"
        )
    series = {instance.header.series_instance_uid for instance in instances}
    if len(series) > 1:
        raise InputError(
            "ct.several-series", f"the images belong to {len(series)} series; expected those of one series"
        )


def _usable_planes(instances: Sequence[StoredInstance]) -> tuple[list[_Plane], LeftOut]:
    """Split into planes and what is no slice; raise where nothing is usable."""
    planes: list[_Plane] = []
    left_out: LeftOut = []
    codes: list[str] = []
    seen: dict[str, StoredInstance] = {}
    for instance in sorted(
        instances, key=lambda i: (i.header.sop_instance_uid, i.blob.segment, i.blob.offset)
    ):
        try:
            _check_first(instance, seen)
            frames = _frames_of(instance.header)
        except _Unusable as unusable:
            left_out.append((_ref(instance.header), unusable.reason))
            codes.append(unusable.code)
            continue
        for number, frame in frames:
            try:
                planes.append(_plane(instance, frame, number))
            except _Unusable as unusable:
                left_out.append((_ref(instance.header, number), unusable.reason))
                codes.append(unusable.code)
    if not planes:
        code = Counter(codes).most_common(1)[0][0]
        named = "; ".join(f"{ref.sop_instance_uid}: {reason}" for ref, reason in left_out[:3])
        raise InputError(
            code,
            f"none of the {len(instances)} images of the series can be a slice ({named}); send the CT slices",
        )
    return planes, left_out


def _check_first(instance: StoredInstance, seen: dict[str, StoredInstance]) -> None:
    """Raise `_Unusable` for the second copy of an instance."""
    first = seen.setdefault(instance.header.sop_instance_uid, instance)
    if first is not instance:
        same = instance.sha256 and instance.sha256 == first.sha256
        raise _Unusable("ct.double", "received twice" if same else "received twice, with different bytes")


def _ref(header: InstanceHeader, frame_number: int | None = None) -> InstanceRef:
    return InstanceRef(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        frame_number=frame_number,
    )


def _frames_of(header: InstanceHeader) -> list[tuple[int | None, FramePlane]]:
    """Give the frames of an instance with their numbers; raise `_Unusable` where it has no plane."""
    if header.sop_class_uid not in CT_SOP_CLASSES:
        raise _Unusable("ct.not-ct", "not a CT image by its SOP class")
    if header.frames:
        return list(enumerate(header.frames, start=1))
    if (header.number_of_frames or 1) > 1 or header.sop_class_uid != CT_SOP_CLASSES[0]:
        raise _Unusable("ct.no-geometry", "a multi-frame image that does not say where each frame lies")
    if header.image_position_patient is None or header.image_orientation_patient is None:
        raise _Unusable("ct.no-geometry", "no position or orientation (a summary page or a capture?)")
    if header.pixel_spacing is None:
        raise _Unusable("ct.no-pixel-spacing", "no pixel spacing")
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


def _plane(instance: StoredInstance, frame: FramePlane, number: int | None) -> _Plane:
    header = instance.header
    if _LOCALIZER in frame.image_type or _LOCALIZER in header.image_type:
        raise _Unusable("ct.localizer", "a localizer")
    rows, columns = header.rows or 0, header.columns or 0
    if not (0 < rows <= MAX_MATRIX and 0 < columns <= MAX_MATRIX):
        raise _Unusable("ct.no-matrix", f"{rows} rows and {columns} columns; expected 1 to {MAX_MATRIX}")
    directions = np.reshape(np.array(frame.image_orientation_patient, dtype=np.float64), (2, 3))
    lengths = np.linalg.norm(directions, axis=1)
    if np.abs(lengths - 1.0).max() > 0.01 or abs(directions[0] @ directions[1]) > 0.01:
        raise _Unusable("ct.bad-geometry", "its orientation is no pair of perpendicular unit vectors")
    if not all(0 < spacing < MAX_SPACING_MM for spacing in frame.pixel_spacing):
        raise _Unusable(
            "ct.no-pixel-spacing", f"a pixel spacing that is not between 0 and {MAX_SPACING_MM} mm"
        )
    if max(map(abs, frame.image_position_patient)) > MAX_POSITION_MM:
        raise _Unusable("ct.bad-geometry", f"its position is more than {MAX_POSITION_MM} mm away")
    return _Plane(
        instance=instance,
        source=SliceSource(
            ref=_ref(header, number),
            blob=instance.blob,
            transfer_syntax_uid=header.transfer_syntax_uid,
            instance_number=header.instance_number,
            slope=frame.rescale_slope,
            intercept=frame.rescale_intercept,
            layout=_layout(instance, number),
            not_hounsfield=_not_hounsfield(frame),
        ),
        image_type=frame.image_type or header.image_type,
        matrix=(rows, columns),
        origin=np.array(frame.image_position_patient, dtype=np.float64),
        directions=directions / lengths[:, None],
        spacing=frame.pixel_spacing,
        slice_thickness_mm=frame.slice_thickness_mm,
    )


def _layout(instance: StoredInstance, number: int | None) -> PixelLayout:
    """Check how the pixels are written; raise `_Unusable` where they cannot be grey values."""
    header = instance.header
    allocated, stored = header.bits_allocated or 0, header.bits_stored or 0
    high = header.high_bit if header.high_bit is not None else stored - 1
    if header.samples_per_pixel not in (None, 1):
        raise _Unusable("ct.not-ct", "a colour picture")
    if allocated not in (8, 16, 32) or not (0 < stored <= high + 1 <= allocated):
        raise _Unusable("ct.bad-pixel-layout", f"{stored} bits stored of {allocated}, highest {high}")
    offset = header.pixel_data_offset
    if offset is not None:
        end = offset + (number or 1) * (header.rows or 0) * (header.columns or 0) * allocated // 8
        if end > instance.blob.length:
            raise _Unusable("ct.bad-pixel-layout", "its pixel data is shorter than its matrix")
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


def _largest_stack(planes: Sequence[_Plane], referenced: frozenset[str]) -> tuple[list[_Plane], LeftOut]:
    """Group planes that can lie on one grid; choose one group, name the rest."""
    stacks: list[list[_Plane]] = []
    rest: list[_Plane] = []
    for plane in sorted(planes, key=lambda p: p.order):
        home = next((stack for stack in stacks if _differs(plane, stack[0]) is None), None)
        if home is not None:
            home.append(plane)
        elif len(stacks) < MAX_STACKS:
            stacks.append([plane])
        else:
            rest.append(plane)
    wanted = [sum(plane.source.ref.sop_instance_uid in referenced for plane in stack) for stack in stacks]
    best = max(range(len(stacks)), key=lambda i: (wanted[i], len(stacks[i]), -i))
    chosen = stacks[best]
    others = [plane for i, stack in enumerate([*stacks, rest]) if i != best for plane in stack]
    return chosen, [(plane.source.ref, _differs(plane, chosen[0]) or "another stack") for plane in others]


def _differs(plane: _Plane, other: _Plane) -> str | None:
    """Say why two planes cannot lie on one grid, or None."""
    if plane.matrix != other.matrix:
        return f"{plane.matrix[0]} x {plane.matrix[1]} pixels, unlike the series"
    if float(np.abs(plane.directions - other.directions).max()) > _DIRECTION_TOLERANCE:
        return "its orientation differs from that of the series"
    pairs = zip(plane.spacing, other.spacing, strict=True)
    if not all(math.isclose(a, b, rel_tol=_SPACING_TOLERANCE) for a, b in pairs):
        return "its pixel spacing differs from that of the series"
    if plane.instance.header.frame_of_reference_uid != other.instance.header.frame_of_reference_uid:
        return "its frame of reference differs from that of the series"
    return None


def _sorted_without_doubles(
    stack: Sequence[_Plane], referenced: frozenset[str]
) -> tuple[list[_Plane], LeftOut]:
    """Sort along the normal; of several images at one place keep one."""
    normal = _normal(stack[0])

    def place(plane: _Plane) -> float:
        return float(plane.origin @ normal)

    slices: list[_Plane] = []
    doubles: LeftOut = []
    for plane in sorted(stack, key=lambda p: (place(p), p.order)):
        if not slices or place(plane) - place(slices[-1]) > STEP_TOLERANCE_MM:
            slices.append(plane)
            continue
        kept = slices[-1]
        if _preferred(plane, referenced) < _preferred(kept, referenced):
            slices[-1], kept, plane = plane, plane, kept
        doubles.append(
            (plane.source.ref, f"at the same place as {kept.source.ref.sop_instance_uid}, which is used")
        )
    return slices, doubles


def _preferred(plane: _Plane, referenced: frozenset[str]) -> tuple[bool, tuple[int, str, int]]:
    return (plane.source.ref.sop_instance_uid not in referenced, plane.order)


def _normal(plane: _Plane) -> FloatArray:
    normal = np.cross(plane.directions[0], plane.directions[1])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def _grid(slices: Sequence[_Plane]) -> Grid:
    first = slices[0]
    origins = np.array([plane.origin for plane in slices], dtype=np.float64)
    return Grid(
        shape=(len(slices), *first.matrix),
        origins_lps_mm=origins,
        row_step_lps_mm=first.directions[1] * first.spacing[0],
        column_step_lps_mm=first.directions[0] * first.spacing[1],
        slice_step_lps_mm=_usual_step(origins, slices),
        frame_of_reference_uid=first.instance.header.frame_of_reference_uid,
    )


def _usual_step(origins: FloatArray, slices: Sequence[_Plane]) -> FloatArray:
    """Give the most common step, of equally common ones the smallest; of a single slice its thickness."""
    normal = _normal(slices[0])
    if len(slices) == 1:
        thickness = slices[0].slice_thickness_mm
        if thickness is None:
            raise InputError(
                "ct.no-slice-thickness",
                f"the only slice {slices[0].source.ref.sop_instance_uid} has no slice thickness; "
                "send its neighbours, or a series with slice thickness",
            )
        return np.asarray(normal * thickness)
    steps = np.diff(origins, axis=0)
    distances = steps @ normal
    ordered = np.sort(distances)
    alike = np.searchsorted(ordered, ordered + STEP_TOLERANCE_MM, "right") - np.arange(len(ordered))
    usual = ordered[int(np.argmax(alike))]
    near = (distances >= usual) & (distances <= usual + STEP_TOLERANCE_MM)
    return np.asarray(np.median(steps[near], axis=0), dtype=np.float64)


def _most_common(values: Sequence[_T | None]) -> _T | None:
    known = [value for value in values if value is not None]
    return Counter(known).most_common(1)[0][0] if known else None
