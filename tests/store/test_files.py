"""A folder as a source of instances."""

from __future__ import annotations

import os
from pathlib import Path

from pydicom.dataset import Dataset

from osteoscribe.core.digest import new_digest
from osteoscribe.readers.ct import index_series, read_box
from osteoscribe.store.files import read_bytes, scan
from tests.readers.ct_objects import EXPLICIT, ct_slice, encode, identified, refused

META = b"\0" * 128 + b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"


def write(path: Path, ds: Dataset) -> bytes:
    encoded = encode(ds, EXPLICIT)
    path.write_bytes(META + encoded)
    return encoded


def test_instances_and_problems_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "deep" / "er" / "b", ct_slice(2, number=2))
    write(tmp_path / "a.dcm", ct_slice(0, number=1))
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "empty").write_bytes(b"")
    found = scan([tmp_path])
    assert [i.header.instance_number for i in found.instances] == [1, 2]
    assert {(path.name, error.code) for path, error in found.problems} == {
        ("notes.txt", "file.not-dicom"),
        ("empty", "file.not-dicom"),
    }


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "a", ct_slice(0))
    assert len(scan([tmp_path, tmp_path / "a", tmp_path]).instances) == 1


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    found = scan([tmp_path / "gone"])
    assert [error.code for _, error in found.problems] == ["file.unreadable"]


def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    inner = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # deeper than the system lets a path be; rights would not stop root
        os.mkdir("x" * 250, dir_fd=inner)
        outer, inner = inner, os.open("x" * 250, os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    assert [error.code for _, error in scan([tmp_path]).problems] == ["file.unreadable"]


def test_progress_is_told(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / str(number), ct_slice(number, number=number + 1))
    told: list[tuple[int, int]] = []
    scan([tmp_path], lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_bytes_are_counted_from_the_data_set_and_end_with_it(tmp_path: Path) -> None:
    encoded = write(tmp_path / "a", ct_slice(0))
    blob = scan([tmp_path]).instances[0].blob
    assert read_bytes(blob, 0, blob.length) == encoded
    assert read_bytes(blob, 10, 20) == encoded[10:20]
    assert read_bytes(blob, len(encoded) - 3, len(encoded) + 100) == encoded[-3:]
    (tmp_path / "a").unlink()
    with refused("file.unreadable"):
        read_bytes(blob, 0, 1)


def test_marks_have_a_digest_and_so_have_copies_of_an_image(tmp_path: Path) -> None:
    mark = write(tmp_path / "mark", identified("1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.8"))
    write(tmp_path / "one", ct_slice(0, number=1))
    copy = write(tmp_path / "two", ct_slice(2, number=2))
    write(tmp_path / "two again", ct_slice(2, number=2))
    digests = {Path(i.blob.segment).name: i.digest for i in scan([tmp_path]).instances}
    assert digests == {
        "mark": new_digest(mark).hexdigest(),
        "one": "",
        "two": new_digest(copy).hexdigest(),
        "two again": new_digest(copy).hexdigest(),
    }
    index = index_series(
        [i for i in scan([tmp_path]).instances if i.header.modality == "CT" and i.header.rows]
    )
    assert len(index.slices) == 2
    assert [reason for _, reason in index.left_out] == ["received twice"]


def test_a_long_header_is_read_to_its_end(tmp_path: Path) -> None:
    ds = ct_slice(0)
    ds.add_new(0x00190010, "LO", "TEST")
    ds.add_new(0x00191001, "OB", b"\0" * 300_000)
    write(tmp_path / "a", ds)
    instances = scan([tmp_path]).instances
    assert instances[0].header.pixel_spacing == (0.5, 0.5)
    box = (slice(0, 1), slice(0, 1), slice(0, 2))
    assert read_box(index_series(instances), box, read_bytes).voxels_hu.tolist() == [
        [[100 - 1024, 101 - 1024]]
    ]
