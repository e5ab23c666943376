"""An association that is made before its connection comes: to make it takes longer than a small object."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, RequestHandler

SPARE = "spare association"
"""Name of its thread. The library knows those that are under way by theirs: ``AcceptorThread``."""


class SpareAssociation(RequestHandler):
    """An association of the library's, with its thread, that waits for a connection.

    Parameters
    ----------
    server
        Whose association it will be.
    """

    def __init__(self, server: AssociationServer) -> None:
        # Not the library's own, which has a connection and serves it.
        self.server = server
        self.client_address = server.server_address
        self.request = cast(Any, object())
        self._connections: SimpleQueue[tuple[Any, Any, Callable[[], None]] | None] = SimpleQueue()
        self._association = self._create_association()
        self._association.name = SPARE
        cast(Any, self._association).run = self._run
        self._association.start()

    def serve(self, connection: Any, address: Any, on_end: Callable[[], None]) -> None:
        """Have it serve a connection; its end is told."""
        self._association.name = f"AcceptorThread@{address[1]}"
        self._connections.put((connection, address, on_end))

    def cancel(self) -> None:
        """End it without a connection."""
        self._connections.put(None)

    def _run(self) -> None:
        taken = self._connections.get()
        if taken is None:
            return
        connection, self.client_address, on_end = taken
        association = self._association
        cast(Any, association.dul.socket).socket = connection
        association.requestor.address_info = self.remote
        try:
            evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
            Association.run(association)
        finally:
            on_end()


class SparingEntity(AE):
    """An application entity whose limit of associations does not count those that wait for a connection."""

    @property
    def active_associations(self) -> list[Association]:
        """Associations that have a connection."""
        return [one for one in super().active_associations if one.name != SPARE]
