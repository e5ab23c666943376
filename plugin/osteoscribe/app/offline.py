"""What files mean that are no instances, or that are there twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from osteoscribe.core.marks import InstanceRef
from osteoscribe.core.report import Ignored, Problem
from osteoscribe.errors import OsteoscribeError
from osteoscribe.readers.headers import StoredInstance

OTHER_ENDINGS = frozenset(
    {
        ".csv",
        ".gz",
        ".htm",
        ".html",
        ".inf",
        ".ini",
        ".jpg",
        ".jpeg",
        ".json",
        ".log",
        ".md",
        ".nii",
        ".nrrd",
        ".pdf",
        ".png",
        ".sh",
        ".toml",
        ".txt",
        ".xml",
        ".yaml",
        ".yml",
        ".zip",
    }
)
"""Endings of files that lie beside DICOM files and mean to be something else."""

OTHER_NAMES = frozenset(("DICOMDIR", "Thumbs.db", ".DS_Store"))
"""Names likewise."""


def file_entries(
    unread: Iterable[tuple[Path, OsteoscribeError]], named: Iterable[Path]
) -> tuple[tuple[Problem, ...], tuple[Ignored, ...]]:
    """Files that hold no instance, as problems and as left-out entries.

    A file that was named, or that looks like DICOM by its name, is a problem. A file that was found in a
    folder and does not pretend to be DICOM is left out, and listed.
    """
    asked_for = set(named)
    problems, left_out = [], []
    for path, error in unread:
        other = path.suffix.lower() in OTHER_ENDINGS or path.name in OTHER_NAMES
        if other and path not in asked_for:
            nothing = InstanceRef(sop_class_uid="", sop_instance_uid="")
            left_out.append(Ignored(label=path.name, source=nothing, item="file", reason=error.message))
        else:
            problems.append(Problem(code=error.code, message=error.message, where=str(path)))
    return tuple(problems), tuple(left_out)


def single_versions(
    instances: Sequence[StoredInstance],
) -> tuple[tuple[StoredInstance, ...], tuple[Problem, ...]]:
    """Each instance once; two files with the same UID and other bytes are a problem.

    Archives re-encode what they keep, so the content may well be the same: the first by path is used.
    """
    versions: dict[str, dict[str, StoredInstance]] = {}
    for one in sorted(instances, key=lambda one: one.blob.segment):
        versions.setdefault(one.header.sop_instance_uid, {}).setdefault(one.digest, one)
    problems = tuple(
        Problem(
            code="instance.two-versions",
            message=f"{len(same)} files hold the same SOP Instance UID with different bytes; "
            f"{next(iter(same.values())).blob.segment} is used; leave out the versions that are not meant",
            where=uid,
        )
        for uid, same in sorted(versions.items())
        if len(same) > 1
    )
    return tuple(next(iter(same.values())) for same in versions.values()), problems
