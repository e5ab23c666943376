"""Headers that are read with the help of earlier ones are those that are read without."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from osteoscribe.errors import InputError
from osteoscribe.readers.headers import InstanceHeader, read_header
from osteoscribe.readers.repeated import HeaderReader
from tests.examples import many
from tests.fakes.dicom import EXPLICIT, ct_slice, encode, mark_object


def plain(encoded: bytes, whole: bool = True) -> InstanceHeader | str:
    try:
        return read_header(encoded, transfer_syntax_uid=EXPLICIT, whole=whole)
    except InputError as error:
        return str(error)


def helped(reader: HeaderReader, encoded: bytes, whole: bool = True) -> InstanceHeader | str:
    try:
        return reader.read(encoded, transfer_syntax_uid=EXPLICIT, whole=whole)
    except InputError as error:
        return str(error)


def real_slice(number: int, **values: object) -> Dataset:
    """A slice with what scanners write besides: times, exposures, a sequence, window values."""
    ds = ct_slice(number)
    ds.AcquisitionTime, ds.ContentTime = f"1200{number % 60:02d}", f"1300{number % 60:02d}.123456"
    ds.SliceLocation, ds.ExposureTime, ds.XRayTubeCurrent = number * 2.5, 500 + number, 200 + number
    ds.WindowCenter, ds.WindowWidth, ds.KVP, ds.ConvolutionKernel = 300, 1500, 120, "B60f"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    ds.SourceImageSequence = [reference]
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


def test_a_series_is_read_as_without_help() -> None:
    reader = HeaderReader()
    for number in (*range(1, 130), 5, 1):
        encoded = encode(real_slice(number))
        assert helped(reader, encoded) == plain(encoded)
        assert helped(reader, encoded[:-100], whole=False) == plain(encoded[:-100], whole=False)
    assert len({layout.pixels for layout in reader._layouts}) > 1


def test_the_help_is_used() -> None:
    reader = HeaderReader()
    reader.read(encode(real_slice(11)), transfer_syntax_uid=EXPLICIT)
    (layout,) = reader._layouts
    for number in range(12, 20):
        reader.read(encode(real_slice(number)), transfer_syntax_uid=EXPLICIT)
    assert reader._layouts == [layout]


@pytest.mark.parametrize(
    "values",
    [
        {"Rows": 17},
        {"RescaleSlope": 2},
        {"KVP": 121},
        {"PixelSpacing": [2, 2]},
        {"SOPInstanceUID": "no UID"},
        {"SOPInstanceUID": "1.2.826.0.1.3680043.10.1.99.2.x2"},
        {"InstanceNumber": None},
        {"ImagePositionPatient": [0, 0, "9e9"]},
        {"FrameOfReferenceUID": "1.2.826.0.1.3680043.10.1.99.9"},
        {"StudyInstanceUID": "1.2.826.0.1.3680043.10.1.99.9"},
    ],
)
def test_what_differs_is_seen(values: dict[str, object]) -> None:
    reader = HeaderReader()
    assert helped(reader, encode(real_slice(11))) == plain(encode(real_slice(11)))
    changed = real_slice(12)
    for name, value in values.items():
        element = changed[name]
        element.validation_mode = 0
        element.value = value
    assert helped(reader, encode(changed)) == plain(encode(changed))


def test_marks_and_other_objects_between_are_read_as_without_help() -> None:
    reader = HeaderReader()
    for ds in (
        real_slice(11),
        mark_object(1, ["1.2"]),
        real_slice(12),
        mark_object(2, ["1.3", "1.4"]),
        real_slice(13),
    ):
        assert helped(reader, encode(ds)) == plain(encode(ds))


@settings(max_examples=many(300))
@given(seed=st.integers(0, 2**32))
def test_any_bytes_may_be_wrong(seed: int) -> None:
    moments = random.Random(seed)
    reader = HeaderReader()
    for number in range(11, 15):
        encoded = bytearray(encode(real_slice(number)))
        header_end = len(encoded) - 512
        for _ in range(moments.choice([0, 0, 1, 3])):
            encoded[moments.randrange(header_end)] = moments.randrange(256)
        cut = bytes(encoded[: moments.choice([len(encoded), moments.randrange(len(encoded))])])
        whole = moments.random() < 0.7
        assert helped(reader, cut, whole) == plain(cut, whole)
