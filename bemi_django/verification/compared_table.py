"""The tables that can be compared: those of the publication."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg2.sql import SQL, Composable, Identifier

from bemi_django.exceptions import BemiError

_TABLES = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind = 'p', _bemi_key.columns
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND p.pubname = %s
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(a.attname ORDER BY k.place), '{}')::text[] AS columns
    FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts) _bemi_key
ORDER BY 2, 3
"""


class ComparedTable(NamedTuple):
    """A tracked table; ``key`` names the columns of its primary key, in the order of the key."""

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    key: list[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def rows(self) -> Composable:
        """Return the FROM item: a root with its partitions, but a parent without its children.

        Children have logs of their own.
        """
        only = SQL("") if self.is_partitioned else SQL("ONLY ")
        return only + Identifier(self.schema, self.name)


def tracked_tables(source: Any, publication: str, only: Sequence[str]) -> list[ComparedTable]:
    """Return the tables of the publication, sorted by name.

    Args:
        source: A connection to the source.
        publication: The name of the publication.
        only: Names as ``schema.table`` to choose from them; empty for all.

    Raises:
        BemiError: If ``only`` names a table that is not tracked.
    """
    with source.cursor() as cursor:
        cursor.execute(_TABLES, [publication])
        tables = [ComparedTable(*row) for row in cursor.fetchall()]
    unknown = set(only) - {str(table) for table in tables}
    if unknown:
        raise BemiError(f"not tracked: {', '.join(sorted(unknown))}")
    return [table for table in tables if not only or str(table) in only]
