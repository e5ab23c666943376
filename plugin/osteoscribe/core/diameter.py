"""In-plane diameters: of points as drawn, and of pixel masks without the bias of their pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from osteoscribe.core.geometry import FloatArray
from osteoscribe.core.polygon import TIE, across, convex_hull, longest
from osteoscribe.core.spread import longest_distance

LEAST_VARIANCE_PX2 = 1 / 16
"""Variance across a row of single pixels: that of an ellipse one pixel broad."""
DISC_ELONGATION = 1.1
"""A disc of d pixels across, rasterised at a random place, looks elliptic: the axes of its moments differ by
1.1 / sqrt(d) pixels (root mean square; 0.9 to 1.3 from 4 to 100 pixels, ``docs/measurement.md``)."""
MOST_MISSED_PX = 1.5
"""From edge to edge a length is 1 to 1.4 pixels longer than between centres; no correction is much larger.
A line of pixels is unlike any ellipse, and would be lengthened by a third."""
NEAR_PX = 2.0
"""Slices whose diameter is within two pixels of the longest could be the longest."""
EDGE = 1e-9
"""A pixel centre on the edge of an ellipse is inside, whatever the last float digit says."""


Ends = tuple[tuple[float, float], tuple[float, float]]
"""Both ends of a line in the mm axes of a slice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diameters:
    """Longest diameter on one slice and the longest chord perpendicular to it, in the mm axes of the slice.

    Parameters
    ----------
    long_mm, short_mm
        Lengths; `short_mm` is None where only one length was drawn.
    long_ends, short_ends
        Their ends.
    """

    long_mm: float
    long_ends: Ends
    short_mm: float | None
    short_ends: Ends | None

    @staticmethod
    def of_lines(long_ends: Ends, short_ends: Ends | None = None) -> Diameters:
        """Lengths as drawn."""
        return Diameters(
            long_mm=_length(long_ends),
            long_ends=long_ends,
            short_mm=None if short_ends is None else _length(short_ends),
            short_ends=short_ends,
        )

    def moved(self, x: float, y: float) -> Diameters:
        """Shift the ends."""
        return Diameters(
            long_mm=self.long_mm,
            long_ends=_shifted(self.long_ends, x, y, x, y),
            short_mm=self.short_mm,
            short_ends=None if self.short_ends is None else _shifted(self.short_ends, x, y, x, y),
        )


def of_points(points_mm: npt.ArrayLike) -> Diameters:
    """Diameters of the convex hull of points: from vertex to vertex, and across.

    Parameters
    ----------
    points_mm
        (n, 2), n >= 1.

    Returns
    -------
    Diameters
        Of several equally long ones the broadest.
    """
    hull = convex_hull(points_mm)
    found = _with_chords(hull, longest(hull))
    return found[longest_of(found)]


def _with_chords(hull: FloatArray, pairs: FloatArray) -> list[Diameters]:
    """Diameters of a hull, each with the longest chord perpendicular to it."""
    along = pairs[:, 1] - pairs[:, 0]
    drawn, chords = along.any(axis=1), pairs.copy()
    if drawn.any():
        chords[drawn] = across(hull, _turned(along[drawn]))
    return [
        Diameters.of_lines((tuple(a), tuple(b)), (tuple(c), tuple(d)))
        for (a, b), (c, d) in zip(pairs.tolist(), chords.tolist(), strict=True)
    ]


def _turned(directions: FloatArray) -> FloatArray:
    """Directions perpendicular to some, (n, 2)."""
    return np.array([-directions[:, 1], directions[:, 0]]).T


def of_masks(masks: npt.NDArray[np.bool_], steps_mm: FloatArray) -> tuple[int, Diameters]:
    """Diameters of the shape that the pixel masks of parallel slices stand for.

    The longest diameter between pixel centres over the slices, plus what the same measurement misses on
    ellipses: those with the moments of the masks, rasterised on the same pixels at the same place. Likewise
    for the chord perpendicular to it on its slice. Nothing is ever taken off: the shape holds these centres.

    Parameters
    ----------
    masks
        (slices, rows, columns) bool, no slice empty.
    steps_mm
        (2, 2), the steps to the next row and to the next column in the mm axes of the slices.

    Returns
    -------
    tuple
        Number of the mask with the longest diameter, and its diameters.
    """
    near_mm = NEAR_PX * _pixel(steps_mm)
    ends = _row_ends(masks, steps_mm)
    drawn_mm = _drawn_mm(ends, near_mm)
    longest_mm = max(drawn_mm.values())
    near = [i for i in sorted(drawn_mm) if drawn_mm[i] > longest_mm - near_mm]
    ellipses = dict(zip(near, _ellipses(masks[near], steps_mm), strict=True))
    true_mm = max(ellipse.long_mm for ellipse in ellipses.values())
    missed_mm = _plausible(true_mm - _longest_drawn_mm(ellipses.values()), _pixel(steps_mm))
    whole, seen = [], set[bytes]()
    for i in near:
        # Slices that tie are often one and the same, as those on both sides of the middle of a round lesion.
        if drawn_mm[i] >= longest_mm - TIE and (shape := masks[i].tobytes()) not in seen:
            seen.add(shape)
            hull = convex_hull(ends[i])
            drawn = _with_chords(hull, longest(hull))
            whole += [(i, one) for one in _completed(drawn, ellipses[i], missed_mm)]
    return whole[longest_of([found for _, found in whole])]


def _row_ends(masks: npt.NDArray[np.bool_], steps_mm: FloatArray) -> list[FloatArray]:
    """Of each mask the centres of the first and last pixel of each row, (n, 2) mm."""
    crossed = masks.any(axis=2)
    rows = np.nonzero(crossed)[1]
    first = masks.argmax(axis=2)[crossed]
    last = masks.shape[2] - 1 - masks[:, :, ::-1].argmax(axis=2)[crossed]
    index = np.array([rows, first, rows, last], dtype=np.float64).T.reshape(-1, 2)
    stops = 2 * np.cumsum(crossed.sum(axis=1))
    points = index @ steps_mm
    return [points[i:j] for i, j in pairwise([0, *stops.tolist()])]


def _drawn_mm(ends: Sequence[FloatArray], near_mm: float) -> dict[int, float]:
    """Longest distance between pixel centres, of each mask where it could come near the longest of all."""
    bounds = _bounds_mm(ends)
    drawn_mm: dict[int, float] = {}
    longest_mm = 0.0
    for i in np.argsort(-bounds).tolist():
        if bounds[i] < longest_mm - near_mm:
            break
        drawn_mm[i] = longest_distance(ends[i])
        longest_mm = max(longest_mm, drawn_mm[i])
    return drawn_mm


def _bounds_mm(ends: Sequence[FloatArray]) -> FloatArray:
    """(slices,) twice the largest distance of points from their mean; no two are farther apart."""
    counts = [len(points) for points in ends]
    starts = np.cumsum([0, *counts[:-1]])
    points = np.concatenate(ends)
    means = np.add.reduceat(points, starts) / np.array(counts)[:, None]
    away = points - np.repeat(means, counts, axis=0)
    return np.asarray(2 * np.sqrt(np.maximum.reduceat(np.einsum("ij,ij->i", away, away), starts)))


def _completed(drawn: Sequence[Diameters], ellipse: _Ellipse, missed_long_mm: float) -> list[Diameters]:
    """Lengthen diameters between pixel centres by what they miss."""
    along = np.array([one.long_ends for one in drawn])
    along = along[:, 1] - along[:, 0]
    if not along.any():
        along[:] = np.linalg.eigh(ellipse.moments)[1][:, 1]
    perpendicular = _turned(along)
    missed_short_mm = ellipse.missed_across(perpendicular)
    found = []
    for one, (x, y), (u, v), missed_mm in zip(
        drawn, along.tolist(), perpendicular.tolist(), missed_short_mm, strict=True
    ):
        assert one.short_ends is not None
        long_ends = _stretched(one.long_ends, x, y, missed_long_mm)
        short_ends = _stretched(one.short_ends, u, v, missed_mm)
        # What a shape unlike an ellipse misses differs by direction; the longest diameter stays the longest.
        excess_mm = max(0.0, _length(short_ends) - _length(long_ends))
        found.append(Diameters.of_lines(long_ends, _stretched(short_ends, u, v, -excess_mm)))
    return found


def longest_of(found: Sequence[Diameters]) -> int:
    """Choose the longest of several; of equally long ones the broadest, then the first.

    Parameters
    ----------
    found
        One or more.

    Returns
    -------
    int
        Its number.
    """
    best = 0
    for i, one in enumerate(found):
        longer = one.long_mm - found[best].long_mm
        broader = (one.short_mm or 0.0) - (found[best].short_mm or 0.0)
        if longer > TIE or (longer >= -TIE and broader > TIE):
            best = i
    return best


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ellipse:
    """The ellipse with the moments of a mask, and its own raster on the pixels of the mask.

    Parameters
    ----------
    moments
        (2, 2), covariance in mm2, freed of the elongation that digitisation alone gives to a disc.
    long_mm
        Its longest diameter.
    centre
        (2,) of the mask, index coordinates.
    index_moments
        (2, 2), the mask's own covariance in index coordinates, that the raster is made of.
    bound_mm
        Longest diameter of the ellipse that the raster is made of.
    steps_mm
        (2, 2), the steps to the next row and column.
    """

    moments: FloatArray
    long_mm: float
    centre: FloatArray
    index_moments: FloatArray
    bound_mm: float
    steps_mm: FloatArray

    def row_ends_mm(self) -> FloatArray:
        """(n, 2) mm, first and last pixel centre of each row of the raster."""
        return _ellipse_row_ends(self.centre, self.index_moments) @ self.steps_mm

    def missed_across(self, directions: FloatArray) -> list[float]:
        """What the raster misses of the chords along directions, in mm."""
        (xx, xy), (_, yy) = self.moments.tolist()
        pixel_mm = _pixel(self.steps_mm)
        chords = across(convex_hull(self.row_ends_mm()), directions).tolist()
        found = []
        for (x, y), drawn in zip(directions.tolist(), chords, strict=True):
            inverse = (yy * x * x - 2 * xy * x * y + xx * y * y) / (xx * yy - xy * xy)
            chord = 4 * math.hypot(x, y) / math.sqrt(inverse)
            found.append(_plausible(chord - _length(drawn), pixel_mm))
        return found


def _ellipses(masks: npt.NDArray[np.bool_], steps_mm: FloatArray) -> list[_Ellipse]:
    """Ellipses with the moments of each mask."""
    centres, index_moments = _index_moments(masks)
    values, vectors = np.linalg.eigh(steps_mm.T @ index_moments @ steps_mm)
    pixel = _pixel(steps_mm)
    values = np.maximum(values, LEAST_VARIANCE_PX2 * pixel**2)
    to_index = np.linalg.inv(steps_mm)
    own = to_index.T @ ((vectors * values[:, None]) @ vectors.transpose(0, 2, 1)) @ to_index
    minor, major = 4 * np.sqrt(values.T)
    noise2 = DISC_ELONGATION**2 * pixel**3 / np.sqrt(major * minor)
    half = np.sqrt(np.maximum(0.0, (major - minor) ** 2 - noise2)) / 2
    axes = (major + minor)[:, None] / 2 + np.array([-half, half]).T
    freed = (vectors * (axes**2 / 16)[:, None]) @ vectors.transpose(0, 2, 1)
    return [
        _Ellipse(
            moments=freed[i],
            long_mm=float(axes[i, 1]),
            centre=centres[i],
            index_moments=own[i],
            bound_mm=float(major[i]),
            steps_mm=steps_mm,
        )
        for i in range(len(masks))
    ]


def _longest_drawn_mm(ellipses: Iterable[_Ellipse]) -> float:
    """Longest distance between pixel centres in the raster of any of some ellipses."""
    longest_mm = 0.0
    for ellipse in sorted(ellipses, key=lambda one: -one.bound_mm):
        if ellipse.bound_mm < longest_mm:
            break  # every centre lies inside its ellipse
        longest_mm = max(longest_mm, longest_distance(ellipse.row_ends_mm()))
    return longest_mm


def _plausible(missed_mm: float, pixel_mm: float) -> float:
    """What digitisation may have taken off a length: nothing to `MOST_MISSED_PX`."""
    return min(max(0.0, missed_mm), MOST_MISSED_PX * pixel_mm)


def _pixel(steps_mm: FloatArray) -> float:
    """Side of a square of the area of a pixel, in mm."""
    (a, b), (c, d) = steps_mm.tolist()
    return math.sqrt(abs(a * d - b * c))


def _index_moments(masks: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Centroids (n, 2) and covariances (n, 2, 2) of pixel centres, in (row, column) index coordinates."""
    middle = (np.array(masks.shape[1:]) - 1) / 2
    r, c = (np.arange(n) - m for n, m in zip(masks.shape[1:], middle, strict=True))
    by_row, by_column = masks.sum(axis=2), masks.sum(axis=1)
    count = by_row.sum(axis=1)
    centres = np.array([by_row @ r, by_column @ c]) / count
    rr, cc = by_row @ r**2 / count, by_column @ c**2 / count
    rc = (masks @ c) @ r / count
    moments = np.array([[rr, rc], [rc, cc]]) - centres[:, None] * centres
    return centres.T + middle, moments.transpose(2, 0, 1)


def _ellipse_row_ends(centre: FloatArray, moments: FloatArray) -> FloatArray:
    """(n, 2) first and last pixel of each row of a rasterised ellipse, in index coordinates.

    The ellipse has the semi-axes 2 sigma: a filled ellipse has its own moments.
    """
    (rr, rc), (_, cc) = moments.tolist()
    r, c = centre.tolist()
    reach = 2 * math.sqrt(rr)
    rows = np.arange(math.ceil(r - reach - EDGE), math.floor(r + reach + EDGE) + 1, dtype=np.float64)
    dr = rows - r
    middle = c + dr * (rc / rr)
    half = np.sqrt(np.maximum(0.0, 4 - dr * dr / rr) * ((rr * cc - rc * rc) / rr))
    first = np.ceil(middle - half - EDGE)
    last = np.floor(middle + half + EDGE)
    ends = np.array([rows, first, rows, last])[:, first <= last]
    return ends.T.reshape(-1, 2)


def _length(ends: Ends) -> float:
    (x0, y0), (x1, y1) = ends
    return math.hypot(x1 - x0, y1 - y0)


def _stretched(ends: Ends, x: float, y: float, by: float) -> Ends:
    """Longer by some mm along a direction."""
    part = by / (2 * math.hypot(x, y))
    return _shifted(ends, -part * x, -part * y, part * x, part * y)


def _shifted(ends: Ends, x0: float, y0: float, x1: float, y1: float) -> Ends:
    (a, b), (c, d) = ends
    return (a + x0, b + y0), (c + x1, d + y1)
