"""Fixtures that every part of the suite uses, and the rule that nothing is skipped where all is required."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest

from tests import examples
from tests.objects import s3 as s3
from tests.postgresql import new_postgresql as new_postgresql

collect_ignore = ["benchmarks"]
"""Scripts that measure and draw; they need more than the tests do (``pip install .[bench]``)."""

PROJECT = Path(__file__).resolve().parent.parent
REQUIRE_ALL = "OSTEOSCRIBE_REQUIRE_ALL"

Program = Callable[[str], str]
"""Full path of an outside program, by its name."""


def shared_folder() -> Path:
    return Path(os.environ.get("OSTEOSCRIBE_SHARED", PROJECT.parent / "shared"))


def srcheck_folder() -> Path:
    """Virtual environment of the Python-packaged SR checkers (``.ci/setup`` makes it)."""
    return Path(os.environ.get("SRCHECK_VENV", Path.home() / ".srcheck"))


def find_program(name: str) -> str | None:
    """Path of an outside program, or None.

    The running environment's own folder is left out: pynetdicom installs programs there that carry the
    names of DCMTK's.
    """
    own = Path(sys.executable).parent
    folders = [f for f in os.environ.get("PATH", os.defpath).split(os.pathsep) if f and Path(f) != own]
    places = ["/usr/bin", "/usr/sbin", *folders, str(srcheck_folder() / "bin")]
    return shutil.which(name, path=os.pathsep.join(places))


@pytest.fixture(scope="session")
def program() -> Program:
    """Looks an outside program up by name or full path; the test is skipped where it is absent.

    Tests that use it are marked ``peer``.
    """

    def look_up(name: str) -> str:
        found = find_program(name)
        if found is None:
            pytest.skip(f"outside program absent: {name} (.ci/setup installs it)")
        return found

    return look_up


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test data; tests that use it are marked ``shared``."""
    data = shared_folder() / "data"
    if not data.is_dir():
        pytest.skip(f"real test data absent: {data}")
    return data


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root folder."""
    return PROJECT


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need outside programs or real data by the fixture they use."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "program" in fixtures:
            item.add_marker("peer")
        if "shared_data" in fixtures:
            item.add_marker("shared")


def pytest_configure(config: pytest.Config) -> None:
    """Have properties tried with fewer examples where the slow tests are left out."""
    examples.choose(fast="not slow" in config.getoption("markexpr"))


def pytest_collection_finish() -> None:
    """Leave what the modules hold out of every later collection of garbage: it took a seventh of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failure where everything is required."""
    report = yield
    return _refuse_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped module into a failure where everything is required."""
    report = yield
    return _refuse_skip(report)


_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)


def _refuse_skip(report: _Report) -> _Report:
    expected_failure = hasattr(report, "wasxfail")
    if report.skipped and not expected_failure and os.environ.get(REQUIRE_ALL):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, but {REQUIRE_ALL} is set and everything is required here: {reason}"
    return report
