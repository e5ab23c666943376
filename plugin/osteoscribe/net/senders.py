"""The way of sending that each destination is reached by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from osteoscribe.app.ports import EncodedObject, Sender, StoreReply
from osteoscribe.app.settings import Destination


class Senders:
    """Sends by C-STORE, or to a DICOMweb destination by STOW-RS (`app.ports.Sender`).

    Parameters
    ----------
    dimse, web
        The two ways.
    """

    def __init__(self, *, dimse: Sender, web: Sender) -> None:
        self._dimse = dimse
        self._web = web

    def send(self, destination: Destination, objects: Sequence[EncodedObject]) -> Iterable[StoreReply]:
        """Send the objects; one reply for each, given as they come."""
        return (self._web if destination.url else self._dimse).send(destination, objects)
