"""Which ROIs are lesion marks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from osteoscribe.core.answers import Answers
from osteoscribe.core.codes import Code
from osteoscribe.core.labels import (
    LabelRules,
    LeftOut,
    Selected,
    SitePolicy,
    answers_from_codes,
    answers_from_label,
    select,
)
from osteoscribe.core.marks import RoiMark, UnreadableMark

Build = Callable[..., RoiMark]

TISSUE = Code(value="85756007", scheme="SCT", meaning="Tissue")
TISSUE_SRT = Code(value="T-D0050", scheme="SRT", meaning="Tissue")
BONE = Code(value="272673000", scheme="SCT", meaning="Bone")
ANATOMY = Code(value="123037004", scheme="SCT", meaning="Anatomical Structure")
T12 = Code(value="23215003", scheme="SCT", meaning="T12 vertebra")
ABNORMAL = Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure")
EDEMA = Code(value="79654002", scheme="SCT", meaning="Edema")
MASS_SRT = Code(value="M-03000", scheme="SRT", meaning="Mass")


@pytest.mark.parametrize(
    "label",
    [
        "sclerotic lesion",
        "Bone Island",
        "enostosis",
        "BI",
        "BI typical, no ca, asymp",
        "Knocheninsel Os ilium",
        "Skleroseherd",
        "lesion 1",
        "Läsion2",
        "îlot condensant T12",
        "islote óseo",
        "isola ossea",
        "boteiland",
        "ilhota óssea",
        "wyspa kostna",
        "GTV-1",
        "GTV_Mass_CT",
        "T12 metastasis",
    ],
)
def test_a_name_of_a_lesion_makes_a_mark_in_every_dialect(label: str, mark: Build, rules: LabelRules) -> None:
    for dialect in ("SEG binary", "RTSTRUCT", "SR TID 1500", "GSPS"):
        assert isinstance(select(mark(label, dialect), rules), Selected)


@pytest.mark.parametrize(
    "label",
    [
        "Liver",
        "Leber",
        "BODY",
        "External",
        "couch",
        "Spinal-Cord",
        "Lung-Left",
        "PTV 50",
    ],
)
def test_a_name_of_anatomy_or_a_device_is_left_out_with_the_reason(
    label: str, mark: Build, rules: LabelRules
) -> None:
    for dialect in ("SEG binary", "RTSTRUCT", "SR TID 1500"):
        found = select(mark(label, dialect), rules)
        assert isinstance(found, LeftOut)
        assert "its label has" in found.reason


@pytest.mark.parametrize("label", ["T12", "Rib L7", "left ilium", "Wirbel", "L5"])
def test_the_name_of_a_bone_is_the_bone_on_a_segment_and_a_place_on_a_measurement(
    label: str, mark: Build, rules: LabelRules
) -> None:
    for dialect in ("SEG binary", "RTSTRUCT"):
        found = select(mark(label, dialect), rules)
        assert isinstance(found, LeftOut)
        assert "names a bone" in found.reason
    for dialect in ("SR TID 1500 (OHIF)", "GSPS"):
        assert isinstance(select(mark(label, dialect), rules), Selected)


def test_a_code_of_a_lesion_goes_before_a_name_of_anatomy(mark: Build, rules: LabelRules) -> None:
    for label in ("T12", "Liver"):
        assert isinstance(select(mark(label, codes=(ABNORMAL, MASS_SRT)), rules), Selected)
    vertebra = Code("51282000", "SCT", "Vertebra")
    assert isinstance(select(mark("T12", "SR TID 1500", codes=(vertebra,)), rules), LeftOut)


@pytest.mark.parametrize("label", ["tibial plateau mark", "obit", "tibia"])
def test_bi_is_only_taken_as_a_word_of_its_own(label: str, mark: Build, rules: LabelRules) -> None:
    found = select(mark(label), rules)
    assert not (isinstance(found, Selected) and "'bi'" in found.why)


@pytest.mark.parametrize(
    ("codes", "is_mark"),
    [
        ((ANATOMY, T12), False),
        ((TISSUE, BONE), False),
        ((TISSUE, EDEMA), False),
        ((ABNORMAL, EDEMA), True),
        ((MASS_SRT,), True),
        ((Code(value="T-62000", scheme="SRT", meaning="Liver"),), False),
        ((TISSUE, TISSUE), True),
        ((TISSUE_SRT, TISSUE_SRT), True),
        ((), True),
    ],
)
def test_codes_decide_where_the_name_says_nothing(
    codes: tuple[Code, ...], is_mark: bool, mark: Build, rules: LabelRules
) -> None:
    found = select(mark("Segment 1", codes=codes), rules)
    assert isinstance(found, Selected) is is_mark


def test_a_segment_with_the_codes_that_viewers_write_unasked_needs_a_generic_name(
    mark: Build, rules: LabelRules
) -> None:
    assert isinstance(select(mark("Segment_3", codes=(TISSUE, TISSUE)), rules), Selected)
    assert isinstance(select(mark("GREEN", codes=(TISSUE, TISSUE)), rules), LeftOut)


@pytest.mark.parametrize(
    ("label", "interpreted_type", "is_mark"),
    [
        ("GTV-1", "ORGAN", True),
        ("nod_left", "GTV", True),
        ("Liver", "GTV", True),
        ("xyz", "ORGAN", False),
        ("xyz", "EXTERNAL", False),
        ("xyz", "SUPPORT", False),
        ("xyz", "AVOIDANCE", False),
        ("xyz", "PTV", False),
        ("ROI-1", "", True),
        ("xyz", "", False),
        ("ROI-1", "organ", False),
    ],
)
def test_rt_interpreted_types(
    label: str, interpreted_type: str, is_mark: bool, mark: Build, rules: LabelRules
) -> None:
    found = select(mark(label, "RTSTRUCT", interpreted_type=interpreted_type), rules)
    assert isinstance(found, Selected) is is_mark


def test_a_measurement_of_a_radiologist_is_a_mark_unless_it_says_otherwise(
    mark: Build, rules: LabelRules
) -> None:
    aorta = Code(value="15825003", scheme="SCT", meaning="Aorta")
    for label in ("", "Measurements group 1", "5b6eb4301d3175942d29985a3d0fbb00", "{length}"):
        assert isinstance(select(mark(label, "SR TID 1500 (OHIF)"), rules), Selected)
    assert isinstance(select(mark("Aorta0001", "SR TID 1500", codes=(aorta,)), rules), LeftOut)


def test_label_patterns_alone_decide(mark: Build, rules: LabelRules) -> None:
    asked = ("gtv*", "t1?")
    assert isinstance(select(mark("T12", codes=(ANATOMY, T12)), rules, label_patterns=asked), Selected)
    assert isinstance(select(mark("GTV-1", "RTSTRUCT"), rules, label_patterns=asked), Selected)
    left = select(mark("bone island"), rules, label_patterns=asked)
    assert isinstance(left, LeftOut)
    assert "'gtv*'" in left.reason
    assert isinstance(select(mark("lesion [2]"), rules, label_patterns=("LESION [2]",)), Selected)


@given(label=st.text(max_size=30))
def test_the_star_takes_every_roi(label: str, mark: Build, rules: LabelRules) -> None:
    assert isinstance(
        select(mark(label, interpreted_type="EXTERNAL"), rules, label_patterns=("*",)), Selected
    )


def test_a_policy_can_take_every_roi_of_a_calling_ae(mark: Build, rules: LabelRules) -> None:
    policy = SitePolicy(calling_ae="BONE_ROUTE", all_rois_are_marks=True)
    found = select(mark("Liver"), rules, policy)
    assert isinstance(found, Selected)
    assert "BONE_ROUTE" in found.why


def test_an_unreadable_roi_is_left_out_by_its_name_too(mark: Build, rules: LabelRules) -> None:
    source = mark().source
    unreadable = UnreadableMark(
        label="Liver", source=source, item="ROI 2", dialect="RTSTRUCT", code="roi.empty", message="no contour"
    )
    assert isinstance(select(unreadable, rules), LeftOut)
    assert isinstance(select(replace(unreadable, label="lesion"), rules), Selected)


def test_an_roi_taken_by_pattern_has_no_answer_from_that(mark: Build, rules: LabelRules) -> None:
    taken = mark("T12", codes=(ANATOMY, T12))
    assert answers_from_label(taken.label, rules).answers == Answers()
    assert answers_from_codes(taken.property_codes, rules).answers == Answers()


@given(
    label=st.text(max_size=40), dialect=st.sampled_from(["SEG binary", "RTSTRUCT", "SR", "GSPS", "", "Horos"])
)
def test_every_roi_is_selected_or_left_out_with_words(
    label: str, dialect: str, mark: Build, rules: LabelRules
) -> None:
    found = select(mark(label, dialect), rules)
    assert (found.why if isinstance(found, Selected) else found.reason).strip()


def _codes(items: object) -> tuple[Code, ...]:
    return tuple(
        Code(value=c.CodeValue, scheme=c.CodingSchemeDesignator, meaning=c.CodeMeaning) for c in items or ()
    )


def _segments(ds: Dataset) -> list[tuple[str, tuple[Code, ...]]]:
    return [
        (
            s.SegmentLabel,
            _codes(s.SegmentedPropertyCategoryCodeSequence) + _codes(s.SegmentedPropertyTypeCodeSequence),
        )
        for s in ds.SegmentSequence
    ]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "marks"),
    [
        ("totalseg-ct-bones/bones.seg.dcm", ()),
        ("dcmqi-ct-liver-spine/seg/liver.dcm", ()),
        ("dcmqi-ct-liver-spine/seg/slicer_seg.dcm", ("Segmentation",)),
        ("dcmqi-ct-liver-spine/seg/partial_overlaps.dcm", ("LIGHT_BLUE",)),
        ("mini-ct-multiframe/label.seg.dcm", ()),
        ("sr-writers/iowa_petct/seg.dcm", ("Neoplasm, Primary",)),
        ("highdicom-small/ct_small/seg_binary_single_frame.dcm", ()),
        ("ibsi-digital-phantom/dicom_deprecated/mask_seg.dcm", ("ROI",)),
    ],
)
def test_segments_of_real_files(
    file: str, marks: tuple[str, ...], shared_data: Path, mark: Build, rules: LabelRules
) -> None:
    ds = pydicom.dcmread(shared_data / file, stop_before_pixels=True)
    found = [
        label
        for label, codes in _segments(ds)
        if isinstance(select(mark(label, codes=codes), rules), Selected)
    ]
    assert tuple(found) == marks


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "marks"),
    [
        ("lung1-001-aria/rtstruct.dcm", ("GTV-1",)),
        ("ibsi-ct-phantom/rtstruct.dcm", ("GTV-1",)),
        ("sts-ct-rtstruct/STS_002/rtstruct.dcm", ("GTV_Mass_CT",)),
        ("rtstruct-writers/rt-utils-phantom/rtutils_rtstruct.dcm", ("ROI-1",)),
    ],
)
def test_rois_of_real_structure_sets(
    file: str, marks: tuple[str, ...], shared_data: Path, mark: Build, rules: LabelRules
) -> None:
    ds = pydicom.dcmread(shared_data / file)
    types = {o.ReferencedROINumber: o.RTROIInterpretedType or "" for o in ds.RTROIObservationsSequence}
    found = [
        roi.ROIName
        for roi in ds.StructureSetROISequence
        if isinstance(
            select(mark(roi.ROIName, "RTSTRUCT", interpreted_type=types[roi.ROINumber]), rules), Selected
        )
    ]
    assert tuple(found) == marks
