"""Copying of patient, study and request attributes from the CT, re-encoded for ISO_IR 192."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar, TypeVarTuple, cast

from pydicom import DataElement, Dataset
from pydicom import config as pydicom_config
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.valuerep import PersonName, validate_value

from osteoscribe.writers import modules

T = TypeVar("T")
Given = TypeVarTuple("Given")

DEIDENTIFICATION_NOT_STATED = "Not stated by the CT"


class KeptHeader(Dataset):
    """A header that is only read from now on: what is made of it by `once` is kept with it."""

    def __init__(self, header: Dataset) -> None:
        super().__init__(header)
        self.made: dict[Hashable, Any] = {}


def once(make: Callable[[Dataset, *Given], T], header: Dataset, *given: *Given) -> T:
    """What a function makes of a header: of a kept one made once, for all documents of all its marks.

    Parameters
    ----------
    given
        What else the function is given; hashable.
    """
    if not isinstance(header, KeptHeader):
        return make(header, *given)
    key = (make, *given)
    if key not in header.made:
        header.made[key] = make(header, *given)
    return cast(T, header.made[key])


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom about odd values: its warnings and log lines quote them, and they may be a name."""
    with warnings.catch_warnings(), pydicom_config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def copy_patient_and_study(context: Dataset, ds: Dataset) -> None:
    """Copy the patient and study modules whole; absent type 2 values are added empty.

    A value that is illegal for its VR is left out, for it would make the document invalid; but what the
    archive files and finds the study by (`modules.IDENTITY`) is copied whatever it is.
    """
    copy_attributes(context, ds, modules.COPIED)
    for keyword in modules.TYPE_2:
        if keyword not in ds:
            setattr(ds, keyword, "")
    is_stated = "DeidentificationMethod" in ds or "DeidentificationMethodCodeSequence" in ds
    if ds.get("PatientIdentityRemoved") == "YES" and not is_stated:
        ds.DeidentificationMethod = DEIDENTIFICATION_NOT_STATED


def copy_attributes(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    """Copy the attributes that are there, text as Unicode, sequences whole."""
    undeclared = not source.get("SpecificCharacterSet")
    with quiet():
        for tag in tags_in(source, tuple(keywords)):
            _copy_element(source, tag, target, undeclared)


def tags_in(ds: Dataset, keywords: tuple[str, ...]) -> list[int]:
    """Tags of the attributes that are there, in their order."""
    return sorted(_tags(keywords) & ds.keys())


@lru_cache(maxsize=16)
def _tags(keywords: tuple[str, ...]) -> frozenset[int]:
    return frozenset(tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None)


def _copy_element(source: Dataset, tag: int, target: Dataset, undeclared: bool) -> None:
    try:
        element = source[tag]
    except (ValueError, TypeError, KeyError, NotImplementedError, OverflowError):
        # A value that cannot be read, for example a weight of "n/a", cannot be copied either.
        return
    if element.VR == "SQ":
        items = [_copied_item(item, undeclared) for item in element.value]
        target.add(DataElement(element.tag, "SQ", items))
        return
    value = _decoded(element.value, undeclared)
    if keyword_for_tag(tag) in modules.IDENTITY or _is_legal(element.VR, value):
        target.add(DataElement(element.tag, element.VR, value))


def _copied_item(item: Dataset, undeclared: bool) -> Dataset:
    copied = Dataset()
    for tag in list(item.keys()):
        if keyword_for_tag(tag) != "SpecificCharacterSet":
            _copy_element(item, tag, copied, undeclared)
    return copied


def _is_legal(vr: str, value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    try:
        for one in values:
            validate_value(vr, one, pydicom_config.RAISE)
    except (ValueError, TypeError):
        return False
    return True


def _decoded(value: object, undeclared: bool) -> object:
    """Text as Unicode; where no character set is declared, UTF-8 is tried before Latin-1."""
    if isinstance(value, PersonName):
        value = str(value)
    if isinstance(value, str) and undeclared and not value.isascii():
        try:
            return value.encode("iso8859").decode("utf-8")
        except UnicodeError:
            return value
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_decoded(v, undeclared) for v in value]
    return value
