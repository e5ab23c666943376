"""The images of CT series from the ledger; those of the last few are kept for the next mark on them."""

from __future__ import annotations

from functools import lru_cache

import sqlalchemy as sa

from osteoscribe.readers.headers import StoredSeries
from osteoscribe.store.instances import stored_instance
from osteoscribe.store.reads import Reads
from osteoscribe.store.schema import INSTANCES
from osteoscribe.store.statements import Statement

KEPT_SERIES = 12
"""About 2 kB an image, 4 MB for a series of 2,000; what the shelf works out of it takes as much again."""

_THERE = Statement(
    sa.select(sa.func.count(), sa.func.max(INSTANCES.c.id)).where(
        INSTANCES.c.series_instance_uid == sa.bindparam("series"),
        INSTANCES.c.id <= sa.bindparam("through_id"),
    )
)


class SeriesTable:
    """CT series (`app.prepare.SeriesLedger`).

    Rows of images are added with rising ids and never changed, so their number and the highest id say
    whether a series is still the one that was read before; the same series gives the same objects.

    Parameters
    ----------
    reads
        Of an opened database.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._kept = lru_cache(maxsize=KEPT_SERIES)(self._load)

    def images(self, series_instance_uid: str, through_id: int) -> StoredSeries | None:
        """The newest version of each image of a series among the instances up to an id, if there is any."""
        wanted = {"series": series_instance_uid, "through_id": through_id}
        with self._reads.begin() as connection:
            ((count, highest_id),) = _THERE.tuples(connection, wanted)
        return self._kept(series_instance_uid, count, highest_id) if count else None

    def newest(self, since_id: int | None, most: int) -> tuple[int, tuple[StoredSeries, ...]]:
        """The highest id, and the CT series to which anything was added since an id: the newest `most`.

        Since None: no series.
        """
        highest = sa.func.max(INSTANCES.c.id)
        with self._reads.begin() as connection:
            through_id = connection.execute(sa.select(highest)).scalar_one() or 0
            if since_id is None:
                return through_id, ()
            added = (
                sa.select(INSTANCES.c.series_instance_uid, highest)
                .where(INSTANCES.c.id > since_id, INSTANCES.c.modality == "CT")
                .group_by(INSTANCES.c.series_instance_uid)
                .order_by(highest.desc())
                .limit(most)
            )
            series = [uid for uid, _ in connection.execute(added)]
        found = (self.images(uid, through_id) for uid in series)
        return through_id, tuple(one for one in found if one is not None)

    def _load(self, series_instance_uid: str, count: int, highest_id: int) -> StoredSeries:  # noqa: ARG002
        newest = (
            sa.select(sa.func.max(INSTANCES.c.id))
            .where(INSTANCES.c.series_instance_uid == series_instance_uid, INSTANCES.c.id <= highest_id)
            .group_by(INSTANCES.c.sop_instance_uid)
        )
        query = sa.select(*INSTANCES.c).where(INSTANCES.c.id.in_(newest)).order_by(INSTANCES.c.id)
        with self._reads.begin() as connection:
            rows = connection.execute(query).mappings()
            return StoredSeries(instances=tuple(map(stored_instance, rows)))
