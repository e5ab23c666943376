"""One phrase for an examination."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from osteoscribe.core.answers import Answer, Density, Growth, Largest, Morphology, Multiplicity
from osteoscribe.core.facts import RuleFacts
from osteoscribe.core.rules.decide import decide
from osteoscribe.core.rules.examination import examination_facts
from osteoscribe.core.rules.table import RuleTable
from tests.core.rules.benign import benign
from tests.core.rules.oracles import said
from tests.core.rules.test_proof import any_facts

SMALL = replace(benign(3), multiplicity=Multiplicity.MULTIPLE, largest=Largest.UNDER_5)


def together(table: RuleTable, *lesions: RuleFacts) -> RuleFacts:
    facts = examination_facts(table, lesions)
    assert facts is not None
    return facts


def test_the_most_urgent_row_speaks_for_all(table: RuleTable) -> None:
    atypical = replace(SMALL, morphology=Morphology.ATYPICAL)
    assert [decide(table, one).rule_id for one in (SMALL, atypical)] == ["M1", "M2"]
    assert decide(table, together(table, SMALL, atypical)).rule_id == "M2"
    assert decide(table, together(table, atypical, SMALL)).rule_id == "M2"


def test_what_is_not_recorded_of_one_is_not_recorded_of_all(table: RuleTable) -> None:
    lesions = (replace(SMALL, symptoms=Answer.UNKNOWN), replace(SMALL, growth=Growth.UNKNOWN))
    assert decide(table, together(table, *lesions)).unknown == ("symptoms", "growth")


def test_one_mixed_lesion_makes_them_mixed(table: RuleTable) -> None:
    mixed = replace(SMALL, density=Density.MIXED, morphology=Morphology.ATYPICAL)
    phrase = said(table, together(table, replace(SMALL, morphology=Morphology.ATYPICAL), mixed))
    assert phrase.text.startswith("Multiple sclerotic or mixed foci, largest")


def test_a_lesion_with_a_row_of_its_own_does_not_speak_for_the_examination(table: RuleTable) -> None:
    painful = replace(SMALL, symptoms=Answer.YES)
    assert decide(table, together(table, SMALL, painful)).rule_id == "M1"
    assert examination_facts(table, [painful]) is None
    assert examination_facts(table, []) is None


@given(st.lists(any_facts(), max_size=4))
def test_the_phrase_is_never_less_urgent_or_less_conditional(
    table: RuleTable, lesions: list[RuleFacts]
) -> None:
    decided = [decide(table, one) for one in lesions]
    members = [one for one in decided if one.scope == "examination"]
    facts = examination_facts(table, lesions)
    assert (facts is None) == (not members)
    if facts is not None:
        one = decide(table, facts)
        urgency = max(table.rule(member.rule_id).urgency or 0 for member in members)
        assert table.rule(one.rule_id).urgency == urgency
        assert one.scope == "examination"
        same = {member.rule_id.removesuffix("-C") for member in members} == {one.rule_id.removesuffix("-C")}
        assert not same or one.conditional == any(member.conditional for member in members)
