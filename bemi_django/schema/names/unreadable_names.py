"""Names that are not UTF-8, as a database with the encoding SQL_ASCII may have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.db import DatabaseError

from bemi_django.schema.search_path import closed_cursor

#: Names that a message has.
_SHOWN = 5
# As bytes, because the server refuses to send them as text. What is derived from a table has its name.
_NAMES = """
WITH relations AS (
    SELECT c.oid, c.relname, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT starts_with(n.nspname::text, '_bemi')
)
SELECT found.kind, convert_to(found.shown, 'SQL_ASCII'), convert_to(found.name::text, 'SQL_ASCII') FROM (
    SELECT 'schema', nspname::text, nspname FROM pg_namespace WHERE NOT starts_with(nspname::text, '_bemi')
    UNION ALL SELECT 'role', rolname::text, rolname FROM pg_roles
    UNION ALL SELECT 'publication', pubname::text, pubname FROM pg_publication
    UNION ALL SELECT 'table', concat(r.nspname, '.', r.relname), r.relname FROM relations r
    UNION ALL SELECT 'column', concat(r.nspname, '.', r.relname, '.', a.attname), a.attname
        FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT 'type', concat(n.nspname, '.', t.typname), t.typname
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE NOT starts_with(n.nspname::text, '_bemi') AND t.typelem = 0
            AND t.typrelid NOT IN (SELECT oid FROM relations)
) found (kind, shown, name)
WHERE found.name::text ~ '[^ -~]' AND getdatabaseencoding() = 'SQL_ASCII' ORDER BY 1, 2
"""


def remedy(alias: str) -> str:
    r"""Return what to do about names that the server cannot send, such as ``table public.caf\xe9``, if any.

    Args:
        alias: Alias of the database.
    """
    names: list[str] = []
    # In a transaction that has failed, nothing can be asked.
    with suppress(DatabaseError):
        names += _unreadable(alias)
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    renamed = ", ".join(names[:_SHOWN]) + more
    return f"rename what has a name that is not UTF-8 (in psql with PGCLIENTENCODING=SQL_ASCII): {renamed}"


def _unreadable(alias: str) -> Iterator[str]:
    with closed_cursor(alias) as cursor:
        cursor.execute(_NAMES)
        for kind, *names in cursor.fetchall():
            shown, name = (bytes(one).decode(errors="backslashreplace") for one in names)
            if name.encode() != bytes(names[1]):
                yield f"{kind} {shown}"
