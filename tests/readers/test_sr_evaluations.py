"""Coded items of an SR measurement group come with their concept."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from osteoscribe.core.marks import RoiMark
from osteoscribe.readers.marks import read_marks


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def _coded_item(concept: Sequence, value: Sequence) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "CODE"
    item.ConceptNameCodeSequence, item.ConceptCodeSequence = concept, value
    return item


@pytest.mark.shared
def test_concept_and_value_are_read_together(shared_data: Path) -> None:
    ds = pydicom.dcmread(shared_data / "sr-writers" / "cornerstonetools_dcmjs_tid1500.dcm")
    measurements = next(
        item for item in ds.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    for group in measurements.ContentSequence:
        group.ContentSequence.append(
            _coded_item(_code("IN-SYMPTOMS", "99OSTEOSCRIBE", "Symptoms"), _code("373067005", "SCT", "No"))
        )
    marks = [mark for mark in read_marks(ds) if isinstance(mark, RoiMark)]
    assert marks
    for mark in marks:
        pairs = [(concept.value, value.value) for concept, value in mark.evaluations]
        assert ("IN-SYMPTOMS", "373067005") in pairs
