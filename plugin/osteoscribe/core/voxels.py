"""`CtBox`: the HU voxels of one box of a CT series. Nothing that decides or words may import this module."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CtBox:
    """HU voxels of one box of a series.

    Parameters
    ----------
    offset
        (k, r, c) in the series' grid.
    voxels_hu
        (slices, rows, columns) float64, read-only.
    """

    offset: tuple[int, int, int]
    voxels_hu: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        # A view: a box of millions of voxels is not copied for a flag.
        voxels = np.asarray(self.voxels_hu, dtype=np.float64).view()
        voxels.setflags(write=False)
        object.__setattr__(self, "voxels_hu", voxels)
