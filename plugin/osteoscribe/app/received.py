"""What a received measurement report says, read from the object alone: for people to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom import Dataset

from osteoscribe.core import codes
from osteoscribe.core.codes import Code


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedLesion:
    """One lesion as the report has it.

    Parameters
    ----------
    values
        The numbers by code value: mm, mm3, HU.
    """

    name: str
    tracking_uid: str
    rule: str
    phrase: str
    recommendation: str
    values: Mapping[str, float]

    def value(self, concept: Code) -> float | None:
        """A number of the report, or None where it has none."""
        return self.values.get(concept.value)


def is_measurement_report(ds: Dataset) -> bool:
    """Whether an object is a measurement report, not its text companion or an image."""
    return _is_named(ds, codes.IMAGING_MEASUREMENT_REPORT)


def lesions_of(ds: Dataset) -> tuple[ReceivedLesion, ...]:
    """The lesions of a measurement report; groups of one tracking UID are one lesion."""
    groups: dict[str, list[Dataset]] = {}
    for group in _groups(ds):
        groups.setdefault(_text(group, codes.TRACKING_UNIQUE_IDENTIFIER, "UID"), []).append(group)
    return tuple(_lesion(uid, found) for uid, found in groups.items())


def _groups(ds: Dataset) -> Iterator[Dataset]:
    for section in _children(ds, codes.IMAGING_MEASUREMENTS):
        yield from _children(section, codes.MEASUREMENT_GROUP)


def _lesion(uid: str, groups: list[Dataset]) -> ReceivedLesion:
    first = groups[0]
    return ReceivedLesion(
        name=_text(first, codes.TRACKING_IDENTIFIER),
        tracking_uid=uid,
        rule=next(
            (_code_value(i, "ConceptCodeSequence") for i in _children(first, codes.MANAGEMENT_CATEGORY)), ""
        ),
        phrase=_text(first, codes.PHRASE),
        recommendation=_text(first, codes.RECOMMENDATION_TEXT),
        values={
            _code_value(item): float(item.MeasuredValueSequence[0].NumericValue)
            for group in groups
            for item in _children(group)
            if item.ValueType == "NUM"
        },
    )


def _text(item: Dataset, concept: Code, keyword: str = "TextValue") -> str:
    return next((str(child.get(keyword, "")) for child in _children(item, concept)), "")


def _children(item: Dataset, concept: Code | None = None) -> list[Dataset]:
    return [
        child for child in item.get("ContentSequence", []) if concept is None or _is_named(child, concept)
    ]


def _is_named(item: Dataset, concept: Code) -> bool:
    name = item.get("ConceptNameCodeSequence")
    return (
        bool(name)
        and _code_value(item) == concept.value
        and str(name[0].CodingSchemeDesignator) == concept.scheme
    )


def _code_value(item: Dataset, keyword: str = "ConceptNameCodeSequence") -> str:
    sequence = item.get(keyword)
    return str(sequence[0].get("CodeValue") or sequence[0].LongCodeValue) if sequence else ""
