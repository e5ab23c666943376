"""SR content items (PS3.3 C.17.3), one function for each value type."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from osteoscribe.core import codes
from osteoscribe.core.codes import Code
from osteoscribe.core.marks import InstanceRef
from osteoscribe.writers.encoded import Elements, encoded_elements, encoded_item

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
INFERRED_FROM = "INFERRED FROM"
SELECTED_FROM = "SELECTED FROM"

LONGEST_CODE_VALUE = 16
"""Longer values go to Long Code Value (PS3.3 table 8.8-1a)."""
_CODE_VALUE, _LONG_CODE_VALUE = 0x00080100, 0x00080119
_CODING_SCHEME_DESIGNATOR, _CODE_MEANING = 0x00080102, 0x00080104
LONGEST_LONG_CODE, LONGEST_MEANING, LONGEST_NAME = 256, 64, 64
MOST_DECIMALS = 13
"""A decimal string holds at most 16 characters (PS3.5 6.2)."""


def coded(code: Code) -> Dataset:
    """One item of a code sequence (PS3.3 table 8.8-1)."""
    if code.meaning.isascii() and code.value.isascii() and code.scheme.isascii():
        return encoded_item(_encoded_code(code))
    item = Dataset()
    setattr(item, "LongCodeValue" if len(code.value) > LONGEST_CODE_VALUE else "CodeValue", code.value)
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return item


@lru_cache(maxsize=1024)
def _encoded_code(code: Code) -> Elements:
    is_long = len(code.value) > LONGEST_CODE_VALUE
    return encoded_elements(
        {
            _LONG_CODE_VALUE if is_long else _CODE_VALUE: ("UC" if is_long else "SH", code.value),
            _CODING_SCHEME_DESIGNATOR: ("SH", code.scheme),
            _CODE_MEANING: ("LO", code.meaning),
        }
    )


def _item(value_type: str, name: Code | None, relationship: str, children: Sequence[Dataset]) -> Dataset:
    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = value_type
    if name is not None:
        item.ConceptNameCodeSequence = [coded(name)]
    if children:
        item.ContentSequence = list(children)
    return item


def container(name: Code, children: Sequence[Dataset], *, template: str | None = None) -> Dataset:
    """A container whose items are SEPARATE: viewers run the items of a CONTINUOUS one together.

    Parameters
    ----------
    template
        Number of the template of PS3.16 that it follows, for example ``1410``.
    """
    item = _item("CONTAINER", name, CONTAINS, children)
    item.ContinuityOfContent = "SEPARATE"
    if template is not None:
        template_item = Dataset()
        template_item.MappingResource = "DCMR"
        template_item.TemplateIdentifier = template
        item.ContentTemplateSequence = [template_item]
    return item


def text(name: Code, value: str, *, relationship: str = CONTAINS, language: str = "en") -> Dataset:
    """A text; control characters but line feeds become spaces, trailing blanks go.

    Parameters
    ----------
    language
        RFC 5646 tag; said where it is not that of the document, English (PS3.16 TID 1204).
    """
    spoken: Sequence[Dataset] = ()
    if language != "en":
        spoken = (code(codes.LANGUAGE, codes.language(language), relationship=HAS_CONCEPT_MOD),)
    item = _item("TEXT", name, relationship, spoken)
    item.TextValue = clean(value)
    return item


def clean(value: str) -> str:
    r"""Text that may stand in an SR: no control characters but line feeds, no trailing blanks.

    Examples
    --------
    >>> clean("a\x1b[31mb \r\nc \n")
    'a [31mb\nc'
    """
    lines = value.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    printable = ("".join(c if c.isprintable() else " " for c in line).rstrip() for line in lines)
    return "\n".join(printable).rstrip()


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


def code(
    name: Code, value: Code, children: Sequence[Dataset] = (), *, relationship: str = CONTAINS
) -> Dataset:
    """A coded value."""
    item = _item("CODE", name, relationship, children)
    item.ConceptCodeSequence = [coded(value)]
    return item


def uid_reference(name: Code, uid: str, *, relationship: str = CONTAINS) -> Dataset:
    """A UID as value."""
    item = _item("UIDREF", name, relationship, ())
    item.UID = uid
    return item


def person_name(name: Code, value: str, *, relationship: str = HAS_OBS_CONTEXT) -> Dataset:
    """A person's name."""
    item = _item("PNAME", name, relationship, ())
    item.PersonName = value
    return item


def number(name: Code, value: str, unit: Code, children: Sequence[Dataset] = ()) -> Dataset:
    """A number with its unit; `value` is a decimal string of at most 16 characters."""
    item = _item("NUM", name, CONTAINS, children)
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = [coded(unit)]
    item.MeasuredValueSequence = [measured]
    return item


def image(
    ref: InstanceRef, *, name: Code | None = None, relationship: str = CONTAINS, segment: int | None = None
) -> Dataset:
    """A reference to an image, one frame or one segment of it."""
    item = _item("IMAGE", name, relationship, ())
    reference = Dataset()
    reference.ReferencedSOPClassUID = ref.sop_class_uid
    reference.ReferencedSOPInstanceUID = ref.sop_instance_uid
    if ref.frame_number is not None:
        reference.ReferencedFrameNumber = ref.frame_number
    if segment is not None:
        reference.ReferencedSegmentNumber = segment
    item.ReferencedSOPSequence = [reference]
    return item


def coordinates(
    name: Code | None,
    graphic_type: str,
    points_px: npt.ArrayLike,
    ref: InstanceRef,
    *,
    relationship: str = CONTAINS,
) -> Dataset:
    """Spatial coordinates on one image.

    Parameters
    ----------
    graphic_type
        ``POINT`` or ``POLYLINE`` (PS3.3 C.18.6.1.2).
    points_px
        (n, 2), (column, row), 0.0 = outer corner of the first pixel; a closed line repeats its first point.
    """
    item = _item("SCOORD", name, relationship, (image(ref, relationship=SELECTED_FROM),))
    item.GraphicType = graphic_type
    item.GraphicData = [float(x) for x in np.asarray(points_px, dtype=np.float32).ravel()]
    return item


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
