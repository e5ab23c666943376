"""The notice: a Basic Text SR that says in the study itself that marks could not be measured, and why."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from osteoscribe.core import codes
from osteoscribe.core.report import Report
from osteoscribe.writers import content, uids, wording
from osteoscribe.writers.document import BASIC_TEXT_SR, DocumentKind, Evidence, new_document
from osteoscribe.writers.profiles import STANDARD, Profile
from osteoscribe.writers.sr import observation_context, observers

SERIES_NUMBER = 9803
SERIES_DESCRIPTION = "Bone lesion: not measured"
NOT_MEASURED = "A mark in this study was not measured. What was found, and what to do:"


def build_notice(
    report: Report, context: Dataset, evidence: Sequence[Evidence], profile: Profile = STANDARD
) -> Dataset:
    """The notice of a report's problems, in a series of its own.

    Parameters and form as for `osteoscribe.writers.sr.build_sr`.

    Raises
    ------
    ValueError
        Where `report` has no problem: there is nothing to tell.

    References
    ----------
    PS3.3 A.35.1 (Basic Text SR IOD)
    """
    if not report.problems:
        raise ValueError("a report without problems needs no notice")
    kind = DocumentKind(
        sop_class_uid=BASIC_TEXT_SR,
        sop_instance_uid=uids.notice_uid(report, profile.variant),
        series_kind="notice",
        series_number=SERIES_NUMBER + profile.series_offset,
        series_description=SERIES_DESCRIPTION,
        variant=profile.variant,
    )
    ds = new_document(report, context, evidence, kind)
    problems = "\n".join((NOT_MEASURED, *(wording.problem_line(problem) for problem in report.problems)))
    language, *context_items = observation_context(report, observers(report))
    items = [language, content.text(codes.PROBLEM, problems)]
    if report.ignored:
        left_out = "\n".join(wording.ignored_line(ignored) for ignored in report.ignored)
        items.append(content.text(codes.LEFT_OUT, left_out))
    items.append(content.text(codes.COMMENT, wording.DISCLAIMER))
    ds.update(content.root(codes.NOTICE, [*items, *context_items]))
    return ds
