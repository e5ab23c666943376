"""One job of the node through the pipeline."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from osteoscribe.app.past import case_of
from osteoscribe.app.pipeline import Request, run
from osteoscribe.app.ports import JobRequest, JobResult, MadeObject, MadeReport
from osteoscribe.app.practice import Practice
from osteoscribe.app.summary import summarise_problem
from osteoscribe.app.write import Written
from osteoscribe.core.report import Problem, Report
from osteoscribe.core.series import ReadBytes
from osteoscribe.readers.headers import split_part10
from osteoscribe.writers.profiles import forms_of, profiles_of
from osteoscribe.writers.uids import content_key


def report_job(job: JobRequest, read: ReadBytes, practice: Practice) -> JobResult:
    """Reports of one job, and all its problems, also those that stand in a report."""
    profiles = profiles_of(job.forms) or (practice.profile,)
    outcome = run(
        Request(
            instances=job.instances,
            series=job.series,
            read=read,
            accepted_at=job.accepted_at,
            calling_ae=job.calling_ae,
            revisions=job.revisions,
            profiles=profiles,
            earlier=job.earlier,
            stated={uid: tuple(map(_removed_mark, marks)) for uid, marks in job.removed_marks.items()},
        ),
        practice,
    )
    return JobResult(
        reports=tuple(_made(written) for written in outcome.written if written.objects),
        problems=tuple(_with_removal(one, job.ct_removed_at) for one in outcome.all_problems),
        quarantined=tuple(one for written in outcome.written for one in written.quarantined),
        forms=forms_of(profiles),
    )


def _removed_mark(sop_instance_uid: str) -> Problem:
    """The problem of an earlier mark whose finding this report cannot repeat."""
    return Problem(
        code="mark.removed",
        message="an earlier mark object on this series was removed after the time it is kept; its findings "
        "stand in the earlier reports only; to have them here too, send it and its CT series again",
        where=sop_instance_uid,
    )


def _with_removal(problem: Problem, ct_removed_at: datetime | None) -> Problem:
    """Say that images are absent because they were removed here, where that is so."""
    if problem.code != "images.missing" or ct_removed_at is None:
        return problem
    return Problem(
        code="images.removed",
        message="the CT series that the mark was drawn on was here and was removed after the time it is kept "
        f"({ct_removed_at:%Y-%m-%d}); send the CT series again, then the mark",
        where=problem.where,
    )


def _made(written: Written) -> MadeReport:
    report = written.report
    return MadeReport(
        study_instance_uid=report.study_instance_uid,
        ct_series_instance_uid=report.series_instance_uid,
        objects=tuple(
            MadeObject(
                profile=one.profile,
                role=one.role,
                sop_class_uid=one.sop_class_uid,
                sop_instance_uid=one.sop_instance_uid,
                series_instance_uid=one.series_instance_uid,
                instance_number=one.instance_number,
                transfer_syntax_uid=(part10 := split_part10(one.encoded)).transfer_syntax_uid,
                encoded=one.encoded[part10.dataset_offset :],
            )
            for one in written.objects
        ),
        findings=len(report.findings),
        content_key=content_key(report),
        patient_key=written.patient_key,
        lesions=written.lesions,
        summary=_summary(report),
    )


def _summary(report: Report) -> dict[str, Any]:
    """What the faces show of a report: rules, their inputs and phrases, nothing that a person typed."""
    return {
        "findings": [
            {
                "name": finding.lesion.name,
                "tracking_uid": finding.lesion.tracking_uid,
                "rule": finding.decision.rule_id,
                "phrase": finding.phrase.text,
                "case": case_of(finding),
            }
            for finding in report.findings
        ],
        "problems": [summarise_problem(problem) for problem in report.problems],
        "ignored": len(report.ignored),
    }
