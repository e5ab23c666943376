"""What a destination's answer means, and how long and how often a delivery is tried.

States of a delivery::

    queued ----> stored ----> committed        by storage commitment, where it is asked for
      |  ^         |              |
      v  |         +--------------+--> proved  by query, where it is asked for: a fact beside the state
    waiting        |
      |            v
      +--------> parked                        a person must act: retry makes it queued again
      any, by a person: cancelled; by a person from any end: queued, in a new round

It is at its end when it is stored or committed and nothing more is asked of the destination.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Reply(Enum):
    """What a destination's answer to one object means for us."""

    STORED = "stored"
    """Success, a warning, or the object was there already."""
    REFUSED = "refused"
    """Not now: another try may succeed."""
    REFUSED_FOR_GOOD = "refused for good"
    """Another try of the same object cannot succeed."""


class Meaning(NamedTuple):
    """What one range of statuses means for a delivery."""

    first: int
    last: int
    reply: Reply
    words: str


STATUSES = (
    Meaning(0x0000, 0x0000, Reply.STORED, "success"),
    Meaning(0x0001, 0x0001, Reply.STORED, "optional attributes not supported"),
    Meaning(0x0105, 0x0106, Reply.REFUSED_FOR_GOOD, "attribute refused"),
    Meaning(0x0107, 0x0107, Reply.STORED, "attribute list error"),
    Meaning(0x0111, 0x0111, Reply.STORED, "duplicate SOP instance"),
    Meaning(0x0115, 0x0115, Reply.REFUSED_FOR_GOOD, "invalid argument value"),
    Meaning(0x0116, 0x0116, Reply.STORED, "attribute value out of range"),
    Meaning(0x0117, 0x0117, Reply.REFUSED_FOR_GOOD, "invalid object instance"),
    Meaning(0x0118, 0x0118, Reply.REFUSED_FOR_GOOD, "no such SOP class"),
    Meaning(0x0119, 0x0119, Reply.REFUSED_FOR_GOOD, "class-instance conflict"),
    Meaning(0x0120, 0x0121, Reply.REFUSED_FOR_GOOD, "missing attribute"),
    Meaning(0x0122, 0x0122, Reply.REFUSED_FOR_GOOD, "SOP class not supported"),
    Meaning(0x0124, 0x0124, Reply.REFUSED_FOR_GOOD, "not authorised"),
    Meaning(0x0211, 0x0211, Reply.REFUSED_FOR_GOOD, "unrecognised operation"),
    Meaning(0x0212, 0x0212, Reply.REFUSED_FOR_GOOD, "mistyped argument"),
    Meaning(0x0213, 0x0213, Reply.REFUSED, "resource limitation"),
    Meaning(0xA700, 0xA7FF, Reply.REFUSED, "out of resources"),
    Meaning(0xA900, 0xA9FF, Reply.REFUSED_FOR_GOOD, "data set does not match SOP class"),
    Meaning(0xB000, 0xB000, Reply.STORED, "coercion of data elements"),
    Meaning(0xB006, 0xB006, Reply.STORED, "elements discarded"),
    Meaning(0xB007, 0xB007, Reply.STORED, "data set does not match SOP class"),
    Meaning(0xB000, 0xBFFF, Reply.STORED, "warning"),
    Meaning(0xC000, 0xCFFF, Reply.REFUSED_FOR_GOOD, "cannot understand"),
    Meaning(0x0000, 0xFFFF, Reply.REFUSED, "failure"),
)
"""Statuses of a C-STORE; STOW-RS states the same as reasons. The first range that holds a status counts.

A duplicate is there: the UID of a report is made from its content. What no range foresees may pass.
"""

_PLAIN = frozenset({0x0000, 0x0111})
"""Stored, and nothing to say about it."""


def meaning_of_status(status: int) -> Meaning:
    """Meaning of a C-STORE status, or of a reason in a STOW-RS answer.

    References
    ----------
    PS3.4 B.2.3, PS3.7 annex C, PS3.18 annex I.2.2

    Examples
    --------
    >>> [meaning_of_status(status).reply.name for status in (0x0000, 0xB000, 0x0111, 0xA700, 0xA900, 0xC000)]
    ['STORED', 'STORED', 'STORED', 'REFUSED', 'REFUSED_FOR_GOOD', 'REFUSED_FOR_GOOD']
    """
    return next(one for one in STATUSES if one.first <= status <= one.last)


def is_warning(status: int) -> bool:
    """Whether an object was stored, but not as it was sent or not without a remark.

    Examples
    --------
    >>> [is_warning(status) for status in (0x0000, 0x0111, 0xB006, 0xA700)]
    [False, False, True, False]
    """
    return status not in _PLAIN and meaning_of_status(status).reply is Reply.STORED


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often a delivery is tried.

    Parameters
    ----------
    refusals
        Tries of an object that the destination refuses for the time being.
    commitment_wait_s, commitment_asks
        How long the answer to a question for storage commitment may take (PS3.4 J), and how often is asked.
    """

    first_pause_s: float
    longest_pause_s: float
    give_up_after_s: float
    refusals: int
    commitment_wait_s: float = 86400.0
    commitment_asks: int = 3
    proof_wait_s: float = 3600.0


def pause_s(patience: Patience, tries: int) -> float:
    """Pause after so many failed tries: it doubles up to a cap.

    Examples
    --------
    >>> patience = Patience(first_pause_s=5, longest_pause_s=60, give_up_after_s=3600, refusals=5)
    >>> [pause_s(patience, tries) for tries in (1, 2, 3, 4, 5, 999)]
    [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    """
    return float(min(patience.first_pause_s * 2 ** min(max(tries - 1, 0), 30), patience.longest_pause_s))
