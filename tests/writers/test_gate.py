"""The gate: good documents pass, a document with any planted fault does not."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from io import BytesIO

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from osteoscribe.core.codes import Code
from osteoscribe.core.report import Ignored, Problem
from osteoscribe.errors import InputError
from osteoscribe.writers.companion import build_companion
from osteoscribe.writers.document import EvidenceSeries, encode
from osteoscribe.writers.gate import check
from osteoscribe.writers.notice import build_notice
from osteoscribe.writers.profiles import PROFILES
from osteoscribe.writers.sr import build_sr
from tests.builders_report import ct_series, evidence_for, finding_for, report_for, size_of
from tests.examples import many
from tests.writers.sr_tree import child, children, groups, name, reread, walk

SERIES = ct_series()
FINDINGS = [
    finding_for(SERIES),
    finding_for(SERIES, number=2, kind="seg", k=2, side=None),
    finding_for(SERIES, number=3, kind="caliper", k=0),
    finding_for(SERIES, number=4, kind="point", rule_id="X4"),
]
PROBLEM = Problem(code="roi.empty", message="segment 3 holds no pixel; mark it again", where="segment 3")
REPORT = report_for(SERIES, FINDINGS, problems=[PROBLEM])
EVIDENCE = evidence_for(SERIES, *dict.fromkeys(f.lesion.mark.source for f in FINDINGS))
GOOD = encode(build_sr(REPORT, SERIES[0], EVIDENCE))


def reencoded(encoded: bytes, change: Callable[[Dataset], object]) -> bytes:
    ds = pydicom.dcmread(BytesIO(encoded))
    change(ds)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("build", [build_sr, build_companion, build_notice])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_what_we_write_passes(build, profile):
    check(encode(build(REPORT, SERIES[0], EVIDENCE, profile)), REPORT, SERIES[0], EVIDENCE, profile)


def test_reading_and_writing_again_alone_is_no_fault():
    check(reencoded(GOOD, lambda ds: None), REPORT, SERIES[0], EVIDENCE)


def first_group(ds):
    return groups(ds)[0]


def long_axis(ds):
    return child(first_group(ds), "103339001").MeasuredValueSequence[0]


def region(ds):
    return child(first_group(ds), "111030")


def shift_region(ds):
    region(ds).GraphicData = [x + 0.5 for x in region(ds).GraphicData]


def swap_axes_of_region(ds):
    points = list(region(ds).GraphicData)
    points[0::2], points[1::2] = points[1::2], points[0::2]
    region(ds).GraphicData = points


def other_image(item, instance):
    item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = instance


def other_side(ds):
    side = child(child(first_group(ds), "363698007"), "272741003").ConceptCodeSequence[0]
    side.CodeValue, side.CodeMeaning = "24028007", "Right"


FAULTS = {
    "gate.number": [
        lambda ds: setattr(long_axis(ds), "NumericValue", "5.152"),
        lambda ds: setattr(long_axis(ds), "NumericValue", "51.51"),
    ],
    "gate.unit": [lambda ds: setattr(long_axis(ds).MeasurementUnitsCodeSequence[0], "CodeValue", "cm")],
    "gate.side": [
        other_side,
        lambda ds: delattr(child(first_group(ds), "363698007"), "ContentSequence"),
    ],
    "gate.site": [
        lambda ds: setattr(
            child(first_group(ds), "363698007").ConceptCodeSequence[0], "CodeValue", "85710004"
        )
    ],
    "gate.slice": [lambda ds: other_image(children(region(ds))[0], SERIES[0].SOPInstanceUID)],
    "gate.geometry": [
        shift_region,
        swap_axes_of_region,
        lambda ds: setattr(region(ds), "GraphicData", list(region(ds).GraphicData)[:-2]),
        lambda ds: setattr(region(ds), "GraphicType", "MULTIPOINT"),
    ],
    "gate.phrase": [
        lambda ds: setattr(child(first_group(ds), "PHRASE"), "TextValue", "5 mm sclerotic focus"),
        lambda ds: setattr(child(first_group(ds), "RECOMMENDATION"), "TextValue", "MRI"),
        lambda ds: setattr(child(child(ds, "C0034375"), "PROBLEM"), "TextValue", "all well"),
    ],
    "gate.code": [
        lambda ds: setattr(child(first_group(ds), "MGMT-CATEGORY").ConceptCodeSequence[0], "CodeValue", "L1"),
        lambda ds: setattr(
            child(first_group(ds), "IN-CANCER").ConceptCodeSequence[0], "CodeValue", "373067005"
        ),
        lambda ds: setattr(child(first_group(ds), "121071").ConceptCodeSequence[0], "CodeMeaning", "Other"),
        lambda ds: setattr(ds.ConceptNameCodeSequence[0], "CodeMeaning", ""),
    ],
    "gate.tracking": [lambda ds: setattr(child(first_group(ds), "112040"), "UID", "1.2.3")],
    "gate.reference": [
        lambda ds: other_image(next(i for i in walk(child(ds, "111028")) if i.ValueType == "IMAGE"), "1.2.3"),
        lambda ds: delattr(
            ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0],
            "ReferencedSOPSequence",
        ),
        lambda ds: setattr(
            child(groups(ds)[2], "121191").ReferencedSOPSequence[0], "ReferencedSegmentNumber", 1
        ),
    ],
    "gate.template": [
        lambda ds: setattr(child(ds, "126010"), "ContinuityOfContent", "CONTINUOUS"),
        lambda ds: setattr(first_group(ds), "RelationshipType", "HAS PROPERTIES"),
        lambda ds: setattr(ds.ContentTemplateSequence[0], "TemplateIdentifier", "1501"),
        lambda ds: setattr(ds.ConceptNameCodeSequence[0], "CodeValue", "126001"),
    ],
    "gate.attribute-missing": [
        lambda ds: delattr(ds, "CompletionFlag"),
        lambda ds: setattr(ds, "Manufacturer", ""),
        lambda ds: delattr(ds, "ReferringPhysicianName"),
    ],
    "gate.attribute-differs": [
        lambda ds: setattr(ds, "CompletionFlag", "COMPLETE"),
        lambda ds: setattr(ds, "VerificationFlag", "VERIFIED"),
        lambda ds: setattr(ds, "ContentDate", "20260103"),
    ],
    "gate.patient-differs": [
        lambda ds: setattr(ds, "PatientID", "P2"),
        lambda ds: setattr(ds, "PatientName", "Phantom^Other"),
        lambda ds: setattr(ds, "StudyDate", ""),
        lambda ds: setattr(ds, "AccessionNumber", "A124"),
        lambda ds: setattr(ds, "IssuerOfPatientID", "X"),
    ],
    "gate.uid": [
        lambda ds: setattr(ds, "SOPInstanceUID", "1.2.3"),
        lambda ds: setattr(ds, "SeriesInstanceUID", "1.2.3"),
    ],
    "gate.observer": [lambda ds: setattr(child(ds, "121008"), "PersonName", "Other^Reader")],
    "gate.text": [
        lambda ds: setattr(child(ds, "PHRASE"), "TextValue", "2 \ufffd 3 mm"),
    ],
}


@pytest.mark.parametrize(
    ("code", "change"),
    [(code, change) for code, changes in FAULTS.items() for change in changes],
)
def test_a_planted_fault_is_refused(code, change):
    with pytest.raises(InputError) as refused:
        check(reencoded(GOOD, change), REPORT, SERIES[0], EVIDENCE)
    # Some faults break two rules at once; which one is named first does not matter.
    assert refused.value.code.startswith("gate.")
    if code not in ("gate.code", "gate.geometry", "gate.reference"):
        assert refused.value.code == code


FIXED_LABELS = {"276214006", "370129005", "121232"}
"""Finding category, method and source series: the same for every lesion, nothing to compare."""


@pytest.mark.slow
def test_dropping_any_item_of_a_lesion_is_refused():
    findings = FINDINGS[1:3]
    report = report_for(SERIES, findings)
    good = encode(build_sr(report, SERIES[0], EVIDENCE))
    parents = [parent for parent in walk(child(reread(good), "126010")) if children(parent)]
    places = [(p, i) for p, parent in enumerate(parents) for i in range(len(children(parent)))]
    assert len(places) > 60
    for place in places:
        encoded, dropped = without(good, *place)
        if dropped in FIXED_LABELS or dropped in ALGORITHM:
            continue
        with pytest.raises(InputError, match=r"^gate\."):
            check(encoded, report, SERIES[0], EVIDENCE)


ALGORITHM = {"111001", "111002", "111003", "122405"}


def without(encoded: bytes, parent_number: int, item_number: int) -> tuple[bytes, str | None]:
    ds = reread(encoded)
    parent = [parent for parent in walk(child(ds, "126010")) if children(parent)][parent_number]
    dropped = name(parent.ContentSequence[item_number])
    del parent.ContentSequence[item_number]
    if not parent.ContentSequence:
        del parent.ContentSequence
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue(), dropped


def test_another_patients_header_is_refused():
    other = ct_series(PatientID="P2")[0]
    with pytest.raises(InputError, match=r"gate\.patient-differs") as refused:
        check(GOOD, REPORT, other, EVIDENCE)
    assert "P2" not in str(refused.value)


def test_a_header_of_another_series_or_study_is_refused():
    for keyword, code in (
        ("SeriesInstanceUID", "gate.other-series"),
        ("StudyInstanceUID", "gate.other-study"),
    ):
        with pytest.raises(InputError) as refused:
            check(GOOD, REPORT, ct_series(**{keyword: "1.2.3"})[0], EVIDENCE)
        assert refused.value.code == code


@pytest.mark.parametrize("size", [0, 1, 132, 200, 1000, len(GOOD) // 2, len(GOOD) - 50])
def test_cut_bytes_are_refused(size):
    with pytest.raises(InputError, match=r"^gate\."):
        check(GOOD[:size], REPORT, SERIES[0], EVIDENCE)


def test_two_lesions_with_one_tracking_uid_are_refused():
    twin = replace(
        FINDINGS[1], lesion=replace(FINDINGS[1].lesion, tracking_uid=FINDINGS[0].lesion.tracking_uid)
    )
    report = report_for(SERIES, [FINDINGS[0], twin])
    evidence = evidence_for(SERIES, *dict.fromkeys(f.lesion.mark.source for f in FINDINGS[:2]))
    with pytest.raises(InputError, match=r"gate\.tracking"):
        check(encode(build_sr(report, SERIES[0], evidence)), report, SERIES[0], evidence)


def test_a_record_changed_after_writing_is_refused():
    changed = replace(FINDINGS[0], lesion=replace(FINDINGS[0].lesion, size=size_of(5.2)))
    report = report_for(SERIES, [changed, *FINDINGS[1:]], problems=[PROBLEM])
    with pytest.raises(InputError, match=r"gate\.uid"):
        check(GOOD, report, SERIES[0], EVIDENCE)


def whole(evidence):
    """The same evidence, the CT series as a whole."""
    return (EvidenceSeries(refs=evidence[: len(SERIES)]), *evidence[len(SERIES) :])


@pytest.mark.parametrize("build", [build_sr, build_companion, build_notice])
def test_a_series_cited_whole_is_the_same_document(build):
    evidence = whole(EVIDENCE)
    for _ in range(2):
        encoded = encode(build(REPORT, SERIES[0], evidence))
        assert encoded == encode(build(REPORT, SERIES[0], EVIDENCE))
        check(encoded, REPORT, SERIES[0], evidence)


def cited_images(ds):
    return ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence


def name_another(ds):
    cited_images(ds)[0].ReferencedSOPInstanceUID = "1.2.3"


def add_one(ds):
    cited_images(ds).append(deepcopy(cited_images(ds)[0]))
    cited_images(ds)[-1].ReferencedSOPInstanceUID = "1.2.3"


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: cited_images(ds).pop(0),
        add_one,
        name_another,
        lambda ds: setattr(cited_images(ds)[0], "ReferencedSOPClassUID", "1.2.840.10008.5.1.4.1.1.4"),
        lambda ds: ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence.pop(0),
        lambda ds: ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence.pop(1),
    ],
)
def test_a_series_that_was_read_back_before_is_no_excuse(change):
    evidence = whole(EVIDENCE)
    check(GOOD, REPORT, SERIES[0], evidence)
    with pytest.raises(InputError, match=r"gate\.reference"):
        check(reencoded(GOOD, change), REPORT, SERIES[0], evidence)
    check(GOOD, REPORT, SERIES[0], evidence)


def test_a_lesion_on_an_image_of_another_series_is_refused_whatever_was_read_back_before():
    evidence = whole(EVIDENCE)
    check(GOOD, REPORT, SERIES[0], evidence)

    def refer_elsewhere(ds):
        region(ds).ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"

    with pytest.raises(InputError, match=r"gate\."):
        check(reencoded(GOOD, refer_elsewhere), REPORT, SERIES[0], evidence)


anything = st.text(max_size=90)


@settings(max_examples=many(40))
@given(
    code=st.builds(Code, anything, anything, anything),
    observer=anything,
    words=anything,
    remark=anything,
)
def test_whatever_a_mark_says_its_report_is_written_and_passes(code, observer, words, remark):
    finding = finding_for(SERIES, site=code, side=code, observer=observer, label=words)
    mark = replace(finding.lesion.mark, remarks=(remark,))
    finding = replace(finding, lesion=replace(finding.lesion, mark=mark))
    ignored = Ignored(label=words, source=mark.source, item="ROI 9", reason=remark)
    problem = Problem(code="roi.empty", message=words, where=remark)
    report = report_for(SERIES, [finding], problems=[problem], ignored=[ignored])
    evidence = evidence_for(SERIES, mark.source)
    for build in (build_sr, build_companion, build_notice):
        check(encode(build(report, SERIES[0], evidence)), report, SERIES[0], evidence)
