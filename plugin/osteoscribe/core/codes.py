"""`Code` and the coded concepts in use, each written once, with its context group or source."""

from __future__ import annotations

from dataclasses import dataclass

OSTEOSCRIBE_SCHEME = "99OSTEOSCRIBE"
"""Our private coding scheme designator; its codes are listed in ``docs/codes.md``."""


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: code value, coding scheme designator, code meaning (PS3.3 section 8).

    Two codes are the same concept when value and scheme agree; the meaning is not compared by `same_as`.
    """

    value: str
    scheme: str
    meaning: str

    def same_as(self, other: Code) -> bool:
        """Whether both are the same concept, whatever their meanings say."""
        return self.value == other.value and self.scheme == other.scheme
