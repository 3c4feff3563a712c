"""Find tables and views that the views of the past do not cover, because they came without being noticed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bemi_django.exceptions import HistoryError
from bemi_django.time_travel.statements.redirection import no_past

# Created without an event trigger, and not seen by "sync" since, in schemas with tracked tables. A table
# without columns has no view.
_UNNOTICED = """
SELECT n.nspname::text, c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_namespace past ON past.nspname = _bemi.past_schema_v1(n.nspname::text)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND c.relpersistence <> 't' AND c.oid NOT IN (SELECT _bemi.ours_v1())
    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    AND EXISTS (SELECT FROM pg_class v WHERE v.relnamespace = past.oid AND v.relkind = 'v')
    AND NOT EXISTS (SELECT FROM pg_class v WHERE v.relnamespace = past.oid AND v.relname = c.relname)
ORDER BY 1, 2
"""


def read_unnoticed(cursor: Any, path: Collection[str]) -> frozenset[tuple[str, str]]:
    """Return the schema and the name of each such table that a statement can only name with its schema.

    Args:
        cursor: A cursor of the database.
        path: The schemas of the search path.

    Raises:
        HistoryError: A statement could name one of them without its schema, and would read the present.
    """
    cursor.execute(_UNNOTICED)
    found = [(schema, name) for schema, name in cursor.fetchall()]
    in_path = [f"{schema}.{name}" for schema, name in found if schema in path]
    if in_path:
        raise HistoryError(no_past(in_path))
    return frozenset(found)
