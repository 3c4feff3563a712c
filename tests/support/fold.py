"""Replay a log from its beginning: every change must fit the rows that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID


class Entry(NamedTuple):
    id: UUID
    table: str
    operation: str
    before: str
    after: str
    position: int


def ordinal(identifier: UUID) -> int:
    """Return the number of a change in its transaction, which its id contains."""
    return (identifier.int >> 30) & 0xFFFFFFFF


def fold(
    entries: Iterable[Entry], older: Mapping[str, Counter[str]] | None = None
) -> dict[str, Counter[str]]:
    """Return the rows of each table as JSON text.

    Args:
        entries: The log.
        older: Rows of each table that are older than the log, and that a baseline records as they are.

    Raises:
        AssertionError: An entry does not fit the rows or the order.
    """
    tables = {table: Counter(rows) for table, rows in (older or {}).items()}
    last: Entry | None = None
    for entry in entries:
        _require_order(last, entry)
        last = entry
        rows = tables.setdefault(entry.table, Counter())
        if entry.operation == "TRUNCATE":
            rows.clear()
        if entry.operation == "BASELINE":
            assert rows[entry.after] > 0, f"{entry} records a row that is not there"
        if entry.operation in ("UPDATE", "DELETE"):
            assert rows[entry.before] > 0, f"{entry} changes a row that is not there"
            rows[entry.before] -= 1
        if entry.operation in ("CREATE", "UPDATE"):
            rows[entry.after] += 1
    return {table: +rows for table, rows in tables.items()}


def _require_order(last: Entry | None, entry: Entry) -> None:
    number = ordinal(entry.id)
    if last is None or entry.position != last.position:
        assert number == 0, f"the beginning of a transaction is missing before {entry}"
        assert last is None or entry.position > last.position, f"{entry} after {last}"
    else:
        assert number == ordinal(last.id) + 1, f"a change is missing between {last} and {entry}"


def live(cursor: Any, tables: Iterable[str]) -> dict[str, Counter[str]]:
    """Return the current rows of the tables as JSON text."""
    found: dict[str, Counter[str]] = {}
    for table in tables:
        cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t")  # noqa: S608 - names of this suite
        found[table] = Counter(row for (row,) in cursor.fetchall())
    return found
