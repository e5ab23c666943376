"""What a radiologist, a prior or a site stated about a lesion. Everything defaults to unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar


class Answer(Enum):
    """A yes-or-no question. Unknown is never no."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class Density(Enum):
    """Density of the lesion as recorded by the radiologist; never taken from HU."""

    SCLEROTIC = "sclerotic"
    MIXED = "mixed"
    OTHER = "other"
    UNKNOWN = "unknown"


class Morphology(Enum):
    """Whether the lesion has the attested look of a bone island."""

    TYPICAL = "typical"
    ATYPICAL = "atypical"
    UNKNOWN = "unknown"


class Multiplicity(Enum):
    """Whether the lesion is the only one of its kind in the examination."""

    SOLITARY = "solitary"
    MULTIPLE = "multiple"
    UNKNOWN = "unknown"


class Largest(Enum):
    """Size of the largest lesion of the examination."""

    UNDER_5 = "<5"
    FROM_5 = ">=5"
    UNKNOWN = "unknown"


class Growth(Enum):
    """Change against an earlier examination."""

    STABLE_24 = "stable_24"
    STABLE = "stable"
    NO_PRIOR = "no_prior"
    UP_OR_NEW = "up_or_new"
    UNKNOWN = "unknown"


class LocationRisk(Enum):
    """Whether the place of the lesion is a risk in itself."""

    NONE = "none"
    SITE_ONLY = "site_only"
    RISK_CANAL = "risk_canal"
    RISK_FRACTURE = "risk_fracture"
    UNKNOWN = "unknown"


class Age(Enum):
    """Adult or child on the study date."""

    ADULT = "adult"
    CHILD = "child"
    UNKNOWN = "unknown"


class Provenance(Enum):
    """Where a value came from."""

    ROI_LABEL = "ROI label"
    CODED_ITEM = "coded item of the mark"
    DICOM_ATTRIBUTE = "DICOM attribute"
    PRIOR = "prior examination"
    MARKS = "marks of this examination"
    MEASUREMENT = "measurement of the mark"
    REVIEW_FORM = "review form"
    SITE_POLICY = "site policy"
    NOT_RECORDED = "not recorded"


T = TypeVar("T", bound=Enum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated(Generic[T]):
    """A value with the place it came from.

    ``where`` names the place closer, for example the token or attribute; it holds no patient data.
    """

    value: T
    provenance: Provenance = Provenance.NOT_RECORDED
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One stated value for each question of the rule table that a person can answer."""

    density: Stated[Density] = field(default=Stated(value=Density.UNKNOWN))
    morphology: Stated[Morphology] = field(default=Stated(value=Morphology.UNKNOWN))
    multiplicity: Stated[Multiplicity] = field(default=Stated(value=Multiplicity.UNKNOWN))
    malignancy_history: Stated[Answer] = field(default=Stated(value=Answer.UNKNOWN))
    known_metastasis: Stated[Answer] = field(default=Stated(value=Answer.UNKNOWN))
    symptoms: Stated[Answer] = field(default=Stated(value=Answer.UNKNOWN))
    growth: Stated[Growth] = field(default=Stated(value=Growth.UNKNOWN))
    soft_tissue_mass: Stated[Answer] = field(default=Stated(value=Answer.UNKNOWN))
    cortical_destruction: Stated[Answer] = field(default=Stated(value=Answer.UNKNOWN))
    other_aggressive: Stated[Answer] = field(default=Stated(value=Answer.UNKNOWN))
    location_risk: Stated[LocationRisk] = field(default=Stated(value=LocationRisk.UNKNOWN))
    age: Stated[Age] = field(default=Stated(value=Age.UNKNOWN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two statements that disagree, and what was made of them. Printed, never silently resolved."""

    question: str
    message: str
