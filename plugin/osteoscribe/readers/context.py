"""Answers from the DICOM attributes of an examination: age, coded malignancy, examined region."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from osteoscribe.core.answers import Age, Answer, Answers, Conflict, Provenance, Stated
from osteoscribe.core.codes import LATERALITIES, Code
from osteoscribe.core.labels.malignancy import MalignancyCodes, Reading
from osteoscribe.core.labels.merge import merge_answers
from osteoscribe.readers.attributes import UNREADABLE, code_of

ADULT_YEARS = 18
OLDEST_YEARS = 130
"""A date of birth further back is a placeholder, such as 1 January 1800."""

FEWEST_DAYS = 6574
MOST_DAYS = 6575
"""18 years hold 4 or 5 leap days: an age in days or weeks between these does not decide."""

DIAGNOSES = ("ReasonForRequestedProcedureCodeSequence", "AdmittingDiagnosesCodeSequence")
"""Coded reasons and diagnoses: (0040,100A), also inside Request Attributes Sequence, and (0008,1084)."""

FREE_TEXT = (
    "AdditionalPatientHistory",
    "ReasonForTheRequestedProcedure",
    "MedicalAlerts",
    "AdmittingDiagnosesDescription",
    "ReasonForStudy",
    "RequestedProcedureDescription",
    "RequestedProcedureComments",
    "PatientComments",
)

LONGEST_TEXT = 20_000
"""Characters of one free text that are looked at; UT has no limit of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeAnswers:
    """What the attributes of one instance say.

    Parameters
    ----------
    answers
        Age and malignancy history, provenance DICOM attribute. Attributes never say *no*.
    remarks
        Sentences for the report, without any text of the request.
    anatomic_region, anatomic_side
        Examined region and its side, which can stand for a finding site only where the mark names none.
        Several regions are none.
    conflicts
        Attributes that contradict each other.
    """

    answers: Answers = field(default_factory=Answers)
    remarks: tuple[str, ...] = ()
    anatomic_region: Code | None = None
    anatomic_side: Code | None = None
    conflicts: tuple[Conflict, ...] = ()


def answers_from_attributes(ds: Dataset, codes: MalignancyCodes) -> AttributeAnswers:
    """Answers from the attributes of an image or mark object.

    Free text never sets a value: where it has a word of our list, a remark asks to confirm.

    Parameters
    ----------
    ds
        Data set with patient, study and request attributes; pixels are not needed.
    codes
        What ``config/codes-malignancy.toml`` says.

    Returns
    -------
    AttributeAnswers

    References
    ----------
    PS3.3 C.7.1.1, C.7.2.1, C.7.2.2, tables 10-9 and 10-8 (request attributes, anatomic region)
    """
    ages, age_conflicts = merge_answers(*(Answers(age=stated) for stated in _ages(ds)))
    malignancies, remarks = _malignancy(ds, codes)
    answers, _ = merge_answers(ages, *malignancies)
    region, side = _region(ds)
    return AttributeAnswers(
        answers=answers,
        remarks=(*remarks, *_mentions(ds, codes)),
        anatomic_region=region,
        anatomic_side=side,
        conflicts=age_conflicts,
    )


def _region(ds: Dataset) -> tuple[Code | None, Code | None]:
    """The examined region and its side, where there is exactly one."""
    regions = _items(ds, "AnatomicRegionSequence")
    if len(regions) != 1:
        return None, None
    sides = [
        side
        for item in _items(regions[0], "AnatomicRegionModifierSequence")
        if (code := code_of(item)) and (side := next((s for s in LATERALITIES if s.same_as(code)), None))
    ]
    return code_of(regions[0]), sides[0] if len(sides) == 1 else None


def _malignancy(ds: Dataset, codes: MalignancyCodes) -> tuple[list[Answers], list[str]]:
    answers: list[Answers] = []
    remarks: list[str] = []
    for keyword, code in _diagnoses(ds):
        reading = codes.reading(code)
        if reading is Reading.MALIGNANCY:
            where = f"{keyword}: ({code.value}, {code.scheme})"
            stated = Stated(value=Answer.YES, provenance=Provenance.DICOM_ATTRIBUTE, where=where)
            answers.append(Answers(malignancy_history=stated))
        elif reading is Reading.UNSURE:
            remarks.append(f"{keyword} has an ICD-10 code of a malignancy with an addition, please confirm")
        elif words := codes.words_in(code.meaning):
            remarks.append(f"{keyword} mentions: {', '.join(words)}, please confirm")
    return answers, list(dict.fromkeys(remarks))


def _diagnoses(ds: Dataset) -> Iterator[tuple[str, Code]]:
    for place in (ds, *_items(ds, "RequestAttributesSequence")):
        for keyword in DIAGNOSES:
            for item in _items(place, keyword):
                if code := _code(item):
                    yield keyword, code


def _mentions(ds: Dataset, codes: MalignancyCodes) -> tuple[str, ...]:
    places = (ds, *_items(ds, "RequestAttributesSequence"))
    texts = [_text(place, keyword) for place in places for keyword in FREE_TEXT]
    words = sorted({word for text in texts for word in codes.words_in(text)})
    return (f"request text mentions: {', '.join(words)}, please confirm",) if words else ()


def _ages(ds: Dataset) -> Iterator[Stated[Age]]:
    """Age on the study date by PatientAge and by the date of birth, where each is there and plausible."""
    by_age = _age_of_text(_text(ds, "PatientAge"))
    if by_age:
        yield Stated(value=by_age, provenance=Provenance.DICOM_ATTRIBUTE, where="PatientAge")
    born, study = _date(_text(ds, "PatientBirthDate")), _date(_text(ds, "StudyDate"))
    if born and study and born <= study and study.year - born.year <= OLDEST_YEARS:
        yield Stated(
            value=age_on(born, study),
            provenance=Provenance.DICOM_ATTRIBUTE,
            where="PatientBirthDate and StudyDate",
        )


def age_on(born: date, day: date) -> Age:
    """Adult or child on a day; adult from the 18th birthday on.

    Who was born on 29 February comes of age on 1 March.

    Examples
    --------
    >>> age_on(date(2000, 5, 17), date(2018, 5, 16)), age_on(date(2000, 5, 17), date(2018, 5, 17))
    (<Age.CHILD: 'child'>, <Age.ADULT: 'adult'>)
    """
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return Age.ADULT if years >= ADULT_YEARS else Age.CHILD


def _age_of_text(text: str) -> Age | None:
    """Adult or child by an age string (PS3.5 table 6.2-1, AS), or None where it does not decide."""
    found = re.fullmatch(r"([0-9]{3})([DWMY])", text)
    if not found:
        return None
    number, unit = int(found[1]), found[2]
    # An age of n full units lies between n and n + 1 of them.
    low, high, limit, sure = {
        "Y": (number, number + 1, ADULT_YEARS, ADULT_YEARS),
        "M": (number, number + 1, 12 * ADULT_YEARS, 12 * ADULT_YEARS),
        "W": (7 * number, 7 * number + 7, FEWEST_DAYS, MOST_DAYS),
        "D": (number, number + 1, FEWEST_DAYS, MOST_DAYS),
    }[unit]
    if unit == "Y" and number > OLDEST_YEARS:
        return None
    if low >= sure:
        return Age.ADULT
    return Age.CHILD if high <= limit else None


def _date(text: str) -> date | None:
    found = re.fullmatch(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})", text)
    try:
        return date(int(found[1]), int(found[2]), int(found[3])) if found else None
    except ValueError:
        return None


def _items(ds: Dataset, keyword: str) -> tuple[Dataset, ...]:
    try:
        found = ds.get(keyword)
    except UNREADABLE:
        return ()
    return tuple(found) if isinstance(found, Sequence) else ()


def _text(ds: Dataset, keyword: str) -> str:
    try:
        found = ds.get(keyword)
    except UNREADABLE:
        return ""
    if found is None or isinstance(found, Sequence | bytes):
        return ""
    parts = found if isinstance(found, MultiValue | list | tuple) else (found,)
    return "\\".join(str(part) for part in parts)[:LONGEST_TEXT].replace("\0", "").strip()


def _code(item: Dataset) -> Code | None:
    value = _text(item, "CodeValue") or _text(item, "LongCodeValue")
    if not value:
        return None
    return Code(value, _text(item, "CodingSchemeDesignator"), _text(item, "CodeMeaning"))
