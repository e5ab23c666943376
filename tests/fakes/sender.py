"""Associations of a test's own peers, without the chances that the library leaves to a busy machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association

from osteoscribe.net.checkpoint import pause_for_certain
from osteoscribe.net.scu import StoreSender, rejection_of


def associate(ae: AE, port: int, host: str = "127.0.0.1", **options: Any) -> Association:
    """Associate; no answer is lost afterwards."""
    association = ae.associate(host, port, **options)
    pause_for_certain(association)
    return association


@contextmanager
def sender(keep_s: float = 30.0, timeout_s: float = 30.0) -> Iterator[StoreSender]:
    """The node's own sender of reports; its kept associations are ended afterwards."""
    one = StoreSender(ae_title="OSTEOSCRIBE", timeout_s=timeout_s, keep_s=keep_s)
    try:
        yield one
    finally:
        one.close()


def is_rejected(association: Association) -> bool:
    """Whether the peer answered with a rejection, however late the library looks at it."""
    return rejection_of(association) is not None
