"""The indexes of the log that are a matter of choice."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections

from bemi_django import conf
from bemi_django.exceptions import NotInstalled
from bemi_django.schema import installed


def sync(using: str, dry_run: bool) -> Iterator[str]:
    """Make or drop the indexes of ``BEMI_INDEX_VALUES`` where the log is, and yield a line for each.

    The worker waits while an index is made, readers do not.
    """
    try:
        log = installed.log(using)
    except NotInstalled:
        return
    schema = log[: log.rindex(".")]
    for side in ("before", "after"):
        name = f"changes_{side}"
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.{name}"])
            (is_there,) = cursor.fetchone()
            if is_there == conf.index_values():
                continue
            if not dry_run and is_there:
                cursor.execute(f"DROP INDEX {schema}.{name}")
            elif not dry_run:
                cursor.execute(f"CREATE INDEX {name} ON {log} USING gin ({side} jsonb_path_ops)")
        yield f"{'no index' if is_there else 'index'}: {name}"
