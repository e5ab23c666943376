"""What is kept of a series between jobs never outlives the series: images that come or go are seen."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from osteoscribe.app.job import report_job
from osteoscribe.app.practice import Practice
from osteoscribe.app.prepare import Preparation
from osteoscribe.store.retention import Retention
from osteoscribe.store.schema import JOBS
from tests.builders_report import ct_series
from tests.fakes.ledger import START, FilledLedger
from tests.scene import on, outlined

SLICES = ct_series(7)
MARK = outlined(("BI", 5.0))


class Node:
    """A ledger with its pipeline; each mark is one more on the same series."""

    def __init__(self, folder: Path, practice: Practice) -> None:
        self.ledger = FilledLedger(folder)
        self.practice = practice
        self.preparation = Preparation(self.ledger.jobs.series, self.ledger.segments.read_bytes)
        self.marks = 0

    def receive(self, *images: Dataset, day: int = 0) -> None:
        """Take images, as one association brings them, and have them prepared."""
        self.preparation.run()
        self.ledger.receive(86400.0 * day, *images, released=True)
        self.preparation.run()

    def cited(self, day: int = 0) -> list[str]:
        """Images that the next mark's report names as its evidence."""
        self.marks += 1
        self.ledger.receive(86400.0 * day, on(SLICES, MARK, self.marks), released=True)
        (key,) = self.ledger.plan(86400.0 * (day + 1))
        result = report_job(self.ledger.jobs.request(key), self.ledger.segments.read_bytes, self.practice)
        assert (len(result.reports), result.quarantined) == (1, ())
        with self.ledger.engine.begin() as connection:
            connection.execute(JOBS.update().values(state="done"))
        sr, text = (_cited(one.encoded) for one in result.reports[0].objects)
        assert sr == text
        return [uid for uid in sr if not uid.startswith("1.2.3.9.")]


def _cited(encoded: bytes) -> list[str]:
    ds = pydicom.dcmread(BytesIO(encoded), force=True)
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    named = [one for series in study.ReferencedSeriesSequence for one in series.ReferencedSOPSequence]
    return sorted(one.ReferencedSOPInstanceUID for one in named)


def uids(*slices: Dataset) -> list[str]:
    return sorted(ds.SOPInstanceUID for ds in slices)


@pytest.fixture
def node(tmp_path: Path, practice: Practice) -> Node:
    return Node(tmp_path, practice)


def test_the_next_mark_names_the_images_that_came_since(node: Node) -> None:
    node.receive(*SLICES[:5])
    assert node.cited() == node.cited() == uids(*SLICES[:5])
    node.receive(SLICES[5])
    assert node.cited() == uids(*SLICES[:6])
    node.receive(SLICES[6])
    assert node.cited() == node.cited() == uids(*SLICES)


def test_the_next_mark_does_not_name_the_images_that_retention_removed(node: Node) -> None:
    node.receive(*SLICES[5:])
    node.receive(*SLICES[:5], day=40)
    assert node.cited(day=40) == uids(*SLICES)
    engine, segments = node.ledger.engine, node.ledger.segments
    assert Retention(engine, segments, keep=timedelta(days=30)).run(START + timedelta(days=45)) > 0
    assert node.cited(day=45) == uids(*SLICES[:5])
