"""A database that was renamed: the log has its changes under the name that it had."""

from __future__ import annotations

from collections.abc import Iterator

from bemi_django import conf
from bemi_django.doctor.finding import Finding
from bemi_django.log.live.former_name import former_name
from bemi_django.schema import installed
from bemi_django.schema.database_names import database_name
from bemi_django.schema.search_path import closed_cursor
from bemi_django.schema.sql import quote

_MAY_READ = "SELECT has_table_privilege(%s, 'SELECT') AND has_table_privilege('_bemi.checkpoint', 'SELECT')"


def findings(source: str) -> Iterator[Finding]:
    """Yield the finding that the log of a source begins under another name of the database."""
    if source != conf.destination():
        return
    with closed_cursor(source) as cursor:
        log = installed.log_of(cursor)
        cursor.execute(_MAY_READ, [log])
        if cursor.fetchone() != (True,):
            return
        former = former_name(cursor, log)
    if former is not None:
        present = database_name(source)
        yield Finding(
            "bemi.D022",
            f"The log begins with changes of the database {former}, and the server has none of this name. If "
            f"{present} had it, histories and verify do not know these changes, and as_of() refuses.",
            f"Give it this name again (ALTER DATABASE {quote(present)} RENAME TO {quote(former)}). "
            f"Unless the log is sealed, you can set the column database of these changes in {log} to the "
            "present name instead, a month at a time.",
        )
