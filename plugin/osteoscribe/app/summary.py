"""One report as plain data, for scripts (`osteoscribe process --json`)."""

from __future__ import annotations

from typing import Any

from osteoscribe.core.intensity import IntensityReference
from osteoscribe.core.report import Finding, Ignored, Problem, Report
from osteoscribe.core.size import NotMeasurable, Size


def summarise_report(report: Report) -> dict[str, Any]:
    """A report as JSON-ready data; numbers unrounded, None where not applicable.

    It holds labels that a person typed, so it is for the caller's eyes: never for a log.
    """
    return {
        "study_instance_uid": report.study_instance_uid,
        "series_instance_uid": report.series_instance_uid,
        "findings": [_finding(finding) for finding in report.findings],
        "problems": [summarise_problem(problem) for problem in report.problems],
        "ignored": [summarise_ignored(ignored) for ignored in report.ignored],
    }


def summarise_problem(problem: Problem) -> dict[str, str]:
    """A stated problem as JSON-ready data."""
    return {"code": problem.code, "message": problem.message, "where": problem.where}


def summarise_ignored(ignored: Ignored) -> dict[str, str]:
    """An ROI that was left out, as JSON-ready data."""
    return {
        "label": ignored.label,
        "source": ignored.source.sop_instance_uid,
        "item": ignored.item,
        "reason": ignored.reason,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    lesion, decision = finding.lesion, finding.decision
    return {
        "name": lesion.name,
        "label": lesion.mark.label,
        "tracking_uid": lesion.tracking_uid,
        "source": {
            "sop_instance_uid": lesion.mark.source.sop_instance_uid,
            "item": lesion.mark.item,
        },
        "dialect": lesion.mark.dialect,
        "image": {
            "sop_instance_uid": lesion.image.sop_instance_uid,
            "frame_number": lesion.image.frame_number,
            "label": lesion.image_label,
        },
        "size": _size(lesion.size),
        "intensity": _intensity(lesion.intensity),
        "decision": {
            "rule": decision.rule_id,
            "conditional": decision.conditional,
            "analogue": decision.analogue,
            "table": decision.table_id,
            "version": decision.table_version,
            "sha256": decision.table_sha256,
            "unknown": list(decision.unknown),
            "sources": list(decision.sources),
        },
        "phrase": finding.phrase.text,
        "recommendation": finding.phrase.recommendation,
        "inputs": {
            fact.name: {"value": fact.value, "provenance": fact.provenance.value, "where": fact.where}
            for fact in finding.facts.stated
        },
        "conflicts": [conflict.message for conflict in finding.facts.conflicts],
        "remarks": [*lesion.mark.remarks, *lesion.placement.remarks],
    }


def _size(size: Size | NotMeasurable) -> dict[str, Any]:
    if isinstance(size, NotMeasurable):
        empty = dict.fromkeys(
            (
                "long_axis_mm",
                "short_axis_mm",
                "maximum_3d_diameter_mm",
                "volume_mm3",
                "mesh_volume_mm3",
                "whole_mm",
                "method",
                "uncertainty_mm",
            )
        )
        return {**empty, "doubts": [], "not_measurable": {"code": size.code, "reason": size.reason}}
    return {
        "long_axis_mm": size.long_axis_mm,
        "short_axis_mm": size.short_axis_mm,
        "maximum_3d_diameter_mm": size.maximum_3d_diameter_mm,
        "volume_mm3": size.volume_mm3,
        "mesh_volume_mm3": size.mesh_volume_mm3,
        "whole_mm": size.whole_mm,
        "method": size.method,
        "uncertainty_mm": size.uncertainty_mm,
        "doubts": [doubt.value for doubt in size.doubts],
        "not_measurable": None,
    }


def _intensity(intensity: IntensityReference | None) -> dict[str, Any] | None:
    if intensity is None:
        return None
    return {
        "mean_hu": intensity.mean_hu,
        "standard_deviation_hu": intensity.standard_deviation_hu,
        "minimum_hu": intensity.minimum_hu,
        "maximum_hu": intensity.maximum_hu,
        "median_hu": intensity.median_hu,
        "voxel_count": intensity.voxel_count,
        "remarks": list(intensity.remarks),
    }
