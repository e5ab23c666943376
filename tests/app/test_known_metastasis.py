"""A known metastasis: measurements over time without a conclusion, and the panel where a site wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from osteoscribe.app.practice import Practice, load_practice
from osteoscribe.app.references import load_reference_panel
from osteoscribe.app.settings import load_settings
from osteoscribe.app.write import Written
from osteoscribe.core import codes
from osteoscribe.core.serial import StoredLesion
from tests.builders_report import ct_series
from tests.scene import on, outlined, process, said, texts

KNOWN = "known metastasis, sclerotic"
SENTENCE = (
    "Rising density may be healing, flare or progression; falling density may be response or lysis. "
    "No response category is assigned."
)


def study(
    practice: Practice,
    day: str,
    mm: float,
    earlier: Sequence[StoredLesion] = (),
    *,
    label: str = KNOWN,
    hu: int = 0,
    **ct_elements: object,
) -> Written:
    """One examination of the lesion, its voxels moved by `hu`."""
    ct = ct_series(study=day, StudyDate=day, FrameOfReferenceUID="1.2.3.66", **ct_elements)
    for ds in ct:
        ds.PixelData = (np.frombuffer(ds.PixelData, dtype="<i2") + hu).astype("<i2").tobytes()
        ds["PixelData"].VR = "OW"
    outcome = process(practice, *ct, on(ct, outlined((label, mm))), earlier=lambda _patient: earlier)
    assert outcome.all_problems == ()
    (written,) = outcome.written
    assert written.quarantined == ()
    return written


@pytest.mark.parametrize("role", ["sr", "text"])
def test_serial_examinations_stand_side_by_side(role: str, practice: Practice) -> None:
    first = study(practice, "20240105", 10.0, ConvolutionKernel="B70f")
    second = study(practice, "20240705", 9.0, first.lesions, hu=100, ConvolutionKernel="B70f")
    third = study(practice, "20260105", 11.5, [*first.lesions, *second.lesions], hu=-50, KVP="100")
    (text,) = texts(third, codes.SERIAL, role)
    lines = text.splitlines()
    means = [one.lesions[0].mean_hu for one in (first, second, third)]
    assert lines[0] == "Lesion 1:"
    assert [line.split(":")[0] for line in lines[1:4]] == ["2024-01-05", "2024-07-05", "2026-01-05"]
    for line, mm, mean in zip(lines[1:4], (10, 9, 11.5), means, strict=True):
        assert f"long axis {mm:g} mm; mean HU {mean:.0f}; slice thickness 0.7 mm" in line
    assert lines[4].startswith("2024-01-05 to 2024-07-05: difference of the long axis -1.0 mm;")
    assert lines[5].startswith("2024-07-05 to 2026-01-05: difference of the long axis +2.5 mm;")
    assert f"of the mean HU {means[2] - means[1]:+.0f}" in lines[5]
    assert "not known to match (contrast not recorded)" in lines[4]
    assert "did not match (kVp 120 and 100; kernel not recorded; contrast not recorded)" in lines[5]
    assert lines[6:] == [SENTENCE]
    assert "stable" not in str(texts(third, codes.WHY, role))


def test_hu_over_time_changes_neither_rule_nor_phrase(practice: Practice) -> None:
    first = study(practice, "20240105", 10.0)
    brighter = [replace(one, mean_hu=type(one.mean_hu)(-900.0)) for one in first.lesions if one.mean_hu]
    plain, odd = (study(practice, "20260105", 10.0, earlier) for earlier in (first.lesions, brighter))
    assert said(plain) == said(odd)
    assert texts(plain, codes.WHY) == texts(odd, codes.WHY)
    assert texts(plain, codes.SERIAL) != texts(odd, codes.SERIAL)


def test_nothing_serial_is_printed_of_other_lesions_or_without_an_earlier_one(practice: Practice) -> None:
    first = study(practice, "20240105", 10.0)
    assert texts(first, codes.SERIAL) == []
    other = study(practice, "20260105", 10.0, first.lesions, label="BI typical, no ca")
    assert texts(other, codes.SERIAL) == []
    assert SENTENCE not in str(texts(other, codes.WHY))


@pytest.mark.parametrize(("setting", "printed"), [("false", False), ("true", True)])
def test_the_panel_is_in_the_report_where_the_site_wants_it(
    setting: str, printed: bool, tmp_path: Path
) -> None:
    config = tmp_path / "osteoscribe.toml"
    config.write_text(f"[practice]\nreference_panel = {setting}\n")
    practice = load_practice(load_settings(config).practice)
    panel = load_reference_panel()
    written = study(practice, "20240105", 10.0)
    assert [one.rule for one in said(written)] == ["X1"]
    for role in ("sr", "text"):
        found = texts(written, codes.REFERENCE_PANEL, role)
        assert len(found) == printed
        for text in found:
            assert all(sentence in text for sentence in panel.purpose)
            assert all(source.text in text for source in panel.sources)
            assert SENTENCE in text
            assert "10.1001/jama.2016.19425" in text
    assert texts(study(practice, "20240105", 10.0, label="BI typical, no ca"), codes.REFERENCE_PANEL) == []
