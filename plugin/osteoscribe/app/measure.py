"""One placed mark to one measured lesion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from osteoscribe.app.gather import Placed
from osteoscribe.core.intensity import IntensityReference, reference
from osteoscribe.core.marks import InstanceRef, RoiMark
from osteoscribe.core.region import Outline, Region, RegionKind
from osteoscribe.core.series import ReadBytes, SeriesIndex, SliceSource
from osteoscribe.core.size import NotMeasurable, Size, measure_size, outline_on_ct
from osteoscribe.errors import InputError
from osteoscribe.readers.ct import read_box

NAMED_DOUBLES = 3
NO_VOXELS = {
    RegionKind.CALIPER: "a length has no area",
    RegionKind.POINT: "a point has no area",
    RegionKind.CONTOUR: "the centre of no CT pixel lies inside the outline",
    RegionKind.MASK: "the centre of no CT voxel lies inside the mask",
}
"""Why a mark of each kind covers no CT voxel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A placed mark with its size, and its HU for reference.

    Parameters
    ----------
    k
        Slice of the series that carries the outline.
    remark
        Why there is no HU where there should be one, which of two images was taken; or empty.
    """

    placed: Placed
    size: Size | NotMeasurable
    intensity: IntensityReference | None
    k: int
    outline: Outline | None
    remark: str = ""


def measure(placed: Placed, index: SeriesIndex, read: ReadBytes) -> Measured:
    """Size of a mark, and HU of its voxels; only the slices that it touches are read.

    HU decides nothing: pixels that cannot be decoded take the HU away, not the size.

    Raises
    ------
    InputError
        ``roi.double-slices``.
    """
    placement = placed.placement
    named = _check_doubles(placed, index, read)
    size = measure_size(placement.measured, slice_thickness_mm=index.acquisition.slice_thickness_mm)
    outline = outline_on_ct(placement, size if isinstance(size, Size) else None)
    region = placement.on_ct
    intensity, why_none = None, ""
    try:
        if region.mask.size:
            intensity = reference(region, read_box(index, region.box, read))
        else:
            why_none = f"No HU: {NO_VOXELS[region.kind]}."
    except InputError as error:
        why_none = f"No HU: {error.message}"
    return Measured(
        placed=placed,
        size=size,
        intensity=intensity,
        remark=f"{named} {why_none}".strip(),
        k=region.offset[0] if outline is None else outline.k,
        outline=outline,
    )


def _check_doubles(placed: Placed, index: SeriesIndex, read: ReadBytes) -> str:
    """Refuse a mark where two different images lie at one place; say so where it names the one used."""
    region = placed.placement.on_ct
    touched = {outline.k for outline in region.outlines}
    touched |= {region.offset[0] + int(k) for k in np.flatnonzero(region.mask.any(axis=(1, 2)))}
    chosen, unclear = 0, []
    for k, double in index.doubles:
        used = index.slices[k]
        if k not in touched:
            continue
        if _names(placed.mark, used.ref) and not _names(placed.mark, double.ref):
            chosen += 1
        elif not _alike(region, index, k, double, read):
            unclear.append(f"{used.ref.sop_instance_uid} and {double.ref.sop_instance_uid}")
    if unclear:
        raise InputError(
            "roi.double-slices",
            f"At {len(unclear)} slices of the mark two different images lie at one place, and the mark does "
            f"not name the one that is used: {'; '.join(unclear[:NAMED_DOUBLES])}"
            f"{' ...' if len(unclear) > NAMED_DOUBLES else ''}. Leave one of the two out, or save the mark "
            "with references to its images.",
        )
    if not chosen:
        return ""
    return f"{chosen} other images lie at the place of slices of the mark; taken are those that it names."


def _names(mark: RoiMark, ref: InstanceRef) -> bool:
    """Whether a mark refers to an image or frame: by its contours or planes, else as a whole."""
    drawn_on = [one for one in getattr(mark.shape, "images", ()) if one is not None]
    return any(
        one.sop_instance_uid == ref.sop_instance_uid
        and (one.frame_number is None or one.frame_number == (ref.frame_number or 1))
        for one in drawn_on or mark.referenced_images
    )


def _alike(region: Region, index: SeriesIndex, k: int, double: SliceSource, read: ReadBytes) -> bool:
    """Whether another image at the place of a slice has the very same values within the box of a mark."""
    if not region.mask.size:
        return False
    slices = tuple(double if at == k else one for at, one in enumerate(index.slices))
    box = (slice(k, k + 1), *region.box[1:])
    try:
        one, other = (read_box(each, box, read) for each in (index, replace(index, slices=slices)))
    except InputError:
        return False
    return np.array_equal(one.voxels_hu, other.voxels_hu)


def same_shape(one: Measured, other: Measured) -> bool:
    """Whether two marks are drawn alike, to 0.01 mm: the same mark, saved twice."""
    a, b = one.placed.placement.on_ct, other.placed.placement.on_ct
    if a.kind is not b.kind or a.offset != b.offset or a.mask.shape != b.mask.shape:
        return False
    if len(a.outlines) != len(b.outlines) or not np.array_equal(a.mask, b.mask):
        return False
    return all(
        x.k == y.k
        and x.points_rc.shape == y.points_rc.shape
        and np.allclose(x.points_rc, y.points_rc, rtol=0, atol=0.01 / a.grid.row_spacing_mm)
        for x, y in zip(a.outlines, b.outlines, strict=True)
    )
