"""Reported lesions, for the comparison of later examinations of the same patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from osteoscribe.core.prior import LesionRecord
from osteoscribe.core.serial import StoredLesion
from osteoscribe.core.series import Acquisition
from osteoscribe.core.units import Hounsfield, Millimetre
from osteoscribe.store.reads import Reads
from osteoscribe.store.schema import JOBS, LESIONS
from osteoscribe.store.statements import Row, Statement

_KNOWN = Statement(
    sa.select(LESIONS.c.number)
    .where(
        LESIONS.c.job_key == sa.bindparam("job_key"),
        LESIONS.c.ct_series_instance_uid == sa.bindparam("ct_series_instance_uid"),
    )
    .limit(1)
)
_NEW = Statement(LESIONS.insert())
_REPORTS_OF_PATIENT = Statement(
    sa.select(LESIONS.c.ct_series_instance_uid, LESIONS.c.job_key)
    .distinct()
    .add_columns(JOBS.c.accepted_us)
    .join(JOBS, JOBS.c.key == LESIONS.c.job_key)
    .where(
        LESIONS.c.patient_key == sa.bindparam("patient_key"),
        LESIONS.c.job_key != sa.bindparam("job_key"),
        JOBS.c.accepted_us < sa.bindparam("accepted_us"),
    )
    .order_by(JOBS.c.accepted_us.desc(), LESIONS.c.job_key)
)
"""Reports with lesions, by CT series and job, the newest first."""
_OF_REPORT = Statement(
    sa.select(*LESIONS.c)
    .where(
        LESIONS.c.job_key == sa.bindparam("job_key"),
        LESIONS.c.ct_series_instance_uid == sa.bindparam("ct_series_instance_uid"),
        LESIONS.c.patient_key == sa.bindparam("patient_key"),
    )
    .order_by(LESIONS.c.number)
)


def insert_lesions(
    connection: sa.Connection,
    key: str,
    ct_series_instance_uid: str,
    patient_key: str,
    lesions: Sequence[StoredLesion],
) -> None:
    """Record the lesions of a job's report on one CT series; nothing where that was done before."""
    of_report = {"job_key": key, "ct_series_instance_uid": ct_series_instance_uid}
    if not lesions or _KNOWN.first(connection, of_report) is not None:
        return
    rows = [
        {**of_report, "patient_key": patient_key, "number": number, **_row(one)}
        for number, one in enumerate(lesions)
    ]
    _NEW.change(connection, *rows)


def _row(stored: StoredLesion) -> dict[str, Any]:
    one, acquisition = stored.record, stored.acquisition
    x, y, z = one.centroid_lps_mm
    return {
        "study_instance_uid": one.study_instance_uid,
        "study_date": "" if one.study_date is None else one.study_date.isoformat(),
        "tracking_uid": one.tracking_uid,
        "frame_of_reference_uid": one.frame_of_reference_uid,
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "long_axis_mm": one.long_axis_mm,
        "slice_thickness_mm": one.slice_thickness_mm,
        "name": one.name,
        "mean_hu": stored.mean_hu,
        "kvp_kv": acquisition.kvp_kv,
        "convolution_kernel": acquisition.convolution_kernel,
        "contrast": acquisition.contrast,
    }


def earlier_lesions(reads: Reads, key: str, accepted_us: int) -> Callable[[str], tuple[StoredLesion, ...]]:
    """Gives the lesions of a patient that were reported before a job was accepted.

    Of each CT series the newest report counts. What was accepted later is left out, so that a job that is
    run again sees what it saw the first time.
    """

    def look_up(patient_key: str) -> tuple[StoredLesion, ...]:
        if not patient_key:
            return ()
        wanted = {"patient_key": patient_key, "job_key": key, "accepted_us": accepted_us}
        rows: list[Row] = []
        with reads.begin() as connection:
            newest: dict[str, str] = {}
            for series, of_job, _ in _REPORTS_OF_PATIENT.tuples(connection, wanted):
                newest.setdefault(series, of_job)
            for series, of_job in newest.items():
                of_report = {"job_key": of_job, "ct_series_instance_uid": series, "patient_key": patient_key}
                rows += _OF_REPORT.rows(connection, of_report)
        age = {of_job: rank for rank, of_job in enumerate(newest.values())}
        rows.sort(key=lambda row: (age[row["job_key"]], row["number"], row["ct_series_instance_uid"]))
        return tuple(map(_stored, rows))

    return look_up


def _stored(row: Row) -> StoredLesion:
    mean_hu = row["mean_hu"]
    return StoredLesion(
        record=_record(row),
        mean_hu=None if mean_hu is None else Hounsfield(mean_hu),
        acquisition=Acquisition(
            slice_thickness_mm=row["slice_thickness_mm"],
            kvp_kv=row["kvp_kv"],
            convolution_kernel=row["convolution_kernel"],
            contrast=row["contrast"],
        ),
    )


def _record(row: Row) -> LesionRecord:
    length = row["long_axis_mm"]
    return LesionRecord(
        tracking_uid=row["tracking_uid"],
        study_instance_uid=row["study_instance_uid"],
        series_instance_uid=row["ct_series_instance_uid"],
        study_date=date.fromisoformat(row["study_date"]) if row["study_date"] else None,
        frame_of_reference_uid=row["frame_of_reference_uid"],
        centroid_lps_mm=(row["x_mm"], row["y_mm"], row["z_mm"]),
        long_axis_mm=None if length is None else Millimetre(length),
        slice_thickness_mm=row["slice_thickness_mm"],
        name=row["name"],
    )
