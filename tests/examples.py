"""How many examples a property is tried with: a quarter in the fast suite, all where slow tests run too."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

WHOLE, FAST = "whole", "fast"

# A machine that stands still for a moment is no fault of what is tested.
settings.register_profile(
    WHOLE, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile(FAST, settings.get_profile(WHOLE), max_examples=25)


def choose(*, fast: bool) -> None:
    """Take the few or the many; before the modules are collected."""
    settings.load_profile(FAST if fast else WHOLE)


def many(number: int) -> int:
    """Give so many of the whole suite, and its share in the fast one."""
    return number * settings.default.max_examples // 100
