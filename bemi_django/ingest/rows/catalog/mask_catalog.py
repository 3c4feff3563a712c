"""Know which columns of which tables are masked, and count the masks that fail."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import psycopg2

from bemi_django.ingest.rows.catalog.written_tables import WrittenTables
from bemi_django.ingest.rows.description import Description
from bemi_django.ingest.rows.values import Array, Composite, Domain, Plain, Type
from bemi_django.masking import flat_types, words
from bemi_django.masking.contexts import ContextMasks
from bemi_django.masking.references import REFERENCES, generated, referring
from bemi_django.masking.rules import ColumnMask, Name, Rules

logger = logging.getLogger(__name__)

#: What masks that fail are counted as.
MASKS_FAILED = "values dropped because their mask failed"

# Classes of SQLSTATEs: the connection is lost, or the server ends it.
_OF_CONNECTIONS = ("08", "57")
# The columns that refer to others, and those that are referred to.
_REFERRING = """
SELECT DISTINCT a.attname::text FROM pg_constraint k CROSS JOIN LATERAL (
    SELECT k.conrelid AS relation, unnest(k.conkey) AS number
    UNION SELECT k.confrelid, unnest(k.confkey)) refers
JOIN pg_attribute a ON a.attrelid = refers.relation AND a.attnum = refers.number
WHERE k.contype = 'f' AND (k.conrelid = %s OR k.confrelid = %s) AND refers.relation = %s
"""
# Tables that there are, or were.
_TABLES = """
SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'p')
UNION SELECT r.relation FROM _bemi.relations r WHERE r.system = (pg_control_system()).system_identifier
"""
# One that is as simple as can be: it is asked for the first context of each table.
_LIVE = """
SELECT n.nspname::text, c.relname::text, rn.nspname::text, r.relname::text,
       (SELECT json_object_agg(a.attname, {oid})::text FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid)
JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.oid = %s
""".replace("{oid}", flat_types.OID.format("a.atttypid"))


class MaskCatalog:
    """Applies the rules to the tables of a source, until there is DDL.

    Args:
        rows: Returns the rows of a query on the source.
        describe: Returns the descriptions that were noted of a table, by its oid.
        rules: The rules.
    """

    def __init__(
        self,
        rows: Callable[[str, list[Any]], list[tuple[Any, ...]]],
        describe: Callable[[int], list[Description]],
        rules: Rules,
    ) -> None:
        self._rows = rows
        self._describe = describe
        self._rules = rules
        self._known: dict[int, bool] = {}
        # Those that there are, from the first number on that is no table's: anybody may write any numbers.
        self._tables: frozenset[int] | None = None
        self._written = WrittenTables(rows, rules)
        self._told: set[tuple[str, str]] = set()
        #: Where masks that fail are counted.
        self.counts: Counter[str] = Counter()

    def forget(self) -> None:
        """Forget what is known of tables."""
        self._known.clear()
        self._tables = None
        self._written.forget()

    def of_table(
        self, oid: int, names: Collection[Name], columns: Mapping[str, int], described: Description
    ) -> dict[str, ColumnMask]:
        """Return the masks of a table, by column.

        Args:
            oid: The table.
            names: Its names, and those of its root.
            columns: Its columns, with the oids of their types.
            described: Its description at that time: what was generated then may not be now.
        """
        columns = _told(columns, described.types)
        referring = self._referring(oid)
        expressions = {column.name: column.expression for column in described.generated}
        referring |= generated(
            self._rules, names, _told(described.columns, described.types), expressions, referring
        )
        if not referring and not any(self._rules.is_masked(names, *column) for column in columns.items()):
            return {}
        keys = {*described.key, *(name for (name,) in self._rows(_REFERRING, [oid] * 3))}
        return self._rules.of_table(names, columns, keys, self.note_failure, referring, columns)

    def has_masks(self, oid: int) -> bool:
        """Return whether a table has columns that are masked, or had; True if nothing is known of it."""
        found = self._known.get(oid)
        if found is None:
            if self._tables is not None and oid not in self._tables:
                return True
            try:
                found = self._known[oid] = self._ask(oid)
            except psycopg2.Error as error:
                if error.pgcode is None or error.pgcode[:2] in _OF_CONNECTIONS:
                    raise
                # The rows that follow are asked for as well, and have ways to go on.
                return True
        return found

    def _ask(self, oid: int) -> bool:
        if not self._rules:
            return False
        known = [({one.name, one.root}, _told(one.columns, one.types)) for one in self._describe(oid)]
        for schema, table, root_schema, root, columns in self._rows(_LIVE, [oid]):
            known.append(({(schema, table), (root_schema, root)}, json.loads(columns or "{}")))
        if not known:
            self._tables = frozenset(table for (table,) in self._rows(_TABLES, []))
        return (
            not known
            or any(
                self._rules.is_masked(names, *column)
                for names, columns in known
                for column in columns.items()
            )
            or bool(self._referring(oid))
        )

    def _referring(self, oid: int) -> set[str]:
        if not self._rules:
            return set()
        return {column for *_, column in referring(self._rules, self._rows(REFERENCES, [[oid]]))}

    def of_contexts(self) -> ContextMasks:
        """Return what masks contexts."""
        return ContextMasks(self._rules, self.note_failure, self._written.masked)

    def note_failure(self, what: str, reason: str) -> None:
        """Count a mask that failed, and say so once."""
        self.counts[MASKS_FAILED] += 1
        if (what, reason) not in self._told:
            self._told.add((what, reason))
            logger.warning("a mask failed, and nothing is kept of its values: %s %s", what, reason)


def _told(columns: Mapping[str, int], types: Mapping[int, Type]) -> dict[str, int]:
    """Return the types of columns as :data:`flat_types.OID` does by the server's catalog."""
    return {name: _flat(oid, types) for name, oid in columns.items()}


def _flat(oid: int, types: Mapping[int, Type]) -> int:
    if oid in types and _has_secret_field(oid, types, set()):
        return flat_types.SECRET_FIELDS
    part = oid
    while isinstance(type_ := types.get(part), (Domain, Array)):
        part = type_.base if isinstance(type_, Domain) else type_.element
    return flat_types.TEXT if isinstance(type_, Plain) or part in flat_types.FLAT_TYPES else oid


def _has_secret_field(oid: int, types: Mapping[int, Type], seen: set[int]) -> bool:
    type_ = types.get(oid)
    if type_ is None or oid in seen:
        return False
    seen.add(oid)
    if isinstance(type_, Composite):
        return any(
            words.is_secret(name) or _has_secret_field(part, types, seen) for name, part in type_.fields
        )
    inner = type_.base if isinstance(type_, Domain) else type_.element if isinstance(type_, Array) else 0
    return _has_secret_field(inner, types, seen)
