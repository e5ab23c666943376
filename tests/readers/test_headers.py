"""What is read of an instance without its pixels, and what is refused."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.sequence import Sequence

from osteoscribe.readers.headers import read_header, split_part10
from osteoscribe.store.files import read_bytes, scan
from tests.readers.ct_objects import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    ct_slice,
    encode,
    enhanced,
    identified,
    refused,
)

SEG, SR, RTSTRUCT = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.481.3",
)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_the_header_is_the_same_in_each_encoding(syntax: str) -> None:
    ds = ct_slice(12.5, number=3, spacing=(0.5, 0.75))
    ds.KVP = 120
    header = read_header(encode(ds, syntax), transfer_syntax_uid=syntax)
    assert header.sop_instance_uid == "1.2.3.4.3"
    assert header.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert header.image_position_patient == (0, 0, 12.5)
    assert header.image_orientation_patient == (1, 0, 0, 0, 1, 0)
    assert header.pixel_spacing == (0.5, 0.75)
    assert (header.rows, header.columns) == (4, 6)
    assert (header.rescale_slope, header.rescale_intercept) == (1, -1024)
    assert (header.kvp_kv, header.slice_thickness_mm, header.instance_number) == (120, 2, 3)
    assert (header.bits_stored, header.pixel_representation) == (16, 1)


def test_overlay_planes_count_where_they_are_rois() -> None:
    ds = ct_slice(0)
    for group, kind in ((0x6000, "G"), (0x6002, "R"), (0x601E, "R")):
        ds.add_new((group, 0x0040), "CS", kind)
        ds.add_new((group, 0x3000), "OW", bytes(4))
    assert read_header(encode(ds, EXPLICIT), transfer_syntax_uid=EXPLICIT).roi_overlays == 2


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_the_pixel_data_offset_points_at_the_first_pixel(syntax: str) -> None:
    ds = ct_slice(0)
    encoded = encode(ds, syntax)
    offset = read_header(encoded, transfer_syntax_uid=syntax).pixel_data_offset
    assert offset is not None
    assert encoded[offset:] == ds.PixelData


def test_the_header_is_complete_before_the_pixels_have_come() -> None:
    encoded = encode(ct_slice(0))
    whole = read_header(encoded, transfer_syntax_uid=EXPLICIT)
    assert whole.pixel_data_offset is not None
    for length in (whole.pixel_data_offset, whole.pixel_data_offset + 5):
        assert read_header(memoryview(encoded)[:length], transfer_syntax_uid=EXPLICIT) == whole


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED])
def test_the_beginning_of_a_header_is_never_taken_for_the_whole(syntax: str) -> None:
    encoded = encode(ct_slice(0), syntax)
    offset = read_header(encoded, transfer_syntax_uid=syntax).pixel_data_offset or 60
    for length in range(1, offset - 12):
        with refused("instance.truncated"):
            read_header(encoded[:length], transfer_syntax_uid=syntax, whole=False)


def test_a_header_cut_off_inside_an_element_is_truncated() -> None:
    encoded = encode(ct_slice(0))
    position = encoded.index(b"\x18\x00\x50\x00DS")
    with refused("instance.truncated"):
        read_header(encoded[: position + 9], transfer_syntax_uid=EXPLICIT)


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
@pytest.mark.parametrize("blank", ["", None])
def test_an_absent_or_blank_uid_is_refused_by_name(keyword: str, blank: str | None) -> None:
    ds = ct_slice(0)
    setattr(ds, keyword, "")
    if blank is None:
        delattr(ds, keyword)
    with refused("instance.missing-uid") as caught:
        read_header(encode(ds), transfer_syntax_uid=EXPLICIT)
    assert keyword in caught.value.message


@pytest.mark.parametrize(
    "hostile",
    ["../../x", "1.2.3/../../x", ".1.2", "1..2", "1.2.", "1.2\\1.3", "1" * 65, "1.2 3", "1.2;DROP", "१.२"],
)
def test_what_is_no_uid_is_refused_without_repeating_it(hostile: str) -> None:
    value = hostile.encode()
    value += b"\0" * (len(value) % 2)
    plain = encode(ct_slice(0, uid="1.2.3.4.77"))
    field = b"\x08\x00\x18\x00UI\x0a\x001.2.3.4.77"
    assert plain.count(field) == 1
    encoded = plain.replace(field, field[:6] + len(value).to_bytes(2, "little") + value)
    with refused("instance.bad-uid") as caught:
        read_header(encoded, transfer_syntax_uid=EXPLICIT)
    assert "SOPInstanceUID" in caught.value.message
    assert hostile not in str(caught.value)


def test_padding_of_a_uid_is_no_part_of_it() -> None:
    plain = encode(ct_slice(0, uid="1.2.3.4.77"))
    padded = plain.replace(b"UI\x0a\x001.2.3.4.77", b"UI\x0c\x001.2.3.4.77 \0")
    assert read_header(padded, transfer_syntax_uid=EXPLICIT).sop_instance_uid == "1.2.3.4.77"


@pytest.mark.parametrize("padding", [1, 2, 7, 8, 9, 100])
def test_zeros_behind_the_last_element_are_no_elements(padding: int) -> None:
    encoded = encode(identified()) + bytes(padding)
    assert read_header(encoded, transfer_syntax_uid=EXPLICIT).sop_instance_uid == "1.2.3.1"


def test_numbers_that_are_none_are_absent() -> None:
    encoded = encode(ct_slice(0, spacing=(0.5, 0.5)))
    for value in (b"nan\\0.5", b"1e999\\1", b"abc\\def", b"0.5    "):
        broken = encoded.replace(b"0.5\\0.5 ", value.ljust(8)[:8])
        assert broken != encoded
        assert read_header(broken, transfer_syntax_uid=EXPLICIT).pixel_spacing is None


def test_implicit_bytes_declared_explicit_are_read() -> None:
    ds = ct_slice(3)
    header = read_header(encode(ds, IMPLICIT), transfer_syntax_uid=EXPLICIT)
    assert header.image_position_patient == (0, 0, 3)
    header = read_header(encode(ds, EXPLICIT), transfer_syntax_uid=IMPLICIT)
    assert header.image_position_patient == (0, 0, 3)


def test_frames_have_their_planes() -> None:
    for syntax in (EXPLICIT, IMPLICIT, DEFLATED):
        header = read_header(encode(enhanced([1, 2, 4]), syntax), transfer_syntax_uid=syntax)
        assert [plane.image_position_patient for plane in header.frames] == [(0, 0, 1), (0, 0, 2), (0, 0, 4)]
        assert header.frames[0].pixel_spacing == (0.5, 0.5)
        assert header.frames[0].rescale_intercept == -1024
        assert header.referenced_instances == ()


def _cited(sequence: str, *uids: str, sop_class_uid: str = "1.2.840.10008.5.1.4.1.1.2") -> Dataset:
    outer, items = Dataset(), []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
        items.append(item)
    setattr(outer, sequence, Sequence(items))
    return outer


def test_the_images_of_an_sr_are_found_and_documents_are_not() -> None:
    ds = identified(SR)
    series = _cited("ReferencedSOPSequence", "1.9.1", "1.9.2")
    series.SeriesInstanceUID = "1.9"
    other = _cited("ReferencedSOPSequence", "1.8.1", "1.8.2", "1.8.3", sop_class_uid=SEG)
    other.SeriesInstanceUID = "1.8"
    study = Dataset()
    study.StudyInstanceUID = "1.2.3"
    study.ReferencedSeriesSequence = Sequence([other, series])
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence([study])
    predecessor = _cited("ReferencedSOPSequence", "1.7.1")
    predecessor.SeriesInstanceUID = "1.7"
    ds.PredecessorDocumentsSequence = Sequence([predecessor])
    report = _cited("ReferencedSOPSequence", "1.6.1", sop_class_uid=SR)
    ds.ContentSequence = Sequence([report, _cited("ReferencedSOPSequence", "1.9.2")])
    for syntax in (EXPLICIT, IMPLICIT):
        header = read_header(encode(ds, syntax), transfer_syntax_uid=syntax)
        assert sorted(header.referenced_instances) == ["1.8.1", "1.8.2", "1.8.3", "1.9.1", "1.9.2"]
        assert header.referenced_series_uid == "1.9"


def test_the_study_of_a_structure_set_is_no_image() -> None:
    ds = identified(RTSTRUCT)
    series = _cited("ContourImageSequence", "1.9.1", "1.9.2")
    series.SeriesInstanceUID = "1.9"
    study = Dataset()
    study.ReferencedSOPInstanceUID = "1.2.3"  # some writers leave its class away
    study.RTReferencedSeriesSequence = Sequence([series])
    frame = Dataset()
    frame.RTReferencedStudySequence = Sequence([study])
    ds.ReferencedFrameOfReferenceSequence = Sequence([frame])
    header = read_header(encode(ds), transfer_syntax_uid=EXPLICIT)
    assert header.referenced_instances == ("1.9.1", "1.9.2")
    assert header.referenced_series_uid == "1.9"


def _file(ds: Dataset, syntax: str = EXPLICIT) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    head = io.BytesIO()
    head.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(head, meta, enforce_standard=True)
    return head.getvalue() + encode(ds, syntax)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED])
def test_a_file_is_split_at_its_data_set(syntax: str) -> None:
    ds = ct_slice(0)
    file = _file(ds, syntax)
    for variant in (file, file[132:], b"DICM" + file[132:]):
        part10 = split_part10(variant)
        assert part10.transfer_syntax_uid == syntax
        assert variant[part10.dataset_offset :] == encode(ds, syntax)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_bare_data_set_is_recognised(syntax: str) -> None:
    part10 = split_part10(encode(ct_slice(0), syntax))
    assert (part10.transfer_syntax_uid, part10.dataset_offset) == (syntax, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"DICM",
        b"\0" * 128 + b"DICM",
        b"{}",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 200,
        b"MZ" * 300,
        b"\0" * 400,
    ],
)
def test_what_is_no_dicom_file_is_refused(data: bytes) -> None:
    with refused("file.not-dicom"):
        split_part10(data)


def test_a_transfer_syntax_that_is_no_uid_is_refused() -> None:
    file = _file(ct_slice(0))
    with refused("file.bad-transfer-syntax"):
        split_part10(file.replace(b"1.2.840.10008.1.2.1\0", b"../../../etc/passwd\0"))


@pytest.mark.shared
def test_headers_of_real_objects_agree_with_pydicom(shared_data: Path) -> None:
    folders = [shared_data / name for name in ("mini-ct-multiframe", "highdicom-small", "geometry-oddities")]
    folders += [shared_data / name for name in ("totalseg-ct-bones", "lung1-001-aria", "rtstruct-writers")]
    folders += [shared_data / name for name in ("sr-writers", "transfer-syntaxes-ct", "dcmqi-ct-liver-spine")]
    instances = scan(folders).instances
    assert len(instances) > 90
    for instance in instances:
        header, path = instance.header, instance.blob.segment
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            assert header.sop_class_uid == ds.SOPClassUID
            assert header.sop_instance_uid == ds.SOPInstanceUID
            assert header.study_instance_uid == ds.StudyInstanceUID
            assert header.series_instance_uid == ds.SeriesInstanceUID
            assert header.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID
            assert header.modality == ds.Modality
            assert (header.rows, header.columns) == (ds.get("Rows"), ds.get("Columns")), path
            for keyword, value in (
                ("ImagePositionPatient", header.image_position_patient),
                ("ImageOrientationPatient", header.image_orientation_patient),
                ("PixelSpacing", header.pixel_spacing),
            ):
                said = ds.get(keyword)
                assert value == (tuple(map(float, said)) if said else None), (path, keyword)
            assert header.rescale_intercept == ds.get("RescaleIntercept"), path
            assert header.frame_of_reference_uid == (ds.get("FrameOfReferenceUID") or None), path
            if header.pixel_data_offset is not None:
                pixels = pydicom.dcmread(path).PixelData
                offset = header.pixel_data_offset
                assert read_bytes(instance.blob, offset, offset + len(pixels)) == pixels, path


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("totalseg-ct-bones/bones.seg.dcm", 20),
        ("lung1-001-aria/rtstruct.dcm", 134),
        ("mini-ct-multiframe/label.seg.dcm", 3),
        ("highdicom-small/ct_small/sr_planar_circle.dcm", 1),
        ("gsps-imagej/real01.pr.dcm", 1),
    ],
)
def test_real_marks_name_their_images(shared_data: Path, name: str, number: int) -> None:
    path = shared_data / name
    header = scan([path]).instances[0].header
    assert len(header.referenced_instances) == number
    assert len(set(header.referenced_instances)) == number
    series = {
        i.header.series_instance_uid
        for i in scan([path.parent]).instances
        if i.header.sop_instance_uid in header.referenced_instances
    }
    assert series == {header.referenced_series_uid}
