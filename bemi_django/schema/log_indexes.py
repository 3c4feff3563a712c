"""The indexes of the log that are a matter of choice."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from bemi_django import conf
from bemi_django.exceptions import NotInstalled
from bemi_django.schema import installed

_SERVERS = "SELECT count(DISTINCT system_identifier) FROM _bemi.checkpoint"


def sync(using: str, dry_run: bool) -> Iterator[str]:
    """Make or drop the indexes that a log may need, and yield a line for each.

    The worker waits while an index is made, readers do not.
    """
    try:
        log = installed.log(using)
    except NotInstalled:
        return
    schema = log[: log.rindex(".")]
    for name, columns, is_wanted in _wanted(using):
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.{name}"])
            (is_there,) = cursor.fetchone()
            if is_there == is_wanted:
                continue
            if not dry_run and is_there:
                cursor.execute(f"DROP INDEX {schema}.{name}")
            elif not dry_run:
                cursor.execute(f"CREATE INDEX {name} ON {log} USING {columns}")
        yield f"{'no index' if is_there else 'index'}: {name}"


def _wanted(using: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the name, the columns, and whether it is to be there, of each index."""
    for side in ("before", "after"):
        yield f"changes_{side}", f"gin ({side} jsonb_path_ops)", conf.index_values()
    with connections[using].cursor() as cursor:
        cursor.execute(_SERVERS)
        (servers,) = cursor.fetchone()
    # Changes of several servers are listed in the order of their time.
    yield "changes_time", "btree (committed_at, id)", servers > 1
