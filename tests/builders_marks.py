"""Small mark objects, built element by element, for the tests of the readers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
GSPS = "1.2.840.10008.5.1.4.1.1.11.1"
KEY_OBJECT = "1.2.840.10008.5.1.4.1.1.88.59"
SERIES = "1.2.3.4.5"
FRAME_OF_REFERENCE = "1.2.3.4.6"


def image_uid(number: int) -> str:
    return f"{SERIES}.{number}"


def item(**elements: object) -> Dataset:
    ds = Dataset()
    with warnings.catch_warnings():
        # Viewers write values that the standard does not allow; pydicom only warns.
        warnings.simplefilter("ignore")
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
    return ds


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def reference(number: int = 1, *, sop_class_uid: str = CT, **more: object) -> Dataset:
    return item(ReferencedSOPClassUID=sop_class_uid, ReferencedSOPInstanceUID=image_uid(number), **more)


def mark_object(sop_class_uid: str, **elements: object) -> Dataset:
    ds = item(SOPClassUID=sop_class_uid, SOPInstanceUID="1.2.3.9", **elements)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def segment(number: int, label: str = "Lesion", **elements: object) -> Dataset:
    return item(
        SegmentNumber=number,
        SegmentLabel=label,
        SegmentedPropertyCategoryCodeSequence=[coded("49755003", "SCT", "Morphologically Altered Structure")],
        SegmentedPropertyTypeCodeSequence=[coded("52988006", "SCT", "Lesion")],
        **elements,
    )


def seg_frame(z: float, number: int | None = 1, *, x: float = 0.0, image: int | None = None) -> Dataset:
    frame = item(PlanePositionSequence=[item(ImagePositionPatient=[x, 0.0, z])])
    if number is not None:
        frame.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=number)]
    if image is not None:
        frame.DerivationImageSequence = [item(SourceImageSequence=[reference(image)])]
    return frame


def seg(
    pixels: np.ndarray,
    frames: Sequence[Dataset],
    segments: Sequence[Dataset],
    *,
    kind: str = "BINARY",
    step: float | None = 2.0,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    **elements: object,
) -> Dataset:
    """A segmentation with pixels (frames, rows, columns); 0.5 mm rows, 0.75 mm columns."""
    measures = item(PixelSpacing=[0.5, 0.75], SliceThickness=3.0)
    if step is not None:
        measures.SpacingBetweenSlices = step
    bits = 1 if kind == "BINARY" else 8
    ds = mark_object(
        LABEL_MAP if kind == "LABELMAP" else SEG,
        SegmentationType=kind,
        FrameOfReferenceUID=FRAME_OF_REFERENCE,
        Rows=pixels.shape[1],
        Columns=pixels.shape[2],
        NumberOfFrames=pixels.shape[0],
        SamplesPerPixel=1,
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=0,
        PhotometricInterpretation="MONOCHROME2",
        SegmentSequence=list(segments),
        SharedFunctionalGroupsSequence=[
            item(
                PixelMeasuresSequence=[measures],
                PlaneOrientationSequence=[item(ImageOrientationPatient=list(orientation))],
            )
        ],
        PerFrameFunctionalGroupsSequence=list(frames),
        ReferencedSeriesSequence=[
            item(SeriesInstanceUID=SERIES, ReferencedInstanceSequence=[reference(n) for n in (1, 2, 3)])
        ],
        PixelData=pack_bits(pixels.astype(np.uint8)) if bits == 1 else pixels.astype(np.uint8).tobytes(),
        **elements,
    )
    ds["PixelData"].VR = "OB"
    return ds


def contour(
    points: Sequence[Sequence[float]], kind: str = "CLOSED_PLANAR", image: int | None = None
) -> Dataset:
    flat = [float(x) for point in points for x in point]
    drawn = item(ContourGeometricType=kind, NumberOfContourPoints=len(points), ContourData=flat)
    if image is not None:
        drawn.ContourImageSequence = [reference(image)]
    return drawn


def rtstruct(*rois: tuple[str, Sequence[Dataset]], interpreted_type: str = "") -> Dataset:
    """A structure set; ROIs are numbered from 1."""
    return mark_object(
        RTSTRUCT,
        ReferencedFrameOfReferenceSequence=[
            item(
                FrameOfReferenceUID=FRAME_OF_REFERENCE,
                RTReferencedStudySequence=[item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=SERIES)])],
            )
        ],
        StructureSetROISequence=[
            item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=FRAME_OF_REFERENCE)
            for n, (name, _) in enumerate(rois, 1)
        ],
        ROIContourSequence=[
            item(ReferencedROINumber=n, ContourSequence=list(contours))
            for n, (_, contours) in enumerate(rois, 1)
        ],
        RTROIObservationsSequence=[
            item(ReferencedROINumber=n, RTROIInterpretedType=interpreted_type) for n, _ in enumerate(rois, 1)
        ],
    )


def content(
    value_type: str,
    concept: tuple[str, str, str] | None = None,
    children: Sequence[Dataset] = (),
    relationship: str = "CONTAINS",
    **elements: object,
) -> Dataset:
    ds = item(RelationshipType=relationship, ValueType=value_type, **elements)
    if concept is not None:
        ds.ConceptNameCodeSequence = [coded(*concept)]
    if children:
        ds.ContentSequence = list(children)
    return ds


def image_item(number: int = 1, *, sop_class_uid: str = CT, **more: object) -> Dataset:
    return content(
        "IMAGE",
        relationship="SELECTED FROM",
        ReferencedSOPSequence=[reference(number, sop_class_uid=sop_class_uid, **more)],
    )


def scoord(
    graphic_type: str,
    data: Sequence[float],
    *,
    concept: tuple[str, str, str] | None = None,
    relationship: str = "INFERRED FROM",
    image: Dataset | None = None,
) -> Dataset:
    return content(
        "SCOORD",
        concept,
        [image_item() if image is None else image],
        relationship,
        GraphicType=graphic_type,
        GraphicData=list(data),
    )


def scoord3d(graphic_type: str, data: Sequence[float]) -> Dataset:
    return content(
        "SCOORD3D",
        REGION,
        GraphicType=graphic_type,
        GraphicData=list(data),
        ReferencedFrameOfReferenceUID=FRAME_OF_REFERENCE,
    )


REGION = ("111030", "DCM", "Image Region")
LENGTH = ("G-D7FE", "SRT", "Length")
LONG_AXIS = ("G-A185", "SRT", "Long Axis")
SHORT_AXIS = ("G-A186", "SRT", "Short Axis")
AREA = ("42798000", "SCT", "Area")


def region(graphic_type: str, data: Sequence[float], image: Dataset | None = None) -> Dataset:
    return scoord(graphic_type, data, concept=REGION, relationship="CONTAINS", image=image)


def num(concept: tuple[str, str, str], *children: Dataset, value: float | None = 1.0) -> Dataset:
    ds = content("NUM", concept, children)
    ds.MeasuredValueSequence = [] if value is None else [item(NumericValue=str(value))]
    return ds


def tracking(name: str, uid: str = "1.2.3.7") -> list[Dataset]:
    return [
        content(
            "TEXT", ("112039", "DCM", "Tracking Identifier"), relationship="HAS OBS CONTEXT", TextValue=name
        ),
        content(
            "UIDREF", ("112040", "DCM", "Tracking Unique Identifier"), relationship="HAS OBS CONTEXT", UID=uid
        ),
    ]


def group(*children: Dataset) -> Dataset:
    return content("CONTAINER", ("125007", "DCM", "Measurement Group"), children)


def report(*groups: Dataset, context: Sequence[Dataset] = (), **elements: object) -> Dataset:
    return mark_object(
        ENHANCED_SR,
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[coded("126000", "DCM", "Imaging Measurement Report")],
        ContentTemplateSequence=[item(MappingResource="DCMR", TemplateIdentifier="1500")],
        ContentSequence=[
            *context,
            content("CONTAINER", ("126010", "DCM", "Imaging Measurements"), groups),
        ],
        CurrentRequestedProcedureEvidenceSequence=[
            item(
                ReferencedSeriesSequence=[
                    item(SeriesInstanceUID=SERIES, ReferencedSOPSequence=[reference(n) for n in (1, 2, 3)])
                ]
            )
        ],
        **elements,
    )
