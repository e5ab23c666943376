"""A second, plain way to read the real cases, independent of the package's readers."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom

from osteoscribe.core.geometry import Grid
from osteoscribe.core.marks import InstanceRef, MaskShape, PatientContours, RoiMark, Shape
from osteoscribe.core.series import Acquisition, BlobRef, SeriesIndex, SliceSource
from osteoscribe.core.voxels import CtBox

SOURCE = InstanceRef(sop_class_uid="1.2.3", sop_instance_uid="1.2.3.4")


def mark_of(
    shape: Shape, frame_of_reference_uid: str | None = None, referenced_series_uid: str | None = None
) -> RoiMark:
    return RoiMark(
        tracking_uid=None,
        label="lesion",
        shape=shape,
        source=SOURCE,
        item="item 1",
        dialect="test",
        frame_of_reference_uid=frame_of_reference_uid,
        referenced_series_uid=referenced_series_uid,
    )


def index_of(grid: Grid, uids: tuple[str, ...] = (), series_uid: str = "1.2.2") -> SeriesIndex:
    names = uids or tuple(f"1.2.3.{k}" for k in range(grid.shape[0]))
    return SeriesIndex(
        study_instance_uid="1.2.1",
        series_instance_uid=series_uid,
        grid=grid,
        slices=tuple(
            SliceSource(
                ref=InstanceRef(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid=name),
                blob=BlobRef(segment="", offset=0, length=0),
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                instance_number=None,
                slope=1.0,
                intercept=0.0,
            )
            for name in names
        ),
        acquisition=Acquisition(),
    )


@lru_cache(maxsize=4)
def load_ct(folder: Path) -> tuple[SeriesIndex, CtBox]:
    """Series and all HU voxels of a folder of single-frame CT."""
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    column, row = np.split(np.array(slices[0].ImageOrientationPatient, dtype=float), 2)
    normal = np.cross(column, row)
    slices.sort(key=lambda ds: float(normal @ np.array(ds.ImagePositionPatient, dtype=float)))
    origins = np.array([ds.ImagePositionPatient for ds in slices], dtype=float)
    first = slices[0]
    steps = np.diff(origins, axis=0)
    step = np.median(steps, axis=0) if len(steps) else normal * float(first.SliceThickness)
    grid = Grid(
        shape=(len(slices), first.Rows, first.Columns),
        origins_lps_mm=origins,
        row_step_lps_mm=row * float(first.PixelSpacing[0]),
        column_step_lps_mm=column * float(first.PixelSpacing[1]),
        slice_step_lps_mm=step,
        frame_of_reference_uid=first.FrameOfReferenceUID,
    )
    hu = np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices])
    index = index_of(grid, tuple(str(ds.SOPInstanceUID) for ds in slices), str(first.SeriesInstanceUID))
    return index, CtBox(offset=(0, 0, 0), voxels_hu=hu)


@lru_cache(maxsize=2)
def structure_set(path: Path) -> pydicom.Dataset:
    """A structure set, read once for all its regions."""
    return pydicom.dcmread(path)


def rtstruct_mark(path: Path, roi: str) -> RoiMark:
    ds = structure_set(path)
    number, frame = next(
        (item.ROINumber, item.ReferencedFrameOfReferenceUID)
        for item in ds.StructureSetROISequence
        if item.ROIName == roi
    )
    item = next(item for item in ds.ROIContourSequence if item.ReferencedROINumber == number)
    contours = tuple(
        np.array(contour.ContourData, dtype=float).reshape(-1, 3) for contour in item.ContourSequence
    )
    shape = PatientContours(contours_lps_mm=contours, images=(None,) * len(contours))
    return mark_of(shape, str(frame))


def seg_mark(path: Path, segment: int) -> RoiMark:
    ds = pydicom.dcmread(path)
    shared = ds.SharedFunctionalGroupsSequence[0]
    planes = []
    for frame, pixels in zip(
        ds.PerFrameFunctionalGroupsSequence,
        ds.pixel_array.reshape(-1, ds.Rows, ds.Columns),
        strict=True,
    ):
        group = frame if "SegmentIdentificationSequence" in frame else shared
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment:
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            planes.append((np.array(position, dtype=float), pixels))
    measures = shared.PixelMeasuresSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    column, row = np.split(orientation, 2)
    normal = np.cross(column, row)
    planes.sort(key=lambda plane: float(plane[0] @ normal))
    step = float(measures.get("SpacingBetweenSlices") or measures.SliceThickness)
    most = ds.get("MaximumFractionalValue", 1)
    mask = np.stack([2 * pixels.astype(int) >= int(most) for _, pixels in planes])
    # An early writer of 3D Slicer made the UID up.
    invented = str(ds.get("ManufacturerModelName")).startswith("AndreyTestDICOMSegWriter")
    frame = None if invented else str(ds.FrameOfReferenceUID)
    grid = Grid(
        shape=mask.shape,
        origins_lps_mm=np.array([position for position, _ in planes]),
        row_step_lps_mm=row * float(measures.PixelSpacing[0]),
        column_step_lps_mm=column * float(measures.PixelSpacing[1]),
        slice_step_lps_mm=normal * step,
        frame_of_reference_uid=frame,
    )
    shape = MaskShape(grid=grid, mask=mask, images=(None,) * len(mask))
    return mark_of(shape, frame, str(ds.ReferencedSeriesSequence[0].SeriesInstanceUID))


def expected(data: Path, folder: str) -> dict:  # type: ignore[type-arg]
    return json.loads((data / folder / "expected.json").read_text())  # type: ignore[no-any-return]
