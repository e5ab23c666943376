"""`MalignancyCodes`: which diagnosis codes are a malignancy, and which words of a request name one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from osteoscribe.core.codes import Code
from osteoscribe.core.labels.words import WordPattern, words_of
from osteoscribe.errors import SetupError

ICD_10 = re.compile(r"([A-Z][0-9][0-9A-Z])(?:\.?[0-9A-Z]{1,4})?")
"""A category with or without its subdivision: ``C79``, ``C79.5``, ``C7951``, and ``C7B.03`` of ICD-10-CM."""

CATEGORY = re.compile(r"[A-Z][0-9][0-9A-Z]")


class Reading(Enum):
    """What a code says about malignancy. No code says that there is none."""

    MALIGNANCY = "malignancy"
    """A malignancy, present or past."""
    UNSURE = "unsure"
    """It begins like one, but has an addition (such as a mark for *excluded*) that is not understood."""
    SILENT = "silent"
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MalignancyCodes:
    """What ``config/codes-malignancy.toml`` says. It is equal to itself alone.

    Parameters
    ----------
    icd_10_schemes, snomed_ct_schemes
        Coding scheme designators, upper case.
    icd_10_ranges
        First and last category of each range, both included.
    snomed_ct
        Concepts; each counts by itself, without its descendants.
    words
        Words that name a malignancy in free text.
    """

    icd_10_schemes: frozenset[str]
    icd_10_ranges: tuple[tuple[str, str], ...]
    snomed_ct_schemes: frozenset[str]
    snomed_ct: frozenset[str]
    words: tuple[WordPattern, ...]

    def reading(self, code: Code) -> Reading:
        """What a code says about malignancy.

        Examples
        --------
        >>> codes = MalignancyCodes(
        ...     icd_10_schemes=frozenset({"I10"}),
        ...     icd_10_ranges=(("C00", "C97"),),
        ...     snomed_ct_schemes=frozenset(),
        ...     snomed_ct=frozenset(),
        ...     words=(),
        ... )
        >>> [codes.reading(Code(v, "I10", "")).value for v in ("C79.5", "D16.9", "C50.9 A")]
        ['malignancy', 'silent', 'unsure']
        """
        scheme, value = code.scheme.strip().upper(), code.value.strip().upper()
        if scheme in self.snomed_ct_schemes:
            return Reading.MALIGNANCY if value in self.snomed_ct else Reading.SILENT
        if scheme not in self.icd_10_schemes or not any(
            low <= value[:3] <= high for low, high in self.icd_10_ranges
        ):
            return Reading.SILENT
        return Reading.MALIGNANCY if ICD_10.fullmatch(value) else Reading.UNSURE

    def words_in(self, text: str) -> tuple[str, ...]:
        """Words of our list that a text has, as the list writes them (``*`` as an ellipsis), sorted."""
        words = words_of(text)
        return tuple(sorted({p.text.replace("*", "…") for p in self.words if p.within(words)}))


def parse_malignancy_codes(data: Mapping[str, Any]) -> MalignancyCodes:
    """Malignancy codes from the plain data of ``config/codes-malignancy.toml``.

    Parameters
    ----------
    data
        The parsed TOML document: ``[icd_10]`` and ``[snomed_ct]`` with ``source`` and ``schemes``, and
        ``[request_text]`` with ``words``.

    Raises
    ------
    SetupError
        ``malignancy-codes.unknown-key``, ``malignancy-codes.wrong-type`` or ``malignancy-codes.bad-range``.
    """
    _keys(data, "codes-malignancy.toml", {"icd_10", "snomed_ct", "request_text"})
    icd_10, snomed_ct, request = data["icd_10"], data["snomed_ct"], data["request_text"]
    _keys(icd_10, "icd_10", {"source", "schemes", "ranges"})
    _keys(snomed_ct, "snomed_ct", {"source", "schemes", "concepts"})
    _keys(request, "request_text", {"words"})
    concepts = snomed_ct["concepts"]
    if not isinstance(concepts, Mapping) or not all(key.isdigit() for key in concepts):
        raise SetupError(
            "malignancy-codes.wrong-type", "snomed_ct.concepts must map SNOMED CT ids to meanings"
        )
    return MalignancyCodes(
        icd_10_schemes=_upper(icd_10["schemes"], "icd_10.schemes"),
        icd_10_ranges=tuple(_range(text) for text in _texts(icd_10["ranges"], "icd_10.ranges")),
        snomed_ct_schemes=_upper(snomed_ct["schemes"], "snomed_ct.schemes"),
        snomed_ct=frozenset(concepts),
        words=tuple(WordPattern(text) for text in _texts(request["words"], "request_text.words")),
    )


def _keys(table: Any, where: str, known: set[str]) -> None:
    if not isinstance(table, Mapping) or set(table) != known:
        found = ", ".join(sorted(table)) if isinstance(table, Mapping) else type(table).__name__
        raise SetupError(
            "malignancy-codes.unknown-key",
            f"{where} has {found}; expected exactly: {', '.join(sorted(known))}",
        )


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise SetupError("malignancy-codes.wrong-type", f"{where} must be a list of texts")
    return tuple(value)


def _upper(value: Any, where: str) -> frozenset[str]:
    return frozenset(text.strip().upper() for text in _texts(value, where))


def _range(text: str) -> tuple[str, str]:
    low, _, high = text.partition("-")
    high = high or low
    if not CATEGORY.fullmatch(low) or not CATEGORY.fullmatch(high) or low > high:
        raise SetupError(
            "malignancy-codes.bad-range",
            f"found the ICD-10 range {text!r}; expected categories such as 'C00-C97' or 'Z85'",
        )
    return low, high
