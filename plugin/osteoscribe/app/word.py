"""From measured lesions to findings: facts, decision, phrase."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from pydicom import Dataset

from osteoscribe.app.measure import Measured
from osteoscribe.app.ports import EarlierLesions
from osteoscribe.app.practice import Practice
from osteoscribe.app.sites import is_known_site
from osteoscribe.core.answers import Answer, Answers, Conflict
from osteoscribe.core.facts import facts_for
from osteoscribe.core.labels import (
    answers_from_codes,
    answers_from_label,
    merge_answers,
    own_name,
    shared_answers,
)
from osteoscribe.core.marks import RoiMark
from osteoscribe.core.phrase import PhraseValues, word
from osteoscribe.core.prior import (
    NO_EARLIER,
    Comparison,
    LesionRecord,
    NotCompared,
    centroid_lps_mm,
    compare,
    counterparts,
    resaved_as,
    same_lesion,
    surely_same_lesion,
)
from osteoscribe.core.region import Region
from osteoscribe.core.report import Basis, Finding, Lesion
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.examination import examination_facts
from osteoscribe.core.rules.table import Scope
from osteoscribe.core.serial import SerialCourse, StoredLesion, serial_course
from osteoscribe.core.series import SeriesIndex
from osteoscribe.core.size import Doubt, NotMeasurable, Size
from osteoscribe.readers.context import AttributeAnswers, answers_from_attributes
from osteoscribe.writers.copying import once
from osteoscribe.writers.uids import tracking_uids


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredSeries:
    """The measured marks of one CT series, with the header that its report copies patient and study from."""

    index: SeriesIndex
    context: Dataset
    measured: tuple[Measured, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lesion:
    """One measured mark with what the ledger keeps of it."""

    measured: Measured
    record: LesionRecord
    series: MeasuredSeries

    @property
    def stored(self) -> StoredLesion:
        """What the ledger keeps; HU and protocol stand beside the record that is compared."""
        intensity = self.measured.intensity
        return StoredLesion(
            record=self.record,
            mean_hu=None if intensity is None else intensity.mean_hu,
            acquisition=self.series.index.acquisition,
        )


def word_series(
    series: Sequence[MeasuredSeries], practice: Practice, calling_ae: str, earlier: EarlierLesions
) -> Mapping[str, Sequence[tuple[Finding, StoredLesion]]]:
    """Findings of several CT series, each with what the ledger keeps of it, by Series Instance UID.

    The lesions of one study count together: two or more are multiple, whichever series they are marked on.
    A lesion that is marked twice counts once.

    Parameters
    ----------
    earlier
        Gives lesions of the same patient from earlier reports: those of the same study lend their tracking
        UIDs to marks that were saved again, those of earlier studies are compared with.
    """
    of_study: dict[str, list[_Lesion]] = defaultdict(list)
    before: dict[str, Sequence[StoredLesion]] = {}
    for one in series:
        study_uid = one.index.study_instance_uid
        before.setdefault(study_uid, earlier(once(patient_key, one.context)))
        records = [stored.record for stored in before[study_uid]]
        of_study[study_uid] += _identified(one, practice, records)
    worded: dict[str, list[tuple[Finding, StoredLesion]]] = defaultdict(list)
    for study_uid, lesions in of_study.items():
        findings = _findings(lesions, before[study_uid], practice, calling_ae)
        for lesion, finding in zip(lesions, findings, strict=True):
            worded[lesion.series.index.series_instance_uid].append((finding, lesion.stored))
    return worded


def _findings(
    lesions: Sequence[_Lesion], before: Sequence[StoredLesion], practice: Practice, calling_ae: str
) -> list[Finding]:
    """The findings of one study."""
    groups = _marks_of_one_lesion(lesions)
    sizes = [max((lesions[at].measured.size for at in group), key=_length) for group in groups]
    comparisons = compare([one.record for one in lesions], [one.record for one in before])
    answered = _answered(lesions, practice, calling_ae)
    names = _names(lesions)
    doubles = _doubles(lesions, groups, names)
    findings = [
        _finding(name, lesion, sizes, comparison, replace(said, remarks=(*said.remarks, *double)), practice)
        for name, lesion, comparison, said, double in zip(
            names, lesions, comparisons, answered, doubles, strict=True
        )
    ]
    return _with_courses(_with_one_phrase(findings, sizes, practice), lesions, before, practice)


def is_metastasis(finding: Finding) -> bool:
    """Whether a lesion is recorded as a known metastasis."""
    return finding.facts.facts.known_metastasis is Answer.YES


def _with_courses(
    findings: Sequence[Finding],
    lesions: Sequence[_Lesion],
    before: Sequence[StoredLesion],
    practice: Practice,
) -> list[Finding]:
    """The findings of one study, those of known metastases with their course.

    Rule and phrase are there already: HU of earlier examinations come too late to change them.
    """
    stored = {one.record: one for one in before}
    found = counterparts([one.record for one in lesions], [one.record for one in before])
    courses: list[SerialCourse | None] = [
        serial_course(lesion.stored, [stored[record] for record in earlier], practice.panel.serial)
        for lesion, earlier in zip(lesions, found, strict=True)
    ]
    return [
        replace(finding, lesion=replace(finding.lesion, serial=course)) if is_metastasis(finding) else finding
        for finding, course in zip(findings, courses, strict=True)
    ]


def _with_one_phrase(
    findings: Sequence[Finding], sizes: Sequence[Size | NotMeasurable], practice: Practice
) -> list[Finding]:
    """The findings of one study; those whose row is for the examination all say the same."""
    facts = examination_facts(practice.table, [finding.facts.facts for finding in findings])
    if facts is None:
        return list(findings)
    decision = decide(practice.table, facts)
    values = _values(max(sizes, key=_length), None)
    phrase = word(practice.table, decision, facts, values)
    basis = Basis(facts=facts, values=values)
    return [
        replace(finding, decision=decision, phrase=phrase, basis=basis)
        if finding.decision.scope == Scope.EXAMINATION.value
        else finding
        for finding in findings
    ]


def patient_key(context: Dataset) -> str:
    """A digest that stands for the patient of a data set; empty where it has no Patient ID."""
    if not context.get("PatientID"):
        return ""
    parts = [str(context.get(name) or "") for name in ("IssuerOfPatientID", "PatientID", "PatientBirthDate")]
    return _digest(*parts)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _identified(series: MeasuredSeries, practice: Practice, earlier: Sequence[LesionRecord]) -> list[_Lesion]:
    """The marks of one series with their tracking UIDs: those of before where they were saved again."""
    uids = tracking_uids([measured.placed.mark for measured in series.measured])
    records = [
        _record(measured, uid, series, practice) for uid, measured in zip(uids, series.measured, strict=True)
    ]
    before = [one for one in earlier if one.study_instance_uid == series.index.study_instance_uid]
    kept = resaved_as(records, before)
    return [
        _Lesion(
            measured=measured,
            record=replace(record, tracking_uid=uid or record.tracking_uid),
            series=series,
        )
        for measured, record, uid in zip(series.measured, records, kept, strict=True)
    ]


def _record(measured: Measured, uid: str, series: MeasuredSeries, practice: Practice) -> LesionRecord:
    index = series.index
    name = own_name(measured.placed.mark.label, practice.labels)
    return LesionRecord(
        tracking_uid=uid,
        study_instance_uid=index.study_instance_uid,
        series_instance_uid=index.series_instance_uid,
        study_date=_date(str(series.context.get("StudyDate") or "")),
        frame_of_reference_uid=index.grid.frame_of_reference_uid,
        centroid_lps_mm=centroid_lps_mm(measured.placed.placement.on_ct),
        long_axis_mm=measured.size.long_axis_mm if isinstance(measured.size, Size) else None,
        slice_thickness_mm=index.acquisition.slice_thickness_mm,
        name=_digest(once(patient_key, series.context), name) if name else "",
    )


def _date(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007  a date has no zone
    except ValueError:
        return None


def _names(lesions: Sequence[_Lesion]) -> list[str]:
    """A name for each mark, counted in each series."""
    numbers: dict[str, int] = defaultdict(int)
    names = []
    for lesion in lesions:
        series_uid = lesion.series.index.series_instance_uid
        numbers[series_uid] += 1
        names.append(f"Lesion {numbers[series_uid]}")
    return names


def _marks_of_one_lesion(lesions: Sequence[_Lesion]) -> list[list[int]]:
    """The marks of an examination, those of one lesion together."""
    groups: list[list[int]] = []
    for at, one in enumerate(lesions):
        known = next((g for g in groups if any(_one_lesion(one, lesions[m]) for m in g)), None)
        if known is None:
            groups.append([at])
        else:
            known.append(at)
    return groups


def _one_lesion(a: _Lesion, b: _Lesion) -> bool:
    """Whether two marks lie on one lesion: they cannot be two, or the viewer says so and the place fits."""
    uids = [one.measured.placed.mark.tracking_uid for one in (a, b)]
    stated = uids[0] is not None and uids[0] == uids[1]
    if not (surely_same_lesion(a.record, b.record) or (stated and same_lesion(a.record, b.record))):
        return False
    regions = [one.measured.placed.placement.on_ct for one in (a, b)]
    return not (a.series is b.series and _apart(*regions))


def _apart(a: Region, b: Region) -> bool:
    """Whether two areas of one grid share slices but no voxel: however near, they are two lesions."""
    if not (a.mask.any() and b.mask.any()):
        return False
    both = [
        slice(max(x.start, y.start), max(x.start, y.start, min(x.stop, y.stop)))
        for x, y in zip(a.box, b.box, strict=True)
    ]
    if both[0].start == both[0].stop:
        return False
    shared = [
        region.mask[
            tuple(slice(x.start - at, x.stop - at) for x, at in zip(both, region.offset, strict=True))
        ]
        for region in (a, b)
    ]
    return not bool((shared[0] & shared[1]).any())


def _doubles(
    lesions: Sequence[_Lesion], groups: Sequence[Sequence[int]], names: Sequence[str]
) -> list[tuple[str, ...]]:
    """For each mark what is to be said where an earlier one marks the same lesion."""
    remarks: list[tuple[str, ...]] = [()] * len(lesions)
    for first, *others in groups:
        for at in others:
            uid = lesions[first].series.index.series_instance_uid
            there = "" if uid == lesions[at].series.index.series_instance_uid else f" of CT series {uid}"
            remarks[at] = (f"Marks the same lesion as {names[first]}{there}: counted once.",)
    return remarks


def _length(size: Size | NotMeasurable) -> float:
    return size.long_axis_mm if isinstance(size, Size) else -1.0


def _finding(
    name: str,
    one: _Lesion,
    sizes: Sequence[Size | NotMeasurable],
    compared: Comparison | NotCompared,
    said: _Said,
    practice: Practice,
) -> Finding:
    measured = one.measured
    comparison = compared if isinstance(compared, Comparison) else None
    if said.answers.known_metastasis.value is Answer.YES:
        # Its course is printed as plain measurements: "stable" would read as a response category.
        comparison = None
    remarks = said.remarks
    if isinstance(compared, NotCompared) and compared.why != NO_EARLIER:
        remarks = (*remarks, f"Not compared with an earlier examination: {compared.why}.")
    sheet = facts_for(measured.size, sizes, comparison, said.answers)
    sheet = replace(sheet, conflicts=(*said.conflicts, *sheet.conflicts))
    decision = decide(practice.table, sheet.facts)
    mark = replace(
        said.mark,
        remarks=(*said.mark.remarks, *filter(None, [measured.placed.remark, measured.remark]), *remarks),
    )
    lesion = _lesion(name, one, comparison, mark)
    values = _with_site(_values(measured.size, comparison), mark, practice)
    return Finding(
        lesion=lesion,
        facts=sheet,
        decision=decision,
        phrase=word(practice.table, decision, sheet.facts, values),
        basis=Basis(facts=sheet.facts, values=values),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What all sources state about one mark, what disagreed, and what is to be said about it.

    ``mark`` has the site that the CT names where it has none of its own.
    """

    mark: RoiMark
    answers: Answers
    conflicts: tuple[Conflict, ...]
    remarks: tuple[str, ...]


def _answered(lesions: Sequence[_Lesion], practice: Practice, calling_ae: str) -> list[_Said]:
    """What is stated about each mark of one study; what holds for the patient is said on each."""
    attributes = {
        id(one.series): once(answers_from_attributes, one.series.context, practice.malignancies)
        for one in {id(lesion.series): lesion for lesion in lesions}.values()
    }
    own = [
        _said(one.measured.placed.mark, attributes[id(one.series)], practice, calling_ae) for one in lesions
    ]
    shared, conflicts = shared_answers([one.answers for one in own])
    return [
        replace(one, answers=answers, conflicts=tuple(dict.fromkeys((*one.conflicts, *conflicts))))
        for one, answers in zip(own, shared, strict=True)
    ]


def _said(mark: RoiMark, attributes: AttributeAnswers, practice: Practice, calling_ae: str) -> _Said:
    label = answers_from_label(mark.label, practice.labels)
    codes = answers_from_codes(mark.property_codes, practice.labels, mark.evaluations)
    policy = practice.labels.policy_for(calling_ae)
    answers, conflicts = merge_answers(
        label.answers, codes.answers, mark.answers, attributes.answers, policy.answers
    )
    remarks = list(attributes.remarks)
    if label.unknown_tokens:
        words = ", ".join(f"'{token}'" for token in label.unknown_tokens)
        remarks.append(f"Words of the label that are not defined here, so not used: {words}.")
    sited = _sited(mark, attributes)
    if sited is not mark:
        remarks.append("The site is the anatomic region that the CT names; the mark names none.")
    disagreed = (*label.conflicts, *codes.conflicts, *attributes.conflicts, *conflicts)
    return _Said(mark=sited, answers=answers, conflicts=disagreed, remarks=tuple(remarks))


def _sited(mark: RoiMark, attributes: AttributeAnswers) -> RoiMark:
    """The mark, with the examined region as its site where it has none and the region is one of our list."""
    region = attributes.anatomic_region
    if mark.finding_site is not None or region is None or not is_known_site(region):
        return mark
    return replace(mark, finding_site=region, laterality=mark.laterality or attributes.anatomic_side)


def _lesion(name: str, one: _Lesion, comparison: Comparison | None, mark: RoiMark) -> Lesion:
    measured, placed = one.measured, one.measured.placed
    source = one.series.index.slices[measured.k]
    return Lesion(
        name=name,
        mark=mark,
        tracking_uid=one.record.tracking_uid,
        placement=placed.placement,
        size=measured.size,
        image=source.ref,
        image_label=_image_label(source.instance_number, source.ref.frame_number),
        outline=measured.outline,
        intensity=measured.intensity,
        comparison=comparison,
    )


def _image_label(instance_number: int | None, frame_number: int | None) -> str:
    image = "image without number" if instance_number is None else f"image {instance_number}"
    return image if frame_number is None else f"{image}, frame {frame_number}"


def _values(size: Size | NotMeasurable, comparison: Comparison | None) -> PhraseValues:
    return PhraseValues(
        prior_date=comparison.prior_date if comparison else None,
        whole_mm=size.whole_mm if isinstance(size, Size) else None,
        largest_unrounded_borderline=isinstance(size, Size) and Doubt.BORDERLINE in size.doubts,
    )


def _with_site(values: PhraseValues, mark: RoiMark, practice: Practice) -> PhraseValues:
    names = practice.site_names
    if names is None:
        return values
    return replace(values, site=names.of(mark.finding_site), laterality=names.of(mark.laterality))
