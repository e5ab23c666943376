"""Why a suggestion was made, in both documents of a report, read back with pydicom: within one screen."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

import pytest

from osteoscribe.app.practice import RULE_TABLE, Practice
from osteoscribe.core import codes
from tests.builders_report import ct_series
from tests.scene import document, items, on, outlined, process, texts

SCREEN_LINES, SCREEN_COLUMNS = 60, 100


@pytest.mark.parametrize("role", ["sr", "text"])
@pytest.mark.parametrize(
    "label", ["BI typ, asymp, blurb", "mixed lesion, ca, pain, typical, solitary, no prior"]
)
def test_the_report_says_why(role: str, label: str, practice: Practice, project: Path) -> None:
    ct = ct_series(AdditionalPatientHistory="breast carcinoma 2015")
    (written,) = process(practice, *ct, on(ct, outlined((label, 5.2)))).written
    (finding,) = written.report.findings
    why = "\n".join(texts(written, codes.WHY, role))
    rest = "\n".join([why, *texts(written, codes.NOT_RECORDED, role)])
    assert f"rule {finding.decision.rule_id}" in why
    recorded = [fact for fact in finding.facts.stated if fact.value != "unknown"]
    assert {"size", "density", "morphology", "symptoms", "age"} <= {fact.name for fact in recorded}
    for fact in recorded:
        value = f"{fact.name.replace('_', ' ')} {fact.value.replace('_', ' ')}"
        origin = f"({fact.provenance.value}" + (f": {fact.where})" if fact.where else ")")
        assert f"{value} {origin}" in why
    for fact in finding.facts.stated:
        if fact.value == "unknown":
            assert fact.name.replace("_", " ") in rest
    for conflict in finding.facts.conflicts:
        assert f"In conflict: {conflict.message}" in why
    assert "request text mentions: carcinom…, please confirm" in why
    assert ("'blurb'" in why) == ("blurb" in label)
    table = (project / "config" / "rules" / RULE_TABLE).read_bytes()
    assert f"Rule table incidental-sclerotic-lesion {practice.table.version}" in why
    assert hashlib.sha256(table).hexdigest() in why
    assert finding.decision.sources
    for source in finding.decision.sources:
        assert f"Source: {source}" in why
    assert "doi 10." in why


@pytest.mark.parametrize("role", ["sr", "text"])
def test_the_texts_of_one_lesion_fit_one_screen(role: str, practice: Practice) -> None:
    ct = ct_series(AdditionalPatientHistory="breast carcinoma 2015")
    label = "mixed lesion, ca, pain, typical, solitary, no prior"
    (written,) = process(practice, *ct, on(ct, outlined((label, 5.2)))).written
    found = [str(item.TextValue) for item in items(document(written, role)) if item.ValueType == "TEXT"]
    lines = [
        line for text in found for part in text.splitlines() for line in textwrap.wrap(part, SCREEN_COLUMNS)
    ]
    assert 10 < len(lines) < SCREEN_LINES
