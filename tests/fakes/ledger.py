"""A ledger in a folder, filled without a network."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from osteoscribe.app.intake import Incoming
from osteoscribe.app.plan import plan
from osteoscribe.app.ports import Envelope, JobRequest, JobResult, MadeObject, MadeReport
from osteoscribe.app.settings import Destination, JobSettings, Settings, parse_destination
from osteoscribe.store.instances import InstanceTable
from osteoscribe.store.jobs import JobTable
from osteoscribe.store.planning import PlanTable
from osteoscribe.store.schema import open_database
from osteoscribe.store.segments import RECEIVED, SegmentStore
from tests.fakes.dicom import COMPREHENSIVE_SR, EXPLICIT, ROOT, encode, sr_object

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


def place(address: str, **options: Any) -> Destination:
    """A destination at AE@HOST:PORT, with what it leaves open filled in as the settings do."""
    one = dataclasses.replace(parse_destination(address), **options)
    return Settings(destination=(one,)).destination_named(one.name)


@functools.cache
def _empty_ledger() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        open_database(f"sqlite:///{path}").dispose()
        return path.read_bytes()


def put_ledger(folder: Path) -> str:
    """Put an empty ledger into a folder, unless one is there; its URL. Making its tables takes 30 ms."""
    path = folder / "ledger.sqlite"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty_ledger())
    return f"sqlite:///{path}"


class FilledLedger:
    """Instances arrive and jobs are planned at times that the test chooses (seconds after `START`)."""

    def __init__(self, folder: Path, url: str = "", settings: JobSettings | None = None) -> None:
        self.engine = open_database(url or put_ledger(folder))
        self.segments = SegmentStore(folder / "segments")
        self.instances = InstanceTable(self.engine)
        self.plans = PlanTable(self.engine)
        self.jobs = JobTable(self.engine)
        self.settings = settings or JobSettings(quiet_s=1.0, quiet_after_release_s=0.3, give_up_after_s=100.0)

    def receive(
        self, at_s: float, *datasets: Dataset, calling_ae: str = "SENDER", released: bool = False
    ) -> None:
        writer = self.segments.writer(RECEIVED, START + timedelta(seconds=at_s))
        for ds in datasets:
            envelope = Envelope(
                sop_class_uid=ds.SOPClassUID,
                sop_instance_uid=ds.SOPInstanceUID,
                transfer_syntax_uid=EXPLICIT,
                calling_ae=calling_ae,
                received_at=START + timedelta(seconds=at_s),
            )
            incoming = Incoming(writer.begin(), self.instances)
            incoming.write([encode(ds)])
            incoming.finish(envelope)
        writer.close()
        if released:
            self.instances.close_segment(writer.name)

    def plan(self, at_s: float) -> tuple[str, ...]:
        self.plans.reopen()
        return plan(self.plans, self.settings, START + timedelta(seconds=at_s)).keys

    def uids_of(self, key: str) -> set[str]:
        request = self.jobs.request(key)
        images = (one for series in request.series for one in series.instances)
        return {one.header.sop_instance_uid for one in (*request.instances, *images)}


def one_report(job: JobRequest) -> JobResult:
    """A stand-in pipeline: one SR for each CT series and profile, its UID made from the job's key."""
    series = sorted(one.instances[0].header.series_instance_uid for one in job.series)
    profiles = sorted({profile for profile, _ in job.forms}) or ["standard"]
    reports = []
    for uid in series:
        objects = []
        for profile in profiles:
            digest = hashlib.sha256(f"{job.key}{uid}{profile}".encode()).hexdigest()
            sop_instance_uid = f"{ROOT}.5.{int(digest[:12], 16)}"
            objects.append(
                MadeObject(
                    profile=profile,
                    role="sr",
                    sop_class_uid=COMPREHENSIVE_SR,
                    sop_instance_uid=sop_instance_uid,
                    series_instance_uid=f"{ROOT}.8",
                    instance_number=job.revisions[uid].number,
                    transfer_syntax_uid=EXPLICIT,
                    encoded=encode(sr_object(sop_instance_uid)),
                )
            )
        reports.append(
            MadeReport(
                study_instance_uid=f"{ROOT}.1",
                ct_series_instance_uid=uid,
                objects=tuple(objects),
                findings=1,
                summary={"findings": [{"name": "Lesion 1", "rule": "L1", "phrase": "A phrase."}]},
            )
        )
    return JobResult(reports=tuple(reports), forms=job.forms)
