"""The specification a second time, over the whole input space: an array with a cell for each combination.

Written from the specification's decision table with numpy masks, and shares no code with the program. A
column is an axis; its values stand in the order of `AXES`.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.uint8]

YES_NO = ("no", "unknown", "yes")
AXES: Final[dict[str, tuple[str, ...]]] = {
    "size": ("0-4", "5", "6-9", "10-20", "21-", "not_measurable"),
    "density": ("sclerotic", "mixed", "other", "unknown"),
    "morphology": ("typical", "unknown", "atypical"),
    "multiplicity": ("solitary", "unknown", "multiple"),
    "largest": ("<5", "unknown", ">=5"),
    "malignancy_history": YES_NO,
    "known_metastasis": YES_NO,
    "symptoms": YES_NO,
    "growth": ("stable_24", "stable", "no_prior", "unknown", "up_or_new"),
    "soft_tissue_mass": YES_NO,
    "cortical_destruction": YES_NO,
    "other_aggressive": YES_NO,
    "location_risk": ("none", "site_only", "unknown", "risk_canal", "risk_fracture"),
    "age": ("adult", "unknown", "child"),
}
SHAPE = tuple(len(values) for values in AXES.values())
NAMES = tuple(AXES)
ROWS = (
    "X1", "E1", "E2", "E3", "E4", "X2", "X3", "X4", "E5", "M3", "U2",
    "M1", "M2", "K1", "K2", "L1", "L4", "L3", "L2", "U1", "F1",
)  # fmt: skip
AGGRESSIVE = ("soft_tissue_mass", "cortical_destruction", "other_aggressive")


def is_in(name: str, *values: str) -> Bools:
    """Where a column has one of these values; broadcasts over the space."""
    mask = np.array([value in values for value in AXES[name]])
    assert mask.sum() == len(values)
    shape = [1] * len(SHAPE)
    shape[NAMES.index(name)] = len(mask)
    return mask.reshape(shape)


def conditions() -> dict[str, Bools]:
    """The condition of each row, as it stands in the specification."""
    sclerotic, mixed = is_in("density", "sclerotic"), is_in("density", "mixed")
    upto_5, from_6_to_20 = is_in("size", "0-4", "5"), is_in("size", "6-9", "10-20")
    over_20 = is_in("size", "21-")
    typical, atypical = is_in("morphology", "typical"), is_in("morphology", "atypical")
    no_look = is_in("morphology", "unknown")
    stable_24, multiple = is_in("growth", "stable_24"), is_in("multiplicity", "multiple")
    malignancy = is_in("malignancy_history", "yes")
    return {
        "X1": is_in("known_metastasis", "yes"),
        "E1": is_in(AGGRESSIVE[0], "yes") | is_in(AGGRESSIVE[1], "yes") | is_in(AGGRESSIVE[2], "yes"),
        "E2": is_in("symptoms", "yes"),
        "E3": is_in("growth", "up_or_new"),
        "E4": is_in("location_risk", "risk_canal", "risk_fracture"),
        "X2": is_in("age", "child"),
        "X3": is_in("density", "other", "unknown"),
        "X4": is_in("size", "not_measurable"),
        "E5": over_20 & (atypical | mixed) & ~stable_24,
        "M3": multiple & malignancy,
        "U2": sclerotic & over_20 & no_look & ~stable_24 & ~malignancy,
        # A lesion of 5 mm or more is not one of "all under 5 mm", whatever is said of the largest.
        "M1": multiple & is_in("largest", "<5") & is_in("size", "0-4") & sclerotic & ~atypical,
        "M2": multiple,
        "K1": malignancy & sclerotic & upto_5,
        "K2": malignancy,
        "L1": sclerotic & upto_5 & ~atypical,
        "L4": sclerotic & from_6_to_20 & typical,
        "L3": stable_24,
        "L2": (upto_5 & sclerotic & atypical) | (mixed & is_in("size", "0-4")),
        "U1": sclerotic & from_6_to_20 & no_look,
        "F1": np.ones((1,) * len(SHAPE), dtype=np.bool_),
    }


@cache
def rows() -> Rows:
    """The row of every combination, as an index into `ROWS`."""
    table = np.full(SHAPE, 255, dtype=np.uint8)
    for index, (name, condition) in reversed(list(enumerate(conditions().items()))):
        assert ROWS[index] == name
        np.copyto(table, index, where=np.broadcast_to(condition, SHAPE))
    table.setflags(write=False)
    return table


def at(where: Bools, cell: tuple[int, ...]) -> bool:
    """The value of a broadcasting mask at one combination."""
    return bool(where[tuple(0 if length == 1 else i for i, length in zip(cell, where.shape, strict=True))])


def row_at(cell: tuple[int, ...]) -> str:
    """The row of one combination, without the whole space."""
    return next(name for name, condition in conditions().items() if at(condition, cell))


def unknown(name: str) -> Bools:
    """Where an input is not recorded."""
    return is_in(name, "unknown")


def missing() -> dict[str, tuple[Bools, frozenset[str]]]:
    """For each input where it counts as not recorded, and for which rows it then does.

    The rows are those with a condition in front and the E rows, which list it at the end.
    """
    conditional = {"M3", "U2", "M1", "M2", "K1", "K2", "L1", "L4", "L3", "L2", "U1", "F1"}
    every = frozenset(conditional | {"E1", "E2", "E3", "E4", "E5"})
    usual = ("symptoms", "growth", *AGGRESSIVE, "location_risk", "age", "multiplicity", "malignancy_history")
    found = {name: (unknown(name), every) for name in usual}
    found["largest"] = (unknown("largest") & is_in("multiplicity", "multiple"), every)
    found["known_metastasis"] = (unknown("known_metastasis") & ~is_in("malignancy_history", "no"), every)
    # E5 is reached only with an atypical or a mixed lesion, and mixed is atypical.
    red_flags = frozenset({"E1", "E2", "E3", "E4"})
    found["morphology"] = (unknown("morphology"), frozenset({"L1", "U1", "U2"}) | red_flags)
    found["density"] = (unknown("density"), frozenset({"X3"}))
    return found
