"""The images of CT series from the ledger; those of the last few are kept for the next mark on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import sqlalchemy as sa

from osteoscribe.readers.headers import StoredInstance
from osteoscribe.store.instances import stored_instance
from osteoscribe.store.schema import INSTANCES

KEPT_SERIES = 8
"""About 2 kB an image, 4 MB for a series of 2,000."""

Images = tuple[StoredInstance, ...]


def series_images(engine: sa.Engine) -> Callable[[sa.Connection, str, int], Images]:
    """Gives the newest version of each image of a series among the instances up to an id.

    Rows of instances are added with rising ids and never changed, so their number and the highest id say
    whether a series is still the one that was read before; the same series gives the same objects.
    """

    @lru_cache(maxsize=KEPT_SERIES)
    def load(series_instance_uid: str, count: int, highest_id: int) -> Images:  # noqa: ARG001  tells states apart
        newest = (
            sa.select(sa.func.max(INSTANCES.c.id))
            .where(INSTANCES.c.series_instance_uid == series_instance_uid, INSTANCES.c.id <= highest_id)
            .group_by(INSTANCES.c.sop_instance_uid)
        )
        query = sa.select(*INSTANCES.c).where(INSTANCES.c.id.in_(newest)).order_by(INSTANCES.c.id)
        with engine.begin() as connection:
            return tuple(stored_instance(row) for row in connection.execute(query).mappings())

    def images(connection: sa.Connection, series_instance_uid: str, through_id: int) -> Images:
        there = sa.select(sa.func.count(), sa.func.max(INSTANCES.c.id)).where(
            INSTANCES.c.series_instance_uid == series_instance_uid, INSTANCES.c.id <= through_id
        )
        count, highest_id = connection.execute(there).one()
        return load(series_instance_uid, count, highest_id) if count else ()

    return images
