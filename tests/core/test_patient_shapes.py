"""Lengths, points and ellipsoids in patient space, laid on an oblique CT with anisotropic pixels."""

from __future__ import annotations

import numpy as np
import pytest

from osteoscribe.core.geometry import Grid
from osteoscribe.core.marks import (
    InstanceRef,
    PatientCaliper,
    PatientEllipsoid,
    PatientPoint,
    RoiMark,
    Shape,
)
from osteoscribe.core.placement import place
from osteoscribe.core.region import RegionKind
from osteoscribe.core.series import Acquisition, BlobRef, SeriesIndex, SliceSource
from osteoscribe.core.size import NotMeasurable, Size, measure_size
from osteoscribe.errors import InputError

CT = "1.2.840.10008.5.1.4.1.1.2"
TURN, _ = np.linalg.qr(np.array([[2.0, 0.3, 0.1], [0.2, 2.0, 0.4], [0.1, 0.5, 2.0]]))
ORIGIN = np.array([-30.0, 12.0, 55.0])


def index() -> SeriesIndex:
    steps = TURN * np.array([0.5, 0.8, 2.0])
    grid = Grid(
        shape=(6, 60, 50),
        origins_lps_mm=ORIGIN + np.arange(6)[:, None] * steps[:, 2],
        row_step_lps_mm=steps[:, 1],
        column_step_lps_mm=steps[:, 0],
        slice_step_lps_mm=steps[:, 2],
        frame_of_reference_uid="1.2.9",
    )
    slices = tuple(
        SliceSource(
            ref=InstanceRef(sop_class_uid=CT, sop_instance_uid=f"1.2.{k + 1}"),
            blob=BlobRef(segment="", offset=0, length=0),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            instance_number=k,
            slope=1.0,
            intercept=0.0,
        )
        for k in range(6)
    )
    return SeriesIndex(
        study_instance_uid="1", series_instance_uid="2", grid=grid, slices=slices, acquisition=Acquisition()
    )


def mark(shape: Shape, frame_of_reference_uid: str = "1.2.9") -> RoiMark:
    return RoiMark(
        tracking_uid=None,
        label="",
        shape=shape,
        source=InstanceRef(sop_class_uid="1", sop_instance_uid="2"),
        item="group 1",
        dialect="test",
        frame_of_reference_uid=frame_of_reference_uid,
    )


def at(x: float, y: float, z: float) -> np.ndarray:
    """A point given in mm along columns, rows and slices of the series."""
    return ORIGIN + TURN @ np.array([x, y, z])


def test_a_length_in_patient_space_keeps_its_length() -> None:
    caliper = PatientCaliper(
        long_axis_lps_mm=np.array([at(3, 4, 6.3), at(9, 12, 6.3)]),
        short_axis_lps_mm=np.array([at(4, 9, 6.3), at(8, 6, 6.3)]),
    )
    region = place(mark(caliper), index()).measured
    size = measure_size(region)
    assert isinstance(size, Size)
    assert region.kind is RegionKind.CALIPER and region.outlines[0].k == 3
    assert size.long_axis_mm == pytest.approx(10.0)
    assert size.short_axis_mm == pytest.approx(5.0)


def test_a_point_in_patient_space_has_a_slice_and_no_size() -> None:
    region = place(mark(PatientPoint(point_lps_mm=at(3, 4, 7.9))), index()).measured
    assert region.outlines[0].k == 4
    assert region.outlines[0].points_rc == pytest.approx(np.array([[5.0, 6.0]]))
    assert isinstance(measure_size(region), NotMeasurable)


def test_an_ellipsoid_has_its_axes_on_the_slice_through_its_middle() -> None:
    axes = np.array(
        [(at(6, 20, 4), at(18, 20, 4)), (at(12, 16, 4), at(12, 24, 4)), (at(12, 20, 1), at(12, 20, 7))]
    )
    size = measure_size(place(mark(PatientEllipsoid(axes_lps_mm=axes)), index()).measured)
    assert isinstance(size, Size)
    assert size.long_axis_mm == pytest.approx(12.0, abs=1e-3)
    assert size.short_axis_mm == pytest.approx(8.0, abs=1e-3)


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        (PatientCaliper(long_axis_lps_mm=np.array([at(3, 4, 2), at(3, 4, 8)])), "roi.not-parallel"),
        (
            PatientCaliper(
                long_axis_lps_mm=np.array([at(3, 4, 2), at(9, 4, 2)]),
                short_axis_lps_mm=np.array([at(3, 4, 8), at(9, 4, 8)]),
            ),
            "roi.not-parallel",
        ),
        (PatientPoint(point_lps_mm=at(3, 4, 90)), "roi.outside-images"),
        (PatientEllipsoid(axes_lps_mm=np.eye(3)[:, None] * np.array([-1, 1])[:, None]), "roi.outside-images"),
    ],
)
def test_what_does_not_lie_on_a_slice_is_refused(shape: Shape, code: str) -> None:
    with pytest.raises(InputError) as caught:
        place(mark(shape), index())
    assert caught.value.code == code


def test_another_frame_of_reference_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        place(mark(PatientPoint(point_lps_mm=at(3, 4, 6)), "1.2.8"), index())
    assert caught.value.code == "roi.frame-of-reference-differs"
