"""Marks that are overlay bitmaps of CT images are stated once for each series."""

from __future__ import annotations

from osteoscribe.app.shelf import shelve
from osteoscribe.core.series import BlobRef
from osteoscribe.readers.headers import InstanceHeader, StoredInstance


def stored(series: str, number: int, planes: int) -> StoredInstance:
    header = InstanceHeader(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid=f"{series}.{number}",
        study_instance_uid="1.2",
        series_instance_uid=series,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        roi_overlays=planes,
    )
    return StoredInstance(header=header, blob=BlobRef(segment="", offset=0, length=0), digest="")


def test_each_series_with_roi_overlays_has_one_problem() -> None:
    instances = [stored("1.3", 2, 1), stored("1.3", 1, 2), stored("1.3", 3, 0), stored("1.4", 1, 0)]
    series = shelve(instances, ()).series
    assert series["1.4"].overlay_problem is None
    problem = series["1.3"].overlay_problem
    assert problem is not None
    assert (problem.code, problem.where) == ("roi.overlay-bitmap", "1.3.1")
    assert "2 CT images" in problem.message
