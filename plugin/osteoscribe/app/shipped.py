"""Where the files lie that come with Osteoscribe."""

from __future__ import annotations

from pathlib import Path


def data_folder() -> Path:
    """Folder of the default ``config`` and the ``dicom_samples``.

    They are package data of an installed wheel; a source tree has them at its top.
    """
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_data"
    return packaged if packaged.is_dir() else package.parents[1]
