"""``osteoscribe reference``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osteoscribe.cli.main import main


def test_it_prints_the_panel_with_the_honest_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "General reference, not advice for any patient." in shown
    assert "Sources" in shown
    assert "10.1001/jama.2016.19425" in shown


def test_json_is_one_document_whose_statements_name_declared_sources(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["reference", "--json"]) == 0
    panel = json.loads(capsys.readouterr().out)
    declared = {source["key"] for source in panel["sources"]}
    for section in panel["sections"]:
        for statement in section["statements"]:
            assert set(statement["sources"]) <= declared
            assert statement["sources"]
    assert panel["serial"].endswith("No response category is assigned.")


def test_a_panel_that_cannot_be_read_is_a_settings_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "panel.toml"
    broken.write_text("[panel\n")
    assert main(["reference", "--file", str(broken)]) == 2
    assert "reference.not-toml" in capsys.readouterr().err
    assert main(["reference", "--file", str(tmp_path / "absent.toml")]) == 2
