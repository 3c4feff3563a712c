"""The indexes of the log that are a matter of choice."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from bemi_django import conf
from bemi_django.exceptions import NotInstalled
from bemi_django.schema import installed
from bemi_django.schema.sql import quote

# By the end of its name: the log may have been renamed since.
_FIND = """
SELECT c.relname::pg_catalog.text FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
WHERE i.indrelid OPERATOR(pg_catalog.=) _bemi.log_v1() AND pg_catalog."right"(
    c.relname::pg_catalog.text, pg_catalog.length(%s::pg_catalog.text)
) OPERATOR(pg_catalog.=) %s::pg_catalog.text
"""

_SERVERS = "SELECT pg_catalog.count(DISTINCT system_identifier) FROM _bemi.checkpoint"


def sync(using: str, dry_run: bool) -> Iterator[str]:
    """Make or drop the indexes that a log may need, and yield a line for each.

    The worker waits while an index is made, readers do not.
    """
    try:
        log = installed.log(using)
    except NotInstalled:
        return
    for suffix, columns, is_wanted in _wanted(using):
        with connections[using].cursor() as cursor:
            cursor.execute(_FIND, [suffix, suffix])
            found = cursor.fetchone()
            if bool(found) == is_wanted:
                continue
            name = found[0] if found else f"{installed.parts(log).name}{suffix}"
            if not dry_run and found:
                cursor.execute(f"DROP INDEX {installed.schema_of(log)}.{quote(name)}")
            elif not dry_run:
                cursor.execute(f"CREATE INDEX {quote(name)} ON {log} USING {columns}")
        yield f"{'no index' if found else 'index'}: {name}"


def _wanted(using: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the end of the name, the columns, and whether it is to be there, of each index."""
    for side in ("before", "after"):
        yield f"_{side}", f"gin ({side} jsonb_path_ops)", conf.index_values()
    with connections[using].cursor() as cursor:
        cursor.execute(_SERVERS)
        (servers,) = cursor.fetchone()
    # Changes of several servers are listed in the order of their time.
    yield "_time", "btree (committed_at, id)", servers > 1
