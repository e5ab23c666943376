"""SR content items (PS3.3 C.17.3), one function for each value type."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from osteoscribe.core import codes
from osteoscribe.core.codes import Code
from osteoscribe.core.marks import InstanceRef
from osteoscribe.writers.encoded import Item, PydicomElements, element, item, item_of, raw_elements

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
INFERRED_FROM = "INFERRED FROM"
SELECTED_FROM = "SELECTED FROM"

LONGEST_CODE_VALUE = 16
"""Longer values go to Long Code Value (PS3.3 table 8.8-1a)."""
LONGEST_LONG_CODE, LONGEST_MEANING, LONGEST_NAME = 256, 64, 64
MOST_DECIMALS = 13
"""A decimal string holds at most 16 characters (PS3.5 6.2)."""


@lru_cache(maxsize=1024)
def coded(code: Code) -> Item:
    """One item of a code sequence (PS3.3 table 8.8-1)."""
    keyword = "LongCodeValue" if len(code.value) > LONGEST_CODE_VALUE else "CodeValue"
    return item(**{keyword: code.value}, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning)


@lru_cache(maxsize=1024)
def _code_sequence(keyword: str, code: Code) -> bytes:
    return element(keyword, [coded(code)])


@lru_cache(maxsize=64)
def _kind(keyword: str, word: str) -> bytes:
    return element(keyword, word)


def _item(
    value_type: str,
    name: Code | None,
    relationship: str,
    children: Sequence[Item] = (),
    **values: bytes,
) -> Item:
    """A content item; `values` are elements by keyword."""
    values["RelationshipType"] = _kind("RelationshipType", relationship)
    values["ValueType"] = _kind("ValueType", value_type)
    if name is not None:
        values["ConceptNameCodeSequence"] = _code_sequence("ConceptNameCodeSequence", name)
    if children:
        values["ContentSequence"] = element("ContentSequence", children)
    return item_of(values)


def container(name: Code, children: Sequence[Item], *, template: str | None = None) -> Item:
    """A container whose items are SEPARATE: viewers run the items of a CONTINUOUS one together.

    Parameters
    ----------
    template
        Number of the template of PS3.16 that it follows, for example ``1410``.
    """
    values = {"ContinuityOfContent": _kind("ContinuityOfContent", "SEPARATE")}
    if template is not None:
        values["ContentTemplateSequence"] = element("ContentTemplateSequence", [_template(template)])
    return _item("CONTAINER", name, CONTAINS, children, **values)


def _template(number: str) -> Item:
    return item(MappingResource="DCMR", TemplateIdentifier=number)


def root(title: Code, children: Sequence[Item], *, template: str | None = None) -> PydicomElements:
    """The elements of a document's root container, for `pydicom.Dataset.update`."""
    templates = {} if template is None else {"ContentTemplateSequence": [_template(template)]}
    return raw_elements(
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[coded(title)],
        ContinuityOfContent="SEPARATE",
        ContentSequence=children,
        **templates,
    )


def text(name: Code, value: str, *, relationship: str = CONTAINS, language: str = "en") -> Item:
    """A text; control characters but line feeds become spaces, trailing blanks go.

    Parameters
    ----------
    language
        RFC 5646 tag; said where it is not that of the document, English (PS3.16 TID 1204).
    """
    spoken: Sequence[Item] = ()
    if language != "en":
        spoken = (code(codes.LANGUAGE, codes.language(language), relationship=HAS_CONCEPT_MOD),)
    return _item("TEXT", name, relationship, spoken, TextValue=element("TextValue", clean(value)))


def clean(value: str) -> str:
    r"""Text that may stand in an SR: no control characters but line feeds, no trailing blanks.

    Examples
    --------
    >>> clean("a\x1b[31mb \r\nc \n")
    'a [31mb\nc'
    """
    lines = value.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(_printable(line).rstrip() for line in lines).rstrip()


def _printable(line: str) -> str:
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)


def clean_line(value: str, longest: int) -> str:
    r"""One line that may stand in a short text or code: no backslash, which would part it into two values.

    Examples
    --------
    >>> clean_line(" a\\b\n c", 64)
    'a b  c'
    """
    return clean(value.replace("\\", " ").replace("\n", " ")).strip()[:longest].rstrip()


def clean_name(value: str) -> str:
    """A person's name that may stand in a PN: at most three groups of 64 characters (PS3.5 6.2.1)."""
    groups = [clean_line(group, LONGEST_NAME).rstrip("^ ") for group in value.split("=")[:3]]
    return "=".join(groups).rstrip("= ")


def clean_code(code: Code) -> Code | None:
    """A code of another writer as it may stand here, or None where nothing of it is usable."""
    value, scheme = clean_line(code.value, LONGEST_LONG_CODE), clean_line(code.scheme, LONGEST_CODE_VALUE)
    if not value or not scheme:
        return None
    return Code(value, scheme, clean_line(code.meaning, LONGEST_MEANING) or value[:LONGEST_MEANING])


@lru_cache(maxsize=1024)  # most stand with every lesion
def code(name: Code, value: Code, children: tuple[Item, ...] = (), *, relationship: str = CONTAINS) -> Item:
    """A coded value."""
    values = {"ConceptCodeSequence": _code_sequence("ConceptCodeSequence", value)}
    return _item("CODE", name, relationship, children, **values)


def uid_reference(name: Code, uid: str, *, relationship: str = CONTAINS) -> Item:
    """A UID as value."""
    return _item("UIDREF", name, relationship, UID=element("UID", uid))


def person_name(name: Code, value: str, *, relationship: str = HAS_OBS_CONTEXT) -> Item:
    """A person's name."""
    return _item("PNAME", name, relationship, PersonName=element("PersonName", value))


def number(name: Code, value: str, unit: Code, children: Sequence[Item] = ()) -> Item:
    """A number with its unit; `value` is a decimal string of at most 16 characters."""
    measured = {
        "NumericValue": element("NumericValue", value),
        "MeasurementUnitsCodeSequence": _code_sequence("MeasurementUnitsCodeSequence", unit),
    }
    values = {"MeasuredValueSequence": element("MeasuredValueSequence", [item_of(measured)])}
    return _item("NUM", name, CONTAINS, children, **values)


def image(
    ref: InstanceRef, *, name: Code | None = None, relationship: str = CONTAINS, segment: int | None = None
) -> Item:
    """A reference to an image, one frame or one segment of it."""
    reference: dict[str, str | bytes] = {
        "ReferencedSOPClassUID": ref.sop_class_uid,
        "ReferencedSOPInstanceUID": ref.sop_instance_uid,
    }
    if ref.frame_number is not None:
        reference["ReferencedFrameNumber"] = str(ref.frame_number)
    if segment is not None:
        reference["ReferencedSegmentNumber"] = segment.to_bytes(2, "little")
    references = element("ReferencedSOPSequence", [item(**reference)])
    return _item("IMAGE", name, relationship, ReferencedSOPSequence=references)


def coordinates(
    name: Code | None,
    graphic_type: str,
    points_px: npt.ArrayLike,
    ref: InstanceRef,
    *,
    relationship: str = CONTAINS,
) -> Item:
    """Spatial coordinates on one image.

    Parameters
    ----------
    graphic_type
        ``POINT`` or ``POLYLINE`` (PS3.3 C.18.6.1.2).
    points_px
        (n, 2), (column, row), 0.0 = outer corner of the first pixel; a closed line repeats its first point.
    """
    return _item(
        "SCOORD",
        name,
        relationship,
        (image(ref, relationship=SELECTED_FROM),),
        GraphicType=element("GraphicType", graphic_type),
        GraphicData=element("GraphicData", np.asarray(points_px, dtype="<f4").tobytes()),
    )


def decimal_string(value: float, *, whole: int | None = None, decimals: int = 3) -> str:
    """A number as it is shown: rounded once, trailing zeros left out.

    Parameters
    ----------
    value
        The unrounded number.
    whole
        The whole number that the sentence says. Where the shown number would round to another one (5.4999 mm
        would read 5.5, hence 6), as many decimals are shown as it takes to agree.
    decimals
        How many are shown at most, but for that.

    Examples
    --------
    >>> decimal_string(5.65123), decimal_string(141.2996), decimal_string(5.49996, whole=5)
    ('5.651', '141.3', '5.49996')
    >>> decimal_string(5.46, whole=5, decimals=1), decimal_string(5.56, whole=6, decimals=1)
    ('5.46', '5.6')
    """
    exact = Decimal(value)
    for count in range(decimals, MOST_DECIMALS):
        shown = exact.quantize(Decimal(1).scaleb(-count), rounding=ROUND_HALF_UP)
        if whole is None or int(shown.quantize(Decimal(1), rounding=ROUND_HALF_UP)) == whole:
            break
    plain = format(shown, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain == "-0" else plain
