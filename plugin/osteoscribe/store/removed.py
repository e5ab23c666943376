"""What retention removed, as far as jobs and people are told of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from osteoscribe.store.schema import (
    INSTANCES,
    JOB_MARKS,
    MARK_SERIES,
    MARKS,
    REMOVED_SERIES,
    REPORTS,
    from_us,
)
from osteoscribe.store.statements import Statement

_CT_REMOVED = Statement(
    sa.select(sa.func.min(REMOVED_SERIES.c.removed_us)).where(
        REMOVED_SERIES.c.study_instance_uid.in_(
            sa.select(INSTANCES.c.study_instance_uid)
            .join(JOB_MARKS, JOB_MARKS.c.instance_id == INSTANCES.c.id)
            .where(JOB_MARKS.c.job_key == sa.bindparam("key"))
        )
    )
)
_REMOVED_MARKS = Statement(
    sa.select(MARK_SERIES.c.series_instance_uid, INSTANCES.c.sop_instance_uid)
    .join(MARKS, MARKS.c.instance_id == MARK_SERIES.c.instance_id)
    .join(INSTANCES, INSTANCES.c.id == MARKS.c.instance_id)
    .where(
        MARKS.c.state == "removed",
        MARK_SERIES.c.series_instance_uid.in_(sa.bindparam("series", expanding=True)),
    )
    .order_by(INSTANCES.c.id)
)


def ct_removed_at(connection: sa.Connection, job_key: str) -> datetime | None:
    """When CT images of the studies of a job's marks were removed first; None where none were."""
    removed_us = _CT_REMOVED.value(connection, {"key": job_key})
    return None if removed_us is None else from_us(removed_us)


def removed_marks(connection: sa.Connection, series: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """SOP Instance UIDs of the removed mark objects on each of these CT series that has any."""
    found: dict[str, list[str]] = defaultdict(list)
    for series_instance_uid, sop_instance_uid in _REMOVED_MARKS.tuples(connection, {"series": list(series)}):
        found[series_instance_uid].append(sop_instance_uid)
    return {uid: tuple(marks) for uid, marks in found.items()}


def is_removed(connection: sa.Connection, job_key: str) -> bool:
    """Whether mark objects or reports of a job were removed: it can be neither measured nor sent again."""
    marks = (
        sa.select(INSTANCES.c.id)
        .join(JOB_MARKS, JOB_MARKS.c.instance_id == INSTANCES.c.id)
        .where(JOB_MARKS.c.job_key == job_key, INSTANCES.c.segment == "")
    )
    reports = sa.select(REPORTS.c.id).where(REPORTS.c.job_key == job_key, REPORTS.c.segment == "")
    has_reports = sa.select(REPORTS.c.id).where(REPORTS.c.job_key == job_key)
    if connection.execute(has_reports).first() is not None:
        return connection.execute(reports).first() is not None
    return connection.execute(marks).first() is not None


def removed_counts(connection: sa.Connection) -> dict[str, int]:
    """Count what was removed so far."""
    images = sa.select(
        sa.func.count().label("series"),
        sa.func.coalesce(sa.func.sum(REMOVED_SERIES.c.instances), 0).label("images"),
        sa.func.coalesce(sa.func.sum(REMOVED_SERIES.c.bytes), 0).label("bytes"),
    )
    row = connection.execute(images).mappings().one()
    gone = {
        "marks": sa.select(sa.func.count()).where(MARKS.c.state == "removed"),
        "reports": sa.select(sa.func.count()).where(REPORTS.c.segment == ""),
    }
    return {
        **{name: int(value) for name, value in row.items()},
        **{name: int(connection.execute(query).scalar_one()) for name, query in gone.items()},
    }
