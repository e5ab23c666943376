"""A CT series from its headers: which images are its slices, and the grid they lie on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from osteoscribe.core.geometry import STEP_TOLERANCE_MM, FloatArray, Grid
from osteoscribe.core.marks import InstanceRef
from osteoscribe.core.series import Acquisition, SeriesIndex
from osteoscribe.errors import InputError
from osteoscribe.readers.ct_planes import CT_SOP_CLASSES, CtPlane, Unusable, frames_of, plane_of, ref_of
from osteoscribe.readers.headers import StoredInstance
from osteoscribe.readers.pixels import READABLE_TRANSFER_SYNTAXES, prepare_decoding, read_box

__all__ = ["CT_SOP_CLASSES", "READABLE_TRANSFER_SYNTAXES", "index_series", "prepare_decoding", "read_box"]

MAX_STACKS = 32
"""Stacks of parallel images that are told apart in one series."""
_DIRECTION_TOLERANCE = 1e-3
"""Difference of two direction cosines that are the same: DICOM decimals are often cut to 4 digits."""
_SPACING_TOLERANCE = 1e-4
"""Relative difference of two pixel spacings that are the same."""


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
    left_out += [
        (plane.source.ref, f"at the same place as {_named(slices[k])}, which is used") for k, plane in doubles
    ]
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
        doubles=tuple((k, plane.source) for k, plane in doubles),
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


def _usable_planes(instances: Sequence[StoredInstance]) -> tuple[list[CtPlane], LeftOut]:
    """Split into planes and what is no slice; raise where nothing is usable."""
    planes: list[CtPlane] = []
    left_out: LeftOut = []
    codes: list[str] = []
    seen: dict[str, StoredInstance] = {}
    for instance in sorted(
        instances, key=lambda i: (i.header.sop_instance_uid, i.blob.segment, i.blob.offset)
    ):
        try:
            _check_first(instance, seen)
            frames = frames_of(instance.header)
        except Unusable as unusable:
            left_out.append((ref_of(instance.header), unusable.reason))
            codes.append(unusable.code)
            continue
        for number, frame in frames:
            try:
                planes.append(plane_of(instance, frame, number))
            except Unusable as unusable:
                left_out.append((ref_of(instance.header, number), unusable.reason))
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
    """Raise `Unusable` for the second copy of an instance."""
    first = seen.setdefault(instance.header.sop_instance_uid, instance)
    if first is not instance:
        same = instance.digest and instance.digest == first.digest
        raise Unusable("ct.double", "received twice" if same else "received twice, with different bytes")


def _largest_stack(planes: Sequence[CtPlane], referenced: frozenset[str]) -> tuple[list[CtPlane], LeftOut]:
    """Group planes that can lie on one grid; choose one group, name the rest."""
    stacks: list[list[CtPlane]] = []
    rest: list[CtPlane] = []
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


def _differs(plane: CtPlane, other: CtPlane) -> str | None:
    """Say why two planes cannot lie on one grid, or None."""
    if plane.matrix != other.matrix:
        return f"{plane.matrix[0]} x {plane.matrix[1]} pixels, unlike the series"
    same = plane.directions is other.directions
    if not same and float(np.abs(plane.directions - other.directions).max()) > _DIRECTION_TOLERANCE:
        return "its orientation differs from that of the series"
    pairs = zip(plane.spacing, other.spacing, strict=True)
    if not all(math.isclose(a, b, rel_tol=_SPACING_TOLERANCE) for a, b in pairs):
        return "its pixel spacing differs from that of the series"
    if plane.instance.header.frame_of_reference_uid != other.instance.header.frame_of_reference_uid:
        return "its frame of reference differs from that of the series"
    return None


def _sorted_without_doubles(
    stack: Sequence[CtPlane], referenced: frozenset[str]
) -> tuple[list[CtPlane], list[tuple[int, CtPlane]]]:
    """Sort along the normal; of several images at one place keep one, name the others with its number."""
    normal = _normal(stack[0])

    def place(plane: CtPlane) -> float:
        return float(plane.origin @ normal)

    slices: list[CtPlane] = []
    doubles: list[tuple[int, CtPlane]] = []
    for plane in sorted(stack, key=lambda p: (place(p), p.order)):
        if not slices or place(plane) - place(slices[-1]) > STEP_TOLERANCE_MM:
            slices.append(plane)
            continue
        if _preferred(plane, referenced) < _preferred(slices[-1], referenced):
            slices[-1], plane = plane, slices[-1]
        doubles.append((len(slices) - 1, plane))
    return slices, doubles


def _named(plane: CtPlane) -> str:
    ref = plane.source.ref
    return ref.sop_instance_uid + (f" frame {ref.frame_number}" if ref.frame_number else "")


def _preferred(plane: CtPlane, referenced: frozenset[str]) -> tuple[bool, tuple[int, str, int]]:
    return (plane.source.ref.sop_instance_uid not in referenced, plane.order)


def _normal(plane: CtPlane) -> FloatArray:
    normal = np.cross(plane.directions[0], plane.directions[1])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def _grid(slices: Sequence[CtPlane]) -> Grid:
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


def _usual_step(origins: FloatArray, slices: Sequence[CtPlane]) -> FloatArray:
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
