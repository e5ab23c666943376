"""The ledger in numbers for Prometheus. No UIDs, no AE titles of unknown callers, no patient data."""

from __future__ import annotations

import json
from collections import Counter

import sqlalchemy as sa

from osteoscribe.store.folder import DataFolder
from osteoscribe.store.reach import destinations_at_a_glance, ends
from osteoscribe.store.removed import removed_counts
from osteoscribe.store.schema import (
    DELIVERIES,
    INSTANCES,
    JOBS,
    MARKS,
    PROOFS,
    QUARANTINE,
    QUESTIONS,
    REPORTS,
)

_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 86400)


def metrics_text(engine: sa.Engine, folder: DataFolder) -> str:
    """Write the metrics in the text format of Prometheus."""
    with engine.execution_options(reads=True).begin() as connection:
        lines = [
            *_gauge("instances", "Received instances", {"": _count(connection, INSTANCES)}),
            *_gauge("marks", "Mark objects by state", _by_state(connection, MARKS)),
            *_gauge("jobs", "Jobs by state", _by_state(connection, JOBS)),
            *_gauge("quarantined", "Objects that are never sent", {"": _count(connection, QUARANTINE)}),
            *_gauge("deliveries", "Deliveries by state", _by_state(connection, DELIVERIES)),
            *_destinations(connection),
            *_gauge("findings", "Findings by rule", _findings(connection)),
            *_gauge("problems", "Stated problems by code", _problems(connection)),
            *_delivered(connection),
            *_removed(connection),
        ]
    lines += _gauge("disk_free_bytes", "Free disk space", {"": folder.free_bytes()})
    lines += _gauge("disk_reserve_bytes", "Disk space that is never used", {"": folder.reserve_bytes})
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """Escape a label's value."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _gauge(name: str, help_text: str, values: dict[str, int]) -> list[str]:
    full = f"osteoscribe_{name}"
    lines = [f"# HELP {full} {help_text}", f"# TYPE {full} gauge"]
    return lines + [f"{full}{labels} {value}" for labels, value in sorted(values.items())]


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _by_state(connection: sa.Connection, table: sa.Table) -> dict[str, int]:
    query = sa.select(table.c.state, sa.func.count()).group_by(table.c.state)
    return {f'{{state="{state}"}}': count for state, count in connection.execute(query)}


def _destinations(connection: sa.Connection) -> list[str]:
    """What waits for each destination, since when, and whether it is reached."""
    seen = destinations_at_a_glance(connection)

    def by_name(name: str, help_text: str, key: str) -> list[str]:
        return _gauge(
            name, help_text, {f'{{destination="{_quoted(one["name"])}"}}': one[key] for one in seen}
        )

    for one in seen:
        one["reached"] = int(one["state"] in ("reachable", "untried"))
    return [
        *by_name("destination_waiting", "Deliveries that wait for a destination", "waiting"),
        *by_name("destination_parked", "Deliveries that a person must look at", "parked"),
        *by_name("destination_failed_tries", "Failed tries in a row to reach it", "failed_tries"),
        *by_name("destination_up", "1 unless it rests after a failed try, or refuses us", "reached"),
        *_gauge("proofs", "Proofs by query by how they stand", _proofs(connection)),
        *_gauge("safekeeping", "Questions for storage commitment", _questions(connection)),
    ]


def _proofs(connection: sa.Connection) -> dict[str, int]:
    return _labelled(ends(connection, PROOFS, PROOFS.c.proved_us.is_not(None), "proved"))


def _questions(connection: sa.Connection) -> dict[str, int]:
    return _labelled(ends(connection, QUESTIONS, QUESTIONS.c.code == "", "answered"))


def _labelled(counts: dict[str, int]) -> dict[str, int]:
    return {f'{{state="{state}"}}': count for state, count in counts.items()}


def _findings(connection: sa.Connection) -> dict[str, int]:
    summaries = connection.execute(sa.select(REPORTS.c.summary)).scalars()
    rules = Counter(
        str(finding.get("rule", "")) for text in summaries for finding in json.loads(text).get("findings", ())
    )
    return {f'{{rule="{rule}"}}': count for rule, count in rules.items()}


def _problems(connection: sa.Connection) -> dict[str, int]:
    texts = connection.execute(sa.select(JOBS.c.problems).where(JOBS.c.problems != "[]")).scalars()
    codes = Counter(one["code"] for text in texts for one in json.loads(text))
    return {f'{{code="{code}"}}': count for code, count in codes.items()}


def _removed(connection: sa.Connection) -> list[str]:
    counts = removed_counts(connection)
    values = {f'{{kind="{kind}"}}': counts[kind] for kind in ("images", "marks", "reports")}
    return [
        *_gauge("removed", "Objects that retention removed", values),
        *_gauge("removed_bytes", "Bytes of the removed images", {"": counts["bytes"]}),
    ]


def _delivered(connection: sa.Connection) -> list[str]:
    """Seconds from the last mark object to the delivered report, as a histogram."""
    query = (
        sa.select(DELIVERIES.c.updated_us - JOBS.c.accepted_us)
        .join(JOBS, JOBS.c.key == DELIVERIES.c.job_key)
        .where(DELIVERIES.c.state.in_(("stored", "committed")), DELIVERIES.c.round == 0)
    )
    seconds = [value / 1e6 for value in connection.execute(query).scalars()]
    full = "osteoscribe_mark_to_delivered_seconds"
    lines = [f"# HELP {full} From the last mark object to the delivered report", f"# TYPE {full} histogram"]
    lines += [f'{full}_bucket{{le="{le}"}} {sum(one <= le for one in seconds)}' for le in _BUCKETS_S]
    return [
        *lines,
        f'{full}_bucket{{le="+Inf"}} {len(seconds)}',
        f"{full}_sum {sum(seconds):.3f}",
        f"{full}_count {len(seconds)}",
    ]
