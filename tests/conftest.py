"""Fixtures that every part of the suite uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def shared_folder() -> Path:
    return Path(os.environ.get("OSTEOSCRIBE_SHARED", PROJECT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test data; tests that use it are marked ``shared``."""
    data = shared_folder() / "data"
    if not data.is_dir():
        if os.environ.get("OSTEOSCRIBE_REQUIRE_ALL"):
            pytest.fail(f"{data} is required here and absent")
        pytest.skip(f"real test data absent: {data}")
    return data


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return PROJECT
