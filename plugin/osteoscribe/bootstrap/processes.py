"""The processes beside the listener, which starts them again when they end by themselves."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import cast

from osteoscribe.app.settings import Settings
from osteoscribe.bootstrap.forking import CONTEXT
from osteoscribe.bootstrap.listener import READY, STOP_PATIENCE_S, run_receiver
from osteoscribe.bootstrap.worker import NEWS, UnderWay, run_worker
from osteoscribe.net.share import COUNTER, Handing
from osteoscribe.store.folder import FolderLock

LOGGER = logging.getLogger(__name__)


class KeptProcess(ABC):
    """A process of the node, started again when it ends by itself. It ends when this process does.

    Parameters
    ----------
    name
        What it is called in the log.
    """

    _FIRST_PAUSE_S = 1.0
    _LONGEST_PAUSE_S = 60.0

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._pause_s = self._FIRST_PAUSE_S
        self._revive_at = 0.0
        self._control_lock = threading.Lock()
        self._start()

    @abstractmethod
    def _made(self, control: Connection) -> BaseProcess:
        """Make the process; it ends when the other end of its control pipe is closed."""

    @abstractmethod
    def _note_death(self) -> None:
        """Do what is to be done when it has ended by itself."""

    def _start(self) -> None:
        ours, theirs = CONTEXT.Pipe()
        # A process that does not read must not hold up an association.
        os.set_blocking(ours.fileno(), False)
        with self._control_lock:
            self._control = ours
        self._process = self._made(theirs)
        self._started = time.monotonic()
        self._process.start()
        theirs.close()

    def write(self, message: bytes) -> None:
        """Write into its control pipe; from any thread."""
        with self._control_lock, suppress(OSError):
            os.write(self._control.fileno(), message)

    def revive(self) -> None:
        """Start it again, after a growing pause, where it has ended."""
        now = time.monotonic()
        if self._process.is_alive():
            return
        if not self._revive_at:
            if now - self._started > self._LONGEST_PAUSE_S:
                self._pause_s = self._FIRST_PAUSE_S
            LOGGER.error("%s ended exit=%s", self._name, self._process.exitcode)
            self._note_death()
            self._revive_at = now + self._pause_s
            self._pause_s = min(self._pause_s * 2, self._LONGEST_PAUSE_S)
        elif now >= self._revive_at:
            self._revive_at = 0.0
            self.ask_to_stop()
            self._start()

    def restart(self, settings: Settings) -> None:
        """End it, and start it with other settings."""
        self.ask_to_stop()
        self.join(STOP_PATIENCE_S)
        self._settings = settings
        self._revive_at = 0.0
        self._start()

    def ask_to_stop(self) -> None:
        """Let it end after what it is doing."""
        with self._control_lock:
            self._control.close()

    def join(self, patience_s: float) -> None:
        """Wait for its end, and end it where it takes too long; its work is resumed at the next start."""
        self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class WorkerProcess(KeptProcess):
    """A measuring process.

    Parameters
    ----------
    number
        Its number from 0: names its lock and its executor.
    on_death
        Called with the key of the job during whose measuring it ended by itself.
    run
        What it runs.
    """

    def __init__(
        self,
        settings: Settings,
        number: int,
        on_death: Callable[[str], None] = lambda _key: None,
        run: Callable[[Settings, int, Connection, UnderWay], None] = run_worker,
    ) -> None:
        self._number = number
        self._on_death = on_death
        self._run = run
        self._under_way = UnderWay(CONTEXT)
        super().__init__(settings, f"worker {number}")

    def wake(self) -> None:
        """Have it look at the ledger; from any thread."""
        self.write(NEWS)

    def _made(self, control: Connection) -> BaseProcess:
        return CONTEXT.Process(
            target=self._run, args=(self._settings, self._number, control, self._under_way), name=self._name
        )

    def _note_death(self) -> None:
        """Tell of the job that was under way, unless the worker ended itself in good order."""
        key = self._under_way.take()
        if key and self._process.exitcode not in (0, 1):
            self._on_death(key)


class ReceiverProcess(KeptProcess):
    """A process that serves connections which the listener hands over (`net.guard.Receiver`).

    Parameters
    ----------
    number
        Its number from 1.
    lock
        Held by it too: it may outlive the listener for a moment.
    on_news
        Called from a thread with what it writes for the workers.
    on_death
        Called with its process number where it ended by itself.
    """

    def __init__(
        self,
        settings: Settings,
        number: int,
        *,
        lock: FolderLock,
        on_news: Callable[[bytes], None],
        on_death: Callable[[int], None],
    ) -> None:
        self._lock = lock
        self._on_news = on_news
        self._on_death = on_death
        self._is_ready = False
        super().__init__(settings, f"receiver {number}")

    @property
    def is_ready(self) -> bool:
        """Whether it takes connections."""
        return self._is_ready

    @property
    def open_connections(self) -> int:
        """How many connections it has; those of one that has ended ended with it."""
        return self._handing.open_connections if self._is_ready else 0

    def give(self, connection: socket.socket) -> bool:
        """Have it serve a connection; False where it cannot."""
        return self._handing.give(connection)

    def take_up(self, settings: Settings) -> None:
        """Have it take up who may call; everything else at its next start."""
        self._settings = settings
        with self._control_lock, suppress(OSError):
            self._control.send(settings)

    def ask_to_stop(self) -> None:
        """Let it end after what it is receiving."""
        with self._control_lock, suppress(OSError):
            self._control.send(None)
        super().ask_to_stop()

    def _start(self) -> None:
        ours, self._theirs = socket.socketpair()
        self._ended = CONTEXT.RawValue(COUNTER, 0)
        self._handing = Handing(ours, self._ended)
        with self._theirs:
            super()._start()
        threading.Thread(target=self._hear, args=(ours,), name=self._name, daemon=True).start()

    def _made(self, control: Connection) -> BaseProcess:
        return CONTEXT.Process(
            target=run_receiver,
            args=(self._settings, control, self._theirs, self._ended, self._lock),
            name=self._name,
        )

    def _hear(self, channel: socket.socket) -> None:
        """Pass on what it says, until it has ended."""
        with channel, suppress(OSError):
            while heard := channel.recv(65536):
                self._is_ready = self._is_ready or READY in heard
                self._on_news(heard)
        self._is_ready = False

    def _note_death(self) -> None:
        self._on_death(cast(int, self._process.pid))
