"""The practice that comes with Osteoscribe."""

from __future__ import annotations

import pytest

from osteoscribe.app.practice import Practice, load_practice
from osteoscribe.app.settings import PracticeSettings


@pytest.fixture(scope="session")
def practice() -> Practice:
    """Default rule table and label rules."""
    return load_practice(PracticeSettings())
