"""Write the messages that the stream of a slot would have for the rows of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bemi_django.ingest.debezium.printing import pgoutput
from bemi_django.ingest.debezium.printing.source_tables import (
    SourceColumn,
    SourceTable,
    SourceTables,
    guessed,
)
from bemi_django.ingest.debezium.printing.texts import Texts
from bemi_django.ingest.debezium.reading.envelope import DELETE, READ, TRUNCATE, RowEvent
from bemi_django.ingest.protocol.messages import UNAVAILABLE, Relation, Row

#: What a value raises that is none of its type, or whose schema is not one of the connector.
_NO_VALUE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)


class ReadRow(NamedTuple):
    """A row that a snapshot has read, and the message that an insertion of it would have."""

    relation: Relation
    row: Row
    message: bytes


class RowMessages:
    """Writes messages of rows; each table is described before its first row, and when it is another one.

    Args:
        tables: Finds the tables.
        texts: Prints the values.
    """

    def __init__(self, tables: SourceTables, texts: Texts) -> None:
        self._tables = tables
        self._texts = texts
        self._described: dict[int, Relation] = {}
        self._looked_for: set[tuple[str, str, frozenset[str]]] = set()
        #: Why values of the last event were left out, by their columns.
        self.reasons: list[str] = []

    def of(self, event: RowEvent, old: RowEvent | None = None) -> Iterator[bytes]:
        """Yield the messages of an event.

        Args:
            event: The event.
            old: The deletion that stands before it, if both are the update of a key.
        """
        self.reasons = []
        before = event.before if old is None else old.before
        if event.operation == TRUNCATE:
            before = event_after = None
        else:
            event_after = event.after
        table, columns = self._columns(event, before, event_after)
        # Of a table that was dropped, only its rows tell that.
        is_whole = before is not None and (table.is_whole or table.has_more_than_key(before))
        relation = self._tables.relation((event.schema, event.table), table, columns, is_whole=is_whole)
        if self._described.get(relation.oid) is not relation:
            self._described[relation.oid] = relation
            yield pgoutput.relation(relation)
        if event.operation == TRUNCATE:
            yield pgoutput.truncate(relation.oid)
            return
        schemas = event.fields
        old_row = None if before is None else self._row(columns, before, schemas, "before")
        if event.operation == DELETE:
            assert old_row is not None
            yield pgoutput.delete(relation.oid, old_row, is_whole=is_whole)
            return
        assert event_after is not None
        new_row = self._row(columns, event_after, schemas, "after")
        if event.operation == "u" or old is not None:
            if not is_whole:
                self._doubt(new_row, columns)
            yield pgoutput.update(relation.oid, old_row, new_row, is_whole=is_whole)
        else:
            yield pgoutput.insert(relation.oid, new_row)

    def _doubt(self, row: Row, columns: tuple[SourceColumn, ...]) -> None:
        """Take NULL for a value that is not known where it may stand for one that did not change."""
        for number, column in enumerate(columns):
            if row[number] is None and self._texts.placeholders.lacks(column.type):
                row[number] = UNAVAILABLE

    def read(self, event: RowEvent) -> ReadRow:
        """Return the row of an event of a snapshot."""
        assert event.operation == READ and event.after is not None
        self.reasons = []
        table, columns = self._columns(event, None, event.after)
        relation = self._tables.relation((event.schema, event.table), table, columns, is_whole=True)
        row = self._row(columns, event.after, event.fields, "after")
        return ReadRow(relation, row, pgoutput.insert(relation.oid, row))

    def is_keyed(self, event: RowEvent) -> bool:
        """Return whether two rows of the table cannot be the same."""
        return bool(self._table_of(event).identity)

    def oid(self, event: RowEvent) -> int:
        """Return the table, by its oid."""
        return self._table_of(event).oid

    def _table_of(self, event: RowEvent) -> SourceTable:
        return self._tables.find(event.schema, event.table, event.place.lsn)

    def forget(self) -> None:
        """Forget all tables, because there was DDL."""
        self._tables.forget()
        self._looked_for.clear()

    def _columns(
        self, event: RowEvent, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> tuple[SourceTable, tuple[SourceColumn, ...]]:
        sent = {**(before or {}), **(after or {})}
        for name in sent:
            if "\0" in name:
                raise ValueError("a column whose name is none")
            name.encode()
        lsn = event.place.lsn
        table = self._table_of(event)
        version = table.version(sent, lsn)
        wanted = event.schema, event.table, frozenset(sent)
        if version is None and wanted not in self._looked_for:
            # There may have been DDL that nobody has noticed.
            self._looked_for.add(wanted)
            self._tables.forget()
            table = self._table_of(event)
            version = table.version(sent, lsn)
        if version is not None:
            return table, tuple(
                one for one in version.columns.values() if not one.is_generated or one.name in sent
            )
        known = {name: one for described in table.versions for name, one in described.columns.items()}
        return table, tuple(known.get(name) or guessed(name, value) for name, value in sent.items())

    def _row(
        self,
        columns: tuple[SourceColumn, ...],
        sent: Mapping[str, Any],
        kinds: Mapping[str, Any],
        side: str,
    ) -> Row:
        row: Row = []
        for column in columns:
            # The connector leaves out columns of types that it does not know.
            value: bytes | None = UNAVAILABLE
            if column.name in sent:
                try:
                    value = self._texts.text(sent[column.name], column.type, kinds.get(column.name) or {})
                except _NO_VALUE as error:
                    self.reasons.append(f"{side}.{column.name}: {_reason(error)}")
            row.append(value)
        return row


def _reason(error: Exception) -> str:
    # Others' messages may hold values.
    is_ours = type(error) in (ValueError,) or type(error).__name__ == "UnreadableRecord"
    return str(error) if is_ours and "literal" not in str(error) else type(error).__name__
