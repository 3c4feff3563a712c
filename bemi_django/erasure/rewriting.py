"""Rewrite changes of the log: the one place where an erasure does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from bemi_django.schema import append_only
from bemi_django.seals.records import note_changed_rows

#: Who has replaced changes, as the chain says it.
WHO = {"command": "bemi erase"}

_ROWS = """
SELECT id::text, before::text, after::text, context::text, unavailable::text, primary_key,
       previous_primary_key
FROM {log} WHERE id = ANY (%s::uuid[]) ORDER BY id FOR UPDATE
"""
_REWRITE = """
UPDATE {log} c SET before = n.before, after = n.after, context = n.context, unavailable = n.unavailable,
    primary_key = n.primary_key, previous_primary_key = n.previous_primary_key
FROM unnest(%s::text[]::uuid[], %s::text[]::jsonb[], %s::text[]::jsonb[], %s::text[]::jsonb[],
            %s::text[]::jsonb[], %s::text[], %s::text[])
    n (id, before, after, context, unavailable, primary_key, previous_primary_key)
WHERE c.id = n.id
"""
_COUNT = "SELECT _bemi.count_changes_v1(%s::text[]::uuid[], %s)"


class StoredChange(NamedTuple):
    """What an erasure may change of a row of the log; JSON is text as PostgreSQL prints it."""

    id: str
    before: str
    after: str
    context: str
    unavailable: str | None
    primary_key: str | None
    previous_primary_key: str | None


def lock(cursor: Any, log: str, ids: Sequence[Any]) -> list[StoredChange]:
    """Return changes of the log, which nobody else can change until the end of the transaction.

    Args:
        cursor: A cursor of the log, with a closed search path.
        log: The name of the log, quoted.
        ids: The ids.
    """
    cursor.execute(_ROWS.format(log=_escaped(log)), [[str(each) for each in ids]])
    return [StoredChange(*row) for row in cursor.fetchall()]


def rewrite(cursor: Any, log: str, old: Sequence[StoredChange], new: Sequence[StoredChange]) -> None:
    """Replace changes of the log.

    Args:
        cursor: The cursor that has locked them.
        log: The name of the log, quoted.
        old: The changes as they are.
        new: What they are to be, in the same order.
    """
    pairs = [(one, other) for one, other in zip(old, new, strict=True) if one != other]
    if pairs:
        columns = zip(*(other for _, other in pairs), strict=True)
        # An endpoint may have had a value in it.
        recounted = [one.id for one, other in pairs if one.context != other.context]
        cursor.execute(_COUNT, [recounted, True])
        with append_only.permitted(cursor, "bemi erase"):
            cursor.execute(_REWRITE.format(log=_escaped(log)), [list(column) for column in columns])
        cursor.execute(_COUNT, [recounted, False])
        note_changed_rows(cursor, log, [UUID(one.id) for one, _ in pairs], WHO, is_erased=True)


def _escaped(log: str) -> str:
    # The driver looks for parameters in the name, too.
    return log.replace("%", "%%")
