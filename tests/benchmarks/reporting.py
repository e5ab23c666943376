"""How long a report takes: built, encoded, checked by the gate, with its text companion; beside highdicom.

Reports of 1, 10 and 100 lesions with outlines of 40 corners, on a CT series of 500 instances, in a warm
process and one thread. Each round writes reports that no cache has seen; highdicom builds the same
measurements, regions and codes of TID 1500 and writes them, without a gate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import highdicom
import highdicom.sr
import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid

from osteoscribe.core import codes
from osteoscribe.core.codes import Code
from osteoscribe.core.region import Outline
from osteoscribe.core.report import Finding, Report
from osteoscribe.core.size import Size
from osteoscribe.writers.companion import build_companion
from osteoscribe.writers.document import EvidenceRef, encode
from osteoscribe.writers.gate import check
from osteoscribe.writers.sr import build_sr, image_coordinates, side_of, site_of
from tests.benchmarks.page import Goal
from tests.builders_report import OUTLINE_RC, ct_series, evidence_for, finding_for, report_for

FINDINGS = (1, 10, 100)
GOALS_MS = {1: 20, 10: 60, 100: 400}
PARTS = ("build", "encode", "gate", "companion")
CORNERS = 40


@dataclass(frozen=True)
class Case:
    """A report, and what it was made from."""

    report: Report
    series: Sequence[Dataset]
    evidence: Sequence[EvidenceRef]


def case(series: Sequence[Dataset], findings: int) -> Case:
    random = np.random.default_rng(findings)
    made = []
    for number in range(1, findings + 1):
        finding = finding_for(series, number=number, item=f"ROI {number}", k=number)
        points = OUTLINE_RC[0] + random.uniform(-5, 5, (CORNERS, 2))
        outline = Outline(k=number, points_rc=points)
        made.append(replace(finding, lesion=replace(finding.lesion, outline=outline)))
    evidence = evidence_for(series, *dict.fromkeys(one.lesion.mark.source for one in made))
    return Case(report=report_for(series, made), series=series, evidence=evidence)


def ours(one: Case) -> dict[str, float]:
    """Seconds of each part for one report."""
    laps = [time.process_time()]
    report, context = replace(one.report), one.series[0]
    dataset = build_sr(report, context, one.evidence)
    laps.append(time.process_time())
    encoded = encode(dataset)
    laps.append(time.process_time())
    check(encoded, report, context, one.evidence)
    laps.append(time.process_time())
    check(encode(build_companion(report, context, one.evidence)), report, context, one.evidence)
    laps.append(time.process_time())
    return dict(zip(PARTS, np.diff(laps).tolist(), strict=True))


def theirs(one: Case) -> float:
    """Seconds that highdicom takes for the measurement report alone."""
    start = time.process_time()
    buffer = BytesIO()
    by_highdicom(one).save_as(buffer)
    return time.process_time() - start


def by_highdicom(one: Case) -> Dataset:
    """A report as highdicom's guide builds it."""
    sr = highdicom.sr
    observer = sr.ObserverContext(
        observer_type=_code(codes.DEVICE),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(uid=generate_uid(None)),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=_code(codes.CT_UNSPECIFIED_BODY_REGION),
        imaging_measurements=[_group(finding) for finding in one.report.findings],
        title=_code(codes.IMAGING_MEASUREMENT_REPORT),
    )
    return sr.Comprehensive3DSR(
        evidence=list(one.series),
        content=content,
        series_instance_uid=generate_uid(None),
        series_number=9801,
        sop_instance_uid=generate_uid(None),
        instance_number=1,
        manufacturer="Benchmark",
    )


def _code(code: Code) -> Any:
    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _group(finding: Finding) -> Any:
    sr, lesion = highdicom.sr, finding.lesion
    assert lesion.outline is not None
    side = side_of(lesion)
    region = sr.ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=image_coordinates(lesion.outline, closed=True),
        source_image=sr.SourceImageForRegion(lesion.image.sop_class_uid, lesion.image.sop_instance_uid),
    )
    facts = finding.facts.facts
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=lesion.tracking_uid, identifier=lesion.name),
        referenced_region=region,
        finding_type=_code(codes.LESION),
        finding_category=_code(codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE),
        finding_sites=[sr.FindingSite(_code(site_of(lesion)), _code(side) if side else None)],
        measurements=[
            sr.Measurement(_code(name), value, _code(unit)) for name, value, unit in _numbers(finding)
        ],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(_code(name), _code(values[getattr(facts, field).value]))
            for field, (name, values) in codes.INPUTS.items()
        ],
    )


def _numbers(finding: Finding) -> list[tuple[Code, float, Code]]:
    size, hu = finding.lesion.size, finding.lesion.intensity
    assert isinstance(size, Size)
    assert hu is not None
    assert size.short_axis_mm is not None
    assert size.volume_mm3 is not None
    return [
        (codes.LONG_AXIS, size.long_axis_mm, codes.MILLIMETRE),
        (codes.SHORT_AXIS, size.short_axis_mm, codes.MILLIMETRE),
        (codes.VOLUME, size.volume_mm3, codes.CUBIC_MILLIMETRE),
        (codes.MEAN_HU, hu.mean_hu, codes.HOUNSFIELD_UNIT),
        (codes.STANDARD_DEVIATION_HU, hu.standard_deviation_hu, codes.HOUNSFIELD_UNIT),
        (codes.MINIMUM_HU, hu.minimum_hu, codes.HOUNSFIELD_UNIT),
        (codes.MAXIMUM_HU, hu.maximum_hu, codes.HOUNSFIELD_UNIT),
        (codes.MEDIAN_HU, hu.median_hu, codes.HOUNSFIELD_UNIT),
    ]


def run(short: bool) -> dict[str, Any]:
    series = ct_series(50 if short else 500, PixelData=None)
    sizes = FINDINGS[: 2 if short else 3]
    cases = {findings: case(series, min(findings, len(series) - 1)) for findings in sizes}
    rounds: dict[int, list[dict[str, float]]] = {findings: [] for findings in cases}
    for number in range(2 if short else 6):
        for findings, one in cases.items():
            taken = {"highdicom": theirs(one), **ours(one)}
            taken["report"] = sum(taken[part] for part in PARTS[:3])
            if number:  # the first warms up
                rounds[findings].append(taken)
    return {
        "instances": len(series),
        "seconds": {
            str(findings): {part: statistics.median(one[part] for one in taken) for part in taken[0]}
            for findings, taken in rounds.items()
        },
    }


def tables(result: dict[str, Any]) -> str:
    lines = [
        "| lesions | build | encode | gate | report | text companion | highdicom | highdicom / report |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for findings, one in result["seconds"].items():
        cells = [f"{1e3 * one[part]:.1f}" for part in (*PARTS[:3], "report", "companion", "highdicom")]
        lines.append(f"| {findings} | " + " | ".join(cells) + f" | {one['highdicom'] / one['report']:.0f} |")
    return (
        f"Milliseconds of processor time, {result['instances']} instances of CT. The companion's time has "
        "its gate in it; highdicom's is building and writing the report.\n\n" + "\n".join(lines)
    )


def goals(result: dict[str, Any]) -> list[Goal]:
    found = {int(findings): 1e3 * one["report"] for findings, one in result["seconds"].items()}
    return [
        Goal(
            number="5",
            goal="SR of " + ", ".join(f"{n} in {GOALS_MS[n]} ms" for n in found) + ", gated and encoded",
            measured=", ".join(f"{ms:.1f} ms" for ms in found.values()),
            met=all(ms < GOALS_MS[n] for n, ms in found.items()),
        )
    ]
