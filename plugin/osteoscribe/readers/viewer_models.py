"""Private graphic models of Weasis and Visage: bounded, without entities, only shapes that are certain.

Both hide XML in a private element of a presentation state. Weasis: gzip at (7107,xx01), creator
``weasis/model/xml/2.5``. Visage: four bytes of length and zlib at (0071,xx62) of a referenced image, creator
``Visage``.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
import zlib
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.marks import InstanceRef
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import UNREADABLE, items, uid
from osteoscribe.readers.outlines import circle_through, image_points

MAX_XML = 4 << 20
"""Bytes of inflated XML: thousands of graphics."""

ADVICE = "please save the mark with standard graphics, or as RT Structure Set or SEG"

_WEASIS_KINDS = {"point": "POINT", "line": "POLYLINE", "polyline": "POLYLINE", "polygon": "POLYGON"}
_HANDLES = 8
"""Points of a Weasis rectangle or ellipse along the axes: four corners and four middles."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelGraphic:
    """One graphic of a viewer's model, its type and points as in a presentation state, in image pixels."""

    kind: str
    points_px: FloatArray
    label: str
    images: tuple[InstanceRef, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewerModel:
    """What a viewer kept for itself."""

    dialect: str
    graphics: tuple[ModelGraphic, ...]


def viewer_model(ds: Dataset, images: tuple[InstanceRef, ...]) -> ViewerModel | None:
    """The private model of a presentation state, or None where it has none.

    Parameters
    ----------
    images
        The images that the presentation state refers to, in its order.

    Raises
    ------
    InputError
        `gsps.private-model` where there is one that cannot be read.
    """
    packed = _private(ds, 0x7107, "weasis/model/xml", 0x01)
    if isinstance(packed, bytes):
        root = _xml(_inflated(packed, wbits=31))
        graphics = [
            _weasis_graphic(element, images)
            for element in root.iterfind("./graphics/*")
            if element.tag not in ("annotation", "pixelInfo")
        ]
        return ViewerModel(dialect="presentation state (Weasis model)", graphics=tuple(graphics))
    for series in items(ds, "ReferencedSeriesSequence"):
        for item in items(series, "ReferencedImageSequence"):
            packed = _private(item, 0x0071, "Visage", 0x62)
            if isinstance(packed, bytes):
                root = _xml(_inflated(packed[4:], wbits=15))
                return _visage(root, item, images)
    return None


def _private(ds: Dataset, group: int, creator: str, offset: int) -> object:
    """Value of a private element, whichever block its creator reserved (PS3.5 section 7.8.1), or None."""
    try:
        for block in range(0x10, 0x100):
            if (group, block) in ds and str(ds[group, block].value).startswith(creator):
                return ds[group, (block << 8) + offset].value
    except UNREADABLE:
        return None
    return None


def _inflated(packed: bytes, *, wbits: int) -> bytes:
    try:
        inflater = zlib.decompressobj(wbits=wbits)
        raw = inflater.decompress(packed, MAX_XML)
    except zlib.error as error:
        raise _unreadable("cannot be inflated") from error
    if inflater.unconsumed_tail or not inflater.eof:
        raise _unreadable(f"is cut off or longer than {MAX_XML} bytes")
    return raw


def _xml(raw: bytes) -> ET.Element:
    try:
        words = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable("is not in UTF-8") from error
    if "<!DOCTYPE" in words or "<!ENTITY" in words:
        raise _unreadable("declares a document type or entities, which a viewer does not write")
    try:
        return ET.fromstring(words)  # noqa: S314  no document type, no entity, bounded length
    except (ET.ParseError, ValueError) as error:
        raise _unreadable("is no well-formed XML") from error


def _unreadable(what: str) -> InputError:
    return InputError("gsps.private-model", f"the viewer's private model {what}; {ADVICE}")


def _weasis_graphic(element: ET.Element, images: tuple[InstanceRef, ...]) -> ModelGraphic:
    try:
        coordinates = [
            float(point.get(axis, "nan")) for point in element.iterfind("./pts/pt") for axis in ("x", "y")
        ]
    except ValueError:
        coordinates = [float("nan")] * 2
    points = np.array(coordinates).reshape(-1, 2)
    kind = _WEASIS_KINDS.get(element.tag, element.tag.upper()[:16])
    label = " ".join((element.findtext("label") or "").split())
    if not np.isfinite(points).all():
        kind, points = "DAMAGED", np.zeros((0, 2))
    elif element.tag in ("rectangle", "ellipse") and len(points) == _HANDLES:
        points = np.array([points.min(axis=0), points.max(axis=0)])
    elif element.tag in ("rectangle", "ellipse"):
        # Newer Weasis keeps four handles of a turned shape, whose meaning is not documented.
        kind = f"{kind} WITH {len(points)} HANDLES"
    elif element.tag == "threePointsCircle" and len(points) == 3:
        kind, points = "CIRCLE", circle_through(points)
    elif kind == "POLYGON":
        kind, points = "POLYLINE", np.vstack([points, points[:1]])
    return ModelGraphic(kind=kind, points_px=points, label=label, images=images)


def _visage(root: ET.Element, item: Dataset, images: tuple[InstanceRef, ...]) -> ViewerModel:
    """Visage counts slices in its own order: that of the list beside the model, where there is one."""
    listed = _visage_order(item, images)
    graphics = [_visage_graphic(element, listed) for element in root if element.tag != "text"]
    return ViewerModel(dialect="presentation state (Visage model)", graphics=tuple(graphics))


def _visage_order(item: Dataset, images: tuple[InstanceRef, ...]) -> tuple[InstanceRef, ...]:
    by_uid = {image.sop_instance_uid: image for image in images}
    entries = _private(item, 0x0071, "Visage", 0x66)
    listed = (
        [uid(one, "ReferencedSOPInstanceUID") for one in entries] if isinstance(entries, Sequence) else []
    )
    named = [by_uid[one] for one in listed if one in by_uid]
    return tuple(named) if named and len(named) == len(listed) else images


def _visage_graphic(element: ET.Element, images: tuple[InstanceRef, ...]) -> ModelGraphic:
    label = " ".join((element.findtext("label") or "").split())
    kind, points, on = element.tag.upper()[:16], np.zeros((0, 2)), images
    origin = _numbers(element, "coordinate_system/origin")
    axes = [_numbers(element, f"coordinate_system/axis_{axis}") for axis in "xy"]
    radii = [_numbers(element, f"geometry/radius_{axis}") for axis in "xy"]
    upright = axes == [[1, 0, 0], [0, 1, 0]]
    if element.tag == "ellipse" and upright and len(origin) == 3 and all(len(one) == 1 for one in radii):
        x, y, z = origin
        rx, ry = radii[0][0], radii[1][0]
        points = image_points(np.array([x - rx, y, x + rx, y, x, y - ry, x, y + ry]))
        slice_index = int(np.floor(z)) if abs(z) < 1e6 else -1
        on = images[slice_index : slice_index + 1] if slice_index >= 0 else ()
    return ModelGraphic(
        kind=kind,
        points_px=points,
        label=label,
        images=on,
        remarks=("the slice was taken from Visage's own list of images",),
    )


def _numbers(element: ET.Element, path: str) -> list[float]:
    try:
        found = [float(part) for part in (element.findtext(path) or "").split()]
    except ValueError:
        return []
    return found if np.isfinite(found).all() else []
