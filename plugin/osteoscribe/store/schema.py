"""Tables of the ledger, how a database is opened, and how headers travel as JSON."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from osteoscribe.errors import SetupError, StoreError
from osteoscribe.readers.headers import FramePlane, InstanceHeader

SCHEMA_VERSION = 6
"""Raised with every change of the tables."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Database = sa.Engine
"""An opened ledger database, for those who hand it on."""

_WRITERS_LOCK = 0x0573_05C0
"""Any fixed number; it names our lock in PostgreSQL."""

METADATA = sa.MetaData()
Uid = sa.String(64)

META = sa.Table(
    "meta",
    METADATA,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(128), nullable=False),
)

NODES = sa.Table(
    "nodes",
    METADATA,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("folder_id", sa.String(32), nullable=False),
    sa.Column("store_id", sa.String(32), nullable=False),
    sa.Column("workers", sa.Integer, nullable=False),
    sa.Column("beats", sa.BigInteger, nullable=False),
    sa.Column("beat_us", sa.BigInteger, nullable=False),
)
"""The nodes that share this ledger. `beats` grows while a node lives; others look whether it does, so that no
clock is compared with another. `beat_us` is for people."""

SEGMENTS = sa.Table(
    "segments",
    METADATA,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("indexed_bytes", sa.BigInteger, nullable=False),
    sa.Column("closed", sa.Boolean, nullable=False),
)
"""How far each segment is in `INSTANCES` (what lies behind is added at the next start), and whether its
association has ended."""

INSTANCES = sa.Table(
    "instances",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("sop_instance_uid", Uid, nullable=False),
    sa.Column("sop_class_uid", Uid, nullable=False),
    sa.Column("study_instance_uid", Uid, nullable=False, index=True),
    sa.Column("series_instance_uid", Uid, nullable=False),
    sa.Column("modality", sa.String(16), nullable=False),
    sa.Column("frame_of_reference_uid", Uid),
    sa.Column("transfer_syntax_uid", Uid, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("segment", sa.String(128), nullable=False, index=True),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    sa.Column("calling_ae", sa.String(16), nullable=False),
    sa.Column("received_us", sa.BigInteger, nullable=False),
    sa.Column("header", sa.Text, nullable=False),
    sa.UniqueConstraint("sop_instance_uid", "digest"),
    # What came last of a series is asked before each job on it.
    sa.Index("ix_instances_series_received", "series_instance_uid", "received_us"),
    sqlite_autoincrement=True,
)
"""Every version of every instance; a higher id is newer. The header is JSON without patient data."""

REMOVED_SERIES = sa.Table(
    "removed_series",
    METADATA,
    sa.Column("series_instance_uid", Uid, primary_key=True),
    sa.Column("study_instance_uid", Uid, nullable=False, index=True),
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("removed_us", sa.BigInteger, nullable=False),
)
"""Series of which retention removed images; their rows in `INSTANCES` are gone. A removed mark object or
report keeps its row, with an empty segment."""

MARKS = sa.Table(
    "marks",
    METADATA,
    sa.Column("instance_id", sa.BigInteger, sa.ForeignKey("instances.id"), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
)
"""Mark objects: open, planned, incomplete (planned with images missing, or without any CT series),
superseded, own (our report), removed (by retention)."""

MARK_SERIES = sa.Table(
    "mark_series",
    METADATA,
    sa.Column("instance_id", sa.BigInteger, sa.ForeignKey("instances.id"), primary_key=True),
    sa.Column("series_instance_uid", Uid, primary_key=True, index=True),
)
"""CT series that a mark object refers to, as far as they are known."""

AWAITED = sa.Table(
    "awaited",
    METADATA,
    sa.Column("instance_id", sa.BigInteger, sa.ForeignKey("instances.id"), primary_key=True),
    sa.Column("sop_instance_uid", Uid, primary_key=True, index=True),
)
"""Images that an incomplete mark object still waits for."""

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("accepted_us", sa.BigInteger, nullable=False),
    sa.Column("planned_us", sa.BigInteger, nullable=False),
    sa.Column("measured_us", sa.BigInteger),
    sa.Column("finished_us", sa.BigInteger),
    sa.Column("calling_ae", sa.String(16), nullable=False),
    sa.Column("through_id", sa.BigInteger, nullable=False),
    sa.Column("run", sa.Integer, nullable=False, default=0),
    sa.Column("findings", sa.Integer, nullable=False, default=0),
    sa.Column("problems", sa.Text, nullable=False, default="[]"),
    sa.Column("forms", sa.Text, nullable=False, default="[]"),
    sa.Column("wanted", sa.Text, nullable=False, default="[]"),
)
"""One job: mark objects with the CT series they refer to. Instances above `through_id` came too late.
`forms` are the pairs of profile and role that it was asked for, `wanted` those that are to come."""

DEATHS = sa.Table(
    "deaths",
    METADATA,
    sa.Column("job_key", sa.String(64), primary_key=True),
    sa.Column("run", sa.Integer, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)
"""How often a worker ended by itself while it measured a job; its node went on."""

JOB_MARKS = sa.Table(
    "job_marks",
    METADATA,
    sa.Column("job_key", sa.String(64), sa.ForeignKey("jobs.key"), primary_key=True),
    sa.Column("instance_id", sa.BigInteger, sa.ForeignKey("instances.id"), primary_key=True),
)

JOB_SERIES = sa.Table(
    "job_series",
    METADATA,
    sa.Column("job_key", sa.String(64), sa.ForeignKey("jobs.key"), primary_key=True),
    sa.Column("series_instance_uid", Uid, primary_key=True, index=True),
)

REPORTS = sa.Table(
    "reports",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("job_key", sa.String(64), sa.ForeignKey("jobs.key"), nullable=False, index=True),
    sa.Column("sop_class_uid", Uid, nullable=False),
    sa.Column("sop_instance_uid", Uid, nullable=False, unique=True),
    sa.Column("transfer_syntax_uid", Uid, nullable=False),
    sa.Column("study_instance_uid", Uid, nullable=False),
    sa.Column("ct_series_instance_uid", Uid, nullable=False, index=True),
    sa.Column("series_instance_uid", Uid, nullable=False),
    sa.Column("instance_number", sa.Integer, nullable=False),
    sa.Column("profile", sa.String(32), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("content_key", sa.String(64), nullable=False),
    sa.Column("segment", sa.String(128), nullable=False, index=True),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("length", sa.BigInteger, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
"""What we made: SRs and their companions in each profile, in the order of their making. `summary` stands with
the first object of a report only."""

QUARANTINE = sa.Table(
    "quarantine",
    METADATA,
    sa.Column("job_key", sa.String(64), sa.ForeignKey("jobs.key"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("profile", sa.String(32), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("sop_instance_uid", Uid, nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("segment", sa.String(128)),
    sa.Column("offset", sa.BigInteger),
    sa.Column("length", sa.BigInteger),
    sa.Column("made_us", sa.BigInteger, nullable=False),
)
"""What we made and never send, and why. Without a segment where it could not be built."""

LESIONS = sa.Table(
    "lesions",
    METADATA,
    sa.Column("job_key", sa.String(64), sa.ForeignKey("jobs.key"), primary_key=True),
    sa.Column("ct_series_instance_uid", Uid, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("patient_key", sa.String(64), nullable=False, index=True),
    sa.Column("study_instance_uid", Uid, nullable=False),
    sa.Column("study_date", sa.String(10), nullable=False),
    sa.Column("tracking_uid", Uid, nullable=False),
    sa.Column("frame_of_reference_uid", Uid),
    sa.Column("x_mm", sa.Float, nullable=False),
    sa.Column("y_mm", sa.Float, nullable=False),
    sa.Column("z_mm", sa.Float, nullable=False),
    sa.Column("long_axis_mm", sa.Float),
    sa.Column("slice_thickness_mm", sa.Float),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("mean_hu", sa.Float),
    sa.Column("kvp_kv", sa.Float),
    sa.Column("convolution_kernel", sa.Text),
    sa.Column("contrast", sa.Boolean),
)
"""Reported lesions; HU and protocol for serial display only.

`patient_key` and `name` are digests: no patient and no label can be read from them."""

DELIVERIES = sa.Table(
    "deliveries",
    METADATA,
    sa.Column("job_key", sa.String(64), sa.ForeignKey("jobs.key"), primary_key=True),
    sa.Column("destination", sa.String(128), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("round", sa.Integer, nullable=False, default=0),
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("refusals", sa.Integer, nullable=False, default=0),
    sa.Column("asks", sa.Integer, nullable=False, default=0),
    sa.Column("queued_us", sa.BigInteger, nullable=False),
    sa.Column("due_us", sa.BigInteger),
    sa.Column("updated_us", sa.BigInteger, nullable=False),
    sa.Column("code", sa.String(64), nullable=False, default=""),
    sa.Column("message", sa.Text, nullable=False, default=""),
)
"""One job's reports on their way to one destination."""

PROOFS = sa.Table(
    "proofs",
    METADATA,
    sa.Column("job_key", sa.String(64), sa.ForeignKey("jobs.key"), primary_key=True),
    sa.Column("destination", sa.String(128), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("since_us", sa.BigInteger, nullable=False),
    sa.Column("due_us", sa.BigInteger, index=True),
    sa.Column("looks", sa.Integer, nullable=False, default=0),
    sa.Column("proved_us", sa.BigInteger),
    sa.Column("code", sa.String(64), nullable=False, default=""),
    sa.Column("message", sa.Text, nullable=False, default=""),
)
"""Looks whether a destination has what it stored, in the right study; they begin when it is stored."""

DESTINATIONS = sa.Table(
    "destinations",
    METADATA,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("due_us", sa.BigInteger),
    sa.Column("reached_us", sa.BigInteger),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
)
"""How each destination was reached last; it rests until `due_us`."""

QUESTIONS = sa.Table(
    "questions",
    METADATA,
    sa.Column("calling_ae", sa.String(16), primary_key=True),
    sa.Column("transaction_uid", Uid, primary_key=True),
    sa.Column("objects", sa.Text, nullable=False),
    sa.Column("asked_us", sa.BigInteger, nullable=False),
    sa.Column("due_us", sa.BigInteger, index=True),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
)
"""Questions of peers for storage commitment: `objects` is JSON of SOP Instance UID to SOP Class UID."""

COMMITMENTS = sa.Table(
    "commitments",
    METADATA,
    sa.Column("transaction_uid", Uid, primary_key=True),
    sa.Column("job_key", sa.String(64), sa.ForeignKey("jobs.key"), nullable=False),
    sa.Column("destination", sa.String(128), nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("asked_us", sa.BigInteger, nullable=False),
    sa.Column("sop_instance_uids", sa.Text, nullable=False),
)
"""Questions for storage commitment; on disk before they are asked, for the answer can overtake the reply."""


def to_us(at: datetime) -> int:
    """Microseconds since 1970 of a time with zone."""
    return (at - EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """UTC time of microseconds since 1970."""
    return EPOCH + microseconds * _MICROSECOND


def open_database(url: str) -> sa.Engine:
    """Open the ledger's database; make its tables where it is new.

    Parameters
    ----------
    url
        SQLAlchemy URL; SQLite or PostgreSQL.

    Raises
    ------
    SetupError
        ``store.newer-schema``: a newer release wrote it. ``store.unusable``: it cannot be opened.

    Connections with the execution option ``reads`` write nothing; commits of those with ``unsynced`` survive
    every kill, but a power cut only together with a later commit: for what is made again from what is there.

    Whatever is asked of it later raises `StoreError` ``store.locked`` where the database does not answer:
    locked for long, its disk full, its server away.
    """
    try:
        # The connection that was used last is the one whose pages and statements are at hand.
        engine = sa.create_engine(url, pool_use_lifo=True)
    except sa.exc.SQLAlchemyError as error:
        raise _unusable(error) from error
    try:
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine)
        else:
            _write_one_at_a_time(engine)
        with engine.begin() as connection:
            METADATA.create_all(connection)
            _check_version(connection)
        sa.event.listen(engine, "handle_error", _state_as_ours)
    except (sa.exc.SQLAlchemyError, StoreError) as error:
        engine.dispose()
        raise _unusable(error) from error
    except SetupError:
        engine.dispose()
        raise
    return engine


def _unusable(error: Exception) -> SetupError:
    return SetupError(
        "store.unusable",
        f"found a ledger that cannot be opened ({type(error).__name__}); check the folder or the URL",
    )


def _state_as_ours(context: sa.ExceptionContext) -> None:
    """Raise a database that does not answer as our own error: the work is postponed, never given up."""
    if isinstance(context.sqlalchemy_exception, sa.exc.OperationalError):
        raise not_answering()


def not_answering() -> StoreError:
    """State that the database does not answer now."""
    return StoreError("store.locked", "found the ledger locked or its disk full; free it, then send again")


def _check_version(connection: sa.Connection) -> None:
    query = sa.select(META.c.value).where(META.c.key == "schema_version")
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        connection.execute(META.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
    elif int(found) != SCHEMA_VERSION:
        raise SetupError(
            "store.newer-schema",
            f"found a ledger of schema {found}, expected {SCHEMA_VERSION}; run the release that wrote it",
        )


def _prepare_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        # The driver's own transactions begin late and upgrade their lock: ours begin by BEGIN below.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        # Straight to the driver: the way through this library takes longer than what is done here.
        options, driver = connection.get_execution_options(), connection.connection.cursor()
        if options.get("reads", False):
            driver.execute("BEGIN")  # takes no lock yet and cannot fail
            return
        # In this journal mode an unsynced commit keeps its place: the next synced one takes it along.
        wanted = "NORMAL" if options.get("unsynced", False) else "FULL"
        try:
            if connection.info.setdefault("synchronous", "FULL") != wanted:
                driver.execute(f"PRAGMA synchronous={wanted}")
                connection.info["synchronous"] = wanted
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            raise not_answering() from None


def _write_one_at_a_time(engine: sa.Engine) -> None:
    """Serialise writers as SQLite does, so that the same code holds the same promises on PostgreSQL."""

    @sa.event.listens_for(engine, "begin")
    def _on_begin(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("reads", False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
            if options.get("unsynced", False):
                connection.exec_driver_sql("SET LOCAL synchronous_commit TO OFF")


_HEADER = tuple(one.name for one in dataclasses.fields(InstanceHeader))


def header_to_json(header: InstanceHeader) -> str:
    """JSON text of a header; absent values are left out."""
    fields = {name: value for name in _HEADER if (value := getattr(header, name)) not in (None, ())}
    if header.frames:
        fields["frames"] = [dataclasses.asdict(frame) for frame in header.frames]
    return json.dumps(fields, separators=(",", ":"), allow_nan=False)


def header_from_json(text: str) -> InstanceHeader:
    """Header of its JSON text."""
    fields = json.loads(text)
    frames = tuple(FramePlane(**_tuples(frame)) for frame in fields.pop("frames", ()))
    return InstanceHeader(**_tuples(fields), frames=frames)


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
