"""What a comparison needs: the connections, the table, and the names under which the log has it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from bemi_django.verification.log_queries import LoggedName, of_table, on
from bemi_django.verification.masked.encrypted_values import EncryptedValues
from bemi_django.verification.masked.masked_columns import Masks
from bemi_django.verification.moment import Moment
from bemi_django.verification.omissions import TableOmissions
from bemi_django.verification.records.acceptance import Acceptance
from bemi_django.verification.table.compared_table import ComparedTable
from bemi_django.verification.table.reused_names import ReusedNames
from bemi_django.verification.table.table_queries import Slice
from bemi_django.wire.lsn import format_lsn

_BOUNDS = """
SELECT _bemi.bound_v1(_bemi.sequence_v1(%s, lsn))::text
FROM unnest(%s::pg_lsn[]) WITH ORDINALITY x (lsn, n) ORDER BY n
"""
_REMOVED = """
SELECT max(k.committed_at), coalesce(max(k.transaction_id) FILTER (WHERE k.last > %s::uuid), 0)
FROM _bemi.incomplete k JOIN unnest(%s::text[], %s::text[]) n (schema, name)
    ON k.schema = n.schema AND k."table" = n.name
WHERE k.database = %s
"""


class RemovedChanges(NamedTuple):
    """Changes that were removed: when the last was committed, and the greatest id of a transaction.

    It is 0 if they were made on an earlier server.
    """

    committed_at: datetime
    transaction_id: int


class Subject(NamedTuple):
    """A table to compare.

    Attributes:
        source: A connection to the source with the path of its role, in autocommit.
        destination: A connection to the log, in autocommit.
        database: The name of the source.
        start_xid: The transaction id with which the log begins.
        earlier: The last id of changes of earlier servers.
        wait: Waits until the log has what a moment shows.
        table: The table.
        names: The names under which its rows were recorded, the present one last.
        bounds: The greatest id up to the position of each version, by position.
        removed: The last of its changes that were removed from the log, if any were.
        part: The part of its rows to compare.
        acceptance: The differences that were accepted.
        omissions: What was left out of the log.
        masks: The masks of its columns, by the present rules.
        encrypted: What compares its encrypted values.
        reused: Tells where several tables had one of its names.
    """

    source: Any
    destination: Any
    database: str
    start_xid: int
    earlier: str
    wait: Callable[[Moment], int]
    table: ComparedTable
    names: list[LoggedName]
    bounds: dict[int, str]
    removed: RemovedChanges | None
    part: Slice
    acceptance: Acceptance
    omissions: TableOmissions
    masks: Masks
    encrypted: EncryptedValues
    reused: ReusedNames

    def ask_log(
        self, query: str, parameters: dict[str, Any], names: list[LoggedName] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Return a query of :mod:`log_queries` for this table, and its parameters."""
        condition, named = of_table(self.names if names is None else names)
        fixed = {"database": self.database, "earlier": self.earlier, "snapshot": None}
        return on(self.destination.log, query, condition), {**fixed, **named, **parameters}

    def fetch_log(
        self, query: str, parameters: dict[str, Any], names: list[LoggedName] | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query of :mod:`log_queries`."""
        with self.destination.cursor() as cursor:
            cursor.execute(*self.ask_log(query, parameters, names))
            return list(cursor.fetchall())


def bounds_of(destination: Any, slot: str, table: ComparedTable) -> dict[int, str]:
    """Return the greatest id that a change can have at the position of each version of a table.

    Args:
        destination: A connection to the log.
        slot: The slot of the worker.
        table: The table.
    """
    found = {version.lsn for version in table.versions}
    found |= {leaf.since.lsn for leaf in table.leaves if leaf.since is not None}
    positions = sorted(found)
    with destination.cursor() as cursor:
        cursor.execute(_BOUNDS, [slot, [format_lsn(lsn) for lsn in positions]])
        return dict(zip(positions, (bound for (bound,) in cursor.fetchall()), strict=True))


def removed_of(
    destination: Any, database: str, names: list[LoggedName], earlier: str
) -> RemovedChanges | None:
    """Return the last changes of a table that were removed from the log, or None.

    Args:
        destination: A connection to the log.
        database: The name of the source.
        names: The names of the table.
        earlier: The last id of changes of earlier servers.
    """
    schemas, tables = [name.schema for name in names], [name.table for name in names]
    with destination.cursor() as cursor:
        cursor.execute(_REMOVED, [earlier, schemas, tables, database])
        committed_at, transaction_id = cursor.fetchone()
    return None if committed_at is None else RemovedChanges(committed_at, transaction_id)


def names_of(table: ComparedTable, bounds: dict[int, str]) -> list[LoggedName]:
    """Return the names under which the rows of a table were recorded, the present one last."""
    starts = [
        version
        for place, version in enumerate(table.versions)
        if place == 0 or version.name != table.versions[place - 1].name
    ]
    if not starts or starts[-1].name != (table.schema, table.name):
        # Nobody has noticed that it was renamed.
        return [LoggedName(table.schema, table.name, None)]
    found = [
        LoggedName(*version.name, bounds[version.lsn], bounds[next_.lsn], next_.xid)
        for version, next_ in zip(starts, starts[1:], strict=False)
    ]
    return [*found, LoggedName(table.schema, table.name, bounds[starts[-1].lsn])]
