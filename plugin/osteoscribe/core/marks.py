"""`RoiMark` and the shapes a mark can have, as read from the object of a viewer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from osteoscribe.core.answers import Answers
from osteoscribe.core.codes import Code
from osteoscribe.core.geometry import FloatArray, Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRef:
    """A DICOM instance, or one frame of it (from 1)."""

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None = None


def _read_only(array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    own = np.array(array, dtype=dtype)
    own.setflags(write=False)
    return own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientContours:
    """Closed planar contours in patient space.

    Parameters
    ----------
    contours_lps_mm
        Each (n, 3), LPS mm, without the first point repeated.
    images
        For each contour the image its writer named, or None.
    sections
        True where contours are sections through a volume, a single one too (RTSTRUCT); False where they are
        drawings, of which a single one has no depth (SR).
    """

    contours_lps_mm: tuple[FloatArray, ...]
    images: tuple[InstanceRef | None, ...]
    sections: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageContours:
    """Closed contours drawn on images.

    Parameters
    ----------
    contours_px
        Each (n, 2), (column, row) in pixels, 0.0 = outer **corner** of the first pixel
        (PS3.3 C.18.6.1.1), without the first point repeated.
    images
        For each contour the image it is drawn on.
    """

    contours_px: tuple[FloatArray, ...]
    images: tuple[InstanceRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Caliper:
    """A length drawn on one image, or two for a bidirectional measurement.

    Parameters
    ----------
    image
        The image it is drawn on.
    long_axis_px
        (2, 2), (column, row), 0.0 = outer corner of the first pixel.
    short_axis_px
        (2, 2) likewise, or None.
    """

    image: InstanceRef
    long_axis_px: FloatArray
    short_axis_px: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskShape:
    """A pixel mask on a grid of its own.

    Parameters
    ----------
    grid
        Grid of the mask: one slice for each distinct plane that this mark has pixels on, and only the rows
        and columns that it touches.
    mask
        (slices, rows, columns) bool, same shape as `grid`, read-only.
    images
        For each slice the CT image its writer named as source, or None.
    """

    grid: Grid
    mask: npt.NDArray[np.bool_]
    images: tuple[InstanceRef | None, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", _read_only(self.mask, np.bool_))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointMark:
    """A single point: it has a place but no size.

    Parameters
    ----------
    image
        The image it is set on.
    point_px
        (2,), (column, row), 0.0 = outer corner of the first pixel.
    """

    image: InstanceRef
    point_px: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientCaliper:
    """A length drawn in patient space, or two for a bidirectional measurement.

    Parameters
    ----------
    long_axis_lps_mm
        (2, 3), its ends in LPS mm.
    short_axis_lps_mm
        (2, 3) likewise, or None.
    image
        The image its writer named, or None.
    """

    long_axis_lps_mm: FloatArray
    short_axis_lps_mm: FloatArray | None = None
    image: InstanceRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientPoint:
    """A single point in patient space: it has a place but no size.

    Parameters
    ----------
    point_lps_mm
        (3,), LPS mm.
    image
        The image its writer named, or None.
    """

    point_lps_mm: FloatArray
    image: InstanceRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientEllipsoid:
    """An ellipsoid in patient space.

    Parameters
    ----------
    axes_lps_mm
        (3, 2, 3): both ends of its three axes, in LPS mm (PS3.3 C.18.9.1.2).
    image
        The image its writer named, or None.
    """

    axes_lps_mm: FloatArray
    image: InstanceRef | None = None

    def on_slices(self, grid: Grid) -> PatientContours:
        """Its outlines on the slices of a grid; none where it touches no slice.

        The outline of an ellipsoid on a plane is an ellipse: in the ellipsoid's own coordinates, where it is
        the unit sphere, it is a circle about the foot of the plane's normal.

        Parameters
        ----------
        grid
            The grid whose slice planes cut it.

        Returns
        -------
        PatientContours
            One contour of `ELLIPSOID_VERTICES` points for each slice.
        """
        centre = self.axes_lps_mm.mean(axis=(0, 1))
        half_axes = (self.axes_lps_mm[:, 1] - self.axes_lps_mm[:, 0]).T / 2
        turn = np.linspace(0, 2 * np.pi, ELLIPSOID_VERTICES, endpoint=False)[:, None]
        contours = []
        for origin in grid.origins_lps_mm:
            normal = half_axes.T @ grid.normal
            scale = float(np.linalg.norm(normal))
            distance = float((origin - centre) @ grid.normal) / scale
            if abs(distance) >= 1:
                continue
            foot = normal / scale
            first = np.cross(foot, np.eye(3)[int(np.argmin(abs(foot)))])
            first /= np.linalg.norm(first)
            radius = np.sqrt(1 - distance**2)
            ring = radius * (np.cos(turn) * first + np.sin(turn) * np.cross(foot, first))
            contours.append(centre + (foot * distance + ring) @ half_axes.T)
        return PatientContours(contours_lps_mm=tuple(contours), images=(None,) * len(contours))


ELLIPSOID_VERTICES = 1024
"""A longest diameter measured from vertex to vertex is short by less than 5 parts in a million."""

Shape = (
    PatientContours
    | ImageContours
    | Caliper
    | MaskShape
    | PointMark
    | PatientCaliper
    | PatientPoint
    | PatientEllipsoid
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableMark:
    """An ROI that is there but cannot be used, with the problem to state. The other ROIs go on."""

    label: str
    source: InstanceRef
    item: str
    dialect: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredMark:
    """What a mark object holds that is no mark to measure, and that is no fault: listed with its reason."""

    label: str
    source: InstanceRef
    item: str
    dialect: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RoiMark:
    """One ROI that a viewer wrote, before it is known whether it is a lesion mark.

    Parameters
    ----------
    tracking_uid
        The writer's own tracking UID, or None.
    label
        The ROI's own label, as written; free text, so never logged.
    shape
        Its geometry.
    source
        The object it was read from.
    item
        Its place in that object, for example ``segment 2``, ``ROI 4``, ``group 1``.
    dialect
        Which form was recognised, for example ``SEG binary``, ``RTSTRUCT``, ``SR TID 1500 (OHIF)``.
    referenced_images
        The CT images that this mark refers to.
    referenced_series_uid
        The CT series that this mark refers to, where its writer said so.
    property_codes
        SegmentedPropertyCategory/Type codes, RT ROI observation codes or Finding codes of this ROI.
    evaluations
        Coded items about this ROI: concept and value (SR qualitative evaluations, PS3.16 TID 1501).
    interpreted_type
        RT ROI Interpreted Type (3006,00A4), upper case, or empty.
    """

    tracking_uid: str | None
    label: str
    shape: Shape
    source: InstanceRef
    item: str
    dialect: str
    referenced_images: tuple[InstanceRef, ...] = ()
    referenced_series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    observer_name: str | None = None
    finding_site: Code | None = None
    laterality: Code | None = None
    property_codes: tuple[Code, ...] = ()
    interpreted_type: str = ""
    evaluations: tuple[tuple[Code, Code], ...] = ()
    answers: Answers = field(default_factory=Answers)
    remarks: tuple[str, ...] = ()
