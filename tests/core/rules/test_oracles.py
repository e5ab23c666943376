"""The cases that were written by hand from the specification, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from osteoscribe.core.answers import Answer, Density
from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.phrase import PhraseValues, word
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.table import RuleTable
from osteoscribe.core.units import WholeMillimetre
from tests.core.rules import oracles
from tests.core.rules.benign import benign
from tests.core.rules.oracles import said


@pytest.mark.parametrize(("facts", "rule", "part"), oracles.ORACLES)
def test_row(table: RuleTable, facts: RuleFacts, rule: str, part: str) -> None:
    assert decide(table, facts).rule_id == rule
    assert part in said(table, facts).text


@pytest.mark.parametrize(("facts", "text"), oracles.PHRASES)
def test_phrase_character_for_character(table: RuleTable, facts: RuleFacts, text: str) -> None:
    assert said(table, facts).text == text


@pytest.mark.parametrize(("facts", "values", "text"), oracles.WORDED)
def test_phrase_with_site_and_prior(
    table: RuleTable, facts: RuleFacts, values: PhraseValues, text: str
) -> None:
    assert said(table, facts, values).text == text


@pytest.mark.parametrize("expected", oracles.ROWS, ids=lambda row: row.id)
def test_recommendation_analogue_and_scope(table: RuleTable, expected: oracles.Row) -> None:
    assert oracles.row_of(table, expected.facts) == expected


@pytest.mark.parametrize(("changed", "condition", "name"), oracles.NOT_RECORDED)
def test_what_is_not_recorded_is_a_condition_in_front(
    table: RuleTable, changed: dict[str, Any], condition: str, name: str
) -> None:
    facts = benign(**changed)
    assert decide(table, facts).rule_id == "L1-C"
    assert set(changed) <= set(decide(table, facts).unknown)
    assert said(table, facts).text == oracles.conditional(condition)


@pytest.mark.parametrize(("changed", "name"), oracles.LISTED)
def test_what_is_not_recorded_is_listed_after_a_red_flag(
    table: RuleTable, changed: dict[str, Any], name: str
) -> None:
    facts = oracles.red_flag(changed)
    assert not decide(table, facts).conditional
    assert said(table, facts).text.endswith(f". Not recorded: {name}.")


def test_rows_stand_in_the_specified_order(table: RuleTable) -> None:
    assert tuple(rule.id for rule in table.rules) == oracles.ORDER


@pytest.mark.parametrize("key", oracles.CITED)
def test_rows_cite_the_papers_they_rest_on(table: RuleTable, key: str) -> None:
    assert oracles.CITED[key] <= oracles.citing(table, key)


def test_the_oracles_in_one_go(table: RuleTable) -> None:
    assert oracles.failures(table) == []


def test_braces_in_a_site_are_no_placeholders(table: RuleTable) -> None:
    assert "in the {ilium}, likely" in said(table, benign(5), PhraseValues(site="{ilium}")).text


def test_a_borderline_size_adds_a_remark_and_changes_nothing_else(table: RuleTable) -> None:
    plain = said(table, benign(5))
    remarked = said(table, benign(5), PhraseValues(largest_unrounded_borderline=True))
    assert remarked.remark == oracles.BORDERLINE
    assert (plain.text, plain.recommendation, plain.remark) == (remarked.text, remarked.recommendation, "")


def test_the_decision_names_papers_with_doi_and_the_table_with_its_hash(table: RuleTable) -> None:
    decision = decide(table, benign(25))
    assert decision.sources[0] == (
        "Chang CY et al. Skeletal Radiol 2022;51:1743, doi 10.1007/s00256-022-04022-8 "
        "(category 3, follow-up at 6, 12, 24 months)"
    )
    assert (decision.table_id, decision.table_version) == ("incidental-sclerotic-lesion", "2026.1")
    assert len(decision.table_sha256) == 64


def test_inputs_not_recorded_are_named_in_the_fixed_order(table: RuleTable) -> None:
    decision = decide(table, RuleFacts(size=WholeMillimetre(5), density=Density.SCLEROTIC))
    assert decision.unknown == (
        "malignancy_history",
        "known_metastasis",
        "symptoms",
        "multiplicity",
        "growth",
        "soft_tissue_mass",
        "cortical_destruction",
        "other_aggressive",
        "location_risk",
        "age",
        "morphology",
    )


def test_a_decision_of_another_table_is_not_worded(table: RuleTable) -> None:
    decision = decide(replace(table, sha256="0" * 64), benign(5))
    with pytest.raises(ValueError, match="another table"):
        word(table, decision, benign(5), PhraseValues())


def test_a_negative_size_is_a_bug_and_said_so(table: RuleTable) -> None:
    with pytest.raises(ValueError, match="below the first band"):
        decide(table, RuleFacts(size=WholeMillimetre(-1), known_metastasis=Answer.NO))
