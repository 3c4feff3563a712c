"""Keep what was left out of the log beside the checkpoint, in the same transaction."""

from __future__ import annotations

from typing import Any

import orjson

from bemi_django.ingest.selection.omissions import Omissions

_COLUMNS = """
INSERT INTO _bemi.omitted_columns AS o (slot, schema, "table", "column", last)
SELECT %s, e.schema, e."table", e."column", max(e.last)
FROM jsonb_to_recordset(%s::jsonb) e (schema text, "table" text, "column" text, last bigint)
GROUP BY e.schema, e."table", e."column" ORDER BY e.schema, e."table", e."column"
ON CONFLICT (slot, schema, "table", "column") DO UPDATE SET last = greatest(o.last, excluded.last)
"""
_CHANGES = """
INSERT INTO _bemi.omitted_changes AS o (slot, schema, "table", reason, changes, last)
SELECT %s, e.schema, e."table", e.reason, e.changes, e.last
FROM jsonb_to_recordset(%s::jsonb) e (schema text, "table" text, reason text, changes bigint, last bigint)
ORDER BY e.schema, e."table", e.reason
ON CONFLICT (slot, schema, "table", reason) DO UPDATE SET changes = o.changes + excluded.changes,
    last = greatest(o.last, excluded.last), updated_at = clock_timestamp()
"""


def add(cursor: Any, slot: str, omissions: Omissions) -> None:
    """Add what was left out to what is known.

    Args:
        cursor: A cursor of the destination, in the transaction that moves the checkpoint.
        slot: The name of the slot.
        omissions: What was left out.
    """
    columns = [
        {"schema": schema, "table": table, "column": column, "last": last}
        for (schema, table, ignored), last in omissions.columns.items()
        for column in ignored
    ]
    changes = [
        {"schema": schema, "table": table, "reason": reason, "changes": number, "last": last}
        for (schema, table, reason), (number, last) in omissions.changes.items()
    ]
    for query, entries in ((_COLUMNS, columns), (_CHANGES, changes)):
        if entries:
            cursor.execute(query, [slot, orjson.dumps(entries).decode()])
