"""The name under which a log has the changes of a database: the one that it had when recording began.

All that the log has of a database is found by one name, so renaming the database changes nothing.
"""

from __future__ import annotations

from typing import Any

_SOURCE = """
SELECT s.system_identifier::pg_catalog.text, d.oid::pg_catalog.int8, d.datname::pg_catalog.text,
       ARRAY(SELECT o.oid::pg_catalog.int8 FROM pg_catalog.pg_database o)
FROM pg_catalog.pg_database d CROSS JOIN pg_catalog.pg_control_system() s
WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
"""
# Asked of the catalog, because a name in a schema that is not there, or is closed, is an error.
_MAY_READ = """
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 0 FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE n.nspname OPERATOR(pg_catalog.=) '_bemi'::pg_catalog.name
    AND c.relname OPERATOR(pg_catalog.=) 'checkpoint'::pg_catalog.name
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'::pg_catalog.text)
    AND pg_catalog.has_table_privilege(c.oid, 'SELECT'::pg_catalog.text)
"""
_NAME = """
SELECT _bemi.database_v1(%s::pg_catalog.text, %s::pg_catalog.text, %s::pg_catalog.oid, %s::pg_catalog.text,
                         %s::pg_catalog.oid[])
"""


def recorded_name(source: Any, log: Any, slot: str | None = None) -> str:
    """Return the name of a database in a log; that of the server if the log has nothing of it.

    Args:
        source: A cursor of the database, of any driver.
        log: A cursor of the database of the log.
        slot: The slot by which the log gets its changes, if it is known.
    """
    source.execute(_SOURCE)
    here = source.fetchone()
    log.execute(_MAY_READ)
    if not log.fetchone()[0]:
        return str(here[2])
    log.execute(_NAME, [slot, *here])
    return str(log.fetchone()[0])
