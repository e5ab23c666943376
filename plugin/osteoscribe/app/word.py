"""From measured lesions to findings: facts, decision, phrase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydicom import Dataset

from osteoscribe.app.measure import Measured, same_place
from osteoscribe.app.practice import Practice
from osteoscribe.core.answers import Answers, Conflict
from osteoscribe.core.facts import facts_for
from osteoscribe.core.labels import (
    answers_from_codes,
    answers_from_label,
    merge_answers,
)
from osteoscribe.core.marks import RoiMark
from osteoscribe.core.phrase import PhraseValues, word
from osteoscribe.core.report import Finding, Lesion
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.table import Scope
from osteoscribe.core.series import SeriesIndex
from osteoscribe.core.size import Doubt, NotMeasurable, Size
from osteoscribe.readers.context import answers_from_attributes
from osteoscribe.writers.uids import tracking_uids


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredSeries:
    """The measured marks of one CT series, with the header that its report copies patient and study from."""

    index: SeriesIndex
    context: Dataset
    measured: tuple[Measured, ...]


def findings_of(
    series: Sequence[MeasuredSeries], practice: Practice, calling_ae: str
) -> Mapping[str, tuple[Finding, ...]]:
    """Findings of several CT series, by Series Instance UID.

    The lesions of one study count together: two or more are multiple, whichever series they are marked on.
    A lesion that is marked twice counts once.
    """
    of_study: dict[str, list[MeasuredSeries]] = defaultdict(list)
    for one in series:
        of_study[one.index.study_instance_uid].append(one)
    findings: dict[str, tuple[Finding, ...]] = {}
    for members in of_study.values():
        sizes = _sizes_of_lesions([m for one in members for m in one.measured])
        for one in members:
            uids = tracking_uids([measured.placed.mark for measured in one.measured])
            findings[one.index.series_instance_uid] = tuple(
                _finding((f"Lesion {number}", uid), measured, one, sizes, practice, calling_ae)
                for number, (uid, measured) in enumerate(zip(uids, one.measured, strict=True), start=1)
            )
    return findings


def _sizes_of_lesions(measured: Sequence[Measured]) -> list[Size | NotMeasurable]:
    """One size for each lesion of the examination: the largest of those that mark the same place."""
    lesions: list[list[Measured]] = []
    for one in measured:
        known = next((group for group in lesions if any(same_place(one, m) for m in group)), None)
        if known is None:
            lesions.append([one])
        else:
            known.append(one)
    return [max((m.size for m in group), key=_length) for group in lesions]


def _length(size: Size | NotMeasurable) -> float:
    return size.long_axis_mm if isinstance(size, Size) else -1.0


def _finding(
    identity: tuple[str, str],
    measured: Measured,
    series: MeasuredSeries,
    sizes: Sequence[Size | NotMeasurable],
    practice: Practice,
    calling_ae: str,
) -> Finding:
    answers, conflicts, remarks = _answers(measured.placed.mark, series.context, practice, calling_ae)
    sheet = facts_for(measured.size, sizes, None, answers)
    sheet = replace(sheet, conflicts=(*conflicts, *sheet.conflicts))
    decision = decide(practice.table, sheet.facts)
    worded_size = max(sizes, key=_length) if decision.scope == Scope.EXAMINATION.value else measured.size
    lesion = _lesion(identity, measured, series.index, remarks)
    values = _values(worded_size, lesion.mark if practice.site_in_phrase else None)
    return Finding(
        lesion=lesion,
        facts=sheet,
        decision=decision,
        phrase=word(practice.table, decision, sheet.facts, values),
    )


def _answers(
    mark: RoiMark, context: Dataset, practice: Practice, calling_ae: str
) -> tuple[Answers, tuple[Conflict, ...], tuple[str, ...]]:
    """Answers of all sources made one, what disagreed, and what is to be said about them."""
    label = answers_from_label(mark.label, practice.labels)
    codes = answers_from_codes(mark.property_codes, practice.labels)
    attributes = answers_from_attributes(context, practice.malignancies)
    policy = practice.labels.policy_for(calling_ae)
    answers, conflicts = merge_answers(
        label.answers, codes.answers, mark.answers, attributes.answers, policy.answers
    )
    remarks = list(attributes.remarks)
    if label.unknown_tokens:
        words = ", ".join(f"'{token}'" for token in label.unknown_tokens)
        remarks.append(f"Words of the label that are not defined here, so not used: {words}.")
    said = (*label.conflicts, *codes.conflicts, *attributes.conflicts, *conflicts)
    return answers, said, tuple(remarks)


def _lesion(
    identity: tuple[str, str], measured: Measured, index: SeriesIndex, remarks: tuple[str, ...]
) -> Lesion:
    name, uid = identity
    placed = measured.placed
    said = (*placed.mark.remarks, *filter(None, [placed.remark]), *remarks)
    mark = replace(placed.mark, remarks=said)
    source = index.slices[measured.k]
    return Lesion(
        name=name,
        mark=mark,
        tracking_uid=uid,
        placement=placed.placement,
        size=measured.size,
        image=source.ref,
        image_label=_image_label(source.instance_number, source.ref.frame_number),
        outline=measured.outline,
        intensity=measured.intensity,
    )


def _image_label(instance_number: int | None, frame_number: int | None) -> str:
    image = "image without number" if instance_number is None else f"image {instance_number}"
    return image if frame_number is None else f"{image}, frame {frame_number}"


def _values(size: Size | NotMeasurable, mark: RoiMark | None) -> PhraseValues:
    return PhraseValues(
        whole_mm=size.whole_mm if isinstance(size, Size) else None,
        largest_unrounded_borderline=isinstance(size, Size) and Doubt.BORDERLINE in size.doubts,
        site=mark.finding_site.meaning if mark and mark.finding_site else "",
        laterality=mark.laterality.meaning if mark and mark.laterality else "",
    )
