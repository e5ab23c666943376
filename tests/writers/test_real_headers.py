"""Reports with the headers of real CTs: copied whole, and clean under the outside programs."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from osteoscribe.errors import InputError
from osteoscribe.writers.companion import build_companion
from osteoscribe.writers.copying import KeptHeader, once, quiet
from osteoscribe.writers.document import encode
from osteoscribe.writers.gate import check
from osteoscribe.writers.sr import build_sr
from tests.builders_report import ct_series, evidence_for, finding_for, report_for
from tests.conftest import Program
from tests.writers import validators

TAGS = ["Modality", "SOPInstanceUID", "SeriesInstanceUID"]
FOLDERS = (
    "dcmqi-ct-liver-spine",
    "enhanced-ct",
    "geometry-oddities",
    "highdicom-small",
    "ibsi-ct-phantom",
    "lambin-radiomics-phantom-patients",
    "lung1-001-aria",
    "rtstruct-writers",
    "sts-ct-rtstruct",
    "totalseg-ct-bones",
)


def ct_of(folder: Path) -> dict[str, list[Path]]:
    """The CT files below a folder by series, those that pydicom can read."""
    series: dict[str, list[Path]] = {}
    seen: set[str] = set()
    for path in sorted(folder.rglob("*.dcm")):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
        except pydicom.errors.InvalidDicomError:
            continue
        if ds.get("Modality") == "CT" and "SeriesInstanceUID" in ds and ds.SOPInstanceUID not in seen:
            seen.add(ds.SOPInstanceUID)
            series.setdefault(str(ds.SeriesInstanceUID), []).append(path)
    return series


def header(path: Path) -> Dataset:
    return pydicom.dcmread(BytesIO(path.read_bytes()), stop_before_pixels=True)


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_report_with_a_real_header_is_clean(folder, shared_data: Path, program: Program, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for paths in ct_of(shared_data / folder).values():
            series = [header(path) for path in paths[:5]]
            finding = finding_for(series, k=0, item="ROI 1")
            report = report_for(series, [finding])
            evidence = evidence_for(series, finding.lesion.mark.source)
            for build in (build_sr, build_companion):
                encoded = encode(build(report, header(paths[0]), evidence))
                check(encoded, report, header(paths[0]), evidence)
                file = tmp_path / "document.dcm"
                file.write_bytes(encoded)
                assert validators.dciodvfy(program, file) == []
                assert validators.dsrdump(program, file) == []
                assert validators.dcentvfy(program, file, paths[:5]) == []


def test_a_value_that_is_illegal_is_left_out_but_not_what_the_study_is_found_by():
    with quiet():
        series = ct_series(
            StudyID="IBSI_1_STS_002_CT",
            PatientComments="x" * 20000,
            AccessionNumber="A234567890123456789",
            PatientSex="female",
            PatientIdentityRemoved="YES",
        )
        finding = finding_for(series)
    evidence = evidence_for(series, finding.lesion.mark.source)
    ds = build_sr(report_for(series, [finding]), series[0], evidence)
    with quiet():
        assert (ds.StudyID, ds.PatientSex, ds.AccessionNumber) == ("", "", "A234567890123456789")
    assert "PatientComments" not in ds
    assert ds.DeidentificationMethod == "Not stated by the CT"


def test_odd_values_of_the_patient_are_not_quoted_in_logs_or_warnings(caplog, recwarn):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series = ct_series(PatientID="SECRET" * 20)
        series[0].add_new("PatientBirthDate", "DA", "SECRET")
        file = encode(series[0])
    caplog.clear()
    context = pydicom.dcmread(BytesIO(file))
    finding = finding_for(series)
    report = report_for(series, [finding])
    evidence = evidence_for(series, finding.lesion.mark.source)
    check(encode(build_sr(report, context, evidence)), report, context, evidence)
    assert "SECRET" not in caplog.text
    assert not [w for w in recwarn.list if "SECRET" in str(w.message)]


def test_documents_of_a_kept_header_are_those_of_the_header_itself():
    series = ct_series(PatientName="M\u00fcller^A", AccessionNumber="A1", ReferringPhysicianName="B")
    finding = finding_for(series)
    report, evidence = report_for(series, [finding]), evidence_for(series, finding.lesion.mark.source)
    kept = KeptHeader(series[0])
    for build in (build_sr, build_companion, build_sr):
        encoded = encode(build(report, kept, evidence))
        assert encoded == encode(build(report, series[0], evidence))
        check(encoded, report, kept, evidence)
    other = ct_series(PatientName="Other", AccessionNumber="A1", ReferringPhysicianName="B")
    with pytest.raises(InputError, match="PatientName"):
        check(encoded, report, KeptHeader(other[0]), evidence)


def test_what_is_made_of_a_kept_header_is_made_once_for_all_that_it_is_given():
    made = []

    def make(header: Dataset, suffix: str) -> str:
        made.append(suffix)
        return f"{header.PatientID}{suffix}"

    kept, other = (KeptHeader(ct_series(PatientID=name)[0]) for name in ("A", "B"))
    for _ in range(2):
        assert [once(make, kept, "1"), once(make, kept, "2"), once(make, other, "1")] == ["A1", "A2", "B1"]
    assert made == ["1", "2", "1"]
    assert [once(make, ct_series(PatientID="C")[0], "1") for _ in range(2)] == ["C1", "C1"]
    assert made == ["1", "2", "1", "1", "1"], "of another header nothing is kept"
