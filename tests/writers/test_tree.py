"""The gate's reader takes nothing on trust: tags, VRs, order and lengths are checked."""

from __future__ import annotations

import struct

import pytest

from osteoscribe.core import codes
from osteoscribe.core.codes import Code
from osteoscribe.errors import InputError
from osteoscribe.writers import content
from osteoscribe.writers.encoded import element, item
from osteoscribe.writers.tree import code_of, elements_of, items_of, read_content

TEXT = content.text(codes.PHRASE, "5 mm focus")


def test_what_was_written_is_read() -> None:
    group = content.container(codes.MEASUREMENT_GROUP, [TEXT, TEXT], template="1501")
    read = read_content(group)
    assert (read.value_type, read.name, read.template) == ("CONTAINER", codes.MEASUREMENT_GROUP, "1501")
    assert [child.text() for child in read.children] == ["5 mm focus"] * 2
    assert read_content(content.number(codes.LONG_AXIS, "5.2", codes.MILLIMETRE)).number == (
        "5.2",
        codes.MILLIMETRE,
    )


@pytest.mark.parametrize(
    "spoiled",
    [
        TEXT[:-1],
        TEXT[:-4],
        TEXT + b"\0\0",
        TEXT.replace(b"UT\0\0", b"LT\0\0"),
        TEXT.replace(b"CS", b"SH", 1),
        element("TextValue", "a ") + element("ValueType", "TEXT"),
        element("ValueType", "TEXT") * 2,
        struct.pack("<HH2sH", 0x0040, 0xA040, b"CS", 3) + b"NUM",
        struct.pack("<HH2sH", 0x0041, 0x0001, b"LO", 2) + b"ab",
        struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF),
    ],
)
def test_bytes_that_are_no_content_item_are_refused(spoiled: bytes) -> None:
    with pytest.raises((ValueError, KeyError, struct.error)):
        elements_of(spoiled)


def test_items_that_are_cut_or_too_deep_are_refused() -> None:
    sequence = element("ContentSequence", [TEXT])[12:]
    assert list(items_of(sequence)) == [TEXT]
    with pytest.raises((ValueError, struct.error)):
        list(items_of(sequence[:-2]))
    nested = TEXT
    for _ in range(40):
        nested = content.container(codes.MEASUREMENT_GROUP, [nested])
    with pytest.raises(ValueError, match="too deeply"):
        read_content(nested)


def test_a_code_is_value_scheme_and_meaning_and_nothing_else() -> None:
    whole = {"CodeValue": "1", "CodingSchemeDesignator": "99X", "CodeMeaning": "One"}
    assert code_of(element("ConceptCodeSequence", [item(**whole)])[12:]) == Code("1", "99X", "One")
    for spoiled in ({**whole, "CodeMeaning": ""}, {**whole, "CodeValue": ""}):
        with pytest.raises(InputError, match=r"gate\.code"):
            code_of(element("ConceptCodeSequence", [item(**spoiled)])[12:])
    with pytest.raises(ValueError, match="other elements"):
        code_of(element("ConceptCodeSequence", [item(**whole, TextValue="x")])[12:])
    with pytest.raises(ValueError, match="too many"):
        code_of(element("ConceptCodeSequence", [item(**whole)] * 2)[12:])
