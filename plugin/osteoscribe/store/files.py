"""A folder of DICOM files as a source of instances."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from osteoscribe.core.digest import new_digest
from osteoscribe.core.series import BlobRef
from osteoscribe.errors import InputError, OsteoscribeError
from osteoscribe.readers.ct import CT_SOP_CLASSES
from osteoscribe.readers.headers import InstanceHeader, StoredInstance, read_header, split_part10

_HEAD_BYTES = (1 << 14, 1 << 18, 1 << 22, 1 << 26, 1 << 30)
"""How much of a file is read, until its header is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What lies in a folder.

    Parameters
    ----------
    instances
        In order of their paths. `digest`, of the encoded data set, is empty for a CT image that is there
        once: it would mean reading every pixel of a series of which a mark needs a few rows.
    problems
        Files that are no instances, and why.
    """

    instances: tuple[StoredInstance, ...]
    problems: tuple[tuple[Path, OsteoscribeError], ...]


def scan(paths: Iterable[Path], progress: Callable[[int, int], None] | None = None) -> Scan:
    """Read the headers of files, and of all files below folders.

    Parameters
    ----------
    paths
        Files and folders.
    progress
        Told the files done and the files in all.
    """
    problems: list[tuple[Path, OsteoscribeError]] = []
    files = sorted({file for path in paths for file in _files_of(path, problems)})
    instances: list[StoredInstance] = []
    for done, file in enumerate(files, start=1):
        try:
            instances.append(_read_instance(file))
        except OsteoscribeError as error:
            problems.append((file, error))
        except OSError as error:
            problems.append((file, _unreadable("file", error)))
        if progress is not None:
            progress(done, len(files))
    copies = Counter(instance.header.sop_instance_uid for instance in instances)
    return Scan(
        instances=tuple(
            _with_digest(i)
            if i.header.sop_class_uid not in CT_SOP_CLASSES or copies[i.header.sop_instance_uid] > 1
            else i
            for i in instances
        ),
        problems=tuple(problems),
    )


def read_bytes(ref: BlobRef, start: int, stop: int) -> bytes:
    """Give bytes [start, stop) of an instance in a file; a `ReadBytes`.

    Raises
    ------
    InputError
        ``file.unreadable`` where the file has gone.
    """
    try:
        with Path(ref.segment).open("rb") as file:
            file.seek(ref.offset + start)
            return file.read(max(0, min(stop, ref.length) - start))
    except OSError as error:
        raise _unreadable("file", error) from None


def _unreadable(what: str, error: OSError) -> InputError:
    return InputError("file.unreadable", f"the {what} cannot be read: {error.strerror}; check its rights")


def _files_of(path: Path, problems: list[tuple[Path, OsteoscribeError]]) -> Iterator[Path]:
    """The file, or the files below the folder; a folder that cannot be read is a problem."""
    if not path.is_dir():
        yield path
        return

    def note(error: OSError) -> None:
        problems.append((Path(error.filename), _unreadable("folder", error)))

    for folder, _, names in os.walk(path, onerror=note):
        yield from (file for name in names if (file := Path(folder, name)).is_file())


def _read_instance(path: Path) -> StoredInstance:
    """Read as much of a file as its header needs."""
    size = path.stat().st_size
    with path.open("rb") as file:
        data = b""
        for wanted in _HEAD_BYTES:
            data += file.read(wanted - len(data))
            try:
                return _instance(path, size, data)
            except InputError:
                if len(data) >= size or wanted == _HEAD_BYTES[-1]:
                    raise
    raise InputError("file.not-dicom", "the file is empty")


def _instance(path: Path, size: int, data: bytes) -> StoredInstance:
    part10 = split_part10(data)
    offset = part10.dataset_offset
    header: InstanceHeader = read_header(
        memoryview(data)[offset:],
        transfer_syntax_uid=part10.transfer_syntax_uid,
        whole=len(data) == size,
    )
    blob = BlobRef(segment=str(path), offset=offset, length=size - offset)
    return StoredInstance(header=header, blob=blob, digest="")


def _with_digest(instance: StoredInstance) -> StoredInstance:
    """Add the digest of the encoded data set."""
    digest = new_digest()
    with Path(instance.blob.segment).open("rb") as file:
        file.seek(instance.blob.offset)
        while part := file.read(1 << 20):
            digest.update(part)
    return dataclasses.replace(instance, digest=digest.hexdigest())
