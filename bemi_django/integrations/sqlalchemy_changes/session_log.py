"""The changes of a table, asked by SQLAlchemy for the keys of a row."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import and_, or_, select

from bemi_django.integrations.sqlalchemy_changes.mapped_change import Change
from bemi_django.log.identity import KeySpan, key_spans


class SessionLog(NamedTuple):
    """All changes of a table.

    Attributes:
        session: A session on the database of the log.
        of_table: The criterion for the changes of the table.
    """

    session: Any
    of_table: Any

    def moves(self, key: str) -> list[Any]:
        """Return the changes by which a row came to a key or left it, the newest first, unless diverged."""
        touching = or_(Change.primary_key == key, Change.previous_primary_key == key)
        moved = and_(touching, Change.previous_primary_key.is_not(None), Change.diverged.is_(False))
        return list(self._asked(select(Change).where(self.of_table, moved).order_by(Change.id.desc())))

    def is_used_after(self, key: str, change_id: UUID) -> bool:
        """Return whether a later change is of a row with this key."""
        later = and_(self.of_table, Change.primary_key == key, Change.id > change_id)
        later = and_(later, Change.operation.not_in(("EVENT", "ERASED")))
        return self._asked(select(Change.id).where(later).limit(1)).first() is not None

    def between(self, key: str, start: UUID, end: UUID) -> list[Any]:
        """Return the changes between two, the oldest first, that rows with this key have kept it in."""
        kept = and_(
            Change.primary_key == key, Change.previous_primary_key.is_(None), Change.diverged.is_(False)
        )
        inside = and_(self.of_table, kept, Change.id > start, Change.id < end)
        return list(self._asked(select(Change).where(inside).order_by(Change.id)))

    def _asked(self, statement: Any) -> Any:
        # What the application has not flushed is not in the log.
        with self.session.no_autoflush:
            return self.session.execute(statement).scalars()


def changes_of_row(log: SessionLog, key: str) -> Any:
    """Return the criterion for the changes of a row under all keys that it had.

    Args:
        log: The changes of its table.
        key: Its primary key, as the log stores it.
    """
    return and_(log.of_table, or_(*(_condition(span) for span in key_spans(log, key))))


def _condition(span: KeySpan) -> Any:
    criteria = [Change.primary_key == span.key]
    if span.start is not None:
        criteria.append(Change.id > span.start if span.is_open else Change.id >= span.start)
    if span.end is not None:
        criteria.append(Change.id < span.end)
    if span.others:
        criteria.append(Change.id.not_in(span.others))
    return and_(*criteria)
