"""``osteoscribe process`` on real CT with marks by other software, against independently computed values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osteoscribe.cli.main import main
from tests.conftest import shared_folder
from tests.real_cases import OURS, RealCase, real_cases

DATA = shared_folder() / "data"
CASES = list(real_cases(DATA)) if DATA.is_dir() else []


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_value_of_a_real_case_is_inside_its_interval(
    case: RealCase,
    shared_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(
        [
            "process",
            str(case.ct),
            str(case.mark),
            "--out",
            str(tmp_path_factory.mktemp("out")),
            "--label",
            "*",
            "--json",
        ]
    )
    finding = case.finding(json.loads(capsys.readouterr().out))
    outside = {
        name: (ours, interval)
        for name, interval in case.accept.items()
        if not interval[0] <= (ours := finding[OURS[name][0]][OURS[name][1]]) <= interval[1]
    }
    assert not outside
