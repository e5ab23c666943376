"""Who a node is: its name, and the marks by which a folder is known again."""

from __future__ import annotations

import os
import re
import secrets
import socket
from pathlib import Path

from osteoscribe.errors import SetupError
from osteoscribe.store.segments import NODE_NAME

NODE_ID = "node-id"
"""File of the data folder that holds its identity."""

_LONGEST = 32


def node_name(setting: str) -> str:
    """Name of this node: what the settings say, else made of the name of the machine.

    Raises
    ------
    SetupError
        ``settings.wrong-value``: it cannot be part of a file name.

    Examples
    --------
    >>> node_name("site-a")
    'site-a'
    """
    name = (
        setting or re.sub(r"[^a-z0-9.-]+", "-", socket.gethostname().lower())[:_LONGEST].strip(".-") or "node"
    )
    if not NODE_NAME.fullmatch(name):
        raise SetupError(
            "settings.wrong-value",
            f"found {setting!r} for 'node.name', expected 1 to {_LONGEST} of a-z, 0-9, dot and hyphen",
        )
    return name


def identity_of(folder: Path, name: str) -> str:
    """Random text that stays with a folder; made where the folder has none.

    Raises
    ------
    SetupError
        ``store.unusable``: it cannot be read or written.
    """
    path = folder / name
    try:
        if not path.exists():
            beside = folder / f".{name}-{secrets.token_hex(8)}"
            beside.write_text(secrets.token_hex(16), encoding="ascii")
            try:
                os.link(beside, path)  # fails where another process was first: its identity counts
            except FileExistsError:
                pass
            finally:
                beside.unlink()
        return path.read_text(encoding="ascii")[:32]
    except OSError as error:
        raise SetupError(
            "store.unusable",
            f"found no way to keep the identity of a folder (error {error.errno}); check --data",
        ) from error
