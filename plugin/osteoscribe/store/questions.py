"""Questions of peers for storage commitment, and what is kept of what they ask for."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from osteoscribe.app.safekeep import Question
from osteoscribe.store.schema import INSTANCES, QUESTIONS, from_us, to_us

MOST_OPEN = 1000
"""Questions that may wait for their answers; further ones are refused for the time being."""

_AT_ONCE = 500
"""UIDs in one query; SQLite takes 999 parameters by default."""

_DUE = (
    sa.select(*QUESTIONS.c)
    .where(QUESTIONS.c.due_us <= sa.bindparam("now_us"))
    .order_by(QUESTIONS.c.due_us)
    .limit(100)
)


class QuestionTable:
    """Questions and their answers (`app.safekeep.QuestionLedger`).

    Parameters
    ----------
    engine
        An opened database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._reads = engine.execution_options(reads=True)

    def take(self, question: Question) -> bool:
        """Record a question; asked again it is answered again. False where too many are open."""
        values = _values(question)
        with self._engine.begin() as connection:
            again = connection.execute(QUESTIONS.update().where(*_is(question)).values(values)).rowcount
            if not again:
                waiting = sa.select(sa.func.count()).select_from(QUESTIONS)
                waiting = waiting.where(QUESTIONS.c.due_us.is_not(None))
                if connection.execute(waiting).scalar_one() >= MOST_OPEN:
                    return False
                key = {"calling_ae": question.calling_ae, "transaction_uid": question.transaction_uid}
                connection.execute(QUESTIONS.insert().values(**key, **values))
        return True

    def question(self, calling_ae: str, transaction_uid: str) -> Question | None:
        """One question."""
        query = sa.select(*QUESTIONS.c).where(
            QUESTIONS.c.calling_ae == calling_ae, QUESTIONS.c.transaction_uid == transaction_uid
        )
        with self._reads.begin() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else _question(row)

    def due_questions(self, now: datetime) -> tuple[Question, ...]:
        """Questions that are to be answered now, the oldest first."""
        with self._reads.begin() as connection:
            rows = connection.execute(_DUE, {"now_us": to_us(now)})
            return tuple(_question(row) for row in rows.mappings())

    def classes_of(self, sop_instance_uids: Collection[str]) -> dict[str, set[str]]:
        """SOP classes under which instances are kept, by SOP Instance UID; nothing of those that are not."""
        uids = list(sop_instance_uids)
        classes: dict[str, set[str]] = {}
        with self._reads.begin() as connection:
            for first in range(0, len(uids), _AT_ONCE):
                query = sa.select(INSTANCES.c.sop_instance_uid, INSTANCES.c.sop_class_uid).where(
                    INSTANCES.c.sop_instance_uid.in_(uids[first : first + _AT_ONCE]),
                    # Retention leaves the row of what it removed, without its place.
                    INSTANCES.c.segment != "",
                )
                for uid, sop_class_uid in connection.execute(query):
                    classes.setdefault(uid, set()).add(sop_class_uid)
        return classes

    def update_question(self, question: Question) -> None:
        """Record how far the answer is."""
        with self._engine.begin() as connection:
            connection.execute(
                QUESTIONS.update()
                # Not one that was asked again meanwhile.
                .where(*_is(question), QUESTIONS.c.asked_us == to_us(question.asked_at))
                .values(_values(question))
            )


def _is(question: Question) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        QUESTIONS.c.calling_ae == question.calling_ae,
        QUESTIONS.c.transaction_uid == question.transaction_uid,
    )


def _values(question: Question) -> dict[str, object]:
    return {
        "objects": json.dumps(dict(question.objects)),
        "asked_us": to_us(question.asked_at),
        "due_us": None if question.due_at is None else to_us(question.due_at),
        "tries": question.tries,
        "code": question.code,
    }


def _question(row: sa.RowMapping) -> Question:
    return Question(
        calling_ae=row["calling_ae"],
        transaction_uid=row["transaction_uid"],
        objects=json.loads(row["objects"]),
        asked_at=from_us(row["asked_us"]),
        due_at=None if row["due_us"] is None else from_us(row["due_us"]),
        tries=row["tries"],
        code=row["code"],
    )
