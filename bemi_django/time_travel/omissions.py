"""What the worker has left out of the log since a moment: columns and changes whose past is not known."""

from __future__ import annotations

from typing import Any, NamedTuple

_COLUMNS = """
SELECT p.schema, p.name, n.value ->> 0, bool_and(n.value ->> 0 = ANY (p.hidden)), max(o.last)
FROM _bemi.omitted_columns o
JOIN _bemi.past p ON (p.schema, p.name) = (o.schema, o."table") AND p.definition <> ''
CROSS JOIN LATERAL jsonb_each(p.names) n
WHERE o.slot = %s AND n.value ? o."column"
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_CHANGES = """
SELECT schema, "table", last FROM _bemi.omitted_changes WHERE slot = %s AND reason = 'condition' ORDER BY 1, 2
"""


class OmittedColumn(NamedTuple):
    """A column that was ignored, by its present name.

    ``is_prepared`` tells whether the view of the past can show it as NULL, ``last`` is the sequence number of
    the last change without its value.
    """

    schema: str
    table: str
    column: str
    is_prepared: bool
    last: int


class OmittedChanges(NamedTuple):
    """Changes of a table that a condition left out, up to the sequence number ``last``."""

    schema: str
    table: str
    last: int


class PastOmissions(NamedTuple):
    """What was left out of the log of a slot."""

    columns: tuple[OmittedColumn, ...] = ()
    changes: tuple[OmittedChanges, ...] = ()

    def hidden(self, position: int) -> dict[str, list[str]]:
        """Return the columns whose values at a position are not known, by ``schema.table``."""
        found: dict[str, list[str]] = {}
        for one in self.columns:
            if one.last > position and one.is_prepared:
                found.setdefault(f"{one.schema}.{one.table}", []).append(one.column)
        return found

    def unknown(self, position: int, said: str) -> dict[str, str]:
        """Return the reason for each table whose past at a position is not known.

        Args:
            position: The sequence number.
            said: The position in words.
        """
        found = {
            f"{one.schema}.{one.table}": f"since {said} a condition (BEMI_CONDITIONS) left changes of "
            f"{one.schema}.{one.table} out of the log"
            for one in self.changes
            if one.last > position
        }
        for one in self.columns:
            if one.last > position and not one.is_prepared:
                found[f"{one.schema}.{one.table}"] = (
                    f"values of {one.schema}.{one.table}.{one.column} were left out since {said}, and the "
                    "view of the past does not know of that: run 'manage.py bemi sync' (by a masked key, "
                    "there is no past)"
                )
        return found


def read(cursor: Any, slot: str) -> PastOmissions:
    """Return what the worker of a slot has left out.

    Args:
        cursor: A cursor of the database that holds the log and the tables.
        slot: The name of the slot.
    """
    cursor.execute(_COLUMNS, [slot])
    columns = tuple(OmittedColumn(*row) for row in cursor.fetchall())
    cursor.execute(_CHANGES, [slot])
    return PastOmissions(columns, tuple(OmittedChanges(*row) for row in cursor.fetchall()))
