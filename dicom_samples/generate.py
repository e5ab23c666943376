"""Makes the samples: synthetic CT of a pelvis with bone islands of known size, place and density, and marks.

Everything is derived from fixed numbers, so that a second run gives the same pixels, UIDs and values::

    python dicom_samples/generate.py [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import marks
import numpy as np
import pydicom
from marks import Mark
from phantom import Anatomy, Island, Scan, acquire
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless

NAMESPACE = uuid.UUID("5f0c8a52-4a0e-5d5b-9f43-2f3f1f0a7d11")
DATE, TIME = "20260105", "101500"
STORED_ZERO_HU = 1024

PELVIS_ISLANDS = (
    Island("A", "left ilium, beside the sacroiliac joint", (56.31, 36.17, 17.93), (2.5, 2.5, 2.5), 1190.0),
    Island("B", "right ilium", (-62.44, 22.68, 9.27), (1.6, 1.6, 1.6), 1150.0),
    Island(
        "C",
        "left sacral ala",
        (29.83, 13.12, 22.86),
        (4.0, 3.0, 2.6),
        1040.0,
        ((0.8, 0.6, 0.0), (-0.6, 0.8, 0.0), (0.0, 0.0, 1.0)),
    ),
    Island("D", "body of the sacrum", (-5.21, -4.43, 12.08), (6.0, 6.0, 6.0), 985.0),
)
THICK_ISLANDS = (
    Island("E", "right ilium", (-55.12, 37.36, 16.18), (2.5, 2.5, 2.5), 1190.0),
    Island(
        "F",
        "right sacral ala",
        (-31.64, 14.41, 19.57),
        (4.5, 3.5, 3.5),
        1010.0,
        ((0.6, -0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.0, 1.0)),
    ),
)


@dataclass(frozen=True)
class Sample:
    """One synthetic patient with one CT series."""

    name: str
    patient_name: str
    patient_id: str
    birth_date: str
    age: str
    sex: str
    study_id: str
    description: str
    kernel: str
    anatomy: Anatomy
    scan: Scan

    def uid(self, *what: object) -> str:
        """A UID that depends on the sample and `what` alone (PS3.5 B.2)."""
        text = "/".join(str(part) for part in (self.name, *what))
        return f"2.25.{uuid.uuid5(NAMESPACE, text).int}"


PELVIS = Sample(
    name="pelvis",
    patient_name="SYNTHETIC^PELVIS ONE",
    patient_id="PHANTOM-1",
    birth_date="19740312",
    age="051Y",
    sex="F",
    study_id="P1",
    description="Pelvis 1.25 mm bone",
    kernel="BONE",
    anatomy=Anatomy(flare=0.18, cortex_mm=1.8, seed=20260101, islands=PELVIS_ISLANDS),
    scan=Scan(
        slices=30,
        rows=256,
        columns=256,
        pixel_mm=0.7,
        step_mm=1.25,
        thickness_mm=1.25,
        plane_mm=0.3125,
        origin_mm=(-89.25, -89.25, 0.0),
        psf_fwhm_mm=0.9,
        noise_hu=16.0,
        seed=20260102,
    ),
)
THICK = Sample(
    name="pelvis-thick",
    patient_name="SYNTHETIC^PELVIS TWO",
    patient_id="PHANTOM-2",
    birth_date="19610725",
    age="064Y",
    sex="M",
    study_id="P2",
    description="Pelvis 5 mm soft",
    kernel="STANDARD",
    anatomy=Anatomy(flare=0.13, cortex_mm=2.0, seed=20260201, islands=THICK_ISLANDS),
    scan=Scan(
        slices=7,
        rows=256,
        columns=256,
        pixel_mm=0.75,
        step_mm=5.0,
        thickness_mm=5.0,
        plane_mm=0.625,
        origin_mm=(-95.625, -97.125, 2.5),
        psf_fwhm_mm=1.2,
        noise_hu=9.0,
        seed=20260202,
    ),
)

ALL_STATED = "BI typical, no ca, asymp, solitary, no prior, no agg, no risk"
"""Everything that the rules ask is answered, so the phrase has no condition."""
TYPICAL = "bone island typical, no ca, asymp"
SEVERAL = {
    "A": TYPICAL,
    "B": "sclerotic focus, no ca, asymp",
    "C": "bone island, no ca, asymp, stable 2y",
    "D": "BI typ, no ca, no pain",
}
BARE = "bone island"


# ------------------------------------------------------------------------------------------------- CT


def common(sample: Sample, series: str, series_number: int, description: str) -> Dataset:
    """Patient, study, series and equipment of an object of the sample."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = sample.patient_name, sample.patient_id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = sample.birth_date, sample.sex, sample.age
    ds.StudyInstanceUID, ds.StudyID = sample.uid("study"), sample.study_id
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber = DATE, TIME, f"SYN{sample.study_id}"
    ds.StudyDescription, ds.ReferringPhysicianName = "CT pelvis, synthetic phantom", ""
    ds.SeriesInstanceUID, ds.SeriesNumber = sample.uid(series), series_number
    ds.SeriesDescription, ds.SeriesDate, ds.SeriesTime = description, DATE, TIME
    ds.ContentDate, ds.ContentTime = DATE, TIME
    ds.InstanceCreationDate, ds.InstanceCreationTime = DATE, TIME
    ds.SOPInstanceUID, ds.InstanceNumber = sample.uid(series, 1), 1
    ds.Manufacturer, ds.ManufacturerModelName = "Osteoscribe samples", "Synthetic phantom"
    ds.SoftwareVersions, ds.DeviceSerialNumber = "1", "0"
    return ds


def ct_series(sample: Sample, voxels: np.ndarray) -> list[Dataset]:
    """The CT images, uncompressed."""
    return [_ct_image(sample, k, plane) for k, plane in enumerate(voxels)]


def _ct_image(sample: Sample, k: int, plane: np.ndarray) -> Dataset:
    scan = sample.scan
    ds = common(sample, "ct", 2, sample.description)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, sample.uid("ct", k + 1)
    ds.Modality, ds.InstanceNumber, ds.ImageType = "CT", k + 1, ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.AcquisitionNumber, ds.AcquisitionDate, ds.AcquisitionTime = 1, DATE, TIME
    ds.BodyPartExamined, ds.PatientPosition, ds.PositionReferenceIndicator = "PELVIS", "FFS", ""
    ds.KVP, ds.ConvolutionKernel, ds.XRayTubeCurrent, ds.ExposureTime = 120, sample.kernel, 250, 500
    ds.FrameOfReferenceUID = sample.uid("frame of reference")
    x, y, _ = scan.origin_mm
    z = scan.slice_z_mm(k)
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [x, y, z], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.SliceLocation = [scan.pixel_mm] * 2, scan.thickness_mm, z
    ds.SpacingBetweenSlices = scan.step_mm
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = scan.rows, scan.columns, 16, 12, 11
    ds.PixelRepresentation, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, -STORED_ZERO_HU, 1, "HU"
    ds.WindowCenter, ds.WindowWidth = 400, 1800
    ds.LossyImageCompression = "00"
    ds.PixelData = (plane.astype(np.int32) + STORED_ZERO_HU).astype("<u2").tobytes()
    return ds


# ---------------------------------------------------------------------------------------------- marks


def body_outline(scan: Scan) -> list[tuple[float, float]]:
    """Edge of the reconstructed field, as an external contour drawn on a small field comes out."""
    x, y, _ = scan.origin_mm
    far_x, far_y = x + scan.pixel_mm * (scan.columns - 1), y + scan.pixel_mm * (scan.rows - 1)
    return [(x, y), (far_x, y), (far_x, far_y), (x, far_y)]


def mark_objects(sample: Sample, images: Sequence[Dataset]) -> dict[str, tuple[Dataset, tuple[Mark, ...]]]:
    """Every mark object of a sample, with the marks in it."""
    found: dict[str, tuple[Dataset, tuple[Mark, ...]]] = {}
    scan, islands = sample.scan, {island.name: island for island in sample.anatomy.islands}

    def base(name: str, number: int) -> Dataset:
        return common(sample, name, number, "Lesion marks")

    def tracking(name: str, count: int) -> list[str]:
        return [sample.uid(name, "lesion", i) for i in range(1, count + 1)]

    if sample is PELVIS:
        one = (Mark(islands["A"], ALL_STATED),)
        uids = [sample.uid("seg"), sample.uid("seg", 1), sample.uid("seg", "dimensions"), *tracking("seg", 1)]
        seg = marks.segmentation(one, scan, images, uids, base("seg", 301))
        seg.update({key: value for key, value in base("seg", 301).items() if key.group == 8 and key in seg})
        found["seg.dcm"] = (seg, one)

        every = tuple(Mark(islands[name], label) for name, label in SEVERAL.items())
        found["rtstruct.dcm"] = (
            marks.structure_set(every, body_outline(scan), scan, images, base("rtstruct", 302)),
            every,
        )
        ala = (Mark(islands["C"], TYPICAL),)
        report = marks.standard_report(ala, scan, images, tracking("sr", 1), base("sr", 303))
        found["sr-standard.dcm"] = (report, ala)

        pair = (Mark(islands["A"], TYPICAL), Mark(islands["D"], TYPICAL))
        report = marks.ohif_report(pair[:1], pair[1:], scan, images, tracking("ohif", 2), base("ohif", 304))
        found["sr-ohif.dcm"] = (report, pair)
    else:
        bare = (Mark(islands["E"], BARE),)
        report = marks.ohif_report(bare, (), scan, images, tracking("ohif", 1), base("ohif", 304))
        found["sr-ohif.dcm"] = (report, bare)
    return found


# --------------------------------------------------------------------------------------------- output


def write(ds: Dataset, path: Path, transfer_syntax_uid: str) -> None:
    """Write as a Part 10 file with fixed meta information."""
    ds = pydicom.dcmread(_encoded(ds)) if transfer_syntax_uid == JPEGLSLossless else ds
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax_uid
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.ImplementationClassUID = f"2.25.{uuid.uuid5(NAMESPACE, 'implementation').int}"
    meta.ImplementationVersionName = "OSTEO_SAMPLES"
    if transfer_syntax_uid == JPEGLSLossless:
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
    ds.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def _encoded(ds: Dataset) -> pydicom.filebase.DicomBytesIO:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta = meta
    buffer = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    buffer.seek(0)
    return buffer


def truth_of(sample: Sample, objects: dict[str, tuple[Dataset, tuple[Mark, ...]]]) -> dict[str, object]:
    """What is true of the sample, for ``truth.json``."""
    scan = sample.scan
    islands = {}
    for island in sample.anatomy.islands:
        cuts = [island.section(scan.slice_z_mm(k)) for k in range(scan.slices)]
        lengths = [2 * max(float(np.hypot(*c[1])), float(np.hypot(*c[2]))) for c in cuts if c is not None]
        islands[island.name] = {
            "where": island.where,
            "centre_lps_mm": list(island.centre_mm),
            "axes_mm": [2 * semi for semi in island.semi_axes_mm],
            "longest_diameter_mm": 2 * max(island.semi_axes_mm),
            "longest_in_plane_diameter_mm": round(max(lengths), 4),
            "volume_mm3": round(4 / 3 * math.pi * math.prod(island.semi_axes_mm), 4),
            "hu": island.hu,
            "key_image": marks.key_slice(island, scan) + 1,
        }
    return {
        "series_instance_uid": sample.uid("ct"),
        "pixel_mm": scan.pixel_mm,
        "slice_step_mm": scan.step_mm,
        "slice_thickness_mm": scan.thickness_mm,
        "islands": islands,
        "marks": {
            name: [{"island": mark.island.name, "label": mark.label} for mark in content]
            for name, (_, content) in objects.items()
        },
    }


def generate(out: Path) -> None:
    """Write every sample and ``truth.json``."""
    truth = {}
    for sample in (PELVIS, THICK):
        images = ct_series(sample, acquire(sample.anatomy, sample.scan))
        objects = mark_objects(sample, images)
        for image in images:
            write(image, out / sample.name / "ct" / f"{image.InstanceNumber:03d}.dcm", JPEGLSLossless)
        for name, (ds, _) in objects.items():
            write(ds, out / sample.name / "marks" / name, ExplicitVRLittleEndian)
        truth[sample.name] = truth_of(sample, objects)
    (out / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).resolve().parent, help="folder to write to"
    )
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()
