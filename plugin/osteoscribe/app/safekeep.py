"""Answer those who ask this node to take over the safekeeping of what they sent (storage commitment as SCP).

The question is on disk before it is acknowledged; the answer is a report of its own, tried until it is taken.

References
----------
PS3.4 J.3
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.desk import postponed
from osteoscribe.app.settings import Destination
from osteoscribe.core.delivery import Patience, pause_s
from osteoscribe.errors import PeerError, RefusedError, SetupError, StoreError

LOGGER = logging.getLogger(__name__)

NO_SUCH_INSTANCE = 0x0112
CLASS_CONFLICT = 0x0119
"""Failure reasons of an object that is not kept (PS3.3 C.14.1.1)."""

GRACE_S = 10.0
"""What is missing may be on its way into the ledger: for so long it is looked for again."""
_LOOK_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A peer's question for storage commitment.

    Parameters
    ----------
    objects
        SOP Instance UID to SOP Class UID.
    due_at
        When the next try to answer is due; None at the end.
    code
        Why it is not answered yet, or will not be.
    """

    calling_ae: str
    transaction_uid: str
    objects: Mapping[str, str]
    asked_at: datetime
    due_at: datetime | None
    tries: int = 0
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is kept of the objects that were asked for.

    Parameters
    ----------
    kept
        SOP Instance UID to SOP Class UID.
    failed
        SOP Instance UID to SOP Class UID and failure reason (0008,1197).
    """

    kept: Mapping[str, str]
    failed: Mapping[str, tuple[str, int]]


class QuestionLedger(Protocol):
    """Questions, and what is kept."""

    def question(self, calling_ae: str, transaction_uid: str) -> Question | None:
        """One question."""
        ...

    def classes_of(self, sop_instance_uids: Collection[str]) -> Mapping[str, Collection[str]]:
        """SOP classes under which instances are kept, by SOP Instance UID; nothing of those that are not."""
        ...

    def update_question(self, question: Question) -> None:
        """Record how far the answer is."""
        ...


class Reporter(Protocol):
    """Reports to those who asked."""

    def report(self, destination: Destination, transaction_uid: str, verdict: Verdict) -> None:
        """Send the report and have it acknowledged.

        Raises
        ------
        PeerError
            The peer cannot be reached now, or does not take the report now.
        RefusedError
            It refuses the report for good.
        """
        ...


def verdict_on(objects: Mapping[str, str], classes: Mapping[str, Collection[str]]) -> Verdict:
    """Say what is kept of some objects.

    Parameters
    ----------
    objects
        SOP Instance UID to SOP Class UID, as asked for.
    classes
        SOP Instance UID to the SOP classes under which it is kept.

    Examples
    --------
    >>> verdict_on({"1.2": "9.1", "1.3": "9.1", "1.4": "9.1"}, {"1.2": ["9.1"], "1.3": ["9.2"]}).failed
    {'1.3': ('9.1', 281), '1.4': ('9.1', 274)}
    """
    kept, failed = {}, {}
    for uid, sop_class in objects.items():
        if sop_class in classes.get(uid, ()):
            kept[uid] = sop_class
        else:
            failed[uid] = (sop_class, CLASS_CONFLICT if uid in classes else NO_SUCH_INSTANCE)
    return Verdict(kept=kept, failed=failed)


def answer_question(
    calling_ae: str,
    transaction_uid: str,
    *,
    ledger: QuestionLedger,
    reporter: Reporter,
    peer_named: Callable[[str], Destination],
    patience: Patience,
    now: Callable[[], datetime],
) -> float | None:
    """Try once to answer a question; the ledger says when another try is due.

    Returns
    -------
    float or None
        Seconds to wait before another try (the store cannot be read or written), or None at the end.
    """

    def work() -> None:
        question = ledger.question(calling_ae, transaction_uid)
        if question is None or question.due_at is None:
            return
        try:
            after = _answered(question, ledger, reporter, peer_named, patience, now)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001  a bug leaves one question unanswered, not all
            LOGGER.error("safekeeping transaction=%s bug=%s", transaction_uid, trace_of(error))
            after = dataclasses.replace(question, due_at=None, code="safekeeping.bug")
        ledger.update_question(after)
        LOGGER.info(
            "safekeeping transaction=%s objects=%d answered=%s tries=%d code=%s",
            transaction_uid,
            len(question.objects),
            after.due_at is None and not after.code,
            after.tries,
            after.code or "none",
        )

    return postponed("safekeeping", transaction_uid, work)


def _answered(
    question: Question,
    ledger: QuestionLedger,
    reporter: Reporter,
    peer_named: Callable[[str], Destination],
    patience: Patience,
    now: Callable[[], datetime],
) -> Question:
    """Question after one try to answer it."""
    waited_s = (now() - question.asked_at).total_seconds()
    verdict = verdict_on(question.objects, ledger.classes_of(question.objects))
    tries = question.tries + 1
    if verdict.failed and 0 <= waited_s < GRACE_S:
        again_at = now() + timedelta(seconds=_LOOK_AGAIN_S)
        return dataclasses.replace(question, due_at=again_at, tries=tries, code="safekeeping.looks-again")
    try:
        reporter.report(peer_named(question.calling_ae), question.transaction_uid, verdict)
    except (RefusedError, SetupError) as error:
        return dataclasses.replace(question, due_at=None, tries=tries, code=error.code)
    except PeerError as error:
        is_over = waited_s >= patience.give_up_after_s
        due_at = None if is_over else now() + timedelta(seconds=pause_s(patience, tries))
        return dataclasses.replace(question, due_at=due_at, tries=tries, code=error.code)
    return dataclasses.replace(question, due_at=None, tries=tries, code="")
