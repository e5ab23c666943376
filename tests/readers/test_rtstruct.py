"""Structure sets: each ROI is one mark, all its contours in their order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from osteoscribe.core.marks import PatientCaliper, PatientContours, PatientPoint, RoiMark, UnreadableMark
from osteoscribe.errors import InputError
from osteoscribe.readers.rtstruct import read
from tests.builders_marks import (
    FRAME_OF_REFERENCE,
    RTSTRUCT,
    SERIES,
    contour,
    image_uid,
    item,
    mark_object,
    rtstruct,
)

OUTER = [(0.0, 0.0, 5.0), (10.0, 0.0, 5.0), (10.0, 10.0, 5.0), (0.0, 10.0, 5.0)]
HOLE = [(4.0, 4.0, 5.0), (6.0, 4.0, 5.0), (6.0, 6.0, 5.0)]


def only(ds: Dataset) -> RoiMark:
    (mark,) = read(ds)
    assert isinstance(mark, RoiMark), mark
    return mark


def refused(ds: Dataset) -> str:
    (mark,) = read(ds)
    assert isinstance(mark, UnreadableMark), mark
    return mark.code


def test_contours_keep_order_images_and_holes() -> None:
    ds = rtstruct(("GTV-1", [contour(OUTER, image=2), contour(HOLE, image=2)]), interpreted_type="gtv")
    mark = only(ds)
    assert isinstance(mark.shape, PatientContours)
    assert [points.tolist() for points in mark.shape.contours_lps_mm] == [
        np.array(OUTER).tolist(),
        np.array(HOLE).tolist(),
    ]
    assert [image.sop_instance_uid for image in mark.shape.images if image] == [image_uid(2)] * 2
    assert (mark.label, mark.item, mark.interpreted_type) == ("GTV-1", "ROI 1", "GTV")
    assert mark.referenced_series_uid == SERIES
    assert mark.frame_of_reference_uid == FRAME_OF_REFERENCE


def test_a_repeated_first_point_is_dropped() -> None:
    shape = only(rtstruct(("a", [contour([*OUTER, OUTER[0]])]))).shape
    assert isinstance(shape, PatientContours)
    assert len(shape.contours_lps_mm[0]) == 4


def test_a_contour_that_encloses_nothing_is_told_beside_the_others() -> None:
    mark = only(rtstruct(("a", [contour(OUTER), contour(HOLE[:2]), contour(HOLE[:1], "POINT")])))
    assert isinstance(mark.shape, PatientContours)
    assert len(mark.shape.contours_lps_mm) == 1
    assert mark.remarks == ("2 contours of this ROI enclose no area",)


def test_a_line_of_two_points_is_a_length() -> None:
    shape = only(rtstruct(("a", [contour(OUTER[:2], "OPEN_PLANAR", image=1)]))).shape
    assert isinstance(shape, PatientCaliper)
    assert shape.long_axis_lps_mm.tolist() == [[0.0, 0.0, 5.0], [10.0, 0.0, 5.0]]
    assert shape.image is not None and shape.image.sop_instance_uid == image_uid(1)


def test_a_point_has_a_place() -> None:
    shape = only(rtstruct(("a", [contour(OUTER[1:2], "POINT")]))).shape
    assert isinstance(shape, PatientPoint)
    assert shape.point_lps_mm.tolist() == [10.0, 0.0, 5.0]


@pytest.mark.parametrize(
    ("contours", "code"),
    [
        ([], "roi.empty"),
        ([contour(OUTER, "OPEN_PLANAR")], "roi.open-contour"),
        ([contour(OUTER[:2], "OPEN_PLANAR"), contour(HOLE, "OPEN_PLANAR")], "roi.no-area"),
        ([item(ContourGeometricType="CLOSED_PLANAR", ContourData=[1.0, 2.0])], "roi.coordinates-invalid"),
        ([item(ContourGeometricType="CLOSED_PLANAR", ContourData=[1e9, 2, 3])], "roi.coordinates-invalid"),
        ([item(ContourGeometricType="CLOSED_PLANAR")], "roi.no-geometry"),
        ([item(NumberOfContourPoints=5, ContourData=[1.0, 2, 3] * 4)], "roi.points-differ"),
    ],
)
def test_an_roi_that_cannot_be_used_says_why(contours: list[Dataset], code: str) -> None:
    assert refused(rtstruct(("a", contours))) == code


def test_one_bad_roi_does_not_take_the_others_with_it() -> None:
    good, bad = read(rtstruct(("good", [contour(OUTER)]), ("bad", [])))
    assert isinstance(good, RoiMark)
    assert isinstance(bad, UnreadableMark)


def test_rois_of_one_number_are_refused_and_stray_contours_are_not_lost() -> None:
    ds = rtstruct(("a", [contour(OUTER)]), ("b", [contour(HOLE)]))
    ds.StructureSetROISequence[1].ROINumber = 1
    codes = [mark.code if isinstance(mark, UnreadableMark) else mark.item for mark in read(ds)]
    assert codes == ["rtstruct.number-repeated", "rtstruct.number-repeated", "ROI 2"]


def test_a_structure_set_without_rois_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        read(mark_object(RTSTRUCT))
    assert caught.value.code == "rtstruct.no-rois"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "label", "contours"),
    [
        ("ibsi-ct-phantom/rtstruct.dcm", "GTV-1", 26),
        ("lambin-radiomics-phantom-patients/pat_3/rtstruct.dcm", "GTV-1", 12),
        ("lung1-001-aria/rtstruct.dcm", "GTV-1", 21),
        ("sts-ct-rtstruct/STS_035/rtstruct.dcm", "GTV_Mass_CT", 32),
        ("rtstruct-writers/rt-utils-phantom/mim_non_existent_reference.dcm", "ROI-1", 3),
        ("rtstruct-writers/rt-utils-phantom/rtutils_rtstruct.dcm", "ROI-1", 2),
    ],
)
def test_real_structure_sets_give_all_contours(
    shared_data: Path, path: str, label: str, contours: int
) -> None:
    ds = pydicom.dcmread(shared_data / path)
    mark = next(mark for mark in read(ds) if mark.label == label)
    assert isinstance(mark, RoiMark) and isinstance(mark.shape, PatientContours)
    assert len(mark.shape.contours_lps_mm) == contours
    drawn = ds.ROIContourSequence[0].ContourSequence[0]
    kept = mark.shape.contours_lps_mm[0]
    written = np.array(drawn.ContourData, dtype=float).reshape(-1, 3)
    assert np.array_equal(kept, written[: len(kept)])
