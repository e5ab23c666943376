"""The reader is picked by SOP class; what is no mark is listed, what is unknown says what would do."""

from __future__ import annotations

import pytest

from osteoscribe.core.marks import IgnoredMark, RoiMark
from osteoscribe.errors import InputError
from osteoscribe.readers.marks import DOCUMENTS, MARK_SOP_CLASSES, UNREAD, is_own_report, read_marks
from tests.builders_marks import CT, GSPS, RTSTRUCT, SEG, group, item, mark_object, region, report

OUTLINE = region("POLYLINE", [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 1.0])


def test_the_reader_goes_by_the_sop_class() -> None:
    (mark,) = read_marks(report(group(OUTLINE)))
    assert isinstance(mark, RoiMark)
    assert {SEG, RTSTRUCT, GSPS} < MARK_SOP_CLASSES
    assert not MARK_SOP_CLASSES & DOCUMENTS.keys()


@pytest.mark.parametrize("sop_class_uid", DOCUMENTS)
def test_documents_of_a_study_are_no_marks(sop_class_uid: str) -> None:
    (mark,) = read_marks(mark_object(sop_class_uid))
    assert isinstance(mark, IgnoredMark)


@pytest.mark.parametrize("sop_class_uid", [CT, *UNREAD, ""])
def test_an_unsupported_object_says_what_came_and_what_would_do(sop_class_uid: str) -> None:
    with pytest.raises(InputError) as caught:
        read_marks(mark_object(sop_class_uid))
    assert caught.value.code == "mark.unsupported"
    assert (sop_class_uid or "unknown") in caught.value.message
    assert "RT Structure Set" in caught.value.message


@pytest.mark.parametrize(
    "elements",
    [
        {"ManufacturerModelName": "Osteoscribe"},
        {"CodingSchemeIdentificationSequence": [item(CodingSchemeDesignator="99OSTEOSCRIBE")]},
    ],
)
def test_our_own_reports_are_never_marks(elements: dict[str, object]) -> None:
    ours = report(group(OUTLINE), **elements)
    assert is_own_report(ours)
    (mark,) = read_marks(ours)
    assert isinstance(mark, IgnoredMark)
    assert not is_own_report(report(group(OUTLINE), Manufacturer="Other"))
