"""What has become of the marks and instances of a request so far, by CT series."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from osteoscribe.app.measure import Measured
from osteoscribe.core.marks import InstanceRef
from osteoscribe.core.report import Ignored, Problem
from osteoscribe.errors import InputError

NO_SERIES = ""
"""Stands for what belongs to no CT series: it is stated, but in no report."""


@dataclass(slots=True, kw_only=True, eq=False)
class Tally:
    """Findings to be, problems and left-out entries, by Series Instance UID of their CT."""

    measured: dict[str, list[Measured]] = field(default_factory=lambda: defaultdict(list))
    problems: dict[str, list[Problem]] = field(default_factory=lambda: defaultdict(list))
    ignored: dict[str, list[Ignored]] = field(default_factory=lambda: defaultdict(list))

    @property
    def named(self) -> list[str]:
        """The CT series that get a report: those with a finding or a problem."""
        return sorted({*self.measured, *self.problems} - {NO_SERIES})

    def refuse(self, error: InputError, where: str, series_instance_uid: str = NO_SERIES) -> None:
        """State the problem of an object or a mark.

        Parameters
        ----------
        where
            The object, and the item in it; no free text.
        """
        self.problems[series_instance_uid].append(
            Problem(code=error.code, message=error.message, where=where)
        )

    def leave_out(
        self,
        source: InstanceRef,
        reason: str,
        *,
        label: str = "",
        item: str = "",
        series_instance_uid: str = NO_SERIES,
    ) -> None:
        """List what is no mark, with the reason."""
        self.ignored[series_instance_uid].append(
            Ignored(label=label, source=source, item=item, reason=reason)
        )
