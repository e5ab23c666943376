"""What grows with a CT series is worked out once for it, and never for another."""

from __future__ import annotations

import numpy as np
import pytest

from osteoscribe.app.shelf import CtSeries, shelve
from osteoscribe.errors import InputError
from tests.readers.ct_objects import BIG, EXPLICIT, IMPLICIT, Memory, ct_slice, enhanced


def test_the_same_instances_are_the_same_series_in_any_order() -> None:
    memory = Memory()
    instances = [memory.store(ct_slice(2.0 * n, number=n)) for n in range(1, 4)]
    first = shelve(instances, ()).series["1.2.3.4"]
    assert shelve(instances[::-1], ()).series["1.2.3.4"] is first
    assert shelve(instances[:2], ()).series["1.2.3.4"] is not first
    again = [memory.store(ct_slice(2.0 * n, number=n)) for n in range(1, 4)]
    assert shelve(again, ()).series["1.2.3.4"] is not first


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
