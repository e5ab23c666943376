"""Spatial coordinates of a report as the shape of a mark.

References
----------
PS3.3 C.18.6.1 (SCOORD), C.18.9.1 (SCOORD3D)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.marks import (
    Caliper,
    ImageContours,
    InstanceRef,
    PatientCaliper,
    PatientContours,
    PatientEllipsoid,
    PatientPoint,
    PointMark,
    Shape,
)
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import image_refs, items, numbers, text, uid
from osteoscribe.readers.content import Node, Tree
from osteoscribe.readers.outlines import (
    circle,
    ellipse,
    image_points,
    is_closed,
    patient_points,
    without_repeated_first,
)

IMAGE_REGION = "DCM:111030"
LONG_AXIS = ("SCT:103339001", "DCM:103339001")
SHORT_AXIS = ("SCT:103340004", "DCM:103340004")
AREA = ("SCT:42798000", "SCT:131184002", "SCT:118565006")
"""Area, area of defined region, volume: a number that only a closed outline can have."""
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66."
GRAPHIC_TYPES = frozenset(("POINT", "MULTIPOINT", "POLYLINE", "POLYGON", "CIRCLE", "ELLIPSE", "ELLIPSOID"))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawing:
    """One SCOORD or SCOORD3D with the image it is on.

    Parameters
    ----------
    points
        (n, 2) column and row in pixels, or (n, 3) LPS mm, as written.
    """

    node: Node
    graphic_type: str
    points: FloatArray
    image: InstanceRef | None
    frame_of_reference_uid: str | None

    @property
    def in_patient_space(self) -> bool:
        """Whether the points are in mm rather than pixels."""
        return bool(self.points.shape[1] == 3)

    @property
    def encloses_area(self) -> bool:
        """Whether it is an outline: by its type, by being closed, or because its writer says so."""
        if self.graphic_type == "CIRCLE":
            return not self.in_patient_space
        if self.graphic_type in ("POLYGON", "ELLIPSE"):
            return True
        if self.graphic_type != "POLYLINE" or len(self.points) < 3:
            return False
        parent = self.node.parent
        called_area = self.node.has_concept(IMAGE_REGION) or (
            parent is not None and parent.has_concept(*AREA)
        )
        return called_area or (is_closed(self.points) and len(self.points) > 3)

    @property
    def is_open_line(self) -> bool:
        """Whether it is a line of two points or more whose ends do not meet."""
        return self.graphic_type == "POLYLINE" and not is_closed(self.points)


def drawing(node: Node, tree: Tree, named_by_group: Sequence[InstanceRef]) -> Drawing:
    """Coordinates of one item, checked.

    Parameters
    ----------
    tree
        The report.
    named_by_group
        Images that the measurement group names; a region without an image of its own is on the only one.

    Raises
    ------
    InputError
        `roi.no-geometry`, `roi.coordinates-invalid`, `roi.unsupported-shape`, `roi.no-image-reference`,
        `roi.ambiguous-image`.
    """
    graphic_type = text(node.ds, "GraphicType").upper()
    if graphic_type not in GRAPHIC_TYPES:
        raise InputError(
            "roi.unsupported-shape",
            f"found graphic type {graphic_type[:16]!r}; expected one of {', '.join(sorted(GRAPHIC_TYPES))};"
            " please draw the mark as a closed outline",
        )
    data = numbers(node.ds, "GraphicData")
    flat = node.value_type == "SCOORD"
    return Drawing(
        node=node,
        graphic_type=graphic_type,
        points=image_points(data) if flat else patient_points(data),
        image=_image(node, tree, named_by_group, needed=flat),
        frame_of_reference_uid=uid(node.ds, "ReferencedFrameOfReferenceUID"),
    )


def _image(
    node: Node, tree: Tree, named_by_group: Sequence[InstanceRef], *, needed: bool
) -> InstanceRef | None:
    own = tree.children.get(node, [])
    pointed = [tree.referenced(child) for child in own]
    found = referenced_images(own) or referenced_images(one for one in pointed if one is not None)
    found = found or list(named_by_group)
    if len(found) == 1:
        return found[0]
    if not needed:
        return None
    if not found:
        raise InputError(
            "roi.no-image-reference",
            "found image coordinates without the image they are drawn on; please save the mark again",
        )
    raise InputError(
        "roi.ambiguous-image",
        f"found image coordinates on {len(found)} images or frames, expected one;"
        " please mark each image by itself",
    )


def referenced_images(nodes: Iterable[Node]) -> list[InstanceRef]:
    """Images that content items name, each once; segmentations are none."""
    found = [
        ref
        for node in nodes
        for item in items(node.ds, "ReferencedSOPSequence")
        for ref in image_refs(item)
        if not ref.sop_class_uid.startswith(SEGMENTATION)
    ]
    return list(dict.fromkeys(found))


def shape_of(drawings: tuple[Drawing, ...]) -> tuple[Shape, tuple[str, ...]]:
    """The shape that the drawings of one group make, with remarks on what was done.

    Outlines come before lengths, lengths before points.

    Raises
    ------
    InputError
        `roi.no-geometry`, `roi.open-contour`, `roi.no-area`, `roi.ambiguous`, `roi.unsupported-shape`,
        `roi.coordinates-invalid`.
    """
    if not drawings:
        raise InputError(
            "roi.no-geometry", "no geometry in the file, please save it again: the group has no coordinates"
        )
    areas = [one for one in drawings if one.encloses_area]
    if areas:
        beside = len(drawings) - len(areas)
        remarks = (f"{beside} lines or points beside the outline are not measured",) if beside else ()
        return _contours(areas), (*_closing_remark(areas), *remarks)
    rings = [one for one in drawings if one.graphic_type == "CIRCLE"]
    if rings:
        return _ring(rings)
    solids = [one for one in drawings if one.graphic_type == "ELLIPSOID"]
    if solids:
        return _ellipsoid(solids), ()
    lines = [one for one in drawings if one.graphic_type == "POLYLINE"]
    if lines:
        return _caliper(lines), ()
    return _point(drawings), ()


def images_of(shape: Shape) -> tuple[InstanceRef, ...]:
    """The images that a shape is drawn on, each once."""
    if isinstance(shape, PatientContours | ImageContours):
        return tuple(dict.fromkeys(image for image in shape.images if image is not None))
    image = None
    if isinstance(shape, Caliper | PointMark | PatientCaliper | PatientPoint | PatientEllipsoid):
        image = shape.image
    return () if image is None else (image,)


def _closing_remark(areas: list[Drawing]) -> tuple[str, ...]:
    is_open = any(one.graphic_type == "POLYLINE" and not is_closed(one.points) for one in areas)
    return ("the outline was saved open and has been closed with a straight line",) if is_open else ()


def _outline(one: Drawing) -> FloatArray:
    if one.graphic_type == "ELLIPSE":
        return ellipse(one.points)
    if one.graphic_type == "CIRCLE":
        return circle(one.points)
    points = without_repeated_first(one.points)
    if len(points) < 3:
        raise InputError("roi.no-area", f"found an outline of {len(points)} points; please draw it again")
    return points


def _contours(areas: list[Drawing]) -> Shape:
    if len({one.in_patient_space for one in areas}) > 1:
        raise _ambiguous("outlines in pixels and in mm")
    outlines = tuple(_outline(one) for one in areas)
    if areas[0].in_patient_space:
        return PatientContours(
            contours_lps_mm=outlines, images=tuple(one.image for one in areas), sections=False
        )
    images = tuple(one.image for one in areas if one.image is not None)
    return ImageContours(contours_px=outlines, images=images)


def _ring(rings: list[Drawing]) -> tuple[Shape, tuple[str, ...]]:
    """The diameter of a circle in patient space, which DICOM lacks: its plane is unknown, its size is not."""
    ends = rings[0].points
    if len(rings) > 1:
        raise _ambiguous(f"{len(rings)} circles in mm")
    if len(ends) != 2 or np.array_equal(ends[0], ends[1]):
        raise InputError(
            "roi.coordinates-invalid",
            f"found {len(ends)} points for a circle, expected a centre and a point on it;"
            " please save the mark again",
        )
    diameter = np.array([2 * ends[0] - ends[1], ends[1]])
    shape = PatientCaliper(long_axis_lps_mm=diameter, image=rings[0].image)
    return shape, ("a circle without a plane: only its diameter is taken",)


def _ellipsoid(solids: list[Drawing]) -> Shape:
    axes = solids[0].points
    if len(solids) > 1:
        raise _ambiguous(f"{len(solids)} ellipsoids")
    if len(axes) != 6 or min(np.linalg.norm(axes[1::2] - axes[::2], axis=1)) < 1e-6:
        raise InputError(
            "roi.coordinates-invalid",
            f"found {len(axes)} points for an ellipsoid, expected both ends of three axes;"
            " please save the mark again",
        )
    return PatientEllipsoid(axes_lps_mm=axes.reshape(3, 2, 3), image=solids[0].image)


def _caliper(lines: list[Drawing]) -> Shape:
    bent = [one for one in lines if len(one.points) != 2]
    if bent:
        raise InputError(
            "roi.open-contour",
            f"found an open line of {len(bent[0].points)} points (a curve or an angle); expected a closed"
            " outline or a straight length, please close the outline and save it again",
        )
    if len(lines) > 2 or len({(one.image, one.in_patient_space) for one in lines}) > 1:
        raise _ambiguous(f"{len(lines)} lengths")
    ordered = sorted(lines, key=_rank)
    ends = [one.points for one in ordered]
    if np.array_equal(ends[0][0], ends[0][1]):
        raise InputError("roi.no-area", "the line has no length; please draw it again")
    short = ends[1] if len(ends) == 2 else None
    image = ordered[0].image
    if ordered[0].in_patient_space:
        return PatientCaliper(long_axis_lps_mm=ends[0], short_axis_lps_mm=short, image=image)
    assert image is not None
    return Caliper(image=image, long_axis_px=ends[0], short_axis_px=short)


def _rank(line: Drawing) -> tuple[int, float]:
    """Long axis first: as its number is called, else by length."""
    parent = line.node.parent
    named = (line.node, parent) if parent is not None else (line.node,)
    order = 1
    if any(node.has_concept(*LONG_AXIS) for node in named):
        order = 0
    elif any(node.has_concept(*SHORT_AXIS) for node in named):
        order = 2
    return order, -float(np.linalg.norm(line.points[1] - line.points[0]))


def _point(drawings: tuple[Drawing, ...]) -> Shape:
    if len(drawings) > 1 or len(drawings[0].points) != 1:
        raise InputError(
            "roi.ambiguous",
            f"found {sum(len(one.points) for one in drawings)} points in one mark, expected one, a length or"
            " a closed outline; please draw the outline",
        )
    only = drawings[0]
    if only.in_patient_space:
        return PatientPoint(point_lps_mm=only.points[0], image=only.image)
    assert only.image is not None
    return PointMark(image=only.image, point_px=only.points[0])


def _ambiguous(found: str) -> InputError:
    return InputError(
        "roi.ambiguous",
        f"found {found} in one mark, expected one outline, one length or a long and a short axis;"
        " please save each mark by itself",
    )
