"""Serial measurements: plain differences, and whether the protocol matched."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from osteoscribe.core.serial import SerialMeasurement, serial_steps
from osteoscribe.core.series import Acquisition
from osteoscribe.core.units import Hounsfield, Millimetre

PROTOCOL = Acquisition(slice_thickness_mm=1.0, kvp_kv=120.0, convolution_kernel="B60f", contrast=False)
FIRST = SerialMeasurement(
    study_date=date(2024, 1, 5),
    long_axis_mm=Millimetre(12.0),
    mean_hu=Hounsfield(300.0),
    acquisition=PROTOCOL,
)
SECOND = replace(FIRST, study_date=date(2025, 1, 5), long_axis_mm=Millimetre(13.5), mean_hu=Hounsfield(420.0))


def test_differences_run_from_the_earlier_to_the_later_whatever_the_order() -> None:
    for measurements in ((FIRST, SECOND), (SECOND, FIRST)):
        (step,) = serial_steps(measurements)
        assert (step.earlier, step.later) == (FIRST, SECOND)
        assert step.difference_mm == 1.5
        assert step.difference_hu == 120.0
        assert step.protocol_matched is True
        assert step.protocol == ()


def test_what_differs_in_the_protocol_is_named() -> None:
    other = replace(SECOND, acquisition=replace(PROTOCOL, kvp_kv=100.0, contrast=True))
    (step,) = serial_steps((FIRST, other))
    assert step.protocol_matched is False
    assert step.protocol == ("kVp 120 and 100", "contrast no and yes")


def test_a_protocol_that_is_not_recorded_is_not_called_matched() -> None:
    (step,) = serial_steps((FIRST, replace(SECOND, acquisition=replace(PROTOCOL, convolution_kernel=None))))
    assert step.protocol_matched is None
    assert step.protocol == ("kernel not recorded",)


def test_what_is_missing_has_no_difference() -> None:
    (step,) = serial_steps((replace(FIRST, mean_hu=None), replace(SECOND, long_axis_mm=None)))
    assert step.difference_mm is None
    assert step.difference_hu is None


def test_one_examination_makes_no_step() -> None:
    assert serial_steps((FIRST,)) == ()
    assert serial_steps(()) == ()
