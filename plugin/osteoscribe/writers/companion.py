"""The text companion: a Basic Text SR that says on one screen what the measurement report says.

Viewers that draw the measurement report show none of its text; this is where their readers see the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from osteoscribe.core import codes
from osteoscribe.core.report import Report
from osteoscribe.writers import content, uids, wording
from osteoscribe.writers.document import BASIC_TEXT_SR, DocumentKind, Evidence, new_document
from osteoscribe.writers.encoded import Item
from osteoscribe.writers.profiles import STANDARD, Profile
from osteoscribe.writers.sr import observation_context, observers, reference_items

SERIES_NUMBER = 9802
SERIES_DESCRIPTION = "Bone lesion text"


def build_companion(
    report: Report, context: Dataset, evidence: Sequence[Evidence], profile: Profile = STANDARD
) -> Dataset:
    """The text companion of a measurement report, in a series of its own.

    Parameters, errors and form as for `osteoscribe.writers.sr.build_sr`.

    References
    ----------
    PS3.3 A.35.1 (Basic Text SR IOD)
    """
    if not report.findings:
        raise ValueError("a report without findings is told by a notice, not by a text companion")
    kind = DocumentKind(
        sop_class_uid=BASIC_TEXT_SR,
        sop_instance_uid=uids.companion_uid(report, profile.variant),
        series_kind="companion",
        series_number=SERIES_NUMBER + profile.series_offset,
        series_description=SERIES_DESCRIPTION,
        variant=profile.variant,
        names_predecessor=not profile.measurement_report,
    )
    ds = new_document(report, context, evidence, kind)
    ds.update(content.root(codes.TEXT_COMPANION, _sections(report, profile)))
    return ds


def _sections(report: Report, profile: Profile) -> list[Item]:
    spoken = wording.language(report)
    items = [content.text(profile.phrase_code, wording.summary(report), language=spoken)]
    advice = [(f.lesion.name, f.phrase.recommendation) for f in report.findings if f.phrase.recommendation]
    if advice:
        items.append(content.text(profile.recommendation_code, wording.together(advice), language=spoken))
    items.append(content.text(codes.MEASUREMENTS_TEXT, _table(report)))
    items.append(content.text(codes.WHY, _reasons(report)))
    missing = [(f.lesion.name, ", ".join(wording.not_recorded(f))) for f in report.findings]
    if any(words for _, words in missing):
        said = wording.together((name, words or "nothing is missing") for name, words in missing)
        items.append(content.text(codes.NOT_RECORDED, said))
    items += reference_items(report)
    if report.problems:
        problems = "\n".join(wording.problem_line(problem) for problem in report.problems)
        items.append(content.text(codes.PROBLEM, problems))
    if report.ignored:
        left_out = "\n".join(wording.ignored_line(ignored) for ignored in report.ignored)
        items.append(content.text(codes.LEFT_OUT, left_out))
    items.append(content.text(codes.COMMENT, wording.DISCLAIMER))
    language, *context_items = observation_context(report, observers(report))
    return [language, *items, *context_items]


def _table(report: Report) -> str:
    lines = [
        " ".join(filter(None, (wording.measurement_line(finding.lesion), finding.phrase.remark)))
        for finding in report.findings
    ]
    return "\n".join([*lines, f"HU for reference only: {wording.acquisition_words(report.acquisition)}"])


def _reasons(report: Report) -> str:
    """The rows that held and their inputs, each once with its lesions, then the table and the papers."""
    findings = report.findings
    said = [
        *((f.lesion.name, wording.rule_words(f)) for f in findings),
        *((f.lesion.name, f"Inputs: {wording.inputs(f)}.") for f in findings),
        *((f.lesion.name, f"In conflict: {one.message}") for f in findings for one in f.facts.conflicts),
        *((f.lesion.name, f"Remark: {remark}") for f in findings for remark in wording.remarks(f.lesion)),
    ]
    table = f"Rule table {report.table_id} {report.table_version}, SHA-256 {report.table_sha256}"
    sources = dict.fromkeys(source for f in findings for source in f.decision.sources)
    return "\n".join([wording.together(said), table, *(f"Source: {source}" for source in sources)])
