"""A test that cannot run is skipped on a developer's machine and fails where everything is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CASES = {
    "an absent program": "def test_it(program):\n    program('no-such-program')\n",
    "absent data": "def test_it(shared_data):\n    pass\n",
    "an explicit skip": "import pytest\n\ndef test_it():\n    pytest.skip('because')\n",
    "a skipped module": "import pytest\n\npytest.importorskip('no_such_module')\n",
}
SUCCESS, FAILURES, COLLECTION_ERROR, NOTHING_RUN = 0, 1, 2, 5


def run_pytest(project: Path, folder: Path, source: str, *, require_all: bool) -> int:
    (folder / "test_case.py").write_text(source)
    env = {**os.environ, "PYTHONPATH": str(project), "OSTEOSCRIBE_SHARED": str(folder / "absent")}
    env.pop("OSTEOSCRIBE_REQUIRE_ALL", None)
    if require_all:
        env["OSTEOSCRIBE_REQUIRE_ALL"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--rootdir", folder, "-c", os.devnull,
         "-p", "no:cacheprovider", folder],
        cwd=folder,
        env=env,
        capture_output=True,
        check=False,
    ).returncode  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_skip_is_a_failure_where_all_is_required(project: Path, tmp_path: Path, case: str) -> None:
    assert run_pytest(project, tmp_path, CASES[case], require_all=False) in (SUCCESS, NOTHING_RUN)
    assert run_pytest(project, tmp_path, CASES[case], require_all=True) in (FAILURES, COLLECTION_ERROR)


def test_an_expected_failure_stays_one(project: Path, tmp_path: Path) -> None:
    source = "import pytest\n\n@pytest.mark.xfail(strict=True)\ndef test_it():\n    assert False\n"
    assert run_pytest(project, tmp_path, source, require_all=True) == SUCCESS
