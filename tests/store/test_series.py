"""Images of a CT series from the ledger: read once, and again where anything came."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from osteoscribe.readers.headers import StoredInstance
from osteoscribe.store.schema import INSTANCES
from osteoscribe.store.series import series_images
from tests.fakes.dicom import SERIES, ct_slice, ct_uid
from tests.fakes.ledger import FilledLedger


def uids(images: tuple[StoredInstance, ...]) -> list[str]:
    return [one.header.sop_instance_uid for one in images]


def test_a_series_that_nothing_was_added_to_is_given_as_the_same_objects(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, *(ct_slice(n) for n in (1, 2, 3)))
    engine = ledger.engine.execution_options(reads=True)
    images = series_images(engine)
    with engine.begin() as connection:
        first = images(connection, SERIES, 1000)
        assert uids(first) == [ct_uid(n) for n in (1, 2, 3)]
        assert images(connection, SERIES, 2000) is first
        assert uids(images(connection, SERIES, 2)) == [ct_uid(1), ct_uid(2)]
        assert images(connection, "1.2.3", 1000) == ()


def test_what_came_since_is_there_and_the_newest_version_counts(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, ct_slice(1), ct_slice(2))
    engine = ledger.engine.execution_options(reads=True)
    images = series_images(engine)
    with engine.begin() as connection:
        old = images(connection, SERIES, 1000)
    changed = ct_slice(1)
    changed.SliceThickness = 3
    ledger.receive(1, ct_slice(3), changed)
    with engine.begin() as connection:
        new = images(connection, SERIES, 1000)
        assert sorted(uids(new)) == [ct_uid(n) for n in (1, 2, 3)]
        assert {one.header.slice_thickness_mm for one in new} == {2.0, 3.0}
        assert uids(images(connection, SERIES, 2)) == uids(old), (
            "a job sees what was there when it was planned"
        )


def test_what_was_removed_is_gone(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, ct_slice(1), ct_slice(2))
    engine = ledger.engine.execution_options(reads=True)
    images = series_images(engine)
    with engine.begin() as connection:
        assert len(images(connection, SERIES, 1000)) == 2
    with ledger.engine.begin() as connection:
        connection.execute(INSTANCES.delete().where(INSTANCES.c.sop_instance_uid == ct_uid(1)))
    with engine.begin() as connection:
        assert uids(images(connection, SERIES, 1000)) == [ct_uid(2)]
        assert connection.execute(sa.select(sa.func.count()).select_from(INSTANCES)).scalar() == 1
