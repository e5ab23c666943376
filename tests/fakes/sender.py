"""Associations of a test's own peers, without the chances that the library leaves to a busy machine."""

from __future__ import annotations

from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association

from osteoscribe.net.checkpoint import pause_for_certain
from osteoscribe.net.scu import rejection_of


def associate(ae: AE, port: int, host: str = "127.0.0.1", **options: Any) -> Association:
    """Associate; no answer is lost afterwards."""
    association = ae.associate(host, port, **options)
    pause_for_certain(association)
    return association


def is_rejected(association: Association) -> bool:
    """Whether the peer answered with a rejection, however late the library looks at it."""
    return rejection_of(association) is not None
