"""``osteoscribe process`` on files: findings, problems, exit codes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate

from osteoscribe.cli.main import main

Process = Callable[..., tuple[int, dict[str, Any]]]

SR_CLASSES = ("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.11")


@pytest.fixture
def pelvis(project: Path) -> Path:
    return project / "dicom_samples" / "pelvis"


@pytest.fixture
def process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Process:
    def run(*arguments: object, out: str = "out") -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["process", *map(str, arguments), "--out", str(tmp_path / out), "--json"])
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, document

    return run


def changed(source: Path, target: Path, change: Callable[[Dataset], None]) -> Path:
    ds = pydicom.dcmread(source)
    change(ds)
    ds.save_as(target)
    return target


def codes_of(document: dict[str, Any]) -> set[str]:
    inside = [p for report in document["reports"] for p in report["problems"]]
    return {problem["code"] for problem in (*inside, *document["problems"])}


def findings_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for report in document["reports"] for finding in report["findings"]]


def test_a_marked_series_becomes_an_sr_with_a_text_companion(
    pelvis: Path, process: Process, tmp_path: Path
) -> None:
    code, document = process(pelvis / "ct", pelvis / "marks/seg.dcm")
    assert (code, document["problems"]) == (0, [])
    (report,) = document["reports"]
    sr = pydicom.dcmread(report["sr"])
    written = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").iterdir())]
    assert sorted(str(ds.SOPClassUID) for ds in written) == sorted(SR_CLASSES)
    assert {str(ds.StudyInstanceUID) for ds in written} == {report["study_instance_uid"]}
    assert sr.PatientID == pydicom.dcmread(pelvis / "ct/001.dcm").PatientID
    (finding,) = report["findings"]
    assert finding["phrase"] == "5 mm sclerotic focus, likely bone island, no further imaging recommended"


def test_the_document_has_the_promised_keys(pelvis: Path, process: Process) -> None:
    _, document = process(pelvis)
    assert {"reports", "problems"} <= set(document)
    finding = findings_of(document)[0]
    assert {"label", "tracking_uid", "source", "dialect", "size", "intensity", "decision"} <= set(finding)
    assert {"phrase", "recommendation", "inputs"} <= set(finding)
    size = {"long_axis_mm", "short_axis_mm", "maximum_3d_diameter_mm", "volume_mm3", "whole_mm", "method"}
    assert size | {"doubts"} <= set(finding["size"])
    assert {"rule", "conditional", "analogue", "table", "version"} <= set(finding["decision"])
    assert set(finding["inputs"]["density"]) >= {"value", "provenance"}


def test_the_same_files_in_another_order_and_place_give_the_same_bytes(
    pelvis: Path, process: Process, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    for number, path in enumerate(sorted((pelvis / "ct").iterdir(), reverse=True)):
        (moved / f"{number:03}").parent.mkdir(exist_ok=True)
        shutil.copy(path, moved / f"{number:03}.dcm")
    process(pelvis / "ct", pelvis / "marks/rtstruct.dcm", out="one")
    process(pelvis / "marks/rtstruct.dcm", moved, out="two")
    one, two = (sorted((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert [p.name for p in one] == [p.name for p in two]
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_roi_that_is_no_lesion_mark_is_listed_as_left_out(pelvis: Path, process: Process) -> None:
    code, document = process(pelvis / "ct", pelvis / "marks/rtstruct.dcm")
    assert code == 0
    assert [one["label"] for one in document["reports"][0]["ignored"]] == ["BODY"]


def test_label_pattern_overrides_the_settings(pelvis: Path, process: Process) -> None:
    _, document = process(pelvis / "ct", pelvis / "marks/rtstruct.dcm", "--label", "body")
    assert [finding["label"] for finding in findings_of(document)] == ["BODY"]


def test_mark_saved_again_is_one_finding(pelvis: Path, process: Process, tmp_path: Path) -> None:
    def save_again(ds: Dataset) -> None:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.7"
        ds.ContentTime = "235959"

    original = pelvis / "marks/seg.dcm"
    again = changed(original, tmp_path / "again.dcm", save_again)
    code, document = process(pelvis / "ct", original, again)
    (finding,) = findings_of(document)
    assert (code, finding["source"]["sop_instance_uid"]) == (0, "2.25.7")
    assert "saved again in 2.25.7" in document["reports"][0]["ignored"][0]["reason"]


def test_mark_on_another_frame_of_reference_is_a_problem_and_the_others_go_on(
    pelvis: Path, process: Process, tmp_path: Path
) -> None:
    def move(ds: Dataset) -> None:
        ds.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "2.25.99"

    mark = changed(pelvis / "marks/rtstruct.dcm", tmp_path / "moved.dcm", move)
    code, document = process(pelvis / "ct", mark)
    assert code == 1
    assert codes_of(document) == {"roi.frame-of-reference-differs"}
    assert len(findings_of(document)) == 3


def test_empty_mark_is_a_problem(pelvis: Path, process: Process, tmp_path: Path) -> None:
    def erase(ds: Dataset) -> None:
        ds.PixelData = bytes(len(ds.PixelData))

    mark = changed(pelvis / "marks/seg.dcm", tmp_path / "empty.dcm", erase)
    code, document = process(pelvis / "ct", mark)
    assert (code, codes_of(document), findings_of(document)) == (1, {"roi.empty"}, [])


def test_mark_whose_ct_is_absent_is_a_problem(pelvis: Path, process: Process) -> None:
    code, document = process(pelvis / "marks/seg.dcm")
    assert (code, document["reports"], codes_of(document)) == (1, [], {"images.missing"})
    assert "send the CT series" in document["problems"][0]["message"]


def test_mark_with_one_slice_missing_is_a_problem_that_tells_which(
    pelvis: Path, process: Process, tmp_path: Path
) -> None:
    shutil.copytree(pelvis / "ct", tmp_path / "ct")
    (tmp_path / "ct" / "015.dcm").unlink()
    code, document = process(tmp_path / "ct", pelvis / "marks/seg.dcm")
    assert (code, findings_of(document)) == (1, [])
    assert codes_of(document) == {"roi.missing-slices"}
    notice = pydicom.dcmread(document["reports"][0]["sr"])
    assert notice.SOPClassUID == SR_CLASSES[1]


def test_pixels_that_cannot_be_decoded_take_the_hu_away_and_not_the_size(
    pelvis: Path, process: Process, tmp_path: Path
) -> None:
    def damage(ds: Dataset) -> None:
        ds.PixelData = encapsulate([bytes(64)])

    shutil.copytree(pelvis / "ct", tmp_path / "ct")
    for path in (tmp_path / "ct").iterdir():
        changed(path, path, damage)
    code, document = process(tmp_path / "ct", pelvis / "marks/seg.dcm")
    (finding,) = findings_of(document)
    assert (code, finding["size"]["whole_mm"], finding["intensity"]) == (0, 5, None)
    assert finding["phrase"] == "5 mm sclerotic focus, likely bone island, no further imaging recommended"
    assert any(remark.startswith("No HU: ") for remark in finding["remarks"])


def test_image_that_is_no_ct_is_a_problem(pelvis: Path, process: Process, tmp_path: Path) -> None:
    def become_mr(ds: Dataset) -> None:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.8"
        ds.Modality = "MR"

    mr = changed(pelvis / "ct/001.dcm", tmp_path / "mr.dcm", become_mr)
    code, document = process(pelvis / "ct", pelvis / "marks/seg.dcm", mr)
    assert (code, codes_of(document), len(findings_of(document))) == (1, {"image.not-ct"}, 1)


def test_file_that_is_no_dicom_is_a_problem(pelvis: Path, process: Process, tmp_path: Path) -> None:
    other = tmp_path / "notes.dcm"
    other.write_bytes(np.random.default_rng(1).bytes(4096))
    code, document = process(pelvis / "ct", pelvis / "marks/seg.dcm", other)
    assert (code, codes_of(document), len(findings_of(document))) == (1, {"file.not-dicom"}, 1)


def test_text_file_beside_the_images_is_left_out_unless_it_is_asked_for(
    pelvis: Path, process: Process, tmp_path: Path
) -> None:
    shutil.copytree(pelvis, tmp_path / "study")
    readme = tmp_path / "study" / "README.txt"
    readme.write_text("how this study was made")
    code, document = process(tmp_path / "study")
    assert (code, [one["label"] for one in document["ignored"]]) == (0, ["README.txt"])
    code, document = process(tmp_path / "study", readme)
    assert (code, codes_of(document)) == (1, {"file.not-dicom"})


def test_object_of_an_unknown_sop_class_is_a_problem(pelvis: Path, process: Process, tmp_path: Path) -> None:
    def become_unknown(ds: Dataset) -> None:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.3.4.5"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.9"
        del ds.PixelData, ds.Rows, ds.Columns

    unknown = changed(pelvis / "ct/001.dcm", tmp_path / "unknown.dcm", become_unknown)
    code, document = process(pelvis / "ct", pelvis / "marks/seg.dcm", unknown)
    assert (code, codes_of(document)) == (1, {"instance.unknown-sop-class"})


def test_ct_series_without_a_mark_is_listed(pelvis: Path, process: Process) -> None:
    code, document = process(pelvis / "ct")
    (left_out,) = document["ignored"]
    assert (code, document["reports"], document["problems"]) == (0, [], [])
    assert "30 instances" in left_out["item"]
    assert left_out["reason"] == "no mark lies on this CT series"


def test_own_report_is_not_taken_for_a_mark(pelvis: Path, process: Process, tmp_path: Path) -> None:
    process(pelvis / "ct", pelvis / "marks/seg.dcm", out="first")
    code, document = process(pelvis / "ct", pelvis / "marks/seg.dcm", tmp_path / "first")
    assert (code, len(findings_of(document)), len(document["ignored"])) == (0, 1, 2)


def test_images_that_are_no_slices_of_their_series_are_listed(
    pelvis: Path, process: Process, tmp_path: Path
) -> None:
    def become_survey(ds: Dataset) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.9"

    survey = changed(pelvis / "ct/001.dcm", tmp_path / "survey.dcm", become_survey)
    code, document = process(pelvis / "ct", pelvis / "marks/seg.dcm", survey)
    (left_out,) = document["ignored"]
    assert (code, left_out["source"], left_out["item"]) == (0, "2.25.9", "image")
    code, document = process(survey)
    assert (code, len(document["ignored"])) == (0, 1)


def test_ct_series_alone_that_cannot_be_measured_is_a_problem(
    pelvis: Path, process: Process, tmp_path: Path
) -> None:
    def lose_its_place(ds: Dataset) -> None:
        del ds.ImagePositionPatient

    lost = changed(pelvis / "ct/001.dcm", tmp_path / "lost.dcm", lose_its_place)
    code, document = process(lost)
    assert (code, codes_of(document), document["ignored"]) == (1, {"ct.no-geometry"}, [])


def test_folder_that_cannot_take_the_reports_exits_with_2(
    pelvis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["process", str(pelvis), "--out", str(tmp_path / "file"), "--json"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, "out.unwritable" in captured.err) == ("", True)


def test_a_pipe_is_no_path_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main(["process", str(tmp_path / "pipe"), "--out", str(tmp_path / "out")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["no-such-folder"], [".", "--config", "no-such-file.toml"]], ids=["path", "config"]
)
def test_wrong_usage_exits_with_2(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["process", *arguments, "--out", str(tmp_path)]) == 2
    assert "osteoscribe" in capsys.readouterr().err
