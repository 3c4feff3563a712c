"""The columns that triggers of a table set whenever a row is updated."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from bemi_django.log.live.live_tables import Name
from bemi_django.log.values.plpgsql import always_set, is_always
from bemi_django.schema import search_path

# BEFORE and FOR EACH ROW and UPDATE, of all columns; those that ENABLE REPLICA turns on do not run here.
_TRIGGERS = """
SELECT n.nspname::text, c.relname::text, p.proname::text, l.lanname = 'plpgsql', p.prosrc,
       encode(t.tgargs, 'escape'), substring(pg_get_triggerdef(t.oid) FROM ' WHEN (.*) EXECUTE ')
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
    AND t.tgtype & 19 = 19 AND t.tgattr::text = ''
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang
"""
#: Functions of PostgreSQL that set the column which their first argument names.
_OF_POSTGRESQL = ("moddatetime", "tsvector_update_trigger", "tsvector_update_trigger_column")


def kept_columns(cursor: Any, names: str) -> dict[Name, set[str]]:
    """Return the columns that triggers of tables set at every update, whatever an UPDATE gives them.

    A trigger that sets a column only at some updates, or of which that cannot be told, is left out.

    Args:
        cursor: A cursor on their database.
        names: A JSON array of [schema, name] pairs.
    """
    with search_path.closed(cursor):
        cursor.execute(_TRIGGERS, [names])
        triggers = cursor.fetchall()
    found: dict[Name, set[str]] = defaultdict(set)
    for schema, table, function, is_plpgsql, source, arguments, condition in triggers:
        if condition is not None and not is_always(condition):
            continue
        if is_plpgsql:
            found[schema, table] |= always_set(source)
        elif function in _OF_POSTGRESQL:
            found[schema, table].add(arguments.split("\\000")[0])
    return dict(found)
