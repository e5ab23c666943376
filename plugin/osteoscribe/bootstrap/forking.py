"""Workers are forked from a process that has imported their libraries: another one is ready at once.

That process is single-threaded and opens nothing: no database, no connection, no file of the node.
"""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing import forkserver

CONTEXT = multiprocessing.get_context("forkserver")

_IMPORTED = (
    "osteoscribe.app.job",
    "osteoscribe.app.prepare",
    "osteoscribe.bootstrap.listener",
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
    # It inherits that SIGTERM is ignored, as in workers: who ends all processes at once means this one.
    former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGTERM, former)
