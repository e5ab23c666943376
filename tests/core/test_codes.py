"""The coded concepts, against pydicom's copy of PS3.16."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts

from osteoscribe.core import codes
from osteoscribe.core.codes import OSTEOSCRIBE_SCHEME, Code


def _codes_in(value: Any) -> Iterator[Code]:
    if isinstance(value, Code):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _codes_in(part)
    elif hasattr(value, "values") and not isinstance(value, type):
        for part in value.values():
            yield from _codes_in(part)


ALL = list(dict.fromkeys(code for value in vars(codes).values() for code in _codes_in(value)))
STANDARD = [code for code in ALL if code.scheme in ("DCM", "SCT", "LN", "UCUM")]
OWN = [code for code in ALL if code.scheme == OSTEOSCRIBE_SCHEME]


def known_meanings(code: Code) -> set[str]:
    return {
        entries[code.value][0].lower() for entries in concepts[code.scheme].values() if code.value in entries
    }


@pytest.mark.parametrize("code", STANDARD, ids=lambda code: f"{code.scheme}-{code.value}")
def test_a_standard_code_has_the_meaning_of_the_standard(code):
    meaning = {"finding category": "findings category type (qualifier value)"}.get(
        code.meaning.lower(), code.meaning.lower()
    )
    assert meaning in known_meanings(code)


def test_every_scheme_is_known():
    assert {code.scheme for code in ALL} == {
        "DCM",
        "SCT",
        "LN",
        "UCUM",
        "UMLS",
        "RFC5646",
        OSTEOSCRIBE_SCHEME,
    }


def test_own_codes_are_short_and_have_one_meaning_each():
    meanings: dict[str, str] = {}
    for code in OWN:
        assert 0 < len(code.value) <= 16
        assert meanings.setdefault(code.value, code.meaning) == code.meaning
    assert len(set(meanings.values())) == len(meanings)


def test_every_site_has_a_code_of_its_own():
    assert len({code.value for code in codes.SITES.values()}) == len(codes.SITES)
    assert len(codes.VERTEBRAE) == 24


def test_a_row_of_a_sites_own_table_keeps_its_id():
    assert codes.management_category("Z9-C") == Code("Z9-C", OSTEOSCRIBE_SCHEME, "Rule Z9 (conditional)")


def test_the_published_table_has_every_own_code_with_its_meaning(project):
    published = dict(
        re.findall(r"^\| `([^`]+)` \| (.+) \|$", (project / "docs" / "codes.md").read_text(), re.M)
    )
    rules = {c.value: c.meaning for c in map(codes.management_category, codes.CATEGORIES)}
    assert published == {code.value: code.meaning for code in OWN} | rules
    assert codes.OSTEOSCRIBE_SCHEME_UID in (project / "docs" / "codes.md").read_text()
