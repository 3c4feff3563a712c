"""Bring triggers, replica identity and publication of the tracked tables in line with the settings."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from bemi_django import conf
from bemi_django.exceptions import NotInstalled

_TABLES = """
SELECT n.nspname, c.relname, c.oid,
       (SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = c.oid AND t.tgname IN ('_bemi_capture', '_bemi_capture_truncate')
          AND p.proname = '_bemi_capture_v1') = 2 AS has_triggers,
       c.relreplident = 'f' OR c.relkind = 'p' AS has_identity,
       c.relispartition OR EXISTS (
           SELECT FROM pg_publication_rel r JOIN pg_publication pub ON pub.oid = r.prpubid
           WHERE pub.pubname = %s AND r.prrelid = c.oid) AS is_published
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT rn.nspname || '.' || rc.relname AS name
    FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
    WHERE rc.oid = coalesce(pg_partition_root(c.oid), c.oid)) root
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
  AND root.name LIKE ANY (%s) AND NOT root.name LIKE ANY (%s)
ORDER BY 1, 2
"""

_OURS = ["%.changes", "%.changes\\_%", "%.\\_bemi\\_%", "pg\\_%", "information\\_schema.%"]


@dataclass(frozen=True)
class Table:
    """A tracked table and what it has already."""

    schema: str
    name: str
    oid: int
    has_triggers: bool
    has_identity: bool
    is_published: bool


def tables(using: str) -> list[Table]:
    """The tables that the settings choose, partitions included under their root's name."""
    parameters = [conf.publication(), _like(conf.include()), _like(conf.exclude()) + _OURS]
    with connections[using].cursor() as cursor:
        cursor.execute(_TABLES, parameters)
        return [Table(*row) for row in cursor.fetchall()]


def sync(using: str = "default", *, dry_run: bool = False, lock_timeout: float = 2.0) -> list[str]:
    """Do what is missing, one table per transaction, and return one line for each thing done.

    ``lock_timeout`` is in seconds. Raises NotInstalled before ``migrate``; on a database that is
    not PostgreSQL nothing happens.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        return []
    if not _is_installed(connection):
        raise NotInstalled
    done = _sync_publication(connection, dry_run)
    for table in tables(using):
        statements = _missing(connection, table)
        done += [f"{what}: {table.schema}.{table.name}" for what, _ in statements]
        if statements and not dry_run:
            _apply(using, [statement for _, statement in statements], lock_timeout)
    return done


def _is_installed(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_proc WHERE proname = '_bemi_track_v1'")
        return bool(cursor.fetchone()[0])


def _sync_publication(connection: BaseDatabaseWrapper, dry_run: bool) -> list[str]:
    name = conf.publication()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_publication WHERE pubname = %s", [name])
        if cursor.fetchone()[0]:
            return []
        if not dry_run:
            cursor.execute(f"CREATE PUBLICATION {connection.ops.quote_name(name)}")
    return [f"publication: {name}"]


def _missing(connection: BaseDatabaseWrapper, table: Table) -> list[tuple[str, str]]:
    quote = _quoted
    name = f"{quote(table.schema)}.{quote(table.name)}"
    statements = []
    if not table.has_triggers:
        statements.append(("triggers", f"SELECT _bemi_track_v1({table.oid}::regclass)"))
    if not table.has_identity:
        statements.append(("replica identity full", f"ALTER TABLE {name} REPLICA IDENTITY FULL"))
    if not table.is_published:
        publication = quote(conf.publication())
        statements.append(("published", f"ALTER PUBLICATION {publication} ADD TABLE {name}"))
    return statements


def _apply(using: str, statements: list[str], lock_timeout: float) -> None:
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(lock_timeout * 1000)}ms"])
        for statement in statements:
            cursor.execute(statement)


def _quoted(identifier: str) -> str:
    # Not quote_name(): that leaves a name alone which begins and ends with a quote.
    return '"' + identifier.replace('"', '""') + '"'


def _like(patterns: list[str]) -> list[str]:
    escaped = (pattern.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%") for pattern in patterns)
    return [pattern.replace("*", "%").replace("?", "_") for pattern in escaped]
