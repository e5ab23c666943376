"""What grows with a CT series is worked out once for it, and never for another."""

from __future__ import annotations

import numpy as np
import pytest

from osteoscribe.app.shelf import CtSeries, parted, shelve
from osteoscribe.errors import InputError
from osteoscribe.readers.headers import StoredSeries
from tests.readers.ct_objects import BIG, EXPLICIT, IMPLICIT, Memory, ct_slice, enhanced


def test_what_is_worked_out_of_a_series_is_kept_for_the_very_series() -> None:
    memory = Memory()
    instances = tuple(memory.store(ct_slice(2.0 * n, number=n)) for n in (2, 1, 3))
    one = StoredSeries(instances=instances)
    first, _ = parted(one)
    assert first is not None
    assert [each.header.sop_instance_uid for each in first.instances] == [f"1.2.3.4.{n}" for n in (1, 2, 3)]
    assert parted(one)[0] is first
    assert parted(StoredSeries(instances=instances))[0] is not first


def test_series_are_found_by_their_uid_kept_or_not() -> None:
    memory = Memory()
    other = [ct_slice(2.0 * n, number=n) for n in (1, 2)]
    for ds in other:
        ds.SeriesInstanceUID, ds.SOPInstanceUID = "1.2.3.3", f"{ds.SOPInstanceUID}.9"
    kept, _ = parted(StoredSeries(instances=(memory.store(ct_slice(2.0, number=1)),)))
    assert kept is not None
    shelf = shelve([memory.store(ds) for ds in other], (), [kept])
    assert list(shelf.series) == ["1.2.3.3", "1.2.3.4"]
    assert shelf.series["1.2.3.4"] is kept
    assert len(shelf.series["1.2.3.3"].instances) == 2


def test_where_all_images_are_slices_the_index_is_made_once() -> None:
    memory = Memory()
    series = CtSeries(instances=tuple(memory.store(ct_slice(2.0 * n, number=n)) for n in range(1, 4)))
    index = series.index(frozenset())
    assert index.grid.shape[0] == 3
    assert series.index(frozenset({"1.2.3.4.2"})) is index


def test_of_two_images_at_one_place_each_mark_gets_the_one_it_names() -> None:
    memory = Memory()
    slices = [ct_slice(2, number=1), ct_slice(4, number=2), ct_slice(4, number=3)]
    series = CtSeries(instances=tuple(memory.store(ds) for ds in slices))
    for uid in ("1.2.3.4.2", "1.2.3.4.3", "1.2.3.4.2"):
        index = series.index(frozenset({uid}))
        assert index.slices[1].ref.sop_instance_uid == uid


def test_a_series_without_geometry_raises_its_error_each_time() -> None:
    ds = ct_slice()
    del ds.ImagePositionPatient
    series = CtSeries(instances=(Memory().store(ds),))
    for _ in range(3):
        with pytest.raises(InputError, match=r"ct\.no-geometry") as caught:
            series.index(frozenset())
        assert len(caught.traceback) < 10


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_the_header_is_read_without_the_pixels(syntax: str) -> None:
    memory = Memory()
    ds = ct_slice(values=np.ones((512, 512), dtype=np.int16))
    ds.PatientID = "P1"
    series = CtSeries(instances=(memory.store(ds, syntax),))
    assert series.context(memory).PatientID == "P1"
    assert "PixelData" not in series.context(memory)
    assert memory.asked < 2000


def test_the_header_of_a_multi_frame_image_is_read_without_its_frames() -> None:
    memory = Memory()
    ds = enhanced([0.0, 2.0, 4.0])
    series = CtSeries(instances=(memory.store(ds),))
    context = series.context(memory)
    assert context.NumberOfFrames == 3
    assert "PixelData" not in context
    assert "PerFrameFunctionalGroupsSequence" in context
