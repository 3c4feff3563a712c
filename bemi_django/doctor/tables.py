"""Tables whose changes cannot be written, or cannot be recorded completely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bemi_django import conf
from bemi_django.doctor.finding import Finding
from bemi_django.schema.database_names import database_option
from bemi_django.schema.replication import publication
from bemi_django.schema.search_path import closed_cursor

# The server refuses UPDATE and DELETE of a published table without a replica identity.
_REFUSED = """
SELECT DISTINCT concat(n.nspname, '.', c.relname) AS name
FROM pg_publication p
JOIN pg_publication_tables t ON t.pubname = p.pubname
CROSS JOIN LATERAL (SELECT format('%I.%I', t.schemaname, t.tablename)::regclass AS oid) root
LEFT JOIN LATERAL pg_partition_tree(root.oid) part ON true
JOIN pg_class c ON c.oid = coalesce(part.relid, root.oid)
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (p.pubupdate OR p.pubdelete) AND c.relkind = 'r' AND c.relreplident <> 'f' AND NOT EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = c.oid
        AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident))
ORDER BY 1
"""
# Not those that sync mends.
_INCOMPLETE = """
SELECT DISTINCT concat(n.nspname, '.', c.relname)
FROM unnest(%s::text[]) given (name)
JOIN pg_class root ON root.relkind IN ('r', 'p')
JOIN pg_namespace home
    ON home.oid = root.relnamespace AND concat(home.nspname, '.', root.relname) = given.name
LEFT JOIN LATERAL pg_partition_tree(root.oid) part ON true
JOIN pg_class c ON c.oid = coalesce(part.relid, root.oid) AND c.relkind = 'r' AND c.relreplident <> 'f'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE EXISTS (SELECT FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT a.attisdropped)
ORDER BY 1
"""
# The server sends no changes of them, and says nothing.
_FOREIGN = """
SELECT DISTINCT concat(n.nspname, '.', c.relname)
FROM unnest(%s::text[]) given (name)
JOIN pg_class root ON root.relkind = 'p'
JOIN pg_namespace home
    ON home.oid = root.relnamespace AND concat(home.nspname, '.', root.relname) = given.name
CROSS JOIN LATERAL pg_partition_tree(root.oid) part
JOIN pg_class c ON c.oid = part.relid AND c.relkind = 'f'
JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1
"""


def findings(source: str, tracked: Sequence[str]) -> Iterator[Finding]:
    """Yield tables with which something is wrong that the system checks do not find.

    Args:
        source: Alias of the source.
        tracked: Names of tables that are tracked or will be, ``schema.table``.
    """
    with closed_cursor(source) as cursor:
        cursor.execute(_REFUSED)
        refused = [name for (name,) in cursor.fetchall()]
        cursor.execute(_INCOMPLETE, [list(tracked)])
        incomplete = [name for (name,) in cursor.fetchall()]
        cursor.execute(_FOREIGN, [list(tracked)])
        foreign = [name for (name,) in cursor.fetchall()]
    if refused:
        yield Finding(
            "bemi.D010",
            f"UPDATE and DELETE of {_shown(refused)} fail: a publication has these tables, and they have no "
            "replica identity.",
            "Run manage.py bemi sync, which sets REPLICA IDENTITY FULL on tracked tables. Give others a "
            "primary key, or run ALTER TABLE ... REPLICA IDENTITY FULL.",
            stops=True,
        )
    if publication.read_lacks(source).generated_columns:
        yield Finding(
            "bemi.D010",
            f"The publication {conf.publication()} leaves out generated columns: UPDATE of tables that have "
            "some fails.",
            f"Run manage.py bemi sync{database_option(source)}.",
            stops=True,
        )
    if incomplete:
        yield Finding(
            "bemi.D011",
            f"Of {_shown(incomplete)}, before has only the old key: tables with virtual generated columns "
            "cannot have REPLICA IDENTITY FULL.",
            "Make the columns STORED, if the earlier values matter.",
        )
    if foreign:
        yield Finding(
            "bemi.D021",
            f"Changes of {_shown(foreign)} are not recorded: they are foreign tables, partitions of tracked "
            "tables, and their changes are in the WAL of another server.",
            "Record them there, if they matter.",
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
