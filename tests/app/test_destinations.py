"""Several destinations, each with its own form of the same report: each gets its own objects, once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from osteoscribe.app.assure import ask_commitment
from osteoscribe.app.deliver import deliver
from osteoscribe.app.desk import Desk
from osteoscribe.app.ports import (
    CommitmentReport,
    EncodedObject,
    JobRequest,
    JobResult,
    StoredObject,
    StoreReply,
)
from osteoscribe.app.settings import Destination, StoreSettings
from osteoscribe.app.work import measure
from osteoscribe.core.delivery import Patience
from osteoscribe.core.report import Problem
from osteoscribe.errors import SetupError
from osteoscribe.store.folder import open_folder
from osteoscribe.store.metrics import metrics_text
from osteoscribe.store.operations import JobActions
from osteoscribe.store.segments import MADE
from tests.fakes.dicom import ct_slice, ct_uid, mark_object
from tests.fakes.ledger import START, FilledLedger, one_report, place

NOW = START + timedelta(hours=1)
PATIENCE = Patience(first_pause_s=5, longest_pause_s=60, give_up_after_s=3600, refusals=3)
PACS = place("PACS@127.0.0.1:104", name="pacs")
VIEWER = place("VIEWER@127.0.0.1:104", name="viewer", profile="ohif")


class Site:
    """A node without network: a ledger, its destinations, and what each of them took."""

    def __init__(self, folder: Path, *destinations: Destination) -> None:
        self.ledger = FilledLedger(folder)
        self.destinations = destinations
        self.taken: dict[str, list[str]] = {}
        self.asked: list[tuple[str, set[str]]] = []
        self._seconds = 0

    def mark(
        self, *more: Dataset, number: int = 1, pipeline: Callable[[JobRequest], JobResult] = one_report
    ) -> str:
        """A mark comes and is measured; the key of its job."""
        self._seconds += 10
        self.ledger.receive(self._seconds, *more, mark_object(number, [ct_uid(1)]), calling_ae=f"S{number}")
        (key,) = self.ledger.plan(self._seconds + 5)
        self.measure(key, pipeline)
        return key

    def measure(self, key: str, pipeline: Callable[[JobRequest], JobResult] = one_report) -> None:
        segment = self.ledger.segments.writer(MADE, START)
        measure(
            key,
            ledger=self.ledger.jobs,
            pipeline=pipeline,
            segment=segment,
            destinations_for=lambda calling: [
                one for one in self.destinations if not one.senders or calling in one.senders
            ],
            now=lambda: NOW,
        )
        segment.close()

    def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> tuple[StoreReply, ...]:
        self.taken.setdefault(destination.name, []).extend(one.sop_instance_uid for one in objects)
        return tuple(StoreReply(sop_instance_uid=one.sop_instance_uid, status=0) for one in objects)

    def ask(self, destination: Destination, transaction_uid: str, objects: Sequence[StoredObject]) -> None:
        self.asked.append((transaction_uid, {one.sop_instance_uid for one in objects}))

    def named(self, name: str) -> Destination:
        for one in self.destinations:
            if one.name == name:
                return one
        raise SetupError("delivery.unknown-destination", "found no such destination")

    def deliver_all(self) -> None:
        """Deliver what is due until nothing is, measuring again what was asked for on the way."""
        for _ in range(5):
            for key, _run in self.ledger.jobs.ready():
                self.measure(key)
            self.deliver_due()

    def desk(self, destination: str) -> Desk:
        return Desk(
            name=destination,
            destination_named=self.named,
            ledger=self.ledger.jobs,
            patience=PATIENCE,
            now=lambda: NOW,
        )

    def deliver_due(self) -> None:
        for one in self.ledger.jobs.due_deliveries():
            deliver(
                one.job_key,
                self.desk(one.destination),
                sender=self,
                read=self.ledger.segments.read_bytes,
            )

    def made(self, key: str) -> dict[str, str]:
        """The one object of each profile of a job."""
        objects = self.ledger.jobs.objects(key)
        assert len({one.profile for one in objects}) == len(objects)
        return {one.profile: one.sop_instance_uid for one in objects}

    def resend(self, key: str) -> str:
        return JobActions(self.ledger.engine, lambda _calling: self.destinations).resend(key, NOW)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path, PACS, VIEWER)
    one.ledger.receive(0, ct_slice(1))
    yield one
    one.ledger.engine.dispose()


def saying(content_key: str) -> Callable[[JobRequest], JobResult]:
    """The stand-in pipeline with a report of this content."""

    def pipeline(job: JobRequest) -> JobResult:
        made = one_report(job)
        reports = tuple(dataclasses.replace(one, content_key=content_key) for one in made.reports)
        return dataclasses.replace(made, reports=reports)

    return pipeline


def test_each_destination_gets_the_objects_of_its_profile_only(site: Site) -> None:
    key = site.mark()
    site.deliver_all()
    made = site.made(key)
    assert made.keys() == {"standard", "ohif"}
    assert site.taken == {"pacs": [made["standard"]], "viewer": [made["ohif"]]}
    assert site.ledger.jobs.state(key) == "done"


def test_a_finding_in_two_profiles_is_one_finding(site: Site, tmp_path: Path) -> None:
    site.mark()
    text = metrics_text(site.ledger.engine, open_folder(StoreSettings(folder=tmp_path)))
    assert re.search(r'findings\{rule="L1"\} (\d+)', text).group(1) == "1"  # type: ignore[union-attr]


def test_each_profile_names_its_own_predecessor_and_the_numbers_go_up(site: Site) -> None:
    first = site.made(site.mark())
    revision = site.ledger.jobs.request(site.mark(number=2)).revisions
    (one,) = revision.values()
    assert one.number == 2
    assert {name: earlier.sop_instance_uid for name, earlier in one.predecessors.items()} == first


def test_a_job_that_is_run_again_is_the_same_revision_whatever_followed(site: Site) -> None:
    first, second = site.mark(), site.mark(number=2)
    before = [site.ledger.jobs.request(key).revisions for key in (first, second)]
    site.mark(number=3)
    assert [site.ledger.jobs.request(key).revisions for key in (first, second)] == before


def test_a_destination_that_comes_later_gets_its_own_form_made(site: Site) -> None:
    site.destinations = (PACS,)
    key = site.mark()
    site.deliver_all()
    assert site.made(key).keys() == {"standard"}
    standard = site.made(key)["standard"]
    site.destinations = (PACS, VIEWER)
    assert site.resend(key) == "queued for delivery"
    site.deliver_all()
    made = site.made(key)
    assert made == {"standard": standard, "ohif": made["ohif"]}, "what was there is not made twice"
    assert site.taken == {"pacs": [standard] * 2, "viewer": [made["ohif"]]}
    assert site.ledger.jobs.state(key) == "done"


def test_a_destination_whose_form_changes_gets_the_new_one(site: Site) -> None:
    site.destinations = (PACS,)
    key = site.mark()
    site.destinations = (dataclasses.replace(PACS, profile="comprehensive"),)
    site.deliver_all()
    assert site.taken == {"pacs": [site.made(key)["comprehensive"]]}


def test_what_cannot_be_made_any_more_is_parked_and_says_so(site: Site) -> None:
    site.destinations = (PACS,)
    key = site.mark()
    site.destinations = (VIEWER,)
    site.resend(key)
    site.deliver_due()
    assert site.ledger.jobs.state(key) == "ready"
    site.ledger.jobs.fail(key, Problem(code="images.missing", message="found no images"), NOW)
    site.deliver_all()
    assert site.ledger.jobs.delivery(key, "viewer").code == "delivery.not-made"
    assert site.ledger.jobs.state(key) == "failed"


def test_an_equal_report_goes_to_the_destination_that_lacks_it(site: Site) -> None:
    other = dataclasses.replace(PACS, name="other", senders=("S2",))
    site.destinations = (dataclasses.replace(PACS, senders=("S1",)), other)
    first = site.mark(pipeline=saying("a"))
    second = site.mark(number=2, pipeline=saying("a"))
    site.deliver_all()
    assert site.ledger.jobs.objects(second) == ()
    standard = site.made(first)["standard"]
    assert site.taken == {"pacs": [standard], "other": [standard]}


def test_an_equal_report_in_another_form_is_made_and_counted_once(site: Site, tmp_path: Path) -> None:
    viewer = dataclasses.replace(VIEWER, senders=("S2",))
    site.destinations = (dataclasses.replace(PACS, senders=("S1",)), viewer)
    first = site.mark(pipeline=saying("a"))
    second = site.mark(number=2, pipeline=saying("a"))
    site.deliver_all()
    assert (site.made(first).keys(), site.made(second).keys()) == ({"standard"}, {"ohif"})
    assert site.taken == {"pacs": [site.made(first)["standard"]], "viewer": [site.made(second)["ohif"]]}
    text = metrics_text(site.ledger.engine, open_folder(StoreSettings(folder=tmp_path)))
    assert 'findings{rule="L1"} 1\n' in text


def test_a_destination_that_is_gone_is_parked_and_left_out_of_the_next_round(site: Site) -> None:
    key = site.mark()
    site.destinations = (VIEWER,)
    site.deliver_all()
    assert site.ledger.jobs.delivery(key, "pacs").code == "delivery.unknown-destination"
    assert site.ledger.jobs.state(key) == "parked"
    site.resend(key)
    site.deliver_all()
    assert site.ledger.jobs.state(key) == "done"
    assert site.taken == {"viewer": [site.made(key)["ohif"]] * 2}


def test_commitment_is_asked_for_what_went_there_and_answered_by_that(site: Site) -> None:
    site.destinations = (dataclasses.replace(PACS, ask_commitment=True), VIEWER)
    key = site.mark()
    site.deliver_all()
    (due,) = site.ledger.jobs.due_commitments(NOW)
    ask_commitment(
        key,
        site.desk(due.destination),
        committer=site,
    )
    ((transaction_uid, uids),) = site.asked
    assert uids == {site.made(key)["standard"]}
    report = CommitmentReport(transaction_uid=transaction_uid, committed=frozenset(uids), failed={})
    assert site.ledger.jobs.take_commitment(report, NOW)
    assert site.ledger.jobs.delivery(key, "pacs").state == "committed"
    assert site.ledger.jobs.state(key) == "done"
