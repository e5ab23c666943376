"""What the use cases need from the outside, as protocols, and the plain values that cross those seams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from osteoscribe.app.settings import Destination, Form
from osteoscribe.core.report import Problem, Revision
from osteoscribe.core.serial import StoredLesion
from osteoscribe.core.series import BlobRef
from osteoscribe.readers.headers import InstanceHeader, StoredInstance, StoredSeries

QUARANTINED = "(QUARANTINED)"
"""Stands for the sender of our own objects that are never sent; such a record is a whole Part 10 file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a peer said about the bytes it sent.

    Parameters
    ----------
    calling_ae
        AE title of the sender, cleaned of control characters.
    received_at
        When the last byte came, with time zone.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedObject:
    """One encoded data set without preamble and file meta group, as it travels in C-STORE."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    encoded: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeObject:
    """One object that the pipeline made, without preamble and file meta group.

    Parameters
    ----------
    profile, role
        Its form, and ``sr``, ``text``, ``key-image`` or ``notice``.
    series_instance_uid, instance_number
        Where it lies: what a successor names as its predecessor.
    """

    profile: str
    role: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    instance_number: int
    transfer_syntax_uid: str
    encoded: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedObject:
    """An object that is never sent: it could not be built, or the gate refused it.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid
        Empty where it could not be built.
    encoded
        The whole Part 10 file as the gate read it, for inspection; empty where it could not be built.
    problem
        Why.
    """

    profile: str
    role: str
    sop_class_uid: str
    sop_instance_uid: str
    encoded: bytes
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeReport:
    """What the pipeline made of one CT series.

    Parameters
    ----------
    study_instance_uid, ct_series_instance_uid
        The CT series that was measured, and its study.
    objects
        What is sent, by profile; of each the one that carries the result first.
    findings
        How many findings it states.
    content_key
        SHA-256 over what it says, whichever report came before; empty where that is not known.
    patient_key, lesions
        What later examinations of the same patient are compared with; the key is a digest.
    summary
        JSON values for the faces; no patient data.
    """

    study_instance_uid: str
    ct_series_instance_uid: str
    objects: tuple[MadeObject, ...]
    findings: int = 0
    content_key: str = ""
    patient_key: str = ""
    lesions: tuple[StoredLesion, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job came to: its reports, and all problems of it.

    ``forms`` says what was asked for: objects of these that are not there had no cause, or are among the
    ``quarantined``.
    """

    reports: tuple[MadeReport, ...] = ()
    problems: tuple[Problem, ...] = ()
    quarantined: tuple[RefusedObject, ...] = ()
    forms: frozenset[Form] = frozenset()


EarlierLesions = Callable[[str], Sequence[StoredLesion]]
"""Gives the lesions of a patient from earlier reports, by the digest that stands for the patient."""


def no_earlier_lesions(_patient_key: str) -> Sequence[StoredLesion]:
    """Gives no lesions: nothing was reported before."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """One job: the mark objects and the images of the CT series that they refer to.

    Parameters
    ----------
    key
        SHA-256 over the CT series, the digests of the mark objects, and what is missing.
    instances, series
        The mark objects, and the series of the images; the newest version of each.
    accepted_at
        When the newest mark object came: the only time a report contains.
    calling_ae
        Who sent the newest mark object.
    revisions
        Which report on each CT series this will be, by Series Instance UID.
    forms
        In which forms its reports are wanted; empty: as the practice has it.
    earlier
        Gives the lesions of a patient from reports that were accepted before this job.
    ct_removed_at
        When retention removed CT images of the studies of the marks; None where it did not.
    removed_marks
        Earlier mark objects on each CT series that retention removed, by Series Instance UID.
    """

    key: str
    instances: tuple[StoredInstance, ...]
    accepted_at: datetime
    calling_ae: str
    series: tuple[StoredSeries, ...] = ()
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    forms: frozenset[Form] = frozenset()
    earlier: EarlierLesions = no_earlier_lesions
    ct_removed_at: datetime | None = None
    removed_marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


Pipeline = Callable[[JobRequest], JobResult]
"""Marks and images in, reports out; joined with settings and rule table in ``bootstrap``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An accepted instance as the ledger takes it."""

    header: InstanceHeader
    blob: BlobRef
    digest: str
    envelope: Envelope
    is_mark: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenMark:
    """A mark object that came whole: its bytes can be read, but may be neither safe nor stay there."""

    blob: BlobRef
    digest: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """A report object and where its bytes are."""

    profile: str
    role: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    blob: BlobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One job's reports on their way to one destination.

    Parameters
    ----------
    destination
        Its name in the settings.
    state
        ``queued``; ``waiting`` after a failed try; ``stored`` where every object was; ``committed`` where the
        destination took over the safekeeping (PS3.4 J); ``parked`` where a person must act; ``cancelled``.
    round
        Raised each time a person asks for another delivery.
    due_at
        When the next try, or where it is stored the next question for commitment, is due.
    asks
        Questions for storage commitment.
    tries, refusals
        Failed tries of this round, and those of them in which the destination refused an object.
    code, message
        The reason of the last failure, or a warning with which it stored.
    """

    job_key: str
    destination: str
    state: str
    round: int
    tries: int
    refusals: int
    queued_at: datetime
    due_at: datetime | None = None
    asks: int = 0
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a destination was reached last.

    Parameters
    ----------
    tries
        Failed tries in a row to reach it.
    due_at
        It rests until then, with all that waits for it.
    reached_at
        When it last answered.
    code, message
        Why it could not be reached, or refuses us; empty where it answered.
    """

    tries: int = 0
    due_at: datetime | None = None
    reached_at: datetime | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Whether a destination shows what it has stored: a fact beside the delivery's state.

    Parameters
    ----------
    round
        Of the delivery.
    since
        When it was sent.
    due_at
        When the next look is due; None at the end.
    looks
        How often was looked.
    proved_at
        When everything was found in its place.
    code, message
        What the last look found instead.
    """

    job_key: str
    destination: str
    round: int
    since: datetime
    due_at: datetime | None
    looks: int = 0
    proved_at: datetime | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an object belongs."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReply:
    """A destination's answer to one object.

    Parameters
    ----------
    status
        C-STORE status; None where none was possible: ``code`` and ``message`` then say why.
    passing
        Where there is no status: whether another try may succeed.
    """

    sop_instance_uid: str
    status: int | None
    code: str = ""
    message: str = ""
    passing: bool = False


class Sender(Protocol):
    """Sends objects to a destination."""

    def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> Iterable[StoreReply]:
        """Send the objects over one association; one reply for each, given as they come.

        Raises
        ------
        PeerError
            The destination cannot be reached now; nothing is known of the objects without a reply.
        RefusedError
            It refuses us for good.
        """
        ...


class Prover(Protocol):
    """Queries a destination."""

    def found(self, destination: Destination, places: Sequence[Place]) -> frozenset[str]:
        """SOP Instance UIDs of the objects that are in their place.

        Raises
        ------
        PeerError
            The destination cannot be reached now, or does not answer the query; nothing is known.
        RefusedError
            It answers no queries.
        """
        ...


class Committer(Protocol):
    """Asks a destination to take over the safekeeping of objects (PS3.4 J)."""

    def ask(self, destination: Destination, transaction_uid: str, objects: Sequence[StoredObject]) -> None:
        """Ask; the answer comes as a report, over this or another association.

        Raises
        ------
        PeerError
            The destination cannot be reached now, or does not take the question now.
        RefusedError
            It does not offer storage commitment.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """A destination's answer to a question for storage commitment (PS3.4 J.3.3).

    Parameters
    ----------
    committed
        SOP Instance UIDs whose safekeeping it took over.
    failed
        SOP Instance UID to failure reason (0008,1197).
    """

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int]


class JobLedger(Protocol):
    """What measuring and delivering ask of the ledger."""

    def reading(self) -> AbstractContextManager[None]:
        """Read everything in the block from one state of the ledger, at one go; no writing is seen in it."""
        ...

    def state(self, key: str) -> str:
        """State of a job; empty where there is none of that key."""
        ...

    def request(self, key: str) -> JobRequest:
        """Everything a job is made from."""
        ...

    def record(
        self,
        key: str,
        result: JobResult,
        blobs: Mapping[str, BlobRef],
        destinations: Sequence[Destination],
        now: datetime,
    ) -> tuple[str, ...]:
        """Record what a job came to, and queue its delivery, in one transaction; to which destinations."""
        ...

    def fail(self, key: str, problem: Problem, now: datetime) -> None:
        """Park a job that cannot be measured, with its reason."""
        ...

    def delivery(self, key: str, destination: str) -> Delivery:
        """One delivery."""
        ...

    def update_delivery(self, delivery: Delivery, now: datetime, was: Delivery | None = None) -> None:
        """Record how far a delivery is, unless it is no longer as it was: another worker was faster."""
        ...

    def waiting(self, destination: str, most: int) -> tuple[Delivery, ...]:
        """Deliveries to a destination that are not at an end, the oldest first."""
        ...

    def reach(self, destination: str) -> Reach:
        """How a destination was reached last."""
        ...

    def update_reach(self, destination: str, reach: Reach) -> None:
        """Record how a destination was reached."""
        ...

    def begin_proof(self, proof: Proof) -> None:
        """Record that a look is due once the delivery is stored; nothing where that is recorded."""
        ...

    def proof(self, key: str, destination: str) -> Proof | None:
        """The proof of a delivery's newest round."""
        ...

    def update_proof(self, proof: Proof, now: datetime, *, is_parked: bool) -> None:
        """Record a look; parks the delivery with the same reason where it was the last."""
        ...

    def begin_commitment(
        self, transaction_uid: str, delivery: Delivery, objects: Sequence[StoredObject], now: datetime
    ) -> None:
        """Record a question before it is asked."""
        ...

    def objects(self, key: str) -> tuple[StoredObject, ...]:
        """Return the report objects of a job."""
        ...

    def forms(self, key: str) -> frozenset[Form]:
        """In which forms a job's reports were asked for."""
        ...

    def make_again(self, key: str, forms: frozenset[Form], now: datetime) -> None:
        """Have a job measured again for forms that it was not asked for; its deliveries wait for that."""
        ...

    def new_objects(self, report: MadeReport) -> tuple[MadeObject, ...]:
        """Those objects of a report that are not recorded yet, nor one of their form that says the same."""
        ...


class StoredRecord(Protocol):
    """A record of a segment, as it describes itself."""

    @property
    def envelope(self) -> Envelope:
        """What its sender said about it."""
        ...

    @property
    def blob(self) -> BlobRef:
        """Where its bytes are."""
        ...

    @property
    def digest(self) -> str:
        """Digest of its bytes, in hexadecimal."""
        ...


class SegmentAppender(Protocol):
    """Where the bytes of one association go."""

    def append(self, encoded: Sequence[bytes | memoryview], envelope: Envelope) -> BlobRef:
        """Store the bytes; they are on disk when this returns."""
        ...


class OpenRecord(Protocol):
    """One data set on its way into a segment; over when it is committed, abandoned, or has failed."""

    @property
    def length(self) -> int:
        """How many bytes were written."""
        ...

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Take the next pieces; their memory stays as it is until `let_go`, or the end."""
        ...

    def let_go(self) -> None:
        """Need the memory of what was taken no more."""
        ...

    def content(self) -> memoryview:
        """Give what was written so far."""
        ...

    def digest(self) -> bytes:
        """Digest of what was written so far."""
        ...

    def readable(self) -> BlobRef | None:
        """Give where others read what was written so far, before it is safe; None where they cannot."""
        ...

    def commit(self, envelope: Envelope) -> BlobRef:
        """Make it whole; it is on disk when this returns."""
        ...

    def abandon(self) -> None:
        """Keep nothing of it."""
        ...


class ReceivingSegment(Protocol):
    """Where the instances of one association go, one after the other."""

    @property
    def name(self) -> str:
        """Name of the segment."""
        ...

    @property
    def end(self) -> int:
        """How many bytes are in it; 0 before the first instance."""
        ...

    def begin(self) -> OpenRecord:
        """Begin an instance whose length is not known yet."""
        ...

    def close(self) -> None:
        """Stop; nothing more comes."""
        ...


class InstanceLedger(Protocol):
    """The part of the ledger that the receiver needs."""

    def has_instance(self, header: InstanceHeader, digest: str) -> bool:
        """Whether these very bytes are known under this UID."""
        ...

    def add(self, stored: Sequence[Stored]) -> None:
        """Record instances in one transaction; known ones are left as they are."""
        ...
