"""What each profile writes: one golden tree each, compared line by line.

After a wanted change: ``OSTEOSCRIBE_REWRITE_GOLDEN=1 python -m pytest tests/writers/test_profiles.py``, then
read the difference as a radiologist would.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from osteoscribe.errors import InputError, SetupError
from osteoscribe.writers.companion import build_companion
from osteoscribe.writers.document import encode
from osteoscribe.writers.gate import check
from osteoscribe.writers.notice import build_notice
from osteoscribe.writers.profiles import PROFILES, chosen_profile
from osteoscribe.writers.sr import build_sr
from tests.builders_report import ct_series, evidence_for, finding_for, report_for
from tests.writers.sr_tree import children, groups
from tests.writers.variants import PREDECESSOR, PROBLEM

GOLDEN = Path(__file__).parent / "golden"
SERIES = ct_series()
FINDINGS = [finding_for(SERIES), finding_for(SERIES, number=2, kind="seg", k=2)]
REPORT = report_for(SERIES, FINDINGS)
EVIDENCE = evidence_for(SERIES, *(finding.lesion.mark.source for finding in FINDINGS))


def tree(item: Dataset, depth: int = 0) -> list[str]:
    """The content tree as text, one item a line; UIDs are left out."""
    name = item.get("ConceptNameCodeSequence")
    label = f"({name[0].CodeValue}, {name[0].CodingSchemeDesignator}) {name[0].CodeMeaning}" if name else ""
    relationship = item.get("RelationshipType", "")
    line = f"{'  ' * depth}{relationship} {item.ValueType} {label} {value(item)}".rstrip()
    return [line.replace("\n", " | "), *(one for below in children(item) for one in tree(below, depth + 1))]


def value(item: Dataset) -> str:
    match item.ValueType:
        case "CODE":
            code = item.ConceptCodeSequence[0]
            return f"= ({code.CodeValue}, {code.CodingSchemeDesignator}) {code.CodeMeaning}"
        case "TEXT":
            return f"= {item.TextValue}"
        case "PNAME":
            return f"= {item.PersonName}"
        case "NUM":
            measured = item.MeasuredValueSequence[0]
            return f"= {measured.NumericValue} {measured.MeasurementUnitsCodeSequence[0].CodeValue}"
        case "SCOORD":
            return f"{item.GraphicType} {[round(x, 3) for x in item.GraphicData]}"
        case _:
            return ""


@pytest.mark.parametrize("name", PROFILES)
def test_the_tree_of_a_profile_is_the_golden_one(name):
    profile = PROFILES[name]
    lines = [f"measurement report: {'yes' if profile.measurement_report else 'no'}"]
    for build, sent in ((build_sr, profile.measurement_report), (build_companion, profile.text_companion)):
        if sent:
            ds = build(REPORT, SERIES[0], EVIDENCE, profile)
            lines += ["", f"SOP class {ds.SOPClassUID}", *tree(ds)]
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("OSTEOSCRIBE_REWRITE_GOLDEN"):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert path.read_text(encoding="utf-8").splitlines() == lines


def test_ohif_takes_the_regions_as_its_own_and_the_names_of_the_lesions_stay():
    findings = [
        finding_for(SERIES),
        finding_for(SERIES, number=2, kind="seg", k=2),
        finding_for(SERIES, number=3, kind="caliper", k=0),
        finding_for(SERIES, number=4, kind="point"),
    ]
    report = report_for(SERIES, findings)
    evidence = evidence_for(SERIES, *(finding.lesion.mark.source for finding in findings))
    made = build_sr(report, SERIES[0], evidence, PROFILES["ohif"])
    check(encode(made), report, SERIES[0], evidence, PROFILES["ohif"])
    names = [children(group, "112039")[0].TextValue for group in groups(made)]
    tools = "Cornerstone3DTools@^0.1.0"
    assert names == [
        f"{tools}:PlanarFreehandROI:Lesion 1",
        f"{tools}:PlanarFreehandROI:Lesion 2",
        "Lesion 2",
        f"{tools}:Bidirectional:Lesion 3",
        "Lesion 4",
    ]


def test_the_area_that_ohif_takes_over_is_that_of_the_outline():
    """The first number of the group carries the outline; the corners are 0.5 mm pixels apart."""
    made = build_sr(REPORT, SERIES[0], EVIDENCE, PROFILES["ohif"])
    first = next(item for item in children(groups(made)[0]) if item.ValueType == "NUM")
    assert (first.ConceptNameCodeSequence[0].CodeMeaning, first.RelationshipType) == ("Area", "CONTAINS")
    (drawn,) = children(first)
    (region,) = children(groups(made)[0], "111030")
    assert list(drawn.GraphicData) == list(region.GraphicData)
    x, y = np.reshape(drawn.GraphicData, (-1, 2)).T
    mm2 = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2 * float(np.prod(SERIES[0].PixelSpacing))
    assert float(first.MeasuredValueSequence[0].NumericValue) == pytest.approx(mm2, abs=0.001)


@pytest.mark.parametrize("change", ["area", "outline"])
def test_the_gate_sees_an_area_that_is_not_that_of_the_outline(change):
    made = build_sr(REPORT, SERIES[0], EVIDENCE, PROFILES["ohif"])
    made = pydicom.dcmread(BytesIO(encode(made)))
    first = next(item for item in children(groups(made)[0]) if item.ValueType == "NUM")
    if change == "area":
        first.MeasuredValueSequence[0].NumericValue = "17.5"
    else:
        children(first)[0].GraphicData[2] += 1
    with pytest.raises(InputError, match=r"gate\.(number|geometry)"):
        check(encode(made), REPORT, SERIES[0], EVIDENCE, PROFILES["ohif"])


def test_every_profile_has_objects_of_its_own():
    uids = {build_companion(REPORT, SERIES[0], EVIDENCE, p).SOPInstanceUID for p in PROFILES.values()}
    assert len(uids) == len(PROFILES)


def test_every_profile_has_series_of_its_own():
    made = [build_companion(REPORT, SERIES[0], EVIDENCE, p) for p in PROFILES.values()]
    assert len({ds.SeriesInstanceUID for ds in made}) == len(PROFILES)
    assert sorted(ds.SeriesNumber for ds in made) == [9802, 9812, 9822, 9832, 9842]


@pytest.mark.parametrize("name", PROFILES)
def test_what_carries_the_result_names_the_report_that_it_replaces(name):
    profile = PROFILES[name]
    report = report_for(SERIES, FINDINGS, revision=5, predecessor=PREDECESSOR, problems=[PROBLEM])
    documents = [build_sr] if profile.measurement_report else []
    naming = []
    for build in (*documents, build_companion, build_notice):
        ds = build(report, SERIES[0], EVIDENCE, profile)
        check(encode(ds), report, SERIES[0], EVIDENCE, profile)
        assert ds.InstanceNumber == 5
        if "PredecessorDocumentsSequence" in ds:
            (study,) = ds.PredecessorDocumentsSequence
            (named,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
            assert named.ReferencedSOPInstanceUID == PREDECESSOR.sop_instance_uid
            naming.append(build)
    assert naming == ([build_sr] if profile.measurement_report else [build_companion])


def test_a_choice_that_would_send_no_suggestion_is_refused():
    with pytest.raises(SetupError, match=r"settings\.nothing-to-send"):
        chosen_profile("text-only", text_companion=False, key_image=True, notice=True)
    with pytest.raises(SetupError, match=r"settings\.unknown-profile"):
        chosen_profile("ohiff", text_companion=True, key_image=False, notice=True)
