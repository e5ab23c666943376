"""Enhanced CT as received, marks on its frames, and every object that we make of them under every judge."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom import DataElement, Dataset

from osteoscribe.app.pipeline import Request, run
from osteoscribe.app.practice import load_practice
from osteoscribe.app.settings import PracticeSettings
from osteoscribe.app.write import Written, WrittenObject
from osteoscribe.readers.headers import split_part10
from osteoscribe.writers.profiles import PROFILES, forms_of, profiles_of
from tests.conftest import Program, shared_folder
from tests.shelf import Shelf
from tests.writers import validators
from tests.writers.sr_tree import children, groups, numbers, reread
from tests.writers.test_variants import KNOWN_TO_NEW_TEMPLATES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ENHANCED_SERIES, ENHANCED_INSTANCE = "1.2.3.77", "1.2.3.78"
EVERY_OBJECT = profiles_of(forms_of(PROFILES.values()) | {(name, "key-image") for name in PROFILES})


@dataclass(frozen=True)
class Made:
    """The CT as a file, and what was made of it."""

    ct: Path
    written: Written
    folder: Path

    def file(self, one: WrittenObject) -> Path:
        path = self.folder / f"{one.profile}-{one.role}.dcm"
        path.write_bytes(one.encoded)
        return path


def frames_of(enhanced: Dataset) -> dict[str, int]:
    """Frame number of each single image that an Enhanced CT was made of."""
    return {
        str(frame.ConversionSourceAttributesSequence[0].ReferencedSOPInstanceUID): number
        for number, frame in enumerate(enhanced.PerFrameFunctionalGroupsSequence, start=1)
    }


def on_frames(mark: Dataset, slices: Sequence[Dataset], enhanced: Dataset) -> Dataset:
    """A mark on single images, as a mark on the frames that they became."""
    frames = frames_of(enhanced)
    moved = deepcopy(mark)

    def rename(item: Dataset, element: DataElement) -> None:
        if element.VR == "UI" and str(element.value) in frames:
            item.ReferencedFrameNumber = frames[str(element.value)]
            item.ReferencedSOPClassUID = enhanced.SOPClassUID
            element.value = ENHANCED_INSTANCE
        elif element.VR == "UI" and str(element.value) == str(slices[0].SeriesInstanceUID):
            element.value = ENHANCED_SERIES

    moved.walk(rename)
    return moved


def made_of(ct: Sequence[Dataset], marks: Sequence[Dataset], *patterns: str) -> Written:
    shelf = Shelf()
    for ds in (*ct, *marks):
        buffer = BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        part10 = split_part10(buffer.getvalue())
        shelf.add(buffer.getvalue()[part10.dataset_offset :], part10.transfer_syntax_uid)
    request = Request(
        instances=shelf.instances, read=shelf.read, label_patterns=patterns, profiles=EVERY_OBJECT
    )
    (written,) = run(request, load_practice(PracticeSettings())).written
    assert written.quarantined == ()
    return written


def astray(mark: Dataset) -> Dataset:
    """The same mark in another frame of reference: it cannot be measured."""
    lost = deepcopy(mark)
    lost.SOPInstanceUID = "1.2.3.79"
    lost.walk(
        lambda _ds, element: (
            setattr(element, "value", "1.2.3.80") if element.keyword.endswith("FrameOfReferenceUID") else None
        )
    )
    return lost


@pytest.fixture(scope="module")
def slices(project: Path) -> list[Dataset]:
    found = [pydicom.dcmread(path) for path in (project / "dicom_samples" / "pelvis" / "ct").glob("*.dcm")]
    return sorted(found, key=lambda one: int(one.InstanceNumber))


@pytest.fixture(scope="module")
def enhanced(slices: list[Dataset]) -> Dataset:
    return LegacyConvertedEnhancedCTImage(
        slices,
        series_instance_uid=ENHANCED_SERIES,
        series_number=5,
        sop_instance_uid=ENHANCED_INSTANCE,
        instance_number=1,
    )


def mark_named(project: Path, name: str) -> Dataset:
    return pydicom.dcmread(project / "dicom_samples" / "pelvis" / "marks" / f"{name}.dcm")


TREES = ("standard", "dictation")
MARKS = ("rtstruct", "seg", "sr-ohif", "sr-standard")


@pytest.mark.parametrize("name", MARKS)
def test_frames_of_one_object_give_the_same_findings_as_single_images(
    name: str, project: Path, slices: list[Dataset], enhanced: Dataset
) -> None:
    mark = mark_named(project, name)
    single = made_of(slices, [mark])
    framed = made_of([enhanced], [on_frames(mark, slices, enhanced)])
    assert said(framed) == said(single)
    number_of = frames_of(enhanced)
    assert regions(framed) == [
        (ENHANCED_INSTANCE, number_of[instance], outline) for instance, _, outline in regions(single)
    ]


def report_of(written: Written) -> Dataset:
    (one,) = [one for one in written.objects if (one.profile, one.role) == ("standard", "sr")]
    return reread(one.encoded)


def said(written: Written) -> list[tuple[dict[str, tuple[float, str]], list[str]]]:
    """Numbers and sentences of each group of the standard report."""
    return [
        (numbers(group), [item.TextValue for item in children(group, "PHRASE")])
        for group in groups(report_of(written))
    ]


def regions(written: Written) -> list[tuple[str, int, list[float]]]:
    """Instance, frame (0: it has none) and corners of each outline of the standard report."""
    outlines = [one for group in groups(report_of(written)) for one in children(group, "111030")]
    images = [children(one)[0].ReferencedSOPSequence[0] for one in outlines]
    assert outlines
    return [
        (
            str(image.ReferencedSOPInstanceUID),
            int(image.get("ReferencedFrameNumber", 0)),
            list(one.GraphicData),
        )
        for image, one in zip(images, outlines, strict=True)
    ]


@pytest.fixture(scope="module", params=MARKS)
def made(
    request: pytest.FixtureRequest,
    project: Path,
    slices: list[Dataset],
    enhanced: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Made:
    """Every object in every profile, of an Enhanced CT with a mark that is measured and one that is not."""
    folder = tmp_path_factory.mktemp("enhanced")
    mark = on_frames(mark_named(project, request.param), slices, enhanced)
    ct = folder / "ct.dcm"
    enhanced.save_as(ct)
    return Made(ct, made_of([enhanced], [mark, astray(mark_named(project, "rtstruct"))]), folder)


def test_every_object_is_made_in_every_profile(made: Made) -> None:
    expected = {(name, role) for name in PROFILES for role in ("sr", "text", "key-image", "notice")}
    assert {(one.profile, one.role) for one in made.written.objects} == expected - {("text-only", "sr")}


def test_the_judges_find_nothing(made: Made, program: Program) -> None:
    for one in made.written.objects:
        path = made.file(one)
        assert validators.dciodvfy(program, path) == []
        assert validators.dcentvfy(program, path, [made.ct]) == []
        if one.role != "key-image":
            assert validators.dsrdump(program, path) == []
        if one.role == "sr":
            assert validators.tid1500reader(program, path, made.folder) == []


def test_pixelmed_finds_no_error_and_only_the_known_warnings(made: Made, program: Program) -> None:
    (report,) = [one for one in made.written.objects if (one.profile, one.role) == ("standard", "sr")]
    errors, warned = validators.pixelmed(program, made.file(report))
    assert errors == []
    assert [line for line in warned if not any(known in line for known in KNOWN_TO_NEW_TEMPLATES)] == []


def test_the_script_of_the_specification_finds_nothing(
    shared_data: Path, program: Program, tmp_path: Path
) -> None:
    """The tiny Enhanced CT of dcmqi with its SEG, through the whole pipeline, in every profile."""
    script = shared_folder() / "tools" / "check_sr.sh"
    source = shared_data / "mini-ct-multiframe"
    program("dsrdump")
    ct, mark = (pydicom.dcmread(source / name) for name in ("enhanced_multiframe.dcm", "label.seg.dcm"))
    (tmp_path / "ct").mkdir()
    ct.save_as(tmp_path / "ct" / "ct.dcm")
    written = made_of([ct], [mark, astray(mark)], "*")
    kept = Made(tmp_path / "ct" / "ct.dcm", written, tmp_path)
    # The other two reports differ from these in one identifier and in their SOP class; a run takes 20 s.
    reports = [kept.file(one) for one in written.objects if one.role == "sr" and one.profile in TREES]
    others = [kept.file(one) for one in written.objects if one.role != "sr"]
    assert (len(reports), len(others)) == (2, 15)
    for options, files in (([], reports), (["-b"], others)):
        done = subprocess.run(
            ["bash", str(script), *options, "-c", str(tmp_path / "ct"), *map(str, files)],
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stdout
