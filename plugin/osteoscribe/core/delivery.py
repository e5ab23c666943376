"""What a destination's answer means, and how long and how often a delivery is tried."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reply(Enum):
    """What a destination's answer to one object means for us."""

    STORED = "stored"
    """Success, a warning, or the object was there already."""
    REFUSED = "refused"
    """Not now: another try may succeed."""
    REFUSED_FOR_GOOD = "refused for good"
    """Another try of the same object cannot succeed."""


_FOR_GOOD = frozenset({0x0117, 0x0119, 0x0122, 0x0124})
"""Invalid object instance, class-instance conflict, SOP class not supported, not authorised (PS3.7 C.5)."""
_DUPLICATE = 0x0111
"""Duplicate SOP Instance (PS3.7 C.5.6): the object is there, for its UID is made from its content."""


def reply_of_status(status: int) -> Reply:
    """Meaning of a C-STORE status.

    References
    ----------
    PS3.4 B.2.3, PS3.7 annex C

    Examples
    --------
    >>> [reply_of_status(status).name for status in (0x0000, 0xB000, 0x0111, 0xA700, 0xA900, 0xC000)]
    ['STORED', 'STORED', 'STORED', 'REFUSED', 'REFUSED_FOR_GOOD', 'REFUSED_FOR_GOOD']
    """
    if status in (0x0000, 0x0001, _DUPLICATE) or status >> 12 == 0xB:
        return Reply.STORED
    if status in _FOR_GOOD or status >> 8 == 0xA9 or status >> 12 == 0xC:
        return Reply.REFUSED_FOR_GOOD
    return Reply.REFUSED


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


def pause_s(patience: Patience, tries: int) -> float:
    """Pause after so many failed tries: it doubles up to a cap.

    Examples
    --------
    >>> patience = Patience(first_pause_s=5, longest_pause_s=60, give_up_after_s=3600, refusals=5)
    >>> [pause_s(patience, tries) for tries in (1, 2, 3, 4, 5, 999)]
    [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    """
    return float(min(patience.first_pause_s * 2 ** min(max(tries - 1, 0), 30), patience.longest_pause_s))
