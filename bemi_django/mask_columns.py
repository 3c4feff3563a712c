"""Prepare the views of the past for columns that are masked: they can show them as not known."""

from __future__ import annotations

import json
from typing import Any

from bemi_django.mask_rules import configured_masks
from bemi_django.masking import flat_types
from bemi_django.masking.references import REFERENCES, referring

# Most columns are told by their names, of which there are few.
_NAMES = """
SELECT DISTINCT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
WHERE a.attrelid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
"""
_COLUMNS = """
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text,
       {oid}
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.oid NOT IN (SELECT _bemi.ours_v1())
    AND (a.attname::pg_catalog.text = ANY (%s::pg_catalog.text[])
        OR a.atttypid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid)
""".replace("{oid}", flat_types.OID.format("a.atttypid"))
# With the slot '*', which no worker has: rules say so, but nothing may have been masked yet.
_REMOVE = """
DELETE FROM _bemi.omitted_columns o
WHERE o.slot = '*' AND NOT EXISTS (
    SELECT FROM pg_catalog.jsonb_to_recordset(%s::pg_catalog.jsonb) w (schema text, name text, col text)
    WHERE (o.schema, o."table", o."column") = (w.schema, w.name, w.col))
"""
_ADD = """
INSERT INTO _bemi.omitted_columns (slot, schema, "table", "column", last)
SELECT '*', w.schema, w.name, w.col, 0
FROM pg_catalog.jsonb_to_recordset(%s::pg_catalog.jsonb) w (schema text, name text, col text)
ON CONFLICT DO NOTHING
"""


def remember_masked(cursor: Any) -> None:
    """Remember which columns are masked, in a database that has views of the past.

    Raises:
        ImproperlyConfigured: A setting is wrong.
    """
    wanted = json.dumps(
        [{"schema": schema, "name": name, "col": column} for schema, name, column in _columns(cursor)]
    )
    cursor.execute(_REMOVE, [wanted])
    cursor.execute(_ADD, [wanted])


def _columns(cursor: Any) -> list[tuple[str, str, str]]:
    rules = configured_masks()
    cursor.execute(_NAMES)
    names = [name for (name,) in cursor.fetchall() if rules.may_mask(name)]
    cursor.execute(_COLUMNS, [names])
    found = {
        (schema, table, column)
        for schema, table, column, type_oid in cursor.fetchall()
        if rules.is_masked([(schema, table)], column, type_oid)
    }
    cursor.execute(REFERENCES, [None])
    return sorted(found | referring(rules, cursor.fetchall()))
