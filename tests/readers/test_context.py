"""Age, malignancy and region from DICOM attributes."""

from __future__ import annotations

import tomllib
import warnings
from copy import deepcopy
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from osteoscribe.core.answers import Age, Answer, Answers, Provenance
from osteoscribe.core.codes import Code
from osteoscribe.core.labels.malignancy import MalignancyCodes, Reading, parse_malignancy_codes
from osteoscribe.errors import SetupError
from osteoscribe.readers.context import AttributeAnswers, age_on, answers_from_attributes

SECRET = "Zaphod Beeblebrox"


@pytest.fixture(scope="session")
def data(project: Path) -> dict[str, Any]:
    return tomllib.loads((project / "config" / "codes-malignancy.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def codes(data: dict[str, Any]) -> MalignancyCodes:
    return parse_malignancy_codes(data)


def dataset(**elements: object) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def coded(value: str, scheme: str, meaning: str = "") -> Dataset:
    return dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning or "x")


@pytest.mark.parametrize(
    ("born", "study", "expected"),
    [
        ("20000517", "20180516", Age.CHILD),
        ("20000517", "20180517", Age.ADULT),
        ("20000517", "20180518", Age.ADULT),
        ("20000229", "20180228", Age.CHILD),
        ("20000229", "20180301", Age.ADULT),
        ("2000.05.17", "20180517", Age.ADULT),
        ("18000101", "20180517", Age.UNKNOWN),
        ("20190101", "20180517", Age.UNKNOWN),
        ("2000", "20180517", Age.UNKNOWN),
        ("20001340", "20180517", Age.UNKNOWN),
        ("", "20180517", Age.UNKNOWN),
        ("20000517", "", Age.UNKNOWN),
    ],
)
def test_age_by_birth_date_is_exact_at_the_18th_birthday(
    born: str, study: str, expected: Age, codes: MalignancyCodes
) -> None:
    ds = Dataset()
    with pydicom.config.disable_value_validation():
        ds.PatientBirthDate, ds.StudyDate = born, study
        assert answers_from_attributes(ds, codes).answers.age.value is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("018Y", Age.ADULT),
        ("017Y", Age.CHILD),
        ("216M", Age.ADULT),
        ("215M", Age.CHILD),
        ("940W", Age.ADULT),
        ("939W", Age.UNKNOWN),
        ("938W", Age.CHILD),
        ("010D", Age.CHILD),
        ("999Y", Age.UNKNOWN),
        ("18Y", Age.UNKNOWN),
        ("018y", Age.UNKNOWN),
        ("", Age.UNKNOWN),
    ],
)
def test_age_by_patient_age(text: str, expected: Age, codes: MalignancyCodes) -> None:
    with pydicom.config.disable_value_validation():
        found = answers_from_attributes(dataset(PatientAge=text), codes)
    assert found.answers.age.value is expected
    if expected is not Age.UNKNOWN:
        assert found.answers.age.provenance is Provenance.DICOM_ATTRIBUTE


@given(born=st.dates(date(1930, 1, 1), date(2010, 1, 1)), days=st.integers(6500, 6650))
def test_weeks_and_days_never_contradict_the_calendar(born: date, days: int, codes: MalignancyCodes) -> None:
    study = born + timedelta(days=days)
    weeks = answers_from_attributes(dataset(PatientAge=f"{days // 7:03d}W"), codes).answers.age.value
    assert weeks in (Age.UNKNOWN, age_on(born, study))


def test_an_age_that_contradicts_the_birth_date_is_unknown_and_listed(codes: MalignancyCodes) -> None:
    ds = dataset(PatientAge="045Y", PatientBirthDate="20100101", StudyDate="20200101")
    found = answers_from_attributes(ds, codes)
    assert found.answers.age.value is Age.UNKNOWN
    assert [c.question for c in found.conflicts] == ["age"]
    assert "2010" not in found.conflicts[0].message


@pytest.mark.parametrize(
    ("value", "scheme", "reading"),
    [
        ("C50.9", "I10", Reading.MALIGNANCY),
        ("c509", "i10", Reading.MALIGNANCY),
        ("C00", "I10", Reading.MALIGNANCY),
        ("C97", "ICD10", Reading.MALIGNANCY),
        ("C4A.9", "ICD-10-CM", Reading.MALIGNANCY),
        ("C7B.03", "ICD-10-CM", Reading.MALIGNANCY),
        ("C50.911", "ICD-10-CM", Reading.MALIGNANCY),
        ("Z85.3", "I10", Reading.MALIGNANCY),
        ("Z08.9", "I10", Reading.MALIGNANCY),
        ("C98", "I10", Reading.SILENT),
        ("D16.9", "I10", Reading.SILENT),
        ("D05.1", "I10", Reading.SILENT),
        ("D47.2", "I10", Reading.SILENT),
        ("Z80.3", "I10", Reading.SILENT),
        ("Z12.3", "I10", Reading.SILENT),
        ("Z86.0", "I10", Reading.SILENT),
        ("M54.5", "I10", Reading.SILENT),
        ("C50.9 A", "I10", Reading.UNSURE),
        ("C50.9-Z85", "I10", Reading.UNSURE),
        ("C50.9", "99LOCAL", Reading.SILENT),
        ("C50.9", "LN", Reading.SILENT),
        ("94222008", "SCT", Reading.MALIGNANCY),
        ("266987004", "SCT", Reading.MALIGNANCY),
        ("254837009", "SCT", Reading.MALIGNANCY),
        ("108369006", "SCT", Reading.SILENT),
        ("429740004", "SCT", Reading.SILENT),
        ("86616005", "SCT", Reading.SILENT),
        ("94222008", "I10", Reading.SILENT),
    ],
)
def test_codes_of_malignancies(value: str, scheme: str, reading: Reading, codes: MalignancyCodes) -> None:
    assert codes.reading(Code(value, scheme, "")) is reading


@given(letter=st.sampled_from("ABDEFGHIJKLMNOPQRSTUVWXY"), number=st.integers(0, 99), sub=st.integers(0, 9))
def test_no_other_chapter_of_icd_10_is_a_malignancy(
    letter: str, number: int, sub: int, codes: MalignancyCodes
) -> None:
    assert codes.reading(Code(f"{letter}{number:02d}.{sub}", "I10", "")) is Reading.SILENT


@pytest.mark.parametrize(
    "keyword", ["ReasonForRequestedProcedureCodeSequence", "AdmittingDiagnosesCodeSequence"]
)
def test_a_coded_malignancy_sets_yes_wherever_it_stands(keyword: str, codes: MalignancyCodes) -> None:
    item = dataset(**{keyword: Sequence([coded("M54.5", "I10"), coded("C61", "I10")])})
    for ds in (item, dataset(RequestAttributesSequence=Sequence([Dataset(), item]))):
        stated = answers_from_attributes(ds, codes).answers.malignancy_history
        assert stated.value is Answer.YES
        assert stated.provenance is Provenance.DICOM_ATTRIBUTE
        assert stated.where == f"{keyword}: (C61, I10)"


def test_no_code_never_means_no(codes: MalignancyCodes) -> None:
    ds = dataset(AdmittingDiagnosesCodeSequence=Sequence([coded("M54.5", "I10")]))
    assert answers_from_attributes(ds, codes).answers == Answers()


def test_a_code_that_is_not_understood_makes_a_remark_only(codes: MalignancyCodes) -> None:
    ds = dataset(AdmittingDiagnosesCodeSequence=Sequence([coded("C50.9 A", "I10", f"{SECRET} excluded")]))
    found = answers_from_attributes(ds, codes)
    assert found.answers == Answers()
    assert "please confirm" in found.remarks[0]
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("keyword", "text", "word"),
    [
        ("AdditionalPatientHistory", f"{SECRET}, breast carcinoma 2011", "carcinom…"),
        ("ReasonForTheRequestedProcedure", f"{SECRET} Z.n. Mammakarzinom", "…karzinom…"),
        ("MedicalAlerts", f"{SECRET}: no history of cancer", "cancer…"),
        ("AdmittingDiagnosesDescription", f"{SECRET} Métastases osseuses", "metasta…"),
    ],
)
def test_free_text_makes_a_remark_of_our_own_words_and_sets_nothing(
    keyword: str, text: str, word: str, codes: MalignancyCodes
) -> None:
    found = answers_from_attributes(dataset(**{keyword: text}), codes)
    assert found.answers == Answers()
    assert found.remarks == (f"request text mentions: {word}, please confirm",)
    assert "Zaphod" not in repr(found)


def test_innocent_text_makes_no_remark(codes: MalignancyCodes) -> None:
    ds = dataset(
        AdditionalPatientHistory="low back pain, ca. 3 weeks", RequestedProcedureDescription="CT spine"
    )
    assert answers_from_attributes(ds, codes) == AttributeAnswers()


def test_the_examined_region_is_read(codes: MalignancyCodes) -> None:
    ds = dataset(AnatomicRegionSequence=Sequence([coded("12921003", "SCT", "Pelvis")]))
    region = answers_from_attributes(ds, codes).anatomic_region
    assert region is not None
    assert region.value == "12921003"


@given(text=st.text(max_size=40))
def test_any_text_is_read_without_error_and_never_printed(text: str, codes: MalignancyCodes) -> None:
    ds = Dataset()
    with pydicom.config.disable_value_validation():
        ds.AdditionalPatientHistory = text
        ds.PatientAge = text
        ds.PatientBirthDate = text
        ds.AdmittingDiagnosesCodeSequence = Sequence([coded(text[:16], "I10", text)])
        found = answers_from_attributes(ds, codes)
    assert found.answers.malignancy_history.value is not Answer.NO
    listed = {pattern.text.replace("*", "…") for pattern in codes.words}
    for remark in found.remarks:
        named = remark.partition(": ")[2].removesuffix(", please confirm")
        assert not named or set(named.split(", ")) <= listed


@pytest.mark.shared
def test_real_files_have_an_age_and_nothing_else(shared_data: Path, codes: MalignancyCodes) -> None:
    ds = pydicom.dcmread(
        shared_data / "highdicom-small" / "ct_small" / "ct_image.dcm", stop_before_pixels=True
    )
    found = answers_from_attributes(ds, codes)
    assert found.answers.age.value is Age.UNKNOWN or found.answers.age.where
    assert found.answers.malignancy_history.value is Answer.UNKNOWN


@pytest.mark.parametrize(
    ("code", "path", "value"),
    [
        ("malignancy-codes.unknown-key", ("icd_10", "extra"), []),
        ("malignancy-codes.wrong-type", ("icd_10", "schemes"), "I10"),
        ("malignancy-codes.bad-range", ("icd_10", "ranges"), ["C97-C00"]),
        ("malignancy-codes.bad-range", ("icd_10", "ranges"), ["C5"]),
        ("malignancy-codes.wrong-type", ("snomed_ct", "concepts"), {"C50": "x"}),
        ("labels.bad-pattern", ("request_text", "words"), ["*"]),
    ],
)
def test_a_code_list_that_cannot_be_meant_is_refused(
    code: str, path: tuple[str, str], value: object, data: dict[str, Any]
) -> None:
    changed = deepcopy(data)
    changed[path[0]][path[1]] = value
    with pytest.raises(SetupError) as refused:
        parse_malignancy_codes(changed)
    assert refused.value.code == code


@pytest.mark.shared
def test_odd_and_malformed_files_give_answers_or_nothing(shared_data: Path, codes: MalignancyCodes) -> None:
    read = 0
    for path in sorted((shared_data / "malformed").rglob("*.dcm")):
        with pydicom.config.disable_value_validation(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ds = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            except Exception:  # noqa: BLE001  what pydicom cannot open is no matter of this test
                continue
            found = answers_from_attributes(ds, codes)
        read += 1
        assert found.answers.malignancy_history.value is not Answer.NO
    assert read > 20
