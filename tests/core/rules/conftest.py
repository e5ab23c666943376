"""The shipped table, and facts that are all benign and known."""

from __future__ import annotations

from pathlib import Path

import pytest

from osteoscribe.app.rule_tables import load_table
from osteoscribe.core.rules.table import RuleTable

TABLE = "config/rules/incidental-sclerotic-lesion-2026.1.toml"


@pytest.fixture(scope="session")
def table_path(project: Path) -> Path:
    return project / TABLE


@pytest.fixture(scope="session")
def table(table_path: Path) -> RuleTable:
    return load_table(table_path)
