"""What the columns of a change are called now, where a name was another column's at another time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from bemi_django.log.lossless_json import loads
from bemi_django.schema import installed
from bemi_django.wire.ids import sequence_in

_MAY_READ = "SELECT pg_catalog.has_table_privilege('_bemi.past'::pg_catalog.text, 'SELECT'::pg_catalog.text)"
_LAYOUTS = """
SELECT k.layouts::pg_catalog.text, (SELECT s.system_identifier FROM pg_catalog.pg_control_system() s)
FROM _bemi.past k
WHERE k.schema OPERATOR(pg_catalog.=) %s::pg_catalog.text
    AND k.name OPERATOR(pg_catalog.=) %s::pg_catalog.text
"""
# Of a sequence number, without the number of the history.
_POSITION = (1 << 51) - 1


class Layout(NamedTuple):
    """What a table's columns are called, by their number, from a position on.

    ``is_noticed`` tells whether that is where the table was altered, rather than where it was found out.
    """

    position: int
    transaction: int
    is_noticed: bool
    names: dict[str, str]


class PresentNames(NamedTuple):
    """The present names of a change's columns, ``{then: now}``, and those of which the log does not tell."""

    names: Mapping[str, str]
    untold: frozenset[str] = frozenset()


class ColumnNames:
    """The present names of a table's columns in its changes.

    Args:
        declared: Renamed columns by the settings and the model, ``{old: new}``.
        layouts: The layouts of the table, the oldest first.
    """

    def __init__(self, declared: Mapping[str, str], layouts: Sequence[Layout] = ()) -> None:
        self._declared = PresentNames(declared)
        self._layouts = layouts if _are_contested(layouts) else ()

    def of(self, change: Any) -> PresentNames:
        """Return the names for a change. A column that was dropped gets a name that no column has."""
        if not self._layouts:
            return self._declared
        position = sequence_in(change.pk.bytes) & _POSITION
        row = change.before or change.after
        found, later = self._at(position, change.transaction_id)
        fitting = [one for one in found if set(one.names.values()) == row.keys()] or found
        now = self._layouts[-1].names
        told = [self._present(one, now) for one in fitting]
        if later is not None and not later.is_noticed:
            told.append(self._present(later, now))
        meant = [{one.get(name) for one in told} for name in row]
        untold = {name for names in meant if len(names) > 1 for name in names}
        names = {**self._declared.names, **told[0]}
        return PresentNames(
            {then: f"{then} (not told)" if names[then] in untold else names[then] for then in names},
            frozenset(name for name in untold if name is not None),
        )

    def _at(self, position: int, transaction: int) -> tuple[list[Layout], Layout | None]:
        """Return the layouts that a change at a position may have, and the next one."""
        found: list[Layout] = []
        later = None
        for place, layout in reversed(list(enumerate(self._layouts))):
            if place and position <= layout.position:
                later = layout
                continue
            found.append(layout)
            # What a transaction wrote before it altered the table has the names from before it.
            if layout.transaction != transaction:
                break
        return found, later

    def _present(self, layout: Layout, now: Mapping[str, str]) -> dict[str, str]:
        return {name: now.get(number, f"{name} (dropped)") for number, name in layout.names.items()}


def read_names(cursor: Any, schema: str, table: str, declared: Mapping[str, str]) -> ColumnNames:
    """Return the names of a table's columns. Nothing but ``declared`` is known if the log is elsewhere.

    Args:
        cursor: A cursor of the database that has the table.
        schema: The schema of the table.
        table: Its name.
        declared: Renamed columns by the settings and the model, ``{old: new}``.
    """
    if not installed.has(cursor, "past_layouts_v1"):
        return ColumnNames(declared)
    cursor.execute(_MAY_READ)
    if not cursor.fetchone()[0]:
        return ColumnNames(declared)
    cursor.execute(_LAYOUTS, [schema, table])
    found = cursor.fetchone()
    return ColumnNames(declared, _layouts(loads(found[0]), found[1]) if found is not None else ())


def _layouts(stored: list[Any], system: int) -> list[Layout]:
    names: dict[str, str] = {}
    layouts = []
    for position, transaction, server, is_noticed, altered in stored:
        names = {number: name for number, name in {**names, **altered}.items() if name is not None}
        # Positions of another server are before all of this one.
        layouts.append(Layout(position if server == system else 0, transaction, is_noticed, names))
    return layouts


def _are_contested(layouts: Collection[Layout]) -> bool:
    """Tell whether two columns had one name at different times."""
    given = {pair for layout in layouts for pair in layout.names.items()}
    return len(given) > len({name for _, name in given})
