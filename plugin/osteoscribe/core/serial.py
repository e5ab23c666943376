"""Serial examinations of a known metastasis: sizes and HU side by side. Nothing is concluded from them.

Nothing that decides or words may import this module: it knows HU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from osteoscribe.core.prior import LesionRecord
from osteoscribe.core.series import Acquisition
from osteoscribe.core.units import Hounsfield, Millimetre


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLesion:
    """A measured lesion with all that the ledger keeps of it.

    Parameters
    ----------
    record
        What pairing and growth see.
    mean_hu
        For serial display only; None where the mark has no area.
    acquisition
        How the CT was made.
    """

    record: LesionRecord
    mean_hu: Hounsfield | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialMeasurement:
    """One lesion in one examination.

    Parameters
    ----------
    long_axis_mm
        Unrounded, or None where it is not measurable.
    mean_hu
        For reference only; None where the mark has no area.
    acquisition
        How the CT was made.
    """

    study_date: date
    long_axis_mm: Millimetre | None
    mean_hu: Hounsfield | None
    acquisition: Acquisition


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialStep:
    """One examination against the one before it.

    Parameters
    ----------
    difference_mm, difference_hu
        Later minus earlier; None where one of them is missing.
    protocol_matched
        Whether slice thickness, kVp, kernel and contrast were the same; None where one of them is not
        recorded and the others agree.
    protocol
        What differs or is not recorded, in words.
    """

    earlier: SerialMeasurement
    later: SerialMeasurement
    difference_mm: Millimetre | None
    difference_hu: Hounsfield | None
    protocol_matched: bool | None
    protocol: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialCourse:
    """One lesion over its examinations.

    Parameters
    ----------
    measurements
        From the oldest to the newest; two or more.
    steps
        Between them.
    sentence
        What cannot be concluded, always printed with them.
    """

    measurements: tuple[SerialMeasurement, ...]
    steps: tuple[SerialStep, ...]
    sentence: str


def serial_course(
    current: StoredLesion, earlier: Sequence[StoredLesion], sentence: str
) -> SerialCourse | None:
    """A lesion beside the same lesion in earlier examinations; None where there is no dated earlier one."""
    measurements = [
        SerialMeasurement(
            study_date=one.record.study_date,
            long_axis_mm=one.record.long_axis_mm,
            mean_hu=one.mean_hu,
            acquisition=one.acquisition,
        )
        for one in (*earlier, current)
        if one.record.study_date is not None
    ]
    if current.record.study_date is None or len(measurements) < 2:
        return None
    return SerialCourse(
        measurements=tuple(_by_date(measurements)), steps=serial_steps(measurements), sentence=sentence
    )


def serial_steps(measurements: Sequence[SerialMeasurement]) -> tuple[SerialStep, ...]:
    """Each examination of a lesion against the one before it, by date.

    Parameters
    ----------
    measurements
        Of one lesion, in any order.

    Returns
    -------
    tuple[SerialStep, ...]
        One fewer than there are measurements.
    """
    return tuple(_step(earlier, later) for earlier, later in pairwise(_by_date(measurements)))


def _by_date(measurements: Sequence[SerialMeasurement]) -> list[SerialMeasurement]:
    return sorted(measurements, key=lambda one: one.study_date)


def _step(earlier: SerialMeasurement, later: SerialMeasurement) -> SerialStep:
    mm: Millimetre | None = None
    hu: Hounsfield | None = None
    if earlier.long_axis_mm is not None and later.long_axis_mm is not None:
        mm = Millimetre(later.long_axis_mm - earlier.long_axis_mm)
    if earlier.mean_hu is not None and later.mean_hu is not None:
        hu = Hounsfield(later.mean_hu - earlier.mean_hu)
    matched, protocol = _protocol(earlier.acquisition, later.acquisition)
    return SerialStep(
        earlier=earlier,
        later=later,
        difference_mm=mm,
        difference_hu=hu,
        protocol_matched=matched,
        protocol=protocol,
    )


def _protocol(a: Acquisition, b: Acquisition) -> tuple[bool | None, tuple[str, ...]]:
    pairs = (
        ("slice thickness", a.slice_thickness_mm, b.slice_thickness_mm, " mm"),
        ("kVp", a.kvp_kv, b.kvp_kv, ""),
        ("kernel", a.convolution_kernel, b.convolution_kernel, ""),
        ("contrast", _yes_no(a.contrast), _yes_no(b.contrast), ""),
    )
    missing = tuple(f"{name} not recorded" for name, x, y, _ in pairs if x is None or y is None)
    differing = tuple(
        f"{name} {_shown(x)}{unit} and {_shown(y)}{unit}"
        for name, x, y, unit in pairs
        if x is not None and y is not None and x != y
    )
    return (False if differing else None if missing else True), (*differing, *missing)


def _yes_no(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _shown(value: float | str | None) -> str:
    return f"{value:g}" if isinstance(value, float | int) else str(value)
