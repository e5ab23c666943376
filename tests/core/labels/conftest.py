"""The shipped label rules, and marks to ask about."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osteoscribe.core.codes import Code
from osteoscribe.core.labels import LabelRules, parse_label_rules
from osteoscribe.core.marks import InstanceRef, PointMark, RoiMark

IMAGE = InstanceRef(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="1.2.3")


@pytest.fixture(scope="session")
def label_data(project: Path) -> dict[str, Any]:
    return tomllib.loads((project / "config" / "labels.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def rules(label_data: dict[str, Any]) -> LabelRules:
    return parse_label_rules(label_data)


@pytest.fixture(scope="session")
def mark() -> Callable[..., RoiMark]:
    def build(
        label: str = "", dialect: str = "SEG binary", codes: tuple[Code, ...] = (), interpreted_type: str = ""
    ) -> RoiMark:
        return RoiMark(
            tracking_uid=None,
            label=label,
            shape=PointMark(image=IMAGE, point_px=np.zeros(2)),
            source=InstanceRef(sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4", sop_instance_uid="1.2.4"),
            item="segment 1",
            dialect=dialect,
            property_codes=codes,
            interpreted_type=interpreted_type,
        )

    return build
