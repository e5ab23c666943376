"""The nodes that share one ledger: their names, and whether they live."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime

import sqlalchemy as sa

from osteoscribe.app.watch import Heartbeat
from osteoscribe.errors import SetupError
from osteoscribe.store.folder import session_name
from osteoscribe.store.schema import NODES, to_us

BEAT_S = 2.0
"""Pause between two beats of a node, and between two looks of another."""


class NodeTable:
    """What the nodes say of themselves (`app.watch.NodeLedger`).

    Parameters
    ----------
    engine
        An opened database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        # A beat is one row of one node: only on SQLite must it wait for the writers of the ledger.
        alone = engine.dialect.name != "sqlite"
        self._engine = engine.execution_options(reads=True) if alone else engine
        self._reads = engine.execution_options(reads=True)

    def register(
        self,
        beat: Heartbeat,
        now: datetime,
        *,
        patience_s: float,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take part under a name, and say so.

        Parameters
        ----------
        beat
            This node; its count is not used.
        patience_s
            How long another node that seems to bear the name, or to have another store, is watched for a
            sign of life.

        Raises
        ------
        SetupError
            ``node.name-in-use``: a node with another data folder lives under this name.
            ``store.not-shared``: a living node keeps its segments elsewhere.
        """
        others = self.heartbeats()
        namesake = others.pop(beat.name, None)
        if namesake and namesake.folder_id != beat.folder_id and self._lives(namesake, patience_s, pause):
            raise SetupError(
                "node.name-in-use",
                f"found another node called {beat.name!r} on this ledger; set another name in [node]",
            )
        for other in (one for one in others.values() if one.store_id != beat.store_id):
            if self._lives(other, patience_s, pause):
                raise SetupError(
                    "store.not-shared",
                    f"found node {other.name!r} on this ledger with segments in another place, expected one "
                    "place for all; set store.shared_folder to the same on each",
                )
        row = {"folder_id": beat.folder_id, "store_id": beat.store_id, "workers": beat.workers}
        with self._engine.begin() as connection:
            if namesake is None:
                connection.execute(NODES.insert().values(name=beat.name, beats=0, beat_us=to_us(now), **row))
            else:
                connection.execute(NODES.update().where(NODES.c.name == beat.name).values(**row))
        self.beat(beat.name, now)

    def beat(self, name: str, now: datetime) -> None:
        """Say that a node lives."""
        alive = NODES.update().where(NODES.c.name == name)
        with self._engine.begin() as connection:
            connection.execute(alive.values(beats=NODES.c.beats + 1, beat_us=to_us(now)))

    def leave(self, name: str) -> None:
        """Say that a node has stopped and left its unfinished work to the others."""
        with self._engine.begin() as connection:
            connection.execute(NODES.delete().where(NODES.c.name == name))

    def fence(self, names: Collection[str]) -> None:
        """End the database sessions of nodes that are taken for dead.

        One that was only stopped or cut off holds locks and turns for which the others would wait in vain.
        """
        if self._engine.dialect.name == "sqlite":
            return
        query = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name IN :names"
        ).bindparams(sa.bindparam("names", expanding=True))
        with self._reads.begin() as connection:
            connection.execute(query, {"names": [session_name(one) for one in names]})

    def heartbeats(self) -> dict[str, Heartbeat]:
        """Return what each node last said, by its name."""
        with self._reads.begin() as connection:
            rows = connection.execute(sa.select(*NODES.c)).mappings().all()
        return {row["name"]: _heartbeat(row) for row in rows}

    def _lives(self, node: Heartbeat, patience_s: float, pause: Callable[[float], None]) -> bool:
        waited_s = 0.0
        while waited_s < patience_s:
            pause(BEAT_S)
            waited_s += BEAT_S
            now = self.heartbeats().get(node.name)
            if now is None or now.folder_id != node.folder_id:
                return False
            if now.beats != node.beats:
                return True
        return False


def _heartbeat(row: sa.RowMapping) -> Heartbeat:
    return Heartbeat(
        name=row["name"],
        folder_id=row["folder_id"],
        store_id=row["store_id"],
        workers=row["workers"],
        beats=row["beats"],
    )
