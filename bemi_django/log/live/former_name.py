"""The name that a database had when its log began."""

from __future__ import annotations

from typing import Any

#: An expression: the database of the first change since the log was begun, or begun anew, if the server has
#: none of this name any more. A log of several databases may have changes of one that is gone.
FORMER = """(
    SELECT f.database FROM _bemi.checkpoint k CROSS JOIN LATERAL (
        SELECT c.database FROM {log} c
        WHERE c.id OPERATOR(pg_catalog.>) _bemi.bound_v1(_bemi.sequence_v1(k.slot, k.start_lsn))
        ORDER BY c.id LIMIT 1) f
    WHERE k.is_local AND k.sink OPERATOR(pg_catalog.=) ''
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_database d
                        WHERE d.datname::pg_catalog.text OPERATOR(pg_catalog.=) f.database)
        AND (SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) 1 FROM _bemi.checkpoint o
             WHERE o.sink OPERATOR(pg_catalog.=) '')
)"""


def former_name(cursor: Any, log: str) -> str | None:
    """Return the name that the database of a cursor had when its log began, if it was renamed since.

    Args:
        cursor: The cursor.
        log: The quoted name of the log's table.
    """
    cursor.execute("SELECT " + FORMER.format(log=log))
    (name,) = cursor.fetchone()
    return None if name is None else str(name)
