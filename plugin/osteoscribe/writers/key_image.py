"""The key image: a Secondary Capture of the picture of a report, for viewers that show no SR."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from pydicom import Dataset

from osteoscribe.core import codes
from osteoscribe.core.report import Report
from osteoscribe.writers import uids, wording
from osteoscribe.writers.content import clean
from osteoscribe.writers.copying import copy_attributes
from osteoscribe.writers.document import DocumentKind, Evidence, named_by, new_object
from osteoscribe.writers.profiles import STANDARD, Profile

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SERIES_NUMBER = 9804
SERIES_DESCRIPTION = "Bone lesion key image"
LONGEST_TEXT = 1024
"""Characters of a short text (PS3.5 6.2)."""

_SIDES = {codes.LEFT.value: "L", codes.RIGHT.value: "R", codes.BILATERAL.value: "B"}


def build_key_image(
    report: Report,
    context: Dataset,
    evidence: Sequence[Evidence],
    picture: Image.Image,
    profile: Profile = STANDARD,
) -> Dataset:
    """The key image of a report, in a series of its own.

    It has no pixel spacing, so that nobody measures on it.

    Parameters
    ----------
    report, context, evidence, profile
        As for `osteoscribe.writers.sr.build_sr`; the slices with outlines become its source images.
    picture
        RGB, from `osteoscribe.writers.picture.render`.

    Returns
    -------
    Dataset
        Complete but for its file meta information.

    Raises
    ------
    ValueError
        Where `report` has no finding.

    References
    ----------
    PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1, C.8.6
    """
    if not report.findings:
        raise ValueError("a report without findings has no key image")
    kind = DocumentKind(
        sop_class_uid=SECONDARY_CAPTURE,
        sop_instance_uid=uids.key_image_uid(report, profile.variant),
        series_kind="key image",
        series_number=SERIES_NUMBER + profile.series_offset,
        series_description=SERIES_DESCRIPTION,
        variant=profile.variant,
    )
    ds = new_object(report, context, kind)
    # The modality of what it shows: so scanners file their own pages of text among the CT images too.
    ds.Modality = "CT"
    ds.ConversionType = "WSD"
    _describe_image(ds, report)
    _set_side(ds, report, context)
    _cite_sources(ds, report, evidence)
    _set_pixels(ds, picture)
    return ds


def _describe_image(ds: Dataset, report: Report) -> None:
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.PatientOrientation = ""
    ds.BurnedInAnnotation = "YES"
    ds.RecognizableVisualFeatures = "NO"
    ds.LossyImageCompression = "00"
    ds.DerivationDescription = "CT slice in a bone window with outline, axes and words. Not for measurement."
    ds.ImageComments = clean(f"{wording.summary(report)}\n{wording.DISCLAIMER}")[:LONGEST_TEXT]


def _set_side(ds: Dataset, report: Report, context: Dataset) -> None:
    """Body part and side where all sides are known, else an empty side of no body part (PS3.3 C.7.3.1)."""
    sides = {finding.lesion.mark.laterality for finding in report.findings}
    letters = {_SIDES.get(side.value, "") if side else "" for side in sides}
    if letters <= {"L", "R", "B"}:
        copy_attributes(context, ds, ("BodyPartExamined",))
        ds.ImageLaterality = letters.pop() if len(letters) == 1 else "B"
    else:
        ds.Laterality = ""


def _cite_sources(ds: Dataset, report: Report, evidence: Sequence[Evidence]) -> None:
    cited = named_by(evidence)
    sources = []
    for image in dict.fromkeys(finding.lesion.image for finding in report.findings):
        if image.sop_instance_uid in cited:
            source = Dataset()
            source.ReferencedSOPClassUID = image.sop_class_uid
            source.ReferencedSOPInstanceUID = image.sop_instance_uid
            if image.frame_number is not None:
                source.ReferencedFrameNumber = image.frame_number
            sources.append(source)
    ds.SourceImageSequence = sources


def _set_pixels(ds: Dataset, picture: Image.Image) -> None:
    rgb = picture.convert("RGB")
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = rgb.height, rgb.width
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    pixels = rgb.tobytes()
    ds.PixelData = pixels + b"\0" * (len(pixels) % 2)
    ds["PixelData"].VR = "OB"
