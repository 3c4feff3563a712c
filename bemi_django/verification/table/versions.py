"""What a table was like: its descriptions in ``_bemi.relations``, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

_VERSIONS = """
SELECT relation::bigint, (since - '0/0')::bigint, since_xid::text::bigint, description -> 'name',
       description -> 'root', description -> 'columns', description -> 'key', description -> 'numbers',
       ended IS NOT NULL
FROM _bemi.relations WHERE relation = ANY (%s::bigint[]::oid[])
    AND system = (SELECT s.system_identifier FROM pg_control_system() s) ORDER BY relation, since
"""

# Types whose values print the same text: smallint, integer, bigint; text and varchar.
_INTEGERS = frozenset((21, 23, 20))
_TEXTS = frozenset((25, 1043))


class TableVersion(NamedTuple):
    """A table from a position on.

    Attributes:
        lsn: The position, in bytes of WAL.
        xid: The 64-bit id of the transaction that made it so.
        name: Schema and name of the table.
        root: Schema and name under which its rows are recorded.
        columns: The oid of the type of each column.
        key: Columns of the primary key.
        numbers: The number of each column, which another column of its name does not have.
        is_ended: Whether the table was tracked no longer after it, before it was tracked again.
    """

    lsn: int
    xid: int
    name: tuple[str, str]
    root: tuple[str, str]
    columns: dict[str, int]
    key: list[str]
    numbers: dict[str, int]
    is_ended: bool = False


def read_versions(cursor: Any, tables: Sequence[int]) -> dict[int, list[TableVersion]]:
    """Return the versions of tables that this server knows, the first one first.

    Args:
        cursor: A cursor of the source.
        tables: Oids of the tables.
    """
    cursor.execute(_VERSIONS, [list(tables)])
    found: dict[int, list[TableVersion]] = {}
    for table, lsn, xid, name, root, *rest in cursor.fetchall():
        version = TableVersion(int(lsn), xid, (name[0], name[1]), (root[0], root[1]), *rest)
        found.setdefault(table, []).append(version)
    return found


def tracked_since(versions: Sequence[TableVersion]) -> int:
    """Return the id of the transaction since which a table is tracked; 0 if it is not known."""
    return next((version.xid for version in versions if not version.is_ended), 0)


def own_versions(versions: list[TableVersion]) -> list[TableVersion]:
    """Return those since the table was last a partition, whose rows are recorded under the root's name."""
    for place in range(len(versions) - 1, -1, -1):
        if versions[place].root != versions[place].name:
            return versions[place + 1 :]
    return versions


def changed_types(versions: Sequence[TableVersion], columns: dict[str, int]) -> set[str]:
    """Return the columns that were not there, or had another type, in one of the versions or now."""
    shapes = [*(version.columns for version in versions), columns]
    numbers = [version.numbers for version in versions]
    names = {name for shape in shapes for name in shape}
    return {
        name
        for name in names
        if any(len({shape.get(name) for shape in kind}) > 1 for kind in (shapes, numbers))
    }


def is_other_column(versions: Sequence[TableVersion], columns: dict[str, int], name: str) -> bool:
    """Tell whether a column was dropped, renamed or given another type since it was added.

    Args:
        versions: Versions of the table.
        columns: Its columns now, with their types.
        name: The column.
    """
    types = [version.columns.get(name) for version in versions] + [columns.get(name)]
    while types and types[0] is None:
        types.pop(0)
    numbers = {version.numbers[name] for version in versions if name in version.numbers}
    return len(set(types)) != 1 or len(numbers) > 1


def has_other_key(versions: Sequence[TableVersion], key: Sequence[str], columns: dict[str, int]) -> bool:
    """Tell whether keys were printed otherwise: another primary key, or one of other types.

    The text of a key is that of its values, so it stays the same if columns are only renamed.
    """
    if not versions:
        return False
    now = versions[-1]._replace(columns=columns, key=list(key))
    stages = [*versions, now]
    return any(not _prints_same_key(*pair) for pair in zip(stages, stages[1:], strict=False))


def _prints_same_key(before: TableVersion, after: TableVersion) -> bool:
    if len(before.key) != len(after.key):
        return False
    for old, new in zip(before.key, after.key, strict=True):
        if old != new and (old in after.columns or new in before.columns):
            return False
        types = before.columns.get(old), after.columns.get(new)
        if types[0] == types[1] or any(family.issuperset(types) for family in (_INTEGERS, _TEXTS)):
            continue
        # A text need not be the one of its number: 01 is. A JSON array tells numbers from strings.
        if len(after.key) > 1 or types[0] not in _INTEGERS or types[1] not in _TEXTS:
            return False
    return True
