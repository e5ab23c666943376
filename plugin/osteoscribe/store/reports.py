"""Report objects in the ledger: which report on a CT series a job makes, and what was said before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from osteoscribe.app.ports import MadeObject, MadeReport, StoredObject
from osteoscribe.app.settings import Form
from osteoscribe.core.report import Predecessor, Revision
from osteoscribe.core.series import BlobRef
from osteoscribe.store.schema import REPORTS
from osteoscribe.store.statements import Row, Statement

_ON_SERIES = Statement(
    sa.select(*(column for column in REPORTS.c if column is not REPORTS.c.summary))
    .where(REPORTS.c.ct_series_instance_uid == sa.bindparam("series"))
    .order_by(REPORTS.c.instance_number, REPORTS.c.id)
)
"""The reports on one CT series, the oldest first."""
_HOLDERS = Statement(
    sa.select(REPORTS.c.sop_instance_uid, REPORTS.c.job_key).where(
        REPORTS.c.sop_instance_uid.in_(sa.bindparam("uids", expanding=True))
    )
)
_OBJECTS = Statement(
    sa.select(*REPORTS.c).where(REPORTS.c.job_key == sa.bindparam("key")).order_by(REPORTS.c.id)
)
_ANY_OBJECT = Statement(sa.select(REPORTS.c.id).where(REPORTS.c.job_key == sa.bindparam("key")).limit(1))
_NEW_OBJECTS = Statement(REPORTS.insert())


def revision(connection: sa.Connection, key: str, ct_series_instance_uid: str) -> Revision:
    """Which report on a CT series a job makes: the same when it is run again after others have followed."""
    rows = _on_series(connection, ct_series_instance_uid)
    own = [row for row in rows if row["job_key"] == key]
    others = [row for row in rows if row["job_key"] != key]
    if own:
        first_id = min(row["id"] for row in own)
        others = [row for row in others if row["id"] < first_id]
        number = min(row["instance_number"] for row in own)
    else:
        number = 1 + max((row["instance_number"] for row in others), default=0)
    # What carries the result: the measurement report, and the text where a profile has none.
    predecessors = {
        row["profile"]: Predecessor(
            sop_class_uid=row["sop_class_uid"],
            sop_instance_uid=row["sop_instance_uid"],
            series_instance_uid=row["series_instance_uid"],
            study_instance_uid=row["study_instance_uid"],
        )
        for role in ("text", "sr")
        for row in others
        if row["role"] == role
    }
    return Revision(number=number, predecessors=predecessors)


def new_objects(connection: sa.Connection, report: MadeReport) -> tuple[MadeObject, ...]:
    """Those objects of a report that are not recorded yet, nor one of their form that says the same."""
    sayers = _sayers(connection, report, _on_series(connection, report.ct_series_instance_uid))
    return tuple(one for one, sayer in zip(report.objects, sayers, strict=True) if sayer is None)


def insert_reports(
    connection: sa.Connection, key: str, reports: Sequence[MadeReport], blobs: Mapping[str, BlobRef]
) -> dict[Form, set[str]]:
    """Record what is new; gives for each form the jobs that hold the objects, this one or an earlier."""
    holders: dict[Form, set[str]] = {}
    for report in reports:
        rows = _on_series(connection, report.ct_series_instance_uid)
        summary = "{}" if _is_summarised(rows, key, report) else json.dumps(report.summary)
        new = []
        # Asked before anything is recorded, so that the objects of one report do not answer for each other.
        for one, sayer in zip(report.objects, _sayers(connection, report, rows), strict=True):
            blob = blobs.get(one.sop_instance_uid)
            if sayer is None and blob is not None:
                new.append(_row(key, report, one, blob, summary))
                summary, sayer = "{}", key
            if sayer is not None:
                holders.setdefault((one.profile, one.role), set()).add(sayer)
        if new:
            _NEW_OBJECTS.change(connection, *new)
    return holders


def has_objects(connection: sa.Connection, key: str) -> bool:
    """Whether a job has report objects."""
    return _ANY_OBJECT.first(connection, {"key": key}) is not None


def objects_of(connection: sa.Connection, key: str) -> tuple[StoredObject, ...]:
    """Report objects of a job, in the order of their making."""
    return tuple(
        StoredObject(
            profile=row["profile"],
            role=row["role"],
            sop_class_uid=row["sop_class_uid"],
            sop_instance_uid=row["sop_instance_uid"],
            transfer_syntax_uid=row["transfer_syntax_uid"],
            blob=BlobRef(segment=row["segment"], offset=row["offset"], length=row["length"]),
        )
        for row in _OBJECTS.rows(connection, {"key": key})
    )


def _on_series(connection: sa.Connection, ct_series_instance_uid: str) -> Sequence[Row]:
    return _ON_SERIES.rows(connection, {"series": ct_series_instance_uid})


def _sayers(connection: sa.Connection, report: MadeReport, rows: Sequence[Row]) -> list[str | None]:
    """For each object the job that holds it, or one of its form that says the same; None where it is new.

    The same counts only while nothing else was said in that profile since.
    """
    uids = [one.sop_instance_uid for one in report.objects]
    holders = {one[0]: one[1] for one in _HOLDERS.tuples(connection, {"uids": uids})}
    return [
        _sayer_of_the_same(report, one, rows) or holders.get(one.sop_instance_uid) for one in report.objects
    ]


def _sayer_of_the_same(report: MadeReport, one: MadeObject, rows: Sequence[Row]) -> str | None:
    newest_first = [row for row in reversed(rows) if row["profile"] == one.profile]
    if not report.content_key or not newest_first or newest_first[0]["content_key"] != report.content_key:
        return None
    same = (
        row for row in newest_first if (row["role"], row["content_key"]) == (one.role, report.content_key)
    )
    return next((str(row["job_key"]) for row in same), None)


def _is_summarised(rows: Sequence[Row], key: str, report: MadeReport) -> bool:
    """Whether a summary is recorded already, with this job or with one that says the same."""
    says_the_same = bool(report.content_key and rows) and rows[-1]["content_key"] == report.content_key
    return says_the_same or any(row["job_key"] == key for row in rows)


def _row(key: str, report: MadeReport, one: MadeObject, blob: BlobRef, summary: str) -> dict[str, Any]:
    return {
        "job_key": key,
        "sop_class_uid": one.sop_class_uid,
        "sop_instance_uid": one.sop_instance_uid,
        "transfer_syntax_uid": one.transfer_syntax_uid,
        "study_instance_uid": report.study_instance_uid,
        "ct_series_instance_uid": report.ct_series_instance_uid,
        "series_instance_uid": one.series_instance_uid,
        "instance_number": one.instance_number,
        "profile": one.profile,
        "role": one.role,
        "content_key": report.content_key,
        "segment": blob.segment,
        "offset": blob.offset,
        "length": blob.length,
        "summary": summary,
    }
