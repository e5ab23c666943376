"""The key image, read back with pydicom alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from osteoscribe.core.codes import BILATERAL, LEFT, RIGHT
from osteoscribe.errors import InputError
from osteoscribe.writers.document import encode
from osteoscribe.writers.gate import check
from osteoscribe.writers.key_image import build_key_image
from osteoscribe.writers.picture import panel_of, render
from tests.builders_report import ct_series, evidence_for, finding_for, grid_for, report_for
from tests.conftest import Program
from tests.writers import validators
from tests.writers.sr_tree import reread

SERIES = ct_series()


def picture_of(*findings) -> Image.Image:
    slice_hu = np.full((64, 64), 40.0)
    slice_hu[26:34, 36:44] = 976.0
    return render([panel_of(f, grid_for(SERIES), f.lesion.outline.k, slice_hu) for f in findings])


def encoded(*findings, series=SERIES):
    report = report_for(series, findings)
    evidence = evidence_for(series, *dict.fromkeys(f.lesion.mark.source for f in findings))
    written = encode(build_key_image(report, series[0], evidence, picture_of(*findings)))
    check(written, report, series[0], evidence)
    return written


def test_the_pixels_are_those_of_the_picture_and_nothing_can_be_measured():
    finding = finding_for(SERIES)
    ds = reread(encoded(finding))
    np.testing.assert_array_equal(ds.pixel_array, np.asarray(picture_of(finding)))
    assert min(ds.Rows, ds.Columns) >= 1024
    assert (ds.BurnedInAnnotation, ds.ConversionType, ds.Modality) == ("YES", "WSD", "CT")
    assert "PixelSpacing" not in ds
    assert "ot for measurement" in ds.DerivationDescription
    assert [s.ReferencedSOPInstanceUID for s in ds.SourceImageSequence] == [SERIES[1].SOPInstanceUID]


@pytest.mark.parametrize(
    ("sides", "laterality"),
    [((LEFT,), "L"), ((RIGHT, RIGHT), "R"), ((LEFT, RIGHT), "B"), ((BILATERAL,), "B"), ((LEFT, None), None)],
)
def test_the_side_is_that_of_all_lesions_or_not_said(sides, laterality):
    findings = [finding_for(SERIES, number=n, item=f"ROI {n}", side=side) for n, side in enumerate(sides, 1)]
    ds = reread(encoded(*findings))
    assert ds.get("ImageLaterality") == laterality
    assert ("BodyPartExamined" in ds, "Laterality" in ds) == (laterality is not None, laterality is None)


def test_the_same_job_twice_gives_the_same_bytes():
    assert encoded(finding_for(SERIES)) == encoded(finding_for(SERIES))


def test_a_key_image_that_can_be_measured_on_is_refused():
    finding = finding_for(SERIES)
    report = report_for(SERIES, [finding])
    evidence = evidence_for(SERIES, finding.lesion.mark.source)
    ds = build_key_image(report, SERIES[0], evidence, picture_of(finding))
    ds.PixelSpacing = [0.7, 0.7]
    with pytest.raises(InputError, match=r"gate\.attribute-differs"):
        check(encode(ds), report, SERIES[0], evidence)


@pytest.mark.slow
@pytest.mark.parametrize("body_part", ["PELVIS", "KNEE", "HIP", None])
@pytest.mark.parametrize("side", [LEFT, None])
def test_outside_programs_find_nothing(body_part, side, program: Program, tmp_path: Path):
    series = ct_series(BodyPartExamined=body_part)
    file = tmp_path / "key.dcm"
    file.write_bytes(encoded(finding_for(series, side=side), series=series))
    ct = []
    for k, ds in enumerate(series):
        ct.append(tmp_path / f"ct{k}.dcm")
        ct[-1].write_bytes(encode(ds))
    assert validators.dciodvfy(program, file) == []
    assert validators.dcentvfy(program, file, ct) == []
