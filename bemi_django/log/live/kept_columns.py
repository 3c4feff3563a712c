"""The columns that triggers of a table set whenever a row, or some columns of it, are updated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from bemi_django.log.live.live_tables import Name
from bemi_django.log.values.plpgsql import always_set, is_always
from bemi_django.schema import search_path

# BEFORE and FOR EACH ROW and UPDATE; those that ENABLE REPLICA turns on do not run here.
_TRIGGERS = """
SELECT n.nspname::text, c.relname::text, p.proname::text, l.lanname = 'plpgsql', p.prosrc,
       t.tgargs, substring(pg_get_triggerdef(t.oid) FROM ' WHEN (.*) EXECUTE '),
       ARRAY (SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum = ANY (t.tgattr::int2[]))
FROM jsonb_array_elements(%s::jsonb) wanted
JOIN pg_namespace n ON n.nspname = wanted ->> 0
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted ->> 1 AND c.relkind IN ('r', 'p')
JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
    AND t.tgtype & 19 = 19
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang
"""
#: Functions of PostgreSQL that set the column which their first argument names, and how many arguments stand
#: before the columns of which one has to be updated: it is updated whenever it is among those of the UPDATE.
_OF_POSTGRESQL = {"moddatetime": 1, "tsvector_update_trigger": 2, "tsvector_update_trigger_column": 2}

#: Columns that triggers set, with those of which an UPDATE has to name one; none if any update does it.
Kept = Mapping[str, frozenset[str]]


def kept_columns(cursor: Any, names: str) -> dict[Name, Kept]:
    """Return the columns that triggers of tables set, whatever an UPDATE gives them.

    A trigger that sets a column only for some rows, or of which that cannot be told, is left out.

    Args:
        cursor: A cursor on their database.
        names: A JSON array of [schema, name] pairs.
    """
    with search_path.closed(cursor):
        cursor.execute(_TRIGGERS, [names])
        triggers = cursor.fetchall()
    found: dict[Name, dict[str, frozenset[str]]] = defaultdict(dict)
    for schema, table, function, is_plpgsql, source, arguments, condition, named in triggers:
        if condition is not None and not is_always(condition):
            continue
        kept = found[schema, table]
        if is_plpgsql:
            _keep(kept, always_set(source), frozenset(named))
        elif function in _OF_POSTGRESQL:
            column, *others = bytes(arguments).decode(errors="replace").split("\0")[:-1]
            read = frozenset(others[_OF_POSTGRESQL[function] - 1 :])
            # Where the trigger and its function each wait for columns, both have to be satisfied by one.
            if not (read and named) or read & frozenset(named):
                _keep(kept, {column}, read & frozenset(named) or read or frozenset(named))
    return dict(found)


def _keep(kept: dict[str, frozenset[str]], columns: set[str], named: frozenset[str]) -> None:
    for column in columns:
        known = kept.get(column, named)
        kept[column] = known | named if known and named else frozenset()
