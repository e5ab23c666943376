"""Site and side in the sentence: from the mark's codes, else from the CT; in the language of the phrases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from osteoscribe.app.practice import Practice, load_practice
from osteoscribe.app.settings import PracticeSettings, load_settings
from osteoscribe.app.sites import load_site_names
from osteoscribe.core import codes
from osteoscribe.errors import SetupError
from tests.builders_marks import coded, item, seg, seg_frame, segment
from tests.builders_report import ct_series
from tests.scene import BENIGN, document, on, outlined, process, said, texts

SITED = "5 mm sclerotic focus in the {}, likely bone island, no further imaging recommended"
PLAIN = "5 mm sclerotic focus, likely bone island, no further imaging recommended"


def practice_of(tmp_path: Path, text: str) -> Practice:
    config = tmp_path / "osteoscribe.toml"
    config.write_text(f"[practice]\n{text}\n")
    return load_practice(load_settings(config).practice)


def region(value: str, meaning: str, side: tuple[str, str] | None = None) -> list[Dataset]:
    found = item(AnatomicRegionSequence=[coded(value, "SCT", meaning)]).AnatomicRegionSequence
    if side:
        found[0].AnatomicRegionModifierSequence = [coded(side[0], "SCT", side[1])]
    return list(found)


def segmented(site: list[Dataset] | None) -> Dataset:
    """A segment 5 mm across: 7 columns of 0.75 mm, 10 rows of 0.5 mm, without their corners."""
    pixels = np.zeros((1, 60, 40), dtype=np.uint8)
    rows, columns = np.mgrid[:60, :40]
    pixels[0] = (((rows - 30) * 0.5) ** 2 + ((columns - 20) * 0.75) ** 2) < 2.45**2
    described = segment(1, BENIGN)
    if site:
        described.AnatomicRegionSequence = site
    return seg(pixels, [seg_frame(0.7, image=2)], [described])


LEFT_ILIUM = region("22356005", "Ilium", ("7771000", "Left"))


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ("", PLAIN),
        ("site_in_phrase = true", SITED.format("left ilium")),
        (
            'site_in_phrase = true\nlanguage = "de"',
            "5 mm großer sklerotischer Herd (Os ilium, links), am ehesten Kompaktainsel, keine weitere "
            "Bildgebung empfohlen",
        ),
    ],
)
def test_site_and_side_of_the_mark_are_named_where_the_site_wants_it(
    settings: str, phrase: str, tmp_path: Path
) -> None:
    ct = ct_series()
    (written,) = process(practice_of(tmp_path, settings), *ct, on(ct, segmented(LEFT_ILIUM))).written
    assert [one.phrase for one in said(written)] == [phrase]
    assert phrase in texts(written, codes.PHRASE, role="text")[0]


@pytest.mark.parametrize(
    ("regions", "place"),
    [
        (region("71341001", "Femur", ("24028007", "Right")), "right femur"),
        (region("122496007", "Lumbar spine"), "lumbar spine"),
        (region("816092008", "Pelvis"), "pelvis"),
        (region("272673000", "Bone"), ""),
        (region("416550000", "Chest, Abdomen and Pelvis"), ""),
        ([*region("421060004", "Spine"), *region("816092008", "Pelvis")], ""),
    ],
)
def test_the_region_of_the_ct_stands_in_where_the_mark_names_no_site(
    regions: list[Dataset], place: str, tmp_path: Path
) -> None:
    practice = practice_of(tmp_path, "site_in_phrase = true")
    ct = ct_series(AnatomicRegionSequence=regions)
    (written,) = process(practice, *ct, on(ct, outlined((BENIGN, 5.0)))).written
    assert [one.phrase for one in said(written)] == [SITED.format(place) if place else PLAIN]
    assert ("anatomic region that the CT names" in texts(written, codes.WHY)[0]) == bool(place)


def test_the_marks_own_site_goes_before_that_of_the_ct(tmp_path: Path) -> None:
    practice = practice_of(tmp_path, "site_in_phrase = true")
    ct = ct_series(AnatomicRegionSequence=region("71341001", "Femur", ("24028007", "Right")))
    (written,) = process(practice, *ct, on(ct, segmented(region("54735007", "Sacrum")))).written
    assert [one.phrase for one in said(written)] == [SITED.format("sacrum")]
    assert "Femur" not in str(document(written).ContentSequence)


def test_a_site_without_a_german_name_is_left_out_of_the_german_sentence(tmp_path: Path) -> None:
    practice = practice_of(tmp_path, 'site_in_phrase = true\nlanguage = "de"')
    ct = ct_series()
    (written,) = process(practice, *ct, on(ct, segmented(region("181422007", "Zehenknochen")))).written
    assert said(written)[0].phrase.startswith("5 mm großer sklerotischer Herd, am ehesten")


def test_every_site_and_side_has_a_german_name() -> None:
    names = load_site_names("de")
    listed = [code for code in codes.SITES.values() if code != codes.BONE]
    assert all(names.of(code) for code in (*listed, *codes.LATERALITIES))
    assert names.of(codes.BONE) == "" == load_site_names("en").of(codes.BONE)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (PracticeSettings(language="fr"), r"rules\."),
        (PracticeSettings(language="../de"), "rules.unknown-language"),
    ],
)
def test_a_language_without_words_does_not_start(settings: PracticeSettings, code: str) -> None:
    with pytest.raises(SetupError, match=code):
        load_practice(settings)


def test_a_language_without_names_of_sites_does_not_start() -> None:
    with pytest.raises(SetupError, match=r"sites.unreadable"):
        load_site_names("fr")
