"""What the source knows of the tables of records: their oids, their identity, the types of their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bemi_django.ingest.debezium.printing.column_types import UNKNOWN, ColumnType, ColumnTypes
from bemi_django.ingest.debezium.reading.record import WrittenNumber
from bemi_django.ingest.protocol.messages import Column, Relation

Rows = Callable[[str, list[Any]], list[tuple[Any, ...]]]

_DESCRIBED = """
SELECT c.oid::bigint, c.relreplident = 'f', ARRAY(
    SELECT a.attname::text FROM pg_index i JOIN pg_attribute a
        ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = c.oid
        AND CASE WHEN c.relreplident = 'i' THEN i.indisreplident ELSE i.indisprimary END)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
"""
_FIND = f"{_DESCRIBED} WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')"
_RENAMED = f"{_DESCRIBED} WHERE c.oid = %s"
# Rows of a table that was renamed or dropped since are on their way; another one may have its name by now.
_NAMED = """
SELECT relation, since, until, key FROM (
    SELECT relation::bigint, (since - '0/0')::bigint AS since, description -> 'name' AS name,
        ARRAY(SELECT jsonb_array_elements_text(description -> 'key')) AS key,
        (coalesce(lead(since) OVER (PARTITION BY relation ORDER BY since), ended, 'FFFFFFFF/FFFFFFFF')
            - '0/0')::numeric AS until
    FROM _bemi.relations WHERE system = (pg_control_system()).system_identifier
        AND relation IN (
            SELECT relation FROM _bemi.relations
            WHERE description -> 'name' = jsonb_build_array(%s::text, %s::text))) described
WHERE name = jsonb_build_array(%s::text, %s::text) ORDER BY since
"""
_VERSIONS = """
SELECT (since - '0/0')::bigint, description FROM _bemi.relations
WHERE relation = %s AND system = (pg_control_system()).system_identifier ORDER BY since
"""
_LIVE = "SELECT description FROM _bemi.describe_v1(ARRAY[%s]::oid[])"
_MODIFIERS = """
SELECT attname::text, atttypid::bigint, atttypmod FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
#: Types, by oid, for columns of a table of which nothing is known.
_OF_VALUES: tuple[tuple[type, int], ...] = (
    (bool, 16),
    (int, 1700),
    (WrittenNumber, 1700),
    (dict, 3802),
    (list, 3802),
)
_TEXT, _FIRST_UNKNOWN = 25, 1 << 31


class SourceColumn(NamedTuple):
    """A column of a table; ``is_generated`` if the stream does not have it."""

    name: str
    oid: int
    type: ColumnType
    is_generated: bool = False


class SourceVersion(NamedTuple):
    """The columns of a table, by name, from a position in the WAL on."""

    since: int
    columns: Mapping[str, SourceColumn]


class SourceTable(NamedTuple):
    """A table.

    ``is_whole`` tells whether its old rows are sent with all of their values, and ``identity`` which columns
    are sent of them if not.
    """

    oid: int
    is_whole: bool
    identity: frozenset[str]
    versions: tuple[SourceVersion, ...]

    def has_more_than_key(self, old: Mapping[str, object]) -> bool:
        """Return whether an old row has a value that is sent only with all of the others."""
        return any(value is not None for name, value in old.items() if name not in self.identity)

    def version(self, names: Iterable[str], lsn: int) -> SourceVersion | None:
        """Return the description of the columns of a row, the one that was valid at an LSN if it fits."""
        wanted = set(names)
        past = [one for one in self.versions if one.since <= lsn]
        later = self.versions[len(past) :]
        for version in (*reversed(past), *later):
            if wanted <= version.columns.keys():
                return version
        return None


class _NameHolder(NamedTuple):
    """A table that had a name from a position in the WAL on until another one."""

    since: int
    until: int
    table: SourceTable


class SourceTables:
    """Finds tables, until there is DDL.

    Args:
        rows: Returns the rows of a query on the source.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._types = ColumnTypes(rows)
        self._known: dict[tuple[str, str], list[_NameHolder]] = {}
        self._relations: dict[tuple[object, ...], Relation] = {}

    def forget(self) -> None:
        """Forget all tables, because there was DDL."""
        self._known.clear()
        self._relations.clear()

    def find(self, schema: str, table: str, lsn: int) -> SourceTable:
        """Return the table that had a name at an LSN; one that is not known has no columns."""
        name = schema, table
        named = self._known.get(name)
        if named is None:
            named = self._known[name] = list(self._ask(schema, table))
        # Who has the name now comes first: how a table got it, need not have been noticed.
        return next((one.table for one in reversed(named) if one.since <= lsn < one.until), named[0].table)

    def relation(
        self,
        name: tuple[str, str],
        found: SourceTable,
        columns: tuple[SourceColumn, ...],
        *,
        is_whole: bool,
    ) -> Relation:
        """Return the description of a table as the stream would have it, the same one each time."""
        key = (name, columns, is_whole)
        relation = self._relations.get(key)
        if relation is None:
            described = tuple(
                Column(one.name, one.oid, is_whole or one.name in found.identity) for one in columns
            )
            relation = self._relations[key] = Relation(found.oid, *name, described)
        return relation

    def _ask(self, schema: str, table: str) -> Iterator[_NameHolder]:
        """Yield the tables that have had a name; the one that has it now, if there is one, comes first."""
        live, named = self._rows(_FIND, [schema, table]), self._rows(_NAMED, 2 * [schema, table])
        if live:
            yield _NameHolder(0, 0, self._described(*live[0]))
        elif not named:
            # No table of the source has this number.
            unknown = _FIRST_UNKNOWN + len(self._known)
            yield _NameHolder(0, 0, SourceTable(unknown, True, frozenset(), ()))
        found: dict[int, SourceTable] = {}
        for oid, since, until, key in named:
            if oid not in found:
                dropped = oid, False, key
                found[oid] = self._described(*next(iter(self._rows(_RENAMED, [oid])), dropped))
            yield _NameHolder(since, until, found[oid])

    def _described(self, oid: int, is_whole: bool, identity: Iterable[str]) -> SourceTable:
        modifiers = {(name, type_): modifier for name, type_, modifier in self._rows(_MODIFIERS, [oid])}
        described = [*self._rows(_VERSIONS, [oid])]
        described += [(1 << 63, description) for (description,) in self._rows(_LIVE, [oid])]
        self._types.require(type_ for _, one in described for type_ in one["columns"].values())
        versions = tuple(
            SourceVersion(since, self._columns(description, modifiers)) for since, description in described
        )
        return SourceTable(oid, is_whole, frozenset(identity), versions)

    def _columns(
        self, description: Mapping[str, Any], modifiers: Mapping[tuple[str, int], int]
    ) -> dict[str, SourceColumn]:
        generated = {column[0] for column in description["generated"]}
        # In the order of the table, which the description does not have.
        order = {name: number for number, (name, _) in enumerate(modifiers)}
        described = sorted(description["columns"].items(), key=lambda one: order.get(one[0], len(order)))
        return {
            name: SourceColumn(
                name, oid, self._types.of(oid, modifiers.get((name, oid), -1)), name in generated
            )
            for name, oid in described
        }


def guessed(name: str, value: object) -> SourceColumn:
    """Return the column of a table of which nothing is known, by one of its values."""
    oid = next((oid for type_, oid in _OF_VALUES if isinstance(value, type_)), _TEXT)
    return SourceColumn(name, oid, UNKNOWN)
