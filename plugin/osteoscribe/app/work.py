"""Measure one job. It may be repeated at any point without doubling anything."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.ports import (
    QUARANTINED,
    Envelope,
    JobLedger,
    JobResult,
    MadeObject,
    Pipeline,
    RefusedObject,
    SegmentAppender,
)
from osteoscribe.app.settings import Destination
from osteoscribe.core.report import Problem
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import InputError, SetupError, StoreError

LOGGER = logging.getLogger(__name__)


STORE_PAUSE_S = 15.0
"""Pause before another try when the store cannot be read or written."""


def measure(
    key: str,
    *,
    ledger: JobLedger,
    pipeline: Pipeline,
    segment: SegmentAppender,
    destinations_for: Callable[[str], Sequence[Destination]],
    now: Callable[[], datetime],
    hand_over: Callable[[str], None] = lambda _destination: None,
) -> float | None:
    """Measure a job and record its reports; nothing happens where that was done before.

    Parameters
    ----------
    hand_over
        Told of each destination for which something is recorded to be sent.

    Returns
    -------
    float or None
        Seconds to wait before another try (the store cannot be read or written), or None at the end.
    """
    try:
        try:
            if ledger.state(key) == "ready":
                _measure(key, ledger, pipeline, segment, destinations_for, now, hand_over)
        except StoreError:
            raise
        except SetupError as error:
            LOGGER.error("job failed key=%s code=%s", key[:12], error.code)
            ledger.fail(key, Problem(code=error.code, message=error.message), now())
        except Exception as error:  # noqa: BLE001  a bug parks this job and leaves the others alone
            _park_bug(key, error, ledger, now())
    except StoreError as error:
        LOGGER.warning("job postponed key=%s code=%s", key[:12], error.code)
        return STORE_PAUSE_S
    return None


def _measure(
    key: str,
    ledger: JobLedger,
    pipeline: Pipeline,
    segment: SegmentAppender,
    destinations_for: Callable[[str], Sequence[Destination]],
    now: Callable[[], datetime],
    hand_over: Callable[[str], None],
) -> None:
    began = now()
    request = ledger.request(key)
    destinations = tuple(destinations_for(request.calling_ae))
    request = dataclasses.replace(
        request, forms=request.forms.union(*(destination.forms for destination in destinations))
    )
    try:
        result = pipeline(request)
    except InputError as error:
        problem = Problem(code=error.code, message=error.message, where=error.where)
        result = JobResult(problems=(problem,))
    if result.reports and not destinations:
        result = dataclasses.replace(result, problems=(*result.problems, _nowhere(request.calling_ae)))
    blobs = _store_objects(result, ledger, segment, began)
    done = now()
    for destination in ledger.record(key, result, blobs, destinations, done):
        hand_over(destination)
    series = [one.instances for one in request.series]
    some = (*request.instances, *(instances[0] for instances in series))  # a series is of one study
    LOGGER.info(
        "job measured key=%s studies=%s instances=%d reports=%d findings=%d problems=%s seconds=%.3f",
        key[:12],
        ",".join(sorted({one.header.study_instance_uid for one in some})) or "none",
        len(request.instances) + sum(map(len, series)),
        len(result.reports),
        sum(report.findings for report in result.reports),
        ",".join(sorted({one.code for one in result.problems})) or "none",
        (done - began).total_seconds(),
    )
    for one in result.quarantined:
        LOGGER.error(
            "object quarantined key=%s profile=%s role=%s code=%s",
            key[:12],
            one.profile,
            one.role,
            one.problem.code,
        )


def _park_bug(key: str, error: Exception, ledger: JobLedger, now: datetime) -> None:
    trace = trace_of(error)
    LOGGER.error("job failed key=%s bug=%s", key[:12], trace)
    message = (
        f"found a fault of this software ({trace}); report it, then run osteoscribe jobs retry {key[:12]}"
    )
    ledger.fail(key, Problem(code="job.bug", message=message), now)


def _nowhere(calling_ae: str) -> Problem:
    return Problem(
        code="delivery.no-destination",
        message=f"found no destination for marks of {calling_ae!r}; add it as [[peer]] or add a "
        "[[destination]], then run osteoscribe jobs resend",
    )


def _store_objects(
    result: JobResult, ledger: JobLedger, segment: SegmentAppender, at: datetime
) -> dict[str, BlobRef]:
    """Put new objects and refused ones on disk; gives where, by SOP Instance UID."""
    new = [one for report in result.reports for one in ledger.new_objects(report)]
    kept: list[tuple[MadeObject | RefusedObject, str, str]]
    kept = [(one, one.transfer_syntax_uid, "") for one in new]
    kept += [(one, "", QUARANTINED) for one in result.quarantined if one.encoded]
    blobs: dict[str, BlobRef] = {}
    for one, transfer_syntax_uid, mark in kept:
        envelope = Envelope(
            sop_class_uid=one.sop_class_uid,
            sop_instance_uid=one.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            calling_ae=mark,
            received_at=at,
        )
        blobs[one.sop_instance_uid] = segment.append([one.encoded], envelope)
    return blobs
