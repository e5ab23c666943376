"""Nodes that share a ledger watch each other: what a dead one left behind is done by the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a node says of itself.

    Parameters
    ----------
    folder_id
        Identity of its data folder: tells a node that was started again from another of the same name.
    store_id
        Identity of the place of its segments.
    workers
        How many workers it has.
    beats
        Grows while it lives.
    """

    name: str
    folder_id: str
    store_id: str
    workers: int
    beats: int = 0


class NodeLedger(Protocol):
    """Where nodes say that they live."""

    def heartbeats(self) -> Mapping[str, Heartbeat]:
        """Return what each node last said, by its name."""
        ...

    def fence(self, names: Collection[str]) -> None:
        """Take from these nodes what they hold against others."""
        ...


def executor_id(node: str, worker: int) -> str:
    """Name of a worker for the engine: no two may have the same, on whatever machine.

    Examples
    --------
    >>> executor_id("site-a", 0)
    'site-a/worker-0'
    """
    return f"{node}/worker-{worker}"


class Watch:
    """Looks after the other nodes. One in each node.

    A node is dead when its beat stood still in so many looks in a row: no clocks are compared, and a ledger
    that was away for a while makes nobody dead. Of those that live the first by name acts. Where a slow node
    is taken for dead, work is done twice at most: every step asks the ledger first.

    Parameters
    ----------
    name
        This node.
    looks
        Looks without a beat after which a node is dead; 0 where no other node can share the ledger.
    take_over
        Has the work resumed of all executors but these; gives the number of resumed workflows.
    record_stored
        Records what these nodes stored and did not record; gives the number of instances.
    """

    def __init__(
        self,
        *,
        name: str,
        nodes: NodeLedger,
        looks: int,
        take_over: Callable[[Collection[str]], int],
        record_stored: Callable[[Collection[str]], int],
    ) -> None:
        self._name = name
        self._nodes = nodes
        self._looks = looks
        self._take_over = take_over
        self._record_stored = record_stored
        self._seen: dict[str, tuple[int, int]] = {}
        self._living_before: frozenset[str] | None = None

    def look(self) -> bool:
        """Look once; take over what dead nodes left where it is this node's turn.

        Returns
        -------
        bool
            Whether it is: of the nodes that live one does what is to be done once.

        Raises
        ------
        StoreError
            The ledger does not answer; the next look tries again.
        """
        beats = dict(self._nodes.heartbeats())
        living = frozenset(one for one in beats if one == self._name or self._lives(beats[one])) | {
            self._name
        }
        self._seen = {name: seen for name, seen in self._seen.items() if name in beats}
        if min(living) != self._name:
            self._living_before = None
            return False
        if living != self._living_before:
            # Once for each change: what a node stores after its return it records itself.
            dead = sorted(set(beats) - living)
            if dead:
                self._nodes.fence(dead)
            recorded = self._record_stored(dead) if dead else 0
            LOGGER.info(
                "nodes living=%s dead=%s recorded=%d", ",".join(sorted(living)), ",".join(dead), recorded
            )
        self._living_before = living
        executors = {executor_id(one, k) for one in living for k in range(self._workers(beats, one))}
        if resumed := self._take_over(executors):
            LOGGER.warning("taken over from other executors workflows=%d", resumed)
        return True

    def _workers(self, beats: Mapping[str, Heartbeat], name: str) -> int:
        return beats[name].workers if name in beats else 1

    def _lives(self, beat: Heartbeat) -> bool:
        beats, still = self._seen.get(beat.name, (None, 0))
        still = still + 1 if beats == beat.beats else 0
        self._seen[beat.name] = (beat.beats, still)
        return still < self._looks
