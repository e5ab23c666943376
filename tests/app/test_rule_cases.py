"""Stored cases come back as they were."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.app.practice import RULE_TABLE
from osteoscribe.app.rule_cases import case_line, changed_cases, past_cases, tell
from osteoscribe.app.rule_tables import load_table
from osteoscribe.core.answers import Density, Morphology
from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.phrase import PhraseValues, word
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.core.units import WholeMillimetre
from tests.core.rules.benign import benign
from tests.core.rules.test_proof import any_facts


@pytest.fixture(scope="module")
def table(project: Path) -> RuleTable:
    return load_table(project / "config" / "rules" / RULE_TABLE)


def as_measured(facts: RuleFacts) -> RuleFacts:
    """Facts as a report holds them: a mixed lesion is atypical."""
    return replace(facts, morphology=Morphology.ATYPICAL) if facts.density is Density.MIXED else facts


@given(
    facts=any_facts().map(as_measured),
    larger=st.integers(0, 5),
    prior=st.none() | st.dates(),
    site=st.sampled_from(["", "ilium", 'a "quoted" \\ site', "Hüfte\n"]),
)
def test_a_stored_case_says_the_same_again(
    table: RuleTable, facts: RuleFacts, larger: int, prior: date | None, site: str
) -> None:
    whole = None if facts.size is None else WholeMillimetre(facts.size + larger)
    values = PhraseValues(whole_mm=whole, prior_date=prior, site=site)
    line = case_line("report 1, lesion 1", facts, values)
    (case,) = past_cases([line])
    decision = decide(table, facts)
    told = tell(table, case.trial)
    assert case.name == "report 1, lesion 1"
    assert "\n" not in line
    assert told.decision == decision
    assert told.phrase.text == word(table, decision, facts, values).text


def test_no_case_changes_under_the_same_table(table: RuleTable) -> None:
    lines = [case_line(str(mm), benign(mm), PhraseValues()) for mm in (3, 5, 8, 25)]
    assert changed_cases(table, table, list(past_cases(lines))) == ()
