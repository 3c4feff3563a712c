"""The tables of a publication, which are those that a log has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bemi_django.exceptions import BemiError
from bemi_django.wire.table_name import split

_TRACKED = """
SELECT c.oid::bigint, n.nspname || '.' || c.relname, (
    SELECT coalesce(sum(CASE
        WHEN leaf.reltuples >= 0 THEN leaf.reltuples
        -- Nobody has counted them yet.
        ELSE pg_relation_size(leaf.oid) / 100
    END), 0)::bigint
    FROM pg_class leaf
    WHERE leaf.oid = c.oid AND c.relkind = 'r'
        OR c.relkind = 'p' AND leaf.oid IN (
            SELECT part.relid FROM pg_partition_tree(c.oid) part WHERE part.isleaf))
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND p.pubname = %s
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
-- One that was attached stays published, and is a part of its root.
WHERE NOT c.relispartition
ORDER BY 2
"""


class TrackedTable(NamedTuple):
    """A table of the publication: ``estimate`` is the planner's number of its rows."""

    oid: int
    name: str
    estimate: int


def tracked_tables(server: Any, publication: str, only: Sequence[str]) -> list[TrackedTable]:
    """Return the tables of the publication, sorted by name.

    Args:
        server: A connection to the source whose search_path is ``pg_catalog``.
        publication: The name of the publication.
        only: Names as ``schema.table`` to choose from them, as they are printed or with parts in double
            quotes; empty for all.

    Raises:
        BemiError: If ``only`` names a table that is not tracked.
    """
    with server.cursor() as cursor:
        cursor.execute(_TRACKED, [publication])
        tables = [TrackedTable(*row) for row in cursor.fetchall()]
    names = {table.name for table in tables}
    chosen = {name if name in names else _printed(name) for name in only}
    if unknown := chosen - names:
        raise BemiError(
            f"not tracked: {', '.join(sorted(unknown))}. Name tables as schema.table. 'manage.py bemi doctor "
            "--json' lists those that are tracked, and 'manage.py bemi sync' tracks those of BEMI_INCLUDE"
        )
    return [table for table in tables if not only or table.name in chosen]


def _printed(name: str) -> str:
    """Return a name whose parts may be in double quotes as tables are printed."""
    parts = split(name)
    return name if parts is None or parts.schema is None else f"{parts.schema}.{parts.name}"
