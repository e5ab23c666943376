"""Images of a CT series from the ledger: read once, and again where anything came."""

from __future__ import annotations

from pathlib import Path

from osteoscribe.readers.headers import StoredSeries
from osteoscribe.store.reads import Reads
from osteoscribe.store.schema import INSTANCES
from osteoscribe.store.series import SeriesTable
from tests.fakes.dicom import SERIES, ct_slice, ct_uid, mark_object
from tests.fakes.ledger import FilledLedger


def uids(series: StoredSeries | None) -> list[str]:
    return [one.header.sop_instance_uid for one in series.instances] if series is not None else []


def test_a_series_that_nothing_was_added_to_is_given_as_the_same_objects(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, *(ct_slice(n) for n in (1, 2, 3)))
    table = SeriesTable(Reads(ledger.engine))
    first = table.images(SERIES, 1000)
    assert uids(first) == [ct_uid(n) for n in (1, 2, 3)]
    assert table.images(SERIES, 2000) is first
    assert uids(table.images(SERIES, 2)) == [ct_uid(1), ct_uid(2)]
    assert table.images("1.2.3", 1000) is None


def test_what_came_since_is_there_and_the_newest_version_counts(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, ct_slice(1), ct_slice(2))
    table = SeriesTable(Reads(ledger.engine))
    old = table.images(SERIES, 1000)
    changed = ct_slice(1)
    changed.SliceThickness = 3
    ledger.receive(1, ct_slice(3), changed)
    new = table.images(SERIES, 1000)
    assert sorted(uids(new)) == [ct_uid(n) for n in (1, 2, 3)]
    assert new is not None
    assert {one.header.slice_thickness_mm for one in new.instances} == {2.0, 3.0}
    # A job sees what was there when it was planned.
    assert uids(table.images(SERIES, 2)) == uids(old)


def test_what_was_removed_is_gone(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    ledger.receive(0, ct_slice(1), ct_slice(2))
    table = SeriesTable(Reads(ledger.engine))
    assert len(uids(table.images(SERIES, 1000))) == 2
    with ledger.engine.begin() as connection:
        connection.execute(INSTANCES.delete().where(INSTANCES.c.sop_instance_uid == ct_uid(1)))
    assert uids(table.images(SERIES, 1000)) == [ct_uid(2)]


def test_the_newest_ct_series_since_an_id(tmp_path: Path) -> None:
    ledger = FilledLedger(tmp_path)
    table = SeriesTable(Reads(ledger.engine))
    assert table.newest(None, 4) == (0, ())
    ledger.receive(0, ct_slice(1), ct_slice(2))
    assert table.newest(None, 4) == (2, ())
    other = f"{SERIES}.1"
    ledger.receive(1, ct_slice(3), ct_slice(1, series=other), mark_object(1, [ct_uid(1)]))
    through_id, series = table.newest(2, 4)
    assert through_id == 5
    assert [uids(images) for images in series] == [[ct_uid(1, other)], [ct_uid(n) for n in (1, 2, 3)]]
    assert [uids(images) for images in table.newest(2, 1)[1]] == [[ct_uid(1, other)]]
    assert table.newest(through_id, 4) == (5, ())
