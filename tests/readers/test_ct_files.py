"""Real CT files: what each encoding, geometry and multi-frame image decodes to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osteoscribe.core.series import SeriesIndex
from osteoscribe.errors import InputError
from osteoscribe.readers.ct import READABLE_TRANSFER_SYNTAXES, index_series, read_box
from osteoscribe.store.files import read_bytes, scan

pytestmark = pytest.mark.shared
WHOLE = (slice(None), slice(None), slice(None))


def index_of(*paths: Path) -> SeriesIndex:
    return index_series(scan(paths).instances)


def expected(folder: Path) -> Any:
    return json.loads((folder / "expected.json").read_text())


def test_each_encoding_of_one_slice_gives_its_expected_hu(shared_data: Path) -> None:
    folder = shared_data / "transfer-syntaxes-ct"
    decoded = set()
    for name, values in expected(folder)["files"].items():
        index = index_of(folder / name)
        if values["transfer_syntax"] not in READABLE_TRANSFER_SYNTAXES:
            with pytest.raises(InputError, match="ct.cannot-decode"):
                read_box(index, WHOLE, read_bytes)
            continue
        decoded.add(values["transfer_syntax"])
        voxels = read_box(index, WHOLE, read_bytes).voxels_hu
        assert voxels.min() == pytest.approx(values["rescaled_min"]), name
        assert voxels.max() == pytest.approx(values["rescaled_max"]), name
        assert voxels.mean() == pytest.approx(values["rescaled_mean"], abs=1e-4), name
        assert voxels.std() == pytest.approx(values["rescaled_sd"], abs=1e-4), name
    assert decoded == set(READABLE_TRANSFER_SYNTAXES)


def test_a_box_is_the_same_cut_of_every_lossless_encoding(shared_data: Path) -> None:
    folder = shared_data / "transfer-syntaxes-ct"
    box = (slice(0, 1), slice(200, 260), slice(250, 280))
    cuts = []
    for name, values in expected(folder)["files"].items():
        if values["identical_to_reference"]:
            cut = read_box(index_of(folder / name), box, read_bytes)
            whole = read_box(index_of(folder / name), WHOLE, read_bytes)
            assert cut.offset == (0, 200, 250)
            assert np.array_equal(cut.voxels_hu, whole.voxels_hu[box])
            cuts.append(cut.voxels_hu)
    assert len(cuts) > 8
    assert all(np.array_equal(cut, cuts[0]) for cut in cuts)


def test_a_missing_slice_stays_a_gap(shared_data: Path) -> None:
    index = index_of(shared_data / "geometry-oddities" / "missing_slice_ge")
    assert np.diff(index.grid.plane_positions_mm) == pytest.approx([5, 5, 10], abs=1e-3)
    assert index.grid.slice_spacing_mm == pytest.approx(5, abs=1e-3)
