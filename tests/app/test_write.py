"""Which objects a site's settings make of one report."""

from __future__ import annotations

import pytest

from osteoscribe.bootstrap.files import process_paths

BASIC_TEXT, COMPREHENSIVE = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.33"
COMPREHENSIVE_3D = "1.2.840.10008.5.1.4.1.1.88.34"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("practice", "expected"),
    [
        ("", {"sr": COMPREHENSIVE_3D, "text": BASIC_TEXT}),
        ('profile = "comprehensive"', {"sr": COMPREHENSIVE, "text": BASIC_TEXT}),
        ('profile = "text-only"', {"text": BASIC_TEXT}),
        (
            "text_companion = false\nkey_image = true",
            {"sr": COMPREHENSIVE_3D, "key-image": SECONDARY_CAPTURE},
        ),
    ],
)
def test_the_settings_choose_the_objects(practice, expected, project, tmp_path):
    config = tmp_path / "osteoscribe.toml"
    config.write_text(f"[practice]\n{practice}\n")
    sample = project / "dicom_samples" / "pelvis"
    outcome = process_paths([sample / "ct", sample / "marks" / "rtstruct.dcm"], config=config)
    (written,) = outcome.written
    assert {one.role: one.sop_class_uid for one in written.objects} == expected
    assert written.quarantined == ()
