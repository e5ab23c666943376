"""UIDs made from content: the same input gives the same UID on every machine and at every retry.

All are ``2.25.`` and the number of a name-based UUID in this project's namespace (PS3.5 B.2, RFC 9562 5.5).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Sequence
from datetime import date
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np

from osteoscribe.core.marks import RoiMark
from osteoscribe.core.report import Finding, Report

_NAMESPACE = uuid.UUID("88324b0c-6beb-4409-bf15-e1f82e659fa3")
_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+")
_LEFT_OUT_OF_KEY = frozenset({"accepted_at", "shape"})
"""`accepted_at` is no content; a mark's `shape` can be large, and its placement says the same."""

_quoted = json.encoder.encode_basestring_ascii
"""A text as JSON, every character beyond ASCII escaped."""


def derived_uid(kind: str, *parts: str) -> str:
    """The UID of one kind of thing, from what identifies it.

    Examples
    --------
    >>> derived_uid("series", "1.2.3") == derived_uid("series", "1.2.3") != derived_uid("series", "1.2.4")
    True
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps([kind, *parts])).int}"


@lru_cache(maxsize=4)
def report_key(report: Report) -> str:
    """SHA-256 over what a report says, in hexadecimal.

    The time of acceptance is left out: the same content accepted twice is the same report. Numbers count to
    six decimals, so that the last digits of another machine's arithmetic make no new report. It is kept for
    the last few reports, which are frozen: builders and gate of every document ask for it.
    """
    return _key_of(_canonical_report(report))


def content_key(report: Report) -> str:
    """As `report_key`, whichever report came before: two of one CT series with the same key say the same."""
    if report.revision == 1 and report.predecessor is None:
        return report_key(report)
    return _key_of(_canonical_report(report) | {"revision": "1", "predecessor": "null"})


def _key_of(content: dict[str, str]) -> str:
    return hashlib.sha256(_object(sorted(content.items())).encode()).hexdigest()


def _object(values: Iterable[tuple[str, str]]) -> str:
    """A JSON object of names and values that are JSON."""
    return "{" + ",".join([f'"{name}":{value}' for name, value in values]) + "}"


def _canonical_report(report: Report) -> dict[str, str]:
    others = {
        name: _canonical(getattr(report, name), {}) for name in _key_fields(Report) if name != "findings"
    }
    return others | {"findings": _canonical_findings(report.findings)}


@lru_cache(maxsize=4)
def _canonical_findings(findings: tuple[Finding, ...]) -> str:
    """Nearly all of a report, and the same ones in each of its forms."""
    return _canonical(findings, {})


def _canonical(value: Any, known: dict[int, str]) -> str:
    """A value as JSON; `known` has that of objects by identity, as lesions share their grid."""
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is float:
        return f'"{value + 0.0:.6f}"'
    if kind is tuple:
        return "[" + ",".join([_canonical(v, known) for v in value]) + "]"
    if value is None:
        return "null"
    if kind is int or kind is bool:
        return str(value).lower()
    if id(value) not in known:
        known[id(value)] = _canonical_object(value, known)
    return known[id(value)]


def _canonical_object(value: Any, known: dict[int, str]) -> str:
    """What is no plain value: subclasses of these, and what is made of them."""
    match value:
        case tuple():
            return _canonical(tuple(value), known)
        case Enum():
            return _quoted(value.name)
        case bool() | int():
            return str(int(value))
        case str():
            return _quoted(str(value))
        case float():
            return _canonical(float(value), known)
        case date():
            return _quoted(value.isoformat())
        case np.ndarray():
            return _canonical_array(value)
    return _object([(name, _canonical(getattr(value, name), known)) for name in _key_fields(value.__class__)])


@lru_cache(maxsize=128)
def _key_fields(kind: type) -> tuple[str, ...]:
    """Names of the fields that count, in the order that JSON has them."""
    return tuple(
        sorted(field.name for field in dataclasses.fields(kind) if field.name not in _LEFT_OUT_OF_KEY)
    )


def _canonical_array(array: np.ndarray[Any, Any]) -> str:
    if array.dtype.kind == "f":
        array = np.round(array.astype("<f8"), 6) + 0.0
    shape = ",".join(map(str, array.shape))
    return f'[[{shape}],{_quoted(array.dtype.str)},"{hashlib.sha256(array.tobytes()).hexdigest()}"]'


def report_uid(report: Report, variant: str = "") -> str:
    """SOP Instance UID of the SR of a report.

    Parameters
    ----------
    variant
        Name of the form it is written in, where that is not the usual one: another object, another UID.
    """
    return derived_uid("report", report_key(report), variant)


def companion_uid(report: Report, variant: str = "") -> str:
    """SOP Instance UID of the text companion of a report."""
    return derived_uid("companion", report_key(report), variant)


def notice_uid(report: Report, variant: str = "") -> str:
    """SOP Instance UID of the notice that marks could not be measured."""
    return derived_uid("notice", report_key(report), variant)


def key_image_uid(report: Report, variant: str = "") -> str:
    """SOP Instance UID of the key image of a report."""
    return derived_uid("key image", report_key(report), variant)


def series_uid(report: Report, kind: str, variant: str = "") -> str:
    """The series that all objects of one kind and form about one CT series are in, over all revisions.

    Parameters
    ----------
    kind
        ``report``, ``companion``, ``notice`` or ``key image``.
    """
    own = (variant,) if variant else ()
    return derived_uid("series", kind, report.study_instance_uid, report.series_instance_uid, *own)


def device_uid(report: Report) -> str:
    """Device UID of this software with this rule table: it changes when either changes (IHE AIR 6.5.3.1)."""
    return derived_uid("device", report.software_version, report.table_sha256)


def tracking_uid(mark: RoiMark) -> str:
    """The UID that follows a lesion: its writer's own, else from its frame of reference, object and item.

    No version of this software goes into it, so it survives re-measurement. A mark that was saved again is
    another object; that it is the same lesion is found by geometry, not here.
    """
    own = mark.tracking_uid
    return own if own is not None and _is_uid(own) else _derived_tracking_uid(mark)


def tracking_uids(marks: Sequence[RoiMark]) -> tuple[str, ...]:
    """One tracking UID for each mark, all different.

    A UID that its writer used for several marks is kept by the first: viewers draw lesions with the same
    tracking UID as one.
    """
    seen: set[str] = set()
    uids = []
    for mark in marks:
        uid = tracking_uid(mark)
        if uid in seen:
            uid = _derived_tracking_uid(mark)
        seen.add(uid)
        uids.append(uid)
    return tuple(uids)


def _derived_tracking_uid(mark: RoiMark) -> str:
    frame = mark.frame_of_reference_uid or ""
    return derived_uid("tracking", frame, mark.source.sop_instance_uid, mark.item)


def _is_uid(value: str) -> bool:
    return len(value) <= 64 and _UID.fullmatch(value) is not None
