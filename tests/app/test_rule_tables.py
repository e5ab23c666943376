"""Rule tables from files, and the pinning of approved ones."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from osteoscribe.app.rule_tables import load_table
from osteoscribe.errors import SetupError

NAME = "incidental-sclerotic-lesion-2026.1.toml"


@pytest.fixture
def copied(project: Path, tmp_path: Path) -> Path:
    shutil.copy(project / "config/rules" / NAME, tmp_path)
    return tmp_path / NAME


def approve(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("APPROVED").write_text(f"# signed\n\n{digest}  {path.name}\n", encoding="utf-8")


def code_of(path: Path) -> str:
    with pytest.raises(SetupError) as caught:
        load_table(path)
    return caught.value.code


def test_every_shipped_table_loads(project: Path) -> None:
    tables = sorted((project / "config/rules").glob("*.toml"))
    assert [load_table(path).id for path in tables] == ["incidental-sclerotic-lesion"]


def test_the_hash_is_that_of_the_file(copied: Path) -> None:
    assert load_table(copied).sha256 == hashlib.sha256(copied.read_bytes()).hexdigest()


def test_an_approved_table_loads(copied: Path) -> None:
    copied.write_text(copied.read_text(encoding="utf-8").replace('status = "draft"', 'status = "approved"'))
    approve(copied)
    assert load_table(copied).status == "approved"


def test_an_approved_table_that_changed_refuses_to_start(copied: Path) -> None:
    approve(copied)
    copied.write_bytes(copied.read_bytes() + b"# a comment\n")
    assert code_of(copied) == "rules.changed"


def test_a_table_that_calls_itself_approved_must_be_listed(copied: Path) -> None:
    copied.write_text(copied.read_text(encoding="utf-8").replace('status = "draft"', 'status = "approved"'))
    assert code_of(copied) == "rules.not-approved"


def test_a_list_of_approved_tables_that_cannot_be_read_refuses_to_start(copied: Path) -> None:
    copied.with_name("APPROVED").write_text(f"signed by me {NAME}\n")
    assert code_of(copied) == "rules.bad-approved"


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_is_no_text_or_not_there(copied: Path, content: bytes | None) -> None:
    if content is None:
        copied.unlink()
    else:
        copied.write_bytes(content)
    assert code_of(copied) == "rules.unreadable"
