"""What the settings have left out of the log, by table."""

from __future__ import annotations

from typing import NamedTuple

from bemi_django import conf
from bemi_django.schema import installed
from bemi_django.schema.replication.slots import slot_of
from bemi_django.schema.search_path import closed_cursor

_OMITTED = """
SELECT concat(schema, '.', "table"), reason, changes FROM _bemi.omitted_changes WHERE slot = %s
UNION
-- With an empty slot: by the settings, of the last sync.
SELECT concat(schema, '.', "table"), "column", NULL FROM _bemi.omitted_columns WHERE slot IN (%s, '')
ORDER BY 1, 2
"""
_MAY_READ = """
SELECT bool_and(has_table_privilege(name, 'SELECT'))
FROM unnest(ARRAY['_bemi.omitted_changes', '_bemi.omitted_columns']) name
"""


class LeftOut(NamedTuple):
    """What was left out of the log of one table.

    Attributes:
        table: ``schema.table``.
        columns: The columns that are ignored, or were at some time.
        changes: The number of changes that were left out, by reason.
    """

    table: str
    columns: tuple[str, ...]
    changes: dict[str, int]

    def __str__(self) -> str:
        parts = [f"without {', '.join(self.columns)}"] if self.columns else []
        parts += [f"changes left out: {count:,} ({reason})" for reason, count in self.changes.items()]
        return ", ".join(parts)


def read_omissions(alias: str) -> list[LeftOut]:
    """Return what was left out, in the order of the tables' names; nothing to a role that may not read it.

    Args:
        alias: Alias of the source.
    """
    slot = slot_of(alias)
    with closed_cursor(conf.destination()) as cursor:
        if not installed.has(cursor, "partition_v1"):
            return []
        cursor.execute(_MAY_READ)
        if cursor.fetchone() != (True,):
            return []
        cursor.execute(_OMITTED, [slot, slot])
        rows = cursor.fetchall()
    found: dict[str, LeftOut] = {}
    for table, what, changes in rows:
        one = found.get(table, LeftOut(table, (), {}))
        found[table] = (
            one._replace(columns=(*one.columns, what))
            if changes is None
            else one._replace(changes={**one.changes, what: changes})
        )
    return list(found.values())
