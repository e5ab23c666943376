"""`Lesion`, `Finding`, `Problem`, `Report`: what one SR says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from osteoscribe.core.facts import FactSheet, RuleFacts
from osteoscribe.core.intensity import IntensityReference
from osteoscribe.core.marks import InstanceRef, RoiMark
from osteoscribe.core.phrase import Phrase, PhraseValues
from osteoscribe.core.prior import Comparison
from osteoscribe.core.reference import ReferencePanel
from osteoscribe.core.region import Outline, Placement
from osteoscribe.core.rules.decision import Decision
from osteoscribe.core.serial import SerialCourse
from osteoscribe.core.series import Acquisition
from osteoscribe.core.size import NotMeasurable, Size


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesion:
    """A measured mark.

    Parameters
    ----------
    name
        The human name in the report, for example ``Lesion 1``.
    tracking_uid
        Stable over re-measurement of the same mark.
    image
        The CT image that carries the outline (that of the long axis where it lies on the CT's grid).
    image_label
        How a person finds it, for example ``series 3, image 31``.
    outline
        The outline on `image`, in the CT grid's index coordinates; None where there is none (a point).
    intensity
        None where the mark has no area.
    serial
        The lesion in earlier examinations, of a known metastasis; nothing is concluded from it.
    """

    name: str
    mark: RoiMark
    tracking_uid: str
    placement: Placement
    size: Size | NotMeasurable
    image: InstanceRef
    image_label: str
    outline: Outline | None
    intensity: IntensityReference | None
    comparison: Comparison | None = None
    serial: SerialCourse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What decision and phrase were made of: the same table says the same of it again."""

    facts: RuleFacts
    values: PhraseValues


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finding:
    """A lesion with the rule that held and its sentence.

    ``basis`` holds the lesion's own facts, or those that speak for its whole examination.
    """

    lesion: Lesion
    facts: FactSheet
    decision: Decision
    phrase: Phrase
    basis: Basis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What could not be done, for a person to see.

    ``where`` names the object and item; ``code`` is listed in ``docs/problems.md``.
    """

    code: str
    message: str
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An ROI that is no lesion mark, and why it was left out."""

    label: str
    source: InstanceRef
    item: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """An earlier report of the same series, which a new one replaces (PS3.3 C.17.2)."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """Which of the reports on one CT series a report is.

    Parameters
    ----------
    number
        From 1; the same in every profile, so that numbers never go back in any of them.
    predecessors
        The report that it replaces, by profile.
    """

    number: int = 1
    predecessors: Mapping[str, Predecessor] = field(default_factory=dict)


FIRST = Revision()
"""Nothing was reported on the series before."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """What one SR says about one CT series.

    Parameters
    ----------
    accepted_at
        When the job was accepted, with time zone: the only time in the report.
    table_id, table_version, table_sha256
        Identification of the rule table.
    revision, predecessor
        Which of the reports on the CT series it is, from 1, and the one that it replaces.
    panel
        The reference panel, where a finding is a known metastasis and the site wants it printed.
    """

    study_instance_uid: str
    series_instance_uid: str
    acquisition: Acquisition
    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[Ignored, ...]
    software_version: str
    accepted_at: datetime
    table_id: str
    table_version: str
    table_sha256: str
    revision: int = 1
    predecessor: Predecessor | None = None
    panel: ReferencePanel | None = None
