"""`Code` and the coded concepts in use, each written once, with its context group or source.

Codes of the schemes DCM, SCT, LN, UCUM and UMLS are those of PS3.16. Where no standard code could be verified
the concept is private (`OSTEOSCRIBE_SCHEME`), with a value of at most 16 characters: longer ones go to Long
Code Value, which several viewers do not show. A released private code never changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

OSTEOSCRIBE_SCHEME = "99OSTEOSCRIBE"
"""Our private coding scheme designator; its codes are listed in ``docs/codes.md``."""

OSTEOSCRIBE_SCHEME_UID = "2.25.187963857665278687657022373820966161089"
"""The UID of our private coding scheme (0008,010C)."""


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


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


def _sct(value: str, meaning: str) -> Code:
    return Code(value, "SCT", meaning)


def _own(value: str, meaning: str) -> Code:
    return Code(value, OSTEOSCRIBE_SCHEME, meaning)


# Frame of the report: PS3.16 TID 1500, TID 1001 to 1004, TID 1204, TID 1600
IMAGING_MEASUREMENT_REPORT = _dcm("126000", "Imaging Measurement Report")  # CID 7021
LANGUAGE = _dcm("121049", "Language of Content Item and Descendants")  # TID 1204
ENGLISH = Code("en", "RFC5646", "English")  # CID 5000
_LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian"}


def language(tag: str) -> Code:
    """The code of a language by its RFC 5646 tag, CID 5000.

    Examples
    --------
    >>> language("de").meaning, language("nl").meaning
    ('German', 'nl')
    """
    return Code(tag, "RFC5646", _LANGUAGES.get(tag, tag))


OBSERVER_TYPE = _dcm("121005", "Observer Type")  # TID 1002
PERSON = _dcm("121006", "Person")  # CID 270
DEVICE = _dcm("121007", "Device")  # CID 270
PERSON_OBSERVER_NAME = _dcm("121008", "Person Observer Name")  # TID 1003
DEVICE_OBSERVER_UID = _dcm("121012", "Device Observer UID")  # TID 1004
DEVICE_OBSERVER_NAME = _dcm("121013", "Device Observer Name")
DEVICE_OBSERVER_MANUFACTURER = _dcm("121014", "Device Observer Manufacturer")
DEVICE_OBSERVER_MODEL_NAME = _dcm("121015", "Device Observer Model Name")
DEVICE_OBSERVER_SERIAL_NUMBER = _dcm("121016", "Device Observer Serial Number")
PROCEDURE_REPORTED = _dcm("121058", "Procedure reported")
CT_UNSPECIFIED_BODY_REGION = Code("25045-6", "LN", "CT unspecified body region")  # CID 100
IMAGE_LIBRARY = _dcm("111028", "Image Library")  # TID 1600
IMAGE_LIBRARY_GROUP = _dcm("126200", "Image Library Group")
MODALITY = _dcm("121139", "Modality")  # TID 1602
COMPUTED_TOMOGRAPHY = _dcm("CT", "Computed Tomography")  # CID 29
IMAGING_MEASUREMENTS = _dcm("126010", "Imaging Measurements")
MEASUREMENT_GROUP = _dcm("125007", "Measurement Group")  # TID 1410, 1411, 1501
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
COMMENT = _dcm("121106", "Comment")
CONCLUSION = _dcm("121077", "Conclusion")
RECOMMENDATION = _dcm("121075", "Recommendation")

# Algorithm identification: TID 4019
ALGORITHM_NAME = _dcm("111001", "Algorithm Name")
ALGORITHM_PARAMETERS = _dcm("111002", "Algorithm Parameters")
ALGORITHM_VERSION = _dcm("111003", "Algorithm Version")
ALGORITHM_MANUFACTURER = _dcm("122405", "Algorithm Manufacturer")

# Purposes of reference of contributing equipment: CID 7005
ACQUISITION_EQUIPMENT = _dcm("109101", "Acquisition Equipment")
PROCESSING_EQUIPMENT = _dcm("109102", "Processing Equipment")

# A lesion: TID 1410, 1411, 1501
TRACKING_IDENTIFIER = _dcm("112039", "Tracking Identifier")
TRACKING_UNIQUE_IDENTIFIER = _dcm("112040", "Tracking Unique Identifier")
FINDING_CATEGORY = _sct("276214006", "Finding category")
MORPHOLOGICALLY_ABNORMAL_STRUCTURE = _sct("49755003", "Morphologically Abnormal Structure")
FINDING = _dcm("121071", "Finding")
LESION = _sct("52988006", "Lesion")
SCLEROTIC_LESION = _own("SCLEROTIC-LESION", "Sclerotic lesion of bone")
FINDING_SITE = _sct("363698007", "Finding Site")
LATERALITY = _sct("272741003", "Laterality")
IMAGE_REGION = _dcm("111030", "Image Region")
REFERENCED_SEGMENT = _dcm("121191", "Referenced Segment")
SOURCE_SERIES_FOR_SEGMENTATION = _dcm("121232", "Source series for segmentation")

# Measurements. OHIF compares the two meanings of the axes as text: capital A.
LONG_AXIS = _sct("103339001", "Long Axis")  # CID 7470
SHORT_AXIS = _sct("103340004", "Short Axis")  # CID 7470
MAXIMUM_3D_DIAMETER = _own("MAX-3D-DIAMETER", "Maximum 3D diameter of the mark")
AREA = _sct("42798000", "Area")  # CID 7471
VOLUME = _sct("118565006", "Volume")  # CID 7472
MEASUREMENT_METHOD = _sct("370129005", "Measurement Method")
SUM_OF_SEGMENTED_VOXELS = _dcm("126030", "Sum of segmented voxel method for volume")  # CID 7474
MEAN_HU = _dcm("112181", "Mean Attenuation Coefficient")  # CID 6141
STANDARD_DEVIATION_HU = _dcm("112183", "Standard Deviation of Attenuation Coefficient")  # CID 6141
MINIMUM_HU = _dcm("112179", "Minimum Attenuation Coefficient")  # CID 6141
MAXIMUM_HU = _dcm("112180", "Maximum Attenuation Coefficient")  # CID 6141
MEDIAN_HU = _own("MEDIAN-HU", "Median Attenuation Coefficient")
VOXEL_COUNT = _own("VOXEL-COUNT", "Number of voxels in the mark")

# Units: UCUM
MILLIMETRE = Code("mm", "UCUM", "mm")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")
CUBIC_MILLIMETRE = Code("mm3", "UCUM", "cubic millimeter")
HOUNSFIELD_UNIT = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
NO_UNITS = Code("1", "UCUM", "no units")

# Answers: CID 230, 231
YES = _sct("373066001", "Yes")
NO = _sct("373067005", "No")
UNKNOWN = _sct("261665006", "Unknown")

# Our own text and category concepts
PHRASE = _own("PHRASE", "Suggested documentation phrase")
RECOMMENDATION_TEXT = _own("RECOMMENDATION", "Suggested recommendation")
MANAGEMENT_CATEGORY = _own("MGMT-CATEGORY", "Management category (suggested)")
SIZE_BAND = _own("SIZE-BAND", "Size band used by the rule")
WHY = _own("WHY", "Why this suggestion")
PROBLEM = _own("PROBLEM", "Could not be done")
LEFT_OUT = _own("LEFT-OUT", "Marks left out")
MEASUREMENTS_TEXT = _own("MEASUREMENTS", "Measurements")
NOT_RECORDED = _own("NOT-RECORDED", "Not recorded")
SERIAL = _own("SERIAL", "Serial measurements, for reference only")
REFERENCE_PANEL = _own("REFERENCE-PANEL", "Reference for a known metastasis")
TEXT_COMPANION = _own("TEXT-COMPANION", "Bone lesion: unverified suggestion")
NOTICE = _own("NOTICE", "Bone lesion: not measured")

LEFT = _sct("7771000", "Left")
RIGHT = _sct("24028007", "Right")
BILATERAL = _sct("51440002", "Bilateral")
MEDIAN = _dcm("130290", "Median")
LATERALITIES = (LEFT, RIGHT, BILATERAL, MEDIAN)
"""Sides, CID 245."""

BONE = _sct("272673000", "Bone")
"""The site where none is recorded."""


def _table(entries: Mapping[str, Code]) -> Mapping[str, Code]:
    return MappingProxyType(dict(entries))


VERTEBRAE: Mapping[str, Code] = _table(
    {
        name: _sct(value, f"{name} vertebra")
        for name, value in {
            "C1": "14806007",
            "C2": "39976000",
            "C3": "113205007",
            "C4": "5329002",
            "C5": "36978003",
            "C6": "36054005",
            "C7": "87391001",
            "T1": "64864005",
            "T2": "53733008",
            "T3": "1626008",
            "T4": "73071006",
            "T5": "56401006",
            "T6": "45296009",
            "T7": "62487009",
            "T8": "11068009",
            "T9": "82687006",
            "T10": "7610001",
            "T11": "12989004",
            "T12": "23215003",
            "L1": "66794005",
            "L2": "14293000",
            "L3": "36470004",
            "L4": "11994002",
            "L5": "49668003",
        }.items()
    }
)
"""Vertebrae by their short names, CID 7602."""

SITES: Mapping[str, Code] = _table(
    {
        "bone": BONE,
        "ilium": _sct("22356005", "Ilium"),
        "ischium": _sct("85710004", "Ischium"),
        "symphysis pubis": _sct("82561000", "Symphysis pubis"),
        "acetabulum": _sct("37783008", "Acetabulum"),
        "sacrum": _sct("54735007", "Sacrum"),
        "coccyx": _sct("64688005", "Coccyx"),
        "sacroiliac joint": _sct("39723000", "Sacroiliac joint"),
        "pelvis": _sct("118645006", "Pelvis"),
        "femur": _sct("71341001", "Femur"),
        "femoral head": _sct("2812003", "Femoral head"),
        "proximal femur": _sct("310651003", "Proximal Femur"),
        "shaft of femur": _sct("41111004", "Shaft of Femur"),
        "distal femur": _sct("310652005", "Distal Femur"),
        "patella": _sct("64234005", "Patella"),
        "tibia": _sct("12611008", "Tibia"),
        "fibula": _sct("87342007", "Fibula"),
        "calcaneus": _sct("80144004", "Calcaneus"),
        "clavicle": _sct("51299004", "Clavicle"),
        "scapula": _sct("79601000", "Scapula"),
        "humerus": _sct("85050009", "Humerus"),
        "radius": _sct("62413002", "Radius"),  # the bone; 131190003 is the measurement
        "ulna": _sct("23416004", "Ulna"),
        "rib": _sct("113197003", "Rib"),
        "sternum": _sct("56873002", "Sternum"),
        "skull": _sct("89546000", "Skull"),
        "mandible": _sct("91609006", "Mandible"),
        "pelvic region": _sct("816092008", "Pelvis"),
        "spine": _sct("421060004", "Spine"),
        "cervical spine": _sct("122494005", "Cervical spine"),
        "thoracic spine": _sct("122495006", "Thoracic spine"),
        "lumbar spine": _sct("122496007", "Lumbar spine"),
        "vertebra": _sct("51282000", "Vertebra"),
        **{f"{name.lower()} vertebra": code for name, code in VERTEBRAE.items()},
    }
)
"""Sites by their names in lower case, CID 4, 1000, 7304, 7602, 8134."""

SIZE_BANDS: tuple[tuple[int, Code], ...] = (
    (5, _own("SIZE-0-4", "4 mm or less")),
    (6, _own("SIZE-5", "5 mm")),
    (10, _own("SIZE-6-9", "6 to 9 mm")),
    (21, _own("SIZE-10-20", "10 to 20 mm")),
)
"""Bands of whole mm: each holds what lies below its number and in none before it."""
SIZE_BAND_ABOVE = _own("SIZE-OVER-20", "More than 20 mm")
SIZE_BAND_NONE = _own("SIZE-NONE", "Not measurable")


def size_band(whole_mm: int | None) -> Code:
    """The band of a size in whole mm; None is not measurable.

    Examples
    --------
    >>> [size_band(d).value for d in (4, 5, 9, 10, 20, 21, None)]
    ['SIZE-0-4', 'SIZE-5', 'SIZE-6-9', 'SIZE-10-20', 'SIZE-10-20', 'SIZE-OVER-20', 'SIZE-NONE']
    """
    if whole_mm is None:
        return SIZE_BAND_NONE
    return next((code for below, code in SIZE_BANDS if whole_mm < below), SIZE_BAND_ABOVE)


_ANSWERS = {"no": NO, "yes": YES, "unknown": UNKNOWN}

INPUTS: Mapping[str, tuple[Code, Mapping[str, Code]]] = MappingProxyType(
    {
        "density": (
            _own("IN-DENSITY", "Density as recorded"),
            _table(
                {
                    "sclerotic": _own("SCLEROTIC", "Sclerotic"),
                    "mixed": _own("MIXED", "Mixed lytic and sclerotic"),
                    "other": _own("OTHER-DENSITY", "Neither sclerotic nor mixed"),
                    "unknown": UNKNOWN,
                }
            ),
        ),
        "morphology": (
            _own("IN-MORPHOLOGY", "Bone island morphology as recorded"),
            _table(
                {
                    "typical": _own("TYPICAL", "Typical of a bone island"),
                    "atypical": _own("ATYPICAL", "Not typical of a bone island"),
                    "unknown": UNKNOWN,
                }
            ),
        ),
        "multiplicity": (
            _own("IN-MULTIPLICITY", "Number of such lesions"),
            _table(
                {
                    "solitary": _own("SOLITARY", "Solitary"),
                    "multiple": _own("MULTIPLE", "Multiple"),
                    "unknown": UNKNOWN,
                }
            ),
        ),
        "largest": (
            _own("IN-LARGEST", "Size of the largest such lesion"),
            _table(
                {
                    "<5": _own("LARGEST-UNDER-5", "Under 5 mm"),
                    ">=5": _own("LARGEST-FROM-5", "5 mm or more"),
                    "unknown": UNKNOWN,
                }
            ),
        ),
        "malignancy_history": (_own("IN-CANCER", "History of malignancy"), _table(_ANSWERS)),
        "known_metastasis": (_own("IN-METASTASIS", "Lesion known to be a metastasis"), _table(_ANSWERS)),
        "symptoms": (_own("IN-SYMPTOMS", "Symptoms attributable to the lesion"), _table(_ANSWERS)),
        "growth": (
            _own("IN-GROWTH", "Change against earlier examinations"),
            _table(
                {
                    "stable_24": _own("STABLE-24", "Unchanged for 24 months or more"),
                    "stable": _own("STABLE", "Unchanged or smaller, for less than 24 months"),
                    "no_prior": _own("NO-PRIOR", "No earlier examination"),
                    "up_or_new": _own("UP-OR-NEW", "New or enlarged"),
                    "unknown": UNKNOWN,
                }
            ),
        ),
        "soft_tissue_mass": (_own("IN-MASS", "Soft tissue mass"), _table(_ANSWERS)),
        "cortical_destruction": (_own("IN-CORTEX", "Cortical destruction"), _table(_ANSWERS)),
        "other_aggressive": (
            _own("IN-AGGRESSIVE", "Pathologic fracture or aggressive periosteal reaction"),
            _table(_ANSWERS),
        ),
        "location_risk": (
            _own("IN-LOCATION", "Risk of the location"),
            _table(
                {
                    "none": _own("RISK-NONE", "No risk"),
                    "site_only": _own(
                        "RISK-SITE-ONLY", "Vertebra or weight-bearing bone, nothing compromised"
                    ),
                    "risk_canal": _own("RISK-CANAL", "Canal, foramen or posterior wall at risk"),
                    "risk_fracture": _own("RISK-FRACTURE", "At risk of fracture"),
                    "unknown": UNKNOWN,
                }
            ),
        ),
        "age": (
            _own("IN-AGE", "Age group on the study date"),
            _table(
                {
                    "adult": _own("ADULT", "18 years or older"),
                    "child": _own("CHILD", "Under 18 years"),
                    "unknown": UNKNOWN,
                }
            ),
        ),
    }
)
"""Inputs of the rules by their field in `RuleFacts`: the concept, and its values by the field's value."""

CATEGORIES = {
    "X1": "Known metastasis, for reference only",
    "X2": "Under 18, no suggestion",
    "X3": "Not recorded as sclerotic, no suggestion",
    "X4": "Size not measurable, no suggestion",
    "E1": "Aggressive features, further evaluation",
    "E2": "Attributable symptoms, further evaluation",
    "E3": "New or enlarged, further evaluation",
    "E4": "Location at risk, further evaluation",
    "E5": "Large and not typical, further evaluation",
    "M1": "Multiple and small, likely bone islands",
    "M2": "Multiple, correlate",
    "M3": "Multiple with known malignancy",
    "K1": "Small, with known malignancy",
    "K2": "Indeterminate, with known malignancy",
    "L1": "Likely bone island, no further imaging",
    "L2": "Non-specific and too small to characterise",
    "L3": "Unchanged for 24 months, no further imaging",
    "L4": "Typical bone island, no further imaging",
    "U1": "Morphology not recorded, 6 to 20 mm",
    "U2": "Morphology not recorded, over 20 mm",
    "F1": "Indeterminate, follow-up imaging",
}
"""Meanings of the rows of our own rule table, by row."""


def management_category(rule_id: str) -> Code:
    """The coded category of a row of the rule table; ``-C`` marks a conditional suggestion.

    Parameters
    ----------
    rule_id
        The row, for example ``L1`` or ``L1-C``. A row of a site's own table keeps its id as meaning.

    Examples
    --------
    >>> management_category("L1-C").meaning
    'Likely bone island, no further imaging (conditional)'
    """
    row = rule_id.removesuffix("-C")
    meaning = CATEGORIES.get(row, f"Rule {row}")
    return _own(rule_id, meaning + (" (conditional)" if rule_id.endswith("-C") else ""))
