"""Take the rows that ``bemi baseline`` has read, when the stream comes to the message of its transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from struct import Struct
from typing import Any, NamedTuple, Protocol

import psycopg2

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest import error_advice
from bemi_django.ingest.loop.transaction import OpenTransaction
from bemi_django.ingest.protocol.byte_layout import KIND_AND_LENGTH, NEW_ROW, NULL_VALUE, TEXT_VALUE
from bemi_django.ingest.protocol.messages import Column, Insert, Relation, Row
from bemi_django.ingest.stitching.operations import BASELINE
from bemi_django.ingest.stitching.stitched import Stitched, stitch
from bemi_django.ingest.stitching.stitcher import Stitcher
from bemi_django.ingest.stream.session import Session
from bemi_django.masking.references import masked_key
from bemi_django.masking.rules import Rules
from bemi_django.wire.slot_name import sink_of_queue

#: The prefix of the messages of the command.
PREFIX = b"_bemi_baseline"
#: Seconds between two questions whether the server shows a transaction.
_SHOWN = 0.01
#: Keys that the log is asked for at once, so that the server hears of the worker meanwhile.
_KEYS = 500

# Anybody may write such a message, but only the owner of the schema can leave a range with the same
# transaction id. Rows for all logs of a queue were locked: whatever a snapshot shows, they are as they were
# at the commit of their range.
_RANGE = """
SELECT sink, description, context::text,
       CASE sink WHEN %s THEN low::text ELSE 'FFFFFFFF/FFFFFFFF' END,
       CASE sink WHEN %s THEN snapshot::text ELSE '9223372036854775807:9223372036854775807:' END
FROM _bemi.baselines WHERE range_xid = %s::text::xid8 AND (sink = %s OR starts_with(sink, %s))
"""
_ROWS = "SELECT key, columns FROM _bemi.baseline_rows WHERE xid = %s::text::xid8 ORDER BY number"
_RECORDED = "SELECT _bemi.recorded_v1(%s, %s::pg_lsn, %s::pg_snapshot, %s, %s, %s, %s::pg_lsn, %s::text[])"
_INSERT = Struct(">cIcH").pack


class BaselineRow(NamedTuple):
    """A row as it was read, and the message that an insertion of it would have."""

    values: Row
    message: bytes


class BaselineRange(NamedTuple):
    """The rows of a range that are to be recorded; ``context`` is JSON text."""

    relation: Relation
    context: bytes
    rows: Sequence[BaselineRow]

    def changes(self, stitcher: Stitcher, known: Relation | None) -> Iterator[tuple[Stitched, bytes]]:
        """Yield the change of each row, and its message.

        Args:
            stitcher: Numbers the changes of the transaction.
            known: The table as the stream has described it.
        """
        # The same object as in the stream spares its rows a look for their layout.
        relation = known if known is not None and known == self.relation else self.relation
        for row in self.rows:
            header = stitcher.claim(relation, 0, frozenset())._replace(context=self.context)
            yield stitch(header, Insert(relation, row.values))._replace(operation=BASELINE), row.message


class Baselines(Protocol):
    """Knows the rows that a transaction has read."""

    def read(self, transaction: OpenTransaction) -> BaselineRange | None:
        """Return the range of a transaction, or None if it has none, or none that can be recorded."""


class BaselineRanges:
    """Reads ranges from the source, and leaves out the rows that have a change in the log.

    A row that has no change in the log up to the commit of its range is as the snapshot of the range showed
    it, unless there were changes that are excluded from the log. Then the range is left out, and the command
    reads it again.

    A range may be for all logs of a queue, which need not be there, or not any more: this log is one of them.

    Args:
        session: The connections of the worker.
        shows: Tells whether the source shows a transaction.
        flush: Makes all complete transactions durable.
        keep_alive: Called while the worker waits for the server; returns False if the worker is to stop.
        masking: The rules: keys that are masked must not reach the server of the log.
    """

    #: The slot of the sink that gets the rows; empty for the log.
    sink = ""

    def __init__(
        self,
        session: Session,
        shows: Callable[[int], bool],
        flush: Callable[[], None],
        keep_alive: Callable[[], bool],
        masking: Rules,
    ) -> None:
        self._session = session
        self._shows = shows
        self._flush = flush
        self._keep_alive = keep_alive
        self._masking = masking
        self._seen: OpenTransaction | None = None
        self._is_copy = False

    def read(self, transaction: OpenTransaction) -> BaselineRange | None:
        """Return the range of a transaction, or None if it has none, or none that can be recorded.

        Raises:
            psycopg2.Error: One of the databases failed.
            ProtocolError: What was found is no range of the command.
        """
        if transaction.is_logged or transaction is self._seen:
            # One message is enough: others would only cost time.
            return None
        self._seen = transaction
        # The server sends a commit a moment before it shows it.
        while not self._shows(transaction.xid) and self._keep_alive():
            time.sleep(_SHOWN)
        with of_the_range():
            queue = sink_of_queue(self._session.slot)
            found = self._ask(_RANGE, [self.sink, self.sink, str(transaction.xid), self.sink, queue])
        if not found:
            return None
        # A command for each log may be at work; only one of them has left the rows of a transaction.
        (sink, *range_), *_ = found
        self._is_copy = sink != self.sink
        # The checkpoint tells the command that the range was taken.
        transaction.is_notable = True
        self._get_ready()
        with of_the_range():
            return self._range(transaction.xid, *range_)

    def _get_ready(self) -> None:
        # The log has to have everything that was committed before.
        self._flush()

    def _range(
        self, xid: int, description: dict[str, Any], context: str, low: str, snapshot: str
    ) -> BaselineRange | None:
        with self._session.server.cursor() as cursor:
            if masked_key(cursor, description["relation"], description["root"], self._masking):
                raise ProtocolError("the key of the table is masked")
        rows = self._ask(_ROWS, [str(xid)])
        table = *description["root"], description.get("since")
        recorded = self._recorded(low, snapshot, table, [key for key, _ in rows])
        if recorded is None:
            return None
        relation = _relation(description)
        fresh = list(_rows(relation, (columns for key, columns in rows if key not in recorded)))
        return BaselineRange(relation, context.encode(), fresh)

    def _recorded(
        self, low: str, snapshot: str, table: Sequence[str | None], keys: list[str]
    ) -> set[str] | None:
        of_range = [self._session.slot, low, snapshot, self._session.database, *table]
        recorded: set[str] = set()
        # Not committed: the transaction that this begins is the one of the rows.
        with self._session.destination.cursor() as cursor:
            cursor.execute("SAVEPOINT baseline")
            try:
                # Also without keys: whether the range is certain.
                for start in range(0, max(len(keys), 1), _KEYS):
                    cursor.execute(_RECORDED, [*of_range, keys[start : start + _KEYS]])
                    (found,) = cursor.fetchone()
                    if found is None:
                        return None
                    recorded.update(found)
                    self._keep_alive()
            except psycopg2.Error:
                cursor.execute("ROLLBACK TO SAVEPOINT baseline")
                raise
        return recorded

    def _ask(self, query: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        with self._session.server.cursor() as cursor:
            cursor.execute(query, parameters)
            return list(cursor.fetchall())


@contextmanager
def of_the_range() -> Iterator[None]:
    """Turn the errors that the range is to blame for into one."""
    try:
        yield
    except Exception as error:
        error_advice.raise_unless_of_message(error)
        raise ProtocolError(error_advice.reason_of_message(error)) from error


def _relation(description: dict[str, Any]) -> Relation:
    columns = tuple(Column(name, oid, True) for name, oid in description["columns"])
    return Relation(description["relation"], description["schema"], description["name"], columns)


def _rows(relation: Relation, rows: Iterator[Sequence[Any]]) -> Iterator[BaselineRow]:
    for columns in rows:
        values = [None if value is None else bytes(value) for value in columns]
        yield BaselineRow(values, _message(relation, values))


def _message(relation: Relation, values: Row) -> bytes:
    """Return the message of pgoutput for an insertion, as a dead letter would hold it."""
    parts = [_INSERT(b"I", relation.oid, NEW_ROW, len(values))]
    for value in values:
        if value is None:
            parts.append(bytes([NULL_VALUE]))
        else:
            parts += (KIND_AND_LENGTH.pack(TEXT_VALUE, len(value)), value)
    return b"".join(parts)
