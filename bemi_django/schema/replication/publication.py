"""The publication: which tables the server streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from django.db import DatabaseError, connections, transaction

from bemi_django import conf
from bemi_django.exceptions import sqlstate_of
from bemi_django.schema import tenancy
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote
from bemi_django.wire.table_name import of_db_table

_EXISTS = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_publication
WHERE pubname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""
_IS_PUBLISHED = """
SELECT EXISTS (
    SELECT FROM (SELECT pg_catalog.to_regclass(%s) AS oid) wanted,
        pg_catalog.pg_publication_rel r, pg_catalog.pg_publication p
    WHERE p.oid = r.prpubid AND p.pubname = %s AND (
        r.prrelid = wanted.oid OR r.prrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(wanted.oid)))
)
"""

# The tables of a name in all schemas; true if there are none.
_HAS_TENANTS_TABLE = """
SELECT coalesce(pg_catalog.bool_or(EXISTS (
    SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
    WHERE p.pubname = %s AND r.prrelid = c.oid)), true)
FROM pg_catalog.pg_class c WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
# Before PostgreSQL 18, there is no such column.
_LACKS = """
SELECT p.pubviaroot OR NOT (p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate),
       coalesce(to_jsonb(p) ->> 'pubgencols' <> 's', false)
FROM pg_publication p WHERE p.pubname = %s
"""
#: An object of this name is there, or was created or altered in a transaction that has ended meanwhile.
_IS_DONE = ("42710", "23505", "XX000")
_WHOLE = "publish = 'insert, update, delete, truncate', publish_via_partition_root = false"


class Lacks(NamedTuple):
    """What a publication leaves out.

    Attributes:
        changes: Whether it leaves out some operations, or the partitions of the rows.
        generated_columns: Whether it leaves out generated columns. From PostgreSQL 18 on, an UPDATE of a
            table that has some then fails.
    """

    changes: bool
    generated_columns: bool


def exists(using: str = "default") -> bool:
    """Tell whether the publication exists."""
    with connections[using].cursor() as cursor:
        cursor.execute(_EXISTS, [conf.publication()])
        return bool(cursor.fetchone()[0])


def has_table(table: str, using: str = "default") -> bool:
    """Tell whether the publication has the table of a model, given its ``db_table``, or partitions of it.

    In a database with tenants it is enough that it has the table of one of them, or that none has one.
    """
    connection = connections[using]
    with connection.cursor() as cursor:
        schema, name = of_db_table(table)
        if tenancy.has_tenants(using) and schema is None:
            cursor.execute(_HAS_TENANTS_TABLE, [conf.publication(), name])
            return bool(cursor.fetchone()[0])
        cursor.execute(_IS_PUBLISHED, [connection.ops.quote_name(table), conf.publication()])
        return bool(cursor.fetchone()[0])


def sync(using: str, dry_run: bool) -> Iterator[str]:
    """Make the publication, or complete it, and yield a line for each thing that was done."""
    name = conf.publication()
    if not exists(using) and _does(using, f"CREATE PUBLICATION {quote(name)}", dry_run):
        yield f"publication: {name}"
    lacks, alter = read_lacks(using), f"ALTER PUBLICATION {quote(name)} SET"
    if lacks.changes and _does(using, f"{alter} ({_WHOLE})", dry_run):
        yield f"publication with all changes: {name}"
    if lacks.generated_columns and _does(using, f"{alter} (publish_generated_columns = stored)", dry_run):
        yield f"publication with generated columns: {name}"


def read_lacks(using: str) -> Lacks:
    """Return what the publication leaves out; nothing if there is none."""
    with closed_cursor(using) as cursor:
        cursor.execute(_LACKS, [conf.publication()])
        found = cursor.fetchone()
    return Lacks(*found) if found else Lacks(False, False)


def _does(using: str, statement: str, dry_run: bool) -> bool:
    """Execute a statement, and return False if another session has done the same meanwhile."""
    if dry_run:
        return True
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(statement)
    except DatabaseError as error:
        if sqlstate_of(error) not in _IS_DONE:
            raise
        return False
    return True
