"""`Decision`: which row of which table held."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The first row that held.

    Parameters
    ----------
    rule_id
        The row, for example ``L1``; with ``-C`` where `conditional`.
    analogue
        For example ``SSR Bone-RADS 1 (analogue)``, or an empty string.
    unknown
        Names of the inputs that this row depends on and that are not recorded, in the table's fixed order.
    sources
        The papers behind the row, each as one line with DOI.
    """

    rule_id: str
    conditional: bool
    analogue: str
    scope: str
    unknown: tuple[str, ...]
    sources: tuple[str, ...]
    why: str
    table_id: str
    table_version: str
    table_sha256: str
