"""Workers are forked from a process that has imported their libraries: another one is ready at once.

That process is single-threaded and opens nothing: no database, no connection, no file of the node.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver

CONTEXT = multiprocessing.get_context("forkserver")

_IMPORTED = (
    "osteoscribe.app.job",
    "osteoscribe.app.prepare",
    "osteoscribe.bootstrap.worker",
    "osteoscribe.engine.dbos",
    "osteoscribe.net.commitment",
    "osteoscribe.net.health",
    "osteoscribe.net.query",
    "osteoscribe.net.safekeeping",
    "osteoscribe.net.senders",
    "osteoscribe.net.stow",
)
"""What a worker runs, heaviest of all the engine's library."""


def begin() -> None:
    """Begin to import it, beside the imports of this process: on a second core that takes no time."""
    CONTEXT.set_forkserver_preload(list(_IMPORTED))
    forkserver.ensure_running()
