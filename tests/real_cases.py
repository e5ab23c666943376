"""The real cases of the shared data with published or independently computed values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = {
    "volume_mm3": ("size", "volume_mm3"),
    "volume_mesh_mm3": ("size", "mesh_volume_mm3"),
    "max_3d_diameter_mm": ("size", "maximum_3d_diameter_mm"),
    "max_2d_axial_diameter_mm": ("size", "long_axis_mm"),
    "mean_hu": ("intensity", "mean_hu"),
    "sd_hu": ("intensity", "standard_deviation_hu"),
    "median_hu": ("intensity", "median_hu"),
    "min_hu": ("intensity", "minimum_hu"),
    "max_hu": ("intensity", "maximum_hu"),
}
"""Value of expected.json to its place in a finding of ``process --json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealCase:
    """One ROI with the intervals that each value must fall in."""

    name: str
    ct: Path
    mark: Path
    item: str
    label: str
    accept: dict[str, tuple[float, float]]
    references: tuple[dict[str, Any], ...]

    def finding(self, document: dict[str, Any]) -> dict[str, Any]:
        """The finding of this ROI in the output of ``process --json``."""
        findings = [f for report in document["reports"] for f in report["findings"]]
        return next(
            f
            for f in findings
            if (f["source"]["item"] == self.item if self.item else f["label"] == self.label)
        )


def real_cases(data: Path) -> Iterator[RealCase]:
    """All cases with ``accept`` intervals for a SEG or RTSTRUCT mark on CT."""
    for folder in ("totalseg-ct-bones", "dcmqi-ct-liver-spine", "mini-ct-multiframe"):
        for case in _read(data / folder)["cases"].values():
            objects = case.get("objects") or {case.get("seg", "label.seg.dcm"): case}
            for name, entry in objects.items():
                for number, segment in entry["segments"].items():
                    yield _case(data / folder, case, name, segment, item=f"segment {number}")
    for folder in (
        "ibsi-ct-phantom",
        "sts-ct-rtstruct",
        "lambin-radiomics-phantom-patients",
        "lung1-001-aria",
    ):
        for case in _read(data / folder)["cases"].values():
            yield _case(data / folder, case, case["rtstruct"], case, item="")


def _read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    return document


def _case(folder: Path, case: dict[str, Any], mark: str, entry: dict[str, Any], *, item: str) -> RealCase:
    label = entry.get("label") or entry["roi"]
    return RealCase(
        name=f"{folder.name} {mark} {label}",
        ct=folder / (case["ct"] if isinstance(case["ct"], str) else "single-frame"),
        mark=folder / mark,
        item=item,
        label=label,
        accept={name: (low, high) for name, (low, high) in entry["accept"].items() if name in OURS},
        references=tuple(entry["references"]),
    )
