"""`Grid`: voxel index to patient millimetres and back.

Index coordinates are (k, r, c): slice, row, column, with 0.0 at the **centre** of the first voxel.
Patient coordinates are LPS mm (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

STEP_TOLERANCE_MM = 0.01
"""Two slice steps closer than this count as the same step, relative to DICOM's 16-character decimals."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Where the voxels of a stack of parallel slices lie.

    The slices are parallel and equally oriented, but need be neither evenly spaced (a missing slice) nor
    stacked along their normal (gantry tilt): each slice has an origin of its own.

    Parameters
    ----------
    shape
        (slices, rows, columns).
    origins_lps_mm
        (slices, 3), centre of the first voxel of each slice, in LPS mm, in stacking order.
    row_step_lps_mm
        (3,), the step from one row to the next (down the image), in LPS mm.
    column_step_lps_mm
        (3,), the step from one column to the next (along a row), in LPS mm.
    slice_step_lps_mm
        (3,), the usual step from one slice to the next, in LPS mm; of a single slice its thickness
        along the normal.
    frame_of_reference_uid
        Frame of reference, or None where the object names none.

    References
    ----------
    PS3.3 C.7.6.2.1.1
    """

    shape: tuple[int, int, int]
    origins_lps_mm: FloatArray
    row_step_lps_mm: FloatArray
    column_step_lps_mm: FloatArray
    slice_step_lps_mm: FloatArray
    frame_of_reference_uid: str | None = None
    row_spacing_mm: float = field(init=False)
    """Distance between the centres of two rows, in mm (first value of PixelSpacing)."""
    column_spacing_mm: float = field(init=False)
    """Distance between the centres of two columns, in mm (second value of PixelSpacing)."""
    normal: FloatArray = field(init=False)
    """(3,), unit normal of the slices: row direction x column direction of the image plane."""
    slice_spacing_mm: float = field(init=False)
    """Usual distance between two slice planes along the normal, in mm; positive."""
    plane_positions_mm: FloatArray = field(init=False)
    """(slices,), position of each slice plane along the normal, in mm."""

    def __post_init__(self) -> None:
        for name in (
            "origins_lps_mm",
            "row_step_lps_mm",
            "column_step_lps_mm",
            "slice_step_lps_mm",
        ):
            self._fix(name, np.array(getattr(self, name), dtype=np.float64))
        # What every mark asks for, made once: its cost shall not depend on the number of slices.
        object.__setattr__(self, "row_spacing_mm", float(np.linalg.norm(self.row_step_lps_mm)))
        object.__setattr__(self, "column_spacing_mm", float(np.linalg.norm(self.column_step_lps_mm)))
        self._fix("normal", _unit_normal(self.column_step_lps_mm, self.row_step_lps_mm))
        object.__setattr__(self, "slice_spacing_mm", float(abs(np.dot(self.slice_step_lps_mm, self.normal))))
        self._fix("plane_positions_mm", self.origins_lps_mm @ self.normal)

    def _fix(self, name: str, array: FloatArray) -> None:
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def to_patient(self, index_krc: npt.ArrayLike) -> FloatArray:
        """Patient coordinates of index coordinates.

        Parameters
        ----------
        index_krc
            (n, 3) index coordinates; k must be a whole slice index.

        Returns
        -------
        FloatArray
            (n, 3) LPS mm.
        """
        index = np.atleast_2d(np.asarray(index_krc, dtype=np.float64))
        k = np.rint(index[:, 0]).astype(np.intp)
        return np.asarray(
            self.origins_lps_mm[k]
            + index[:, 1:2] * self.row_step_lps_mm
            + index[:, 2:3] * self.column_step_lps_mm
        )

    def to_plane(self, points_lps_mm: npt.ArrayLike, k: int) -> FloatArray:
        """Where points lie relative to one slice.

        Parameters
        ----------
        points_lps_mm
            (n, 3) LPS mm.
        k
            Slice index.

        Returns
        -------
        FloatArray
            (n, 3): distance from the slice plane along the normal in mm, then row and column index.
        """
        points = np.atleast_2d(np.asarray(points_lps_mm, dtype=np.float64))
        basis = np.column_stack([self.normal, self.row_step_lps_mm, self.column_step_lps_mm])
        return np.asarray(np.linalg.solve(basis, (points - self.origins_lps_mm[k]).T).T)


def _unit_normal(along_row: FloatArray, down: FloatArray) -> FloatArray:
    """Unit vector at right angles to both; not a number where they span no plane."""
    (ax, ay, az), (bx, by, bz) = along_row.tolist(), down.tolist()
    # Spelled out, for np.cross takes twenty times as long.
    normal = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    length = np.linalg.norm(normal)
    return np.asarray(normal / length if length > 0 else np.full(3, np.nan), dtype=np.float64)
