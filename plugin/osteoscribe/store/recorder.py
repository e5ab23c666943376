"""The ledger's rows of received instances, written in batches behind the answers.

The segment alone makes an instance durable; its row can wait, for `recover_instances` makes it again after
a crash. What must not wait is the question whether the very same bytes are here already: it is answered from
memory, one look into the ledger for each series.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from osteoscribe.app.bugs import trace_of
from osteoscribe.app.ports import Stored
from osteoscribe.errors import StoreError
from osteoscribe.readers.headers import InstanceHeader
from osteoscribe.store.instances import InstanceTable

LOGGER = logging.getLogger(__name__)

LONGEST_WAIT_S = 0.2
"""How long a row of an image waits for others."""
MARK_WAIT_S = 0.02
"""How long a mark object waits for the end of its association, which nearly always follows at once: a job
begins after that, so one commit and one look at the ledger serve both."""
RETRY_S = 1.0
"""Pause after the ledger did not answer."""
MOST_WAITING = 50_000
"""Rows that may wait; beyond, instances are refused until the ledger answers again."""
KNOWN_FOR_S = 1.0
"""How long the instances of a series count as known where other processes record some too: at worst the same
bytes are stored twice, and recorded once."""
MOST_KNOWN = 200_000
"""Instances that are remembered; about 40 MB."""


class Recorder:
    """Records accepted instances. Safe to share between threads; one for a process.

    It has a thread of its own from the first instance on, which sleeps while nothing waits: to start one for
    each association would hold up its answer. The end of an association is recorded at once, a mark object
    with it or after `MARK_WAIT_S`.

    Parameters
    ----------
    table
        Where the instances are recorded.
    on_recorded
        Called after a commit that holds a mark object or the end of an association.
    is_alone
        Whether no other process records instances: what is known of a series is all there is.
    """

    def __init__(
        self,
        table: InstanceTable,
        on_recorded: Callable[[], None] = lambda: None,
        *,
        is_alone: bool = True,
    ) -> None:
        self._table = table
        self._on_recorded = on_recorded
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._waiting: list[Stored] = []
        self._ended: list[str] = []
        self._due = math.inf
        self._is_told = False
        self._thread: threading.Thread | None = None
        self._is_alone = is_alone
        self._known: OrderedDict[str, set[tuple[str, str]]] = OrderedDict()
        self._asked_at: dict[str, float] = {}
        self._known_count = 0

    def has_instance(self, header: InstanceHeader, digest: str) -> bool:
        """Whether these very bytes are known under this UID: the same bytes name the same series.

        Raises
        ------
        StoreError
            ``store.locked``: the ledger does not answer, or has not for long.
        """
        series, instance = header.series_instance_uid, (header.sop_instance_uid, digest)
        with self._changed:
            if len(self._waiting) > MOST_WAITING:
                raise StoreError(
                    "store.locked", "found the ledger locked or its disk full; free it, then send again"
                )
            is_known = instance in self._known.get(series, ())
            if series in self._known:
                self._known.move_to_end(series)
                if not is_known and not self._is_outdated(series):
                    return False
            if is_known and any(
                one.digest == digest and one.header.sop_instance_uid == header.sop_instance_uid
                for one in self._waiting
            ):
                return True
        if is_known:
            # Retention may have removed it since: what is not in the ledger must be stored again.
            return self._table.has_instance(header, digest)
        found = self._table.instances_of(series)
        with self._changed:
            self._asked_at[series] = time.monotonic()
            self._remember(series, found)
            return instance in self._known[series]

    def add(self, stored: Sequence[Stored]) -> None:
        """Have instances recorded; they are on disk already."""
        with self._changed:
            for one in stored:
                self._remember(one.header.series_instance_uid, [(one.header.sop_instance_uid, one.digest)])
                self._waiting.append(one)
                self._is_told = self._is_told or one.is_mark
            self._wake(MARK_WAIT_S if any(one.is_mark for one in stored) else LONGEST_WAIT_S)

    def close_segment(self, name: str) -> None:
        """Have it recorded that the association of a segment has ended."""
        with self._changed:
            self._ended.append(name)
            self._is_told = True
            self._wake(0.0)

    def flush(self) -> None:
        """Record what waits, now.

        Raises
        ------
        StoreError
            ``store.locked``: it waits still.
        """
        with self._writing:
            with self._changed:
                waiting, self._waiting = self._waiting, []
                ended, self._ended = self._ended, []
                is_told, self._is_told = self._is_told, False
                self._due = math.inf
            if not waiting and not ended:
                return
            try:
                self._table.add(waiting, ended=ended)
            except BaseException:
                with self._changed:
                    self._waiting[:0], self._ended[:0], self._is_told = waiting, ended, True
                    self._due = 0.0
                    self._changed.notify()
                raise
        if is_told:
            self._on_recorded()

    def _remember(self, series: str, instances: Sequence[tuple[str, str]]) -> None:
        """Note instances of a series; of the series longest unused those are forgotten that do not wait."""
        known = self._known.setdefault(series, set())
        self._known_count -= len(known)
        known.update(instances)
        self._known_count += len(known)
        self._known.move_to_end(series)
        if self._known_count > MOST_KNOWN and not self._waiting:
            while self._known_count > MOST_KNOWN // 2 and len(self._known) > 1:
                name, forgotten = self._known.popitem(last=False)
                self._known_count -= len(forgotten)
                self._asked_at.pop(name, None)

    def _is_outdated(self, series: str) -> bool:
        """Whether another process may have recorded instances of a series meanwhile."""
        return not self._is_alone and time.monotonic() - self._asked_at.get(series, 0.0) > KNOWN_FOR_S

    def _wake(self, within_s: float) -> None:
        due = time.monotonic() + within_s
        is_sooner, self._due = due < self._due, min(due, self._due)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
        elif is_sooner:
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while (left_s := self._due - time.monotonic()) > 0:
                    self._changed.wait(None if left_s == math.inf else left_s)
            try:
                self.flush()
            except StoreError as error:
                LOGGER.error("instances not recorded yet code=%s", error.code)
                time.sleep(RETRY_S)
            except Exception as error:  # noqa: BLE001  the edge of a thread: no other would be begun
                LOGGER.error("bug while recording: %s", trace_of(error))
                time.sleep(RETRY_S)
