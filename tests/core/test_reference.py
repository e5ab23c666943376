"""The reference panel: every statement with its source, nothing that decides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from osteoscribe.core.reference import ReferencePanel, panel_lines, parse_reference_panel
from osteoscribe.errors import SetupError


@pytest.fixture(scope="module")
def data(project: Path) -> dict[str, Any]:
    path = project / "config" / "reference" / "known-metastasis.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def panel(data: dict[str, Any]) -> ReferencePanel:
    return parse_reference_panel(data)


@pytest.mark.parametrize(
    "said",
    [
        "General reference, not advice for any patient.",
        "No response category is assigned.",
        "Sclerotic metastases are treated too.",
        "8.1 in lytic and 4.6 in sclerotic",
        "when expected survival is over 3 months",
        "zoledronic acid, pamidronate, denosumab",
        "Dental examination first",
        "Creatinine before each dose",
        "Calcium and vitamin D",
        "osteonecrosis of the jaw, renal toxicity",
        "every 3 to 4 weeks",
        "every 12 weeks",
        "10.1001/jama.2016.19425",
        "Conventional radiotherapy",
        "Stereotactic body radiotherapy (SBRT)",
        "Surgery for impending fracture or spinal cord compression",
        "Cement augmentation, thermal ablation",
        "hormone therapy, chemotherapy, targeted agents",
        "Rising density may be healing, flare or progression; falling density may be response or lysis."
        " No response category is assigned.",
    ],
)
def test_the_shipped_panel_says(said: str, panel: ReferencePanel) -> None:
    assert said in "\n".join(panel_lines(panel))


def test_every_statement_cites_a_numbered_source(panel: ReferencePanel) -> None:
    lines = panel_lines(panel)
    for line in lines:
        if line.startswith("- "):
            cited = re.search(r"\[([0-9, ]+)\]$", line)
            assert cited
            for number in cited[1].split(", "):
                assert any(source.startswith(f"[{number}] ") for source in lines)


def test_no_hounsfield_threshold_or_response_category_is_printed(panel: ReferencePanel) -> None:
    text = "\n".join(panel_lines(panel))
    assert not re.search(r"[0-9]\s*HU", text)
    for category in ("complete response", "partial response", "stable disease", "progressive disease"):
        assert category not in text.lower()


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("reference.unknown-key", lambda d: d["panel"].update(advice="x")),
        ("reference.unknown-key", lambda d: d["panel"].pop("serial")),
        ("reference.no-source", lambda d: d["section"][0]["statement"][0].update(sources=["nobody"])),
        ("reference.wrong-type", lambda d: d["section"][0]["statement"][0].update(sources=[])),
        ("reference.wrong-type", lambda d: d["section"][0].update(statement="x")),
        ("reference.unused-source", lambda d: d["source"].update(other={"text": "x", "read": "y"})),
        ("reference.undated", lambda d: d["section"][3]["statement"][0].pop("dated")),
        ("reference.wrong-type", lambda d: d["panel"].update(serial=" ")),
    ],
)
def test_a_panel_that_hides_its_sources_is_refused(code: str, change: Change, data: dict[str, Any]) -> None:
    changed = deepcopy(data)
    change(changed)
    with pytest.raises(SetupError) as refused:
        parse_reference_panel(changed)
    assert refused.value.code == code
