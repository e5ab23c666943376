"""Coordinates of a presentation state as image pixels.

PIXEL units are image pixels already, 0.0 at the outer corner of the first pixel, whatever the spatial
transformation (PS3.3 C.10.5.1.2). DISPLAY units are fractions of the displayed area of the image as shown,
that is after rotation and flip (PS3.4 N.2.3.4).
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.marks import InstanceRef
from osteoscribe.errors import InputError
from osteoscribe.readers.attributes import image_refs, integer, items, numbers, text


def to_pixels(ds: Dataset, points: FloatArray, units: str, images: tuple[InstanceRef, ...]) -> FloatArray:
    """Image coordinates of graphic coordinates.

    Parameters
    ----------
    ds
        The presentation state.
    points
        (n, 2) in `units`.
    units
        ``PIXEL`` or ``DISPLAY`` (PS3.3 C.10.5).
    images
        The images that the annotation applies to.

    Returns
    -------
    FloatArray
        (n, 2), (column, row) in pixels, 0.0 = outer corner of the first pixel.

    Raises
    ------
    InputError
        `gsps.units`, `gsps.no-displayed-area`.

    Examples
    --------
    >>> shown = Dataset()
    >>> area = Dataset()
    >>> area.DisplayedAreaTopLeftHandCorner = [1, 1]
    >>> area.DisplayedAreaBottomRightHandCorner = [100, 50]
    >>> shown.DisplayedAreaSelectionSequence = [area]
    >>> to_pixels(shown, np.array([[0.5, 0.5]]), "DISPLAY", ()).tolist()
    [[50.0, 25.0]]
    """
    if units.upper() == "PIXEL":
        return points
    if units.upper() != "DISPLAY":
        raise InputError(
            "gsps.units",
            f"found graphics in units {units[:16]!r}; expected PIXEL or DISPLAY, please save the mark again",
        )
    low, high = _displayed_area(ds, images)
    return np.asarray(low + _as_in_image(ds, points) * (high - low))


def _as_in_image(ds: Dataset, shown: FloatArray) -> FloatArray:
    """Fractions along the image's columns and rows of fractions of what is shown.

    The image is turned clockwise first and then flipped (PS3.3 C.10.6), so the flip is undone first.
    """
    u, v = shown[:, 0], shown[:, 1]
    if text(ds, "ImageHorizontalFlip").upper() == "Y":
        u = 1 - u
    rotation = (integer(ds, "ImageRotation") or 0) % 360
    if rotation not in (0, 90, 180, 270):
        raise InputError(
            "gsps.units", f"found an image rotation of {rotation} degrees; expected a multiple of 90"
        )
    turned = {0: (u, v), 90: (v, 1 - u), 180: (1 - u, 1 - v), 270: (1 - v, u)}
    return np.column_stack(turned[rotation])


def _displayed_area(ds: Dataset, images: tuple[InstanceRef, ...]) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest (column, row) of the displayed area, at the outer corners of its pixels.

    The two corners are pixels as shown; after a rotation either may be the lower one in the image.
    """
    for selection in items(ds, "DisplayedAreaSelectionSequence"):
        named = [ref for item in items(selection, "ReferencedImageSequence") for ref in image_refs(item)]
        if named and not set(images) & set(named):
            continue
        corners = [
            numbers(selection, f"DisplayedArea{corner}HandCorner") for corner in ("TopLeft", "BottomRight")
        ]
        if all(corner is not None and corner.size == 2 for corner in corners):
            both = np.array(corners, dtype=np.float64)
            if np.abs(both).max() < 1e6:
                return both.min(axis=0) - 1, both.max(axis=0)
    raise InputError(
        "gsps.no-displayed-area",
        "found graphics in DISPLAY units without the displayed area of their image;"
        " please save the presentation state again",
    )
