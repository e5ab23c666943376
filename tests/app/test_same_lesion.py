"""One lesion marked more than once: every mark is measured, the report says so, and it counts once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydicom import Dataset

from osteoscribe.app.pipeline import Outcome
from osteoscribe.app.practice import Practice
from tests.builders_marks import group, image_item, region, report, seg, seg_frame, segment, tracking
from tests.builders_report import SPACING_MM, ct_series
from tests.scene import BENIGN, on, process

SAME = "Marks the same lesion as Lesion 1: counted once."


@pytest.fixture
def ct() -> list[Dataset]:
    return ct_series()


def segmented() -> Dataset:
    """A segment about 5 mm across, around (15, 15) mm of the second image."""
    pixels = np.zeros((1, 60, 40), dtype=np.uint8)
    rows, columns = np.mgrid[:60, :40]
    pixels[0] = (((rows - 30) * 0.5) ** 2 + ((columns - 20) * 0.75) ** 2) < 2.45**2
    return seg(pixels, [seg_frame(0.7, image=2)], [segment(1, BENIGN)])


def outlined(*drawn: tuple[int, float, float], uid: str | None = None) -> Dataset:
    """An SR with an ellipse of 6.5 x 9.5 pixels for each image, column and row, under one tracking UID."""
    groups = []
    for number, (image, column, row) in enumerate(drawn):
        ends = [column - 3.3, row, column + 3.3, row, column, row - 4.8, column, row + 4.8]
        named = tracking(BENIGN, uid or f"1.2.3.7.{number + 1}")
        groups.append(group(*named, region("ELLIPSE", ends, image_item(image))))
    return report(*groups)


def remarks(outcome: Outcome) -> list[Sequence[str]]:
    (written,) = outcome.written
    return [
        [one for one in finding.lesion.mark.remarks if one.startswith("Marks the same")]
        for finding in written.report.findings
    ]


def counted(outcome: Outcome) -> set[str]:
    (written,) = outcome.written
    return {finding.facts.facts.multiplicity.value for finding in written.report.findings}


def test_a_lesion_sent_as_segment_and_as_outline_counts_once(practice: Practice, ct: list[Dataset]) -> None:
    there = 15 / SPACING_MM + 0.5
    outcome = process(practice, *ct, on(ct, segmented(), 1), on(ct, outlined((2, there, there)), 2))
    assert outcome.all_problems == ()
    assert remarks(outcome) == [[], [SAME]]
    assert counted(outcome) == {"solitary"}
    assert SAME.encode() in next(one.encoded for one in outcome.written[0].objects if one.role == "sr")


def test_groups_of_one_tracking_uid_on_neighbouring_images_are_one_lesion(
    practice: Practice, ct: list[Dataset]
) -> None:
    groups = ((1, 20.5, 30.5), (2, 20.5, 30.5), (3, 20.5, 30.5))
    outcome = process(practice, *ct, on(ct, outlined(*groups, uid="1.2.3.7.7")))
    assert remarks(outcome) == [[], [SAME], [SAME]]
    assert counted(outcome) == {"solitary"}


@pytest.mark.parametrize("uid", [None, "1.2.3.7.7"])
def test_lesions_side_by_side_are_two_even_under_one_tracking_uid(
    practice: Practice, ct: list[Dataset], uid: str | None
) -> None:
    outcome = process(practice, *ct, on(ct, outlined((2, 10.5, 12.5), (2, 30.5, 45.5), uid=uid)))
    assert remarks(outcome) == [[], []]
    assert counted(outcome) == {"multiple"}


def test_two_long_segments_side_by_side_are_two_lesions(practice: Practice, ct: list[Dataset]) -> None:
    """Their centres are nearer than half their length, and they share no voxel."""
    pixels = np.zeros((2, 60, 40), dtype=np.uint8)
    pixels[0, 10:50, 14:18] = 1
    pixels[1, 10:50, 20:24] = 1
    frames = [seg_frame(0.7, number, image=2) for number in (1, 2)]
    segments = [segment(number, BENIGN) for number in (1, 2)]
    outcome = process(practice, *ct, on(ct, seg(pixels, frames, segments), 1))
    assert remarks(outcome) == [[], []]
    assert counted(outcome) == {"multiple"}
