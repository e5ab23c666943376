"""Reported lesions in the ledger."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from osteoscribe.core.prior import LesionRecord
from osteoscribe.core.units import Millimetre
from osteoscribe.store.lesions import earlier_lesions, insert_lesions
from osteoscribe.store.schema import JOBS, open_database, to_us

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

LESION = LesionRecord(
    tracking_uid="2.25.5",
    study_instance_uid="2.25.6",
    study_date=date(2024, 1, 31),
    frame_of_reference_uid=None,
    centroid_lps_mm=(1.5, -2.25, 1000.125),
    long_axis_mm=Millimetre(5.123456789012345),
    slice_thickness_mm=1.25,
    name="digest",
    series_instance_uid="2.25.7",
)


def report(
    connection: sa.Connection, key: str, at: datetime, *lesions: LesionRecord, patient: str = "p"
) -> None:
    connection.execute(
        JOBS.insert().values(
            key=key, state="done", accepted_us=to_us(at), planned_us=to_us(at), calling_ae="A", through_id=1
        )
    )
    insert_lesions(connection, key, "2.25.7", patient, lesions)


def test_lesions_come_back_as_they_were(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.begin() as connection:
        report(connection, "one", NOON, LESION)
    assert earlier_lesions(engine, "two", to_us(NOON + timedelta(days=1)))("p") == (LESION,)


def test_only_what_was_accepted_before_and_of_the_same_patient_is_earlier(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.begin() as connection:
        report(connection, "later", NOON, LESION)
        report(connection, "other", NOON - timedelta(days=2), LESION, patient="q")
    assert earlier_lesions(engine, "mine", to_us(NOON))("p") == ()
    assert earlier_lesions(engine, "mine", to_us(NOON))("") == ()


def test_the_newest_report_of_a_series_replaces_the_older_ones(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.begin() as connection:
        report(connection, "old", NOON - timedelta(days=3), LESION, LESION)
        report(connection, "new", NOON - timedelta(days=2), LESION)
    assert earlier_lesions(engine, "mine", to_us(NOON))("p") == (LESION,)
