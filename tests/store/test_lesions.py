"""Reported lesions in the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from osteoscribe.core.prior import LesionRecord
from osteoscribe.core.serial import StoredLesion
from osteoscribe.core.series import Acquisition
from osteoscribe.core.units import Hounsfield, Millimetre
from osteoscribe.store.lesions import earlier_lesions, insert_lesions
from osteoscribe.store.reads import Reads
from osteoscribe.store.schema import JOBS, open_database, to_us

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

RECORD = LesionRecord(
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
LESION = StoredLesion(
    record=RECORD,
    mean_hu=Hounsfield(1010.123456789),
    acquisition=Acquisition(
        slice_thickness_mm=1.25, kvp_kv=120.0, convolution_kernel="B70f\\2", contrast=False
    ),
)


def report(
    connection: sa.Connection, key: str, at: datetime, *lesions: StoredLesion, patient: str = "p"
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
    assert earlier_lesions(Reads(engine), "two", to_us(NOON + timedelta(days=1)))("p") == (LESION,)


def test_a_lesion_without_hu_and_protocol_comes_back_without(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    bare = StoredLesion(record=replace(RECORD, slice_thickness_mm=None, long_axis_mm=None))
    with engine.begin() as connection:
        report(connection, "one", NOON, bare)
    assert earlier_lesions(Reads(engine), "two", to_us(NOON + timedelta(days=1)))("p") == (bare,)


def test_only_what_was_accepted_before_and_of_the_same_patient_is_earlier(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.begin() as connection:
        report(connection, "later", NOON, LESION)
        report(connection, "other", NOON - timedelta(days=2), LESION, patient="q")
    assert earlier_lesions(Reads(engine), "mine", to_us(NOON))("p") == ()
    assert earlier_lesions(Reads(engine), "mine", to_us(NOON))("") == ()


def test_the_newest_report_of_a_series_replaces_the_older_ones(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with engine.begin() as connection:
        report(connection, "old", NOON - timedelta(days=3), LESION, LESION)
        report(connection, "new", NOON - timedelta(days=2), LESION)
    assert earlier_lesions(Reads(engine), "mine", to_us(NOON))("p") == (LESION,)
