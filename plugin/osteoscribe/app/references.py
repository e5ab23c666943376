"""Reference panels from files."""

from __future__ import annotations

import tomllib
from pathlib import Path

from osteoscribe.app.shipped import data_folder
from osteoscribe.core.reference import ReferencePanel, parse_reference_panel
from osteoscribe.errors import SetupError

KNOWN_METASTASIS = Path("config") / "reference" / "known-metastasis.toml"
"""The panel of rule X1, in the data folder."""


def load_reference_panel(path: Path | None = None) -> ReferencePanel:
    """The reference panel of a file, or the shipped one for known metastases.

    Raises
    ------
    SetupError
        ``reference.unreadable``, ``reference.not-toml``, or what `parse_reference_panel` raises.
    """
    path = path or data_folder() / KNOWN_METASTASIS
    try:
        return parse_reference_panel(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SetupError("reference.unreadable", f"{path.name} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError("reference.not-toml", f"{path.name} is not TOML: {error}") from error
