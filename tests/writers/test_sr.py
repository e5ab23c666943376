"""The measurement report, read back with pydicom alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from osteoscribe.core.answers import Density
from osteoscribe.core.codes import SITES
from osteoscribe.core.intensity import IntensityReference
from osteoscribe.core.report import Predecessor, Problem
from osteoscribe.core.units import Hounsfield
from osteoscribe.writers.document import encode
from osteoscribe.writers.sr import build_sr
from tests.builders_report import (
    OUTLINE_RC,
    PHRASE,
    SHA256,
    ct_series,
    evidence_for,
    finding_for,
    image_of,
    report_for,
    size_of,
)
from tests.writers.sr_tree import child, children, coded_value, groups, name, numbers, reread, template, walk

SERIES = ct_series()


def written(*findings, series=SERIES, **report):
    made = report_for(series, findings, **report)
    evidence = evidence_for(series, *dict.fromkeys(f.lesion.mark.source for f in findings))
    return reread(encode(build_sr(made, series[0], evidence)))


def test_numbers_and_units_are_those_of_the_record_in_the_order_viewers_show():
    (group,) = groups(written(finding_for(SERIES)))
    assert list(numbers(group).items()) == [
        ("Long Axis", (5.151, "mm")),
        ("Short Axis", (4.45, "mm")),
        ("Volume", (66.543, "mm3")),
        ("Mean Attenuation Coefficient", (1009.801, "[hnsf'U]")),
        ("Standard Deviation of Attenuation Coefficient", (141.3, "[hnsf'U]")),
        ("Minimum Attenuation Coefficient", (-12.0, "[hnsf'U]")),
        ("Maximum Attenuation Coefficient", (1301.5, "[hnsf'U]")),
        ("Median Attenuation Coefficient", (1011.0, "[hnsf'U]")),
        ("Maximum 3D diameter of the mark", (5.451, "mm")),
        ("Number of voxels in the mark", (194.0, "1")),
    ]


@pytest.mark.parametrize("long_axis_mm", [4.4999, 4.49999999, 5.4996, 9.4999951, 5.5])
def test_the_long_axis_as_shown_rounds_to_the_millimetres_of_the_sentence(long_axis_mm):
    size = size_of(long_axis_mm)
    (group,) = groups(written(finding_for(SERIES, size=size)))
    shown, _ = numbers(group)["Long Axis"]
    assert int(np.floor(shown + 0.5)) == size.whole_mm
    assert shown == pytest.approx(long_axis_mm, abs=0.0005)


def test_side_and_site_are_coded_and_said_in_the_sentence_before_the_measurements():
    root = written(finding_for(SERIES))
    (group,) = groups(root)
    site = child(group, "363698007")
    assert coded_value(site) == ("22356005", "SCT")
    assert coded_value(child(site, "272741003")) == ("7771000", "SCT")
    names = [name(item) for item in children(root)]
    assert names.index("PHRASE") < names.index("111028") < names.index("126010")
    assert child(root, "PHRASE").TextValue == f"Lesion 1 (left ilium; series 3, image 2): {PHRASE}"
    assert child(group, "PHRASE").TextValue == PHRASE


def test_a_lesion_without_side_has_no_laterality():
    (group,) = groups(written(finding_for(SERIES, side=None, site=SITES["l4 vertebra"])))
    assert children(child(group, "363698007")) == []


def test_the_outline_lies_half_a_pixel_from_the_index_coordinates_and_is_closed():
    (group,) = groups(written(finding_for(SERIES)))
    region = child(group, "111030")
    points = np.array(region.GraphicData).reshape(-1, 2)
    np.testing.assert_allclose(points[:-1], OUTLINE_RC[:, ::-1] + 0.5, atol=1e-5)
    np.testing.assert_array_equal(points[0], points[-1])
    (image,) = children(region)
    assert image.RelationshipType == "SELECTED FROM"
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == SERIES[1].SOPInstanceUID


def test_a_mark_from_a_seg_adds_a_group_of_the_segment_with_the_same_tracking_uid():
    planar, volumetric = groups(written(finding_for(SERIES, kind="seg")))
    assert (template(planar), template(volumetric)) == ("1410", "1411")
    assert child(planar, "112040").UID == child(volumetric, "112040").UID
    segment = child(volumetric, "121191").ReferencedSOPSequence[0]
    assert segment.ReferencedSegmentNumber == 2
    assert list(numbers(planar)) == ["Long Axis", "Short Axis"]
    assert not set(numbers(planar)) & set(numbers(volumetric))
    assert next(iter(numbers(volumetric))) == "Volume"


def test_a_caliper_is_told_by_its_two_lines():
    (group,) = groups(written(finding_for(SERIES, kind="caliper")))
    assert template(group) == "1501"
    assert children(group, "111030") == []
    for axis, expected in (("103339001", [37, 30, 44, 30]), ("103340004", [40.5, 27.5, 40.5, 32.5])):
        (line,) = children(child(group, axis))
        assert (line.RelationshipType, list(line.GraphicData)) == ("INFERRED FROM", expected)


def test_a_point_has_no_size_and_says_so():
    (group,) = groups(written(finding_for(SERIES, kind="point", rule_id="X4")))
    assert (child(group, "111030").GraphicType, list(child(group, "111030").GraphicData)) == (
        "POINT",
        [40.5, 30.5],
    )
    assert coded_value(child(group, "SIZE-BAND")) == ("SIZE-NONE", "99OSTEOSCRIBE")
    assert set(numbers(group)) == {"Number of voxels in the mark"}


def test_one_reader_stands_over_all_and_several_with_their_own_lesions():
    alone = written(finding_for(SERIES), finding_for(SERIES, number=2, item="ROI 5"))
    assert child(alone, "121008").PersonName == "Reader^Test"
    assert all(not children(group, "121008") for group in groups(alone))
    two = written(finding_for(SERIES), finding_for(SERIES, number=2, item="ROI 5", observer="Second^Reader"))
    assert not children(two, "121008")
    assert [child(group, "121008").PersonName for group in groups(two)] == ["Reader^Test", "Second^Reader"]
    unnamed = written(finding_for(SERIES), finding_for(SERIES, number=2, item="ROI 5", observer=None))
    assert not children(unnamed, "121008")


def test_every_input_is_coded_and_an_unknown_one_is_unknown():
    (group,) = groups(written(finding_for(SERIES)))
    inputs = {
        name(item): coded_value(item) for item in children(group) if (name(item) or "").startswith("IN-")
    }
    assert len(inputs) == 13
    assert inputs.pop("IN-DENSITY") == ("SCLEROTIC", "99OSTEOSCRIBE")
    assert inputs.pop("IN-MORPHOLOGY") == ("TYPICAL", "99OSTEOSCRIBE")
    assert inputs.pop("IN-SYMPTOMS") == ("373067005", "SCT")
    assert set(inputs.values()) == {("261665006", "SCT")}


@pytest.mark.parametrize(
    ("density", "code"),
    [(Density.SCLEROTIC, "SCLEROTIC-LESION"), (Density.MIXED, "52988006"), (Density.UNKNOWN, "52988006")],
)
def test_a_lesion_is_called_sclerotic_only_where_that_is_recorded(density, code):
    (group,) = groups(written(finding_for(SERIES, answers={"density": density})))
    assert coded_value(child(group, "121071"))[0] == code


def test_hu_changes_nothing_but_hu():
    other = IntensityReference(
        mean_hu=Hounsfield(300.0),
        standard_deviation_hu=Hounsfield(20.0),
        minimum_hu=Hounsfield(100.0),
        maximum_hu=Hounsfield(400.0),
        median_hu=Hounsfield(301.0),
        voxel_count=194,
    )
    finding = finding_for(SERIES)
    changed = replace(finding, lesion=replace(finding.lesion, intensity=other))

    def without_hu(root):
        return [
            str(item.get("TextValue") or item.get("ConceptCodeSequence") or item.get("MeasuredValueSequence"))
            for item in walk(root)
            if "Attenuation" not in str(item.get("ConceptNameCodeSequence"))
        ]

    assert without_hu(written(finding)) == without_hu(written(changed))


def test_why_names_rule_table_sources_inputs_and_what_is_not_recorded():
    root = written(finding_for(SERIES))
    why = child(child(root, "C0034375"), "WHY").TextValue
    for said in ("L1-C", "incidental-sclerotic-lesion 2026.1", SHA256, "10.1007/s00256-022-04022-8"):
        assert said in why
    assert "symptoms no (ROI label)" in why
    assert "Not recorded: multiplicity, largest, malignancy history" in why
    assert "kernel B70f" in why and "contrast not stated" in why
    assert "research use" in children(child(root, "C0034375"), "121106")[-1].TextValue


def test_one_sentence_for_the_examination_is_said_once_with_its_lesions():
    sentence = "Multiple sclerotic foci, all under 5 mm, likely bone islands, no further imaging recommended."
    findings = [
        finding_for(
            SERIES, number=n, k=n, item=f"ROI {n}", phrase=sentence, rule_id="M1", scope="examination"
        )
        for n in (1, 2)
    ]
    root = written(*findings)
    assert child(root, "PHRASE").TextValue == (
        "Lesion 1 (left ilium; series 3, image 2), Lesion 2 (left ilium; series 3, image 3): " + sentence
    )
    assert [child(group, "PHRASE").TextValue for group in groups(root)] == [sentence, sentence]


def test_the_image_library_holds_only_the_slices_with_a_region_and_the_evidence_all():
    series = ct_series(7)
    finding = finding_for(series, k=3)
    root = written(finding, series=series)
    library = child(child(root, "111028"), "126200")
    images = [item for item in children(library) if item.ValueType == "IMAGE"]
    assert [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images] == [series[3].SOPInstanceUID]
    (study,) = root.CurrentRequestedProcedureEvidenceSequence
    cited = [
        s.ReferencedSOPInstanceUID for x in study.ReferencedSeriesSequence for s in x.ReferencedSOPSequence
    ]
    assert cited == [*(ds.SOPInstanceUID for ds in series), finding.lesion.mark.source.sop_instance_uid]


def test_flags_of_a_complete_and_of_a_partial_report():
    complete = written(finding_for(SERIES))
    assert (complete.CompletionFlag, complete.VerificationFlag, complete.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    problem = Problem(code="roi.empty", message="segment 3 holds no pixel", where="segment 3")
    partial = written(finding_for(SERIES), problems=[problem])
    assert partial.CompletionFlag == "PARTIAL"
    assert "segment 3 holds no pixel" in child(child(partial, "C0034375"), "PROBLEM").TextValue


def test_times_are_those_of_acceptance_in_its_zone():
    root = written(finding_for(SERIES))
    assert (root.ContentDate, root.ContentTime, root.TimezoneOffsetFromUTC) == (
        "20260102",
        "113005.250000",
        "+0100",
    )
    assert root.ContributingEquipmentSequence[0].ContributionDateTime == "20260102113005.250000+0100"


def test_a_revision_is_in_the_same_series_with_a_higher_number_and_names_the_earlier_one():
    first = written(finding_for(SERIES))
    predecessor = Predecessor(
        sop_class_uid=str(first.SOPClassUID),
        sop_instance_uid=str(first.SOPInstanceUID),
        series_instance_uid=str(first.SeriesInstanceUID),
        study_instance_uid=str(first.StudyInstanceUID),
    )
    second = written(finding_for(SERIES, size=size_of(6.2)), revision=2, predecessor=predecessor)
    assert second.SeriesInstanceUID == first.SeriesInstanceUID
    assert second.InstanceNumber == 2
    named = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
    assert child(groups(second)[0], "112040").UID == child(groups(first)[0], "112040").UID


def test_the_same_job_twice_gives_the_same_bytes():
    def once():
        series = ct_series()
        finding = finding_for(series)
        evidence = evidence_for(series, finding.lesion.mark.source)
        return encode(build_sr(report_for(series, [finding]), series[0], evidence))

    assert once() == once()


def test_enhanced_ct_is_referred_to_by_frame():
    enhanced = ct_series(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1")
    finding = finding_for(enhanced)
    finding = replace(finding, lesion=replace(finding.lesion, image=image_of(enhanced, 4)))
    (group,) = groups(written(finding, series=enhanced))
    (image,) = children(child(group, "111030"))
    assert image.ReferencedSOPSequence[0].ReferencedFrameNumber == 5


def test_containers_are_separate_and_codes_short():
    root = written(finding_for(SERIES), finding_for(SERIES, number=2, kind="seg"))
    containers = [item for item in walk(root) if item.ValueType == "CONTAINER"]
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}
    assert "LongCodeValue" not in str(root)


def test_a_report_without_findings_is_refused():
    with pytest.raises(ValueError, match="notice"):
        build_sr(report_for(SERIES, []), SERIES[0], evidence_for(SERIES))
