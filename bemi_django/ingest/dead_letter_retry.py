"""Read dead letters again: with a newer version, or with a right or a cast that was missing, it may work."""

from __future__ import annotations

from contextlib import closing
from typing import Any, NamedTuple
from uuid import UUID

from psycopg2 import DataError

from bemi_django.exceptions import ProtocolError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.copying import copy_rows
from bemi_django.ingest.rows.calculator import Calculator
from bemi_django.ingest.rows.layout_catalog import LayoutCatalog
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.stitched import Stitched, read_again
from bemi_django.ingest.stitching.validation import storable_json
from bemi_django.ingest.stream.connections import connect_calculator, connect_destination, connect_source
from bemi_django.wire.ids import sequence_in
from bemi_django.wire.sequence import HistoryStart, history_of

_LETTERS = """
SELECT id, change_id::text, message, origin FROM _bemi.dead_letters
WHERE slot = %s AND change_id IS NOT NULL ORDER BY id FOR UPDATE SKIP LOCKED
"""
_REMOVE_CHANGE = """
DELETE FROM {}
WHERE id = %s AND committed_at = timestamptz '2000-01-01 00:00:00+00' + %s * interval '1 us'
"""


class RetriedLetters(NamedTuple):
    """The numbers of letters that became complete changes, and of those that are left."""

    mended: int
    kept: int


def retry(config: WorkerConfig) -> RetriedLetters:
    """Replace the incomplete changes of dead letters where their messages can be read now."""
    with (
        closing(connect_source(config)) as server,
        closing(connect_destination(config)) as destination,
        closing(Calculator(lambda: connect_calculator(config), server)) as calculator,
    ):
        writer = _writer(server, calculator)
        with destination, destination.cursor() as cursor:
            cursor.execute(_LETTERS, [config.slot])
            letters = cursor.fetchall()
            mended = sum(_mend(cursor, writer, *letter) for letter in letters)
            cursor.execute("SELECT count(*) FROM _bemi.dead_letters WHERE slot = %s", [config.slot])
            (kept,) = cursor.fetchone()
    return RetriedLetters(mended, kept)


def _writer(server: Any, calculator: Calculator) -> RowWriter:
    with server.cursor() as cursor:
        cursor.execute(
            "SELECT (pg_control_system()).system_identifier::text, current_database(), "
            "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        )
        system_identifier, database, xid = cursor.fetchone()
    return RowWriter(system_identifier, database, xid, LayoutCatalog(server, database, calculator).layouts)


def _mend(cursor: Any, writer: RowWriter, letter: int, change_id: str, message: Any, origin: Any) -> bool:
    try:
        change = _change(bytes(message), origin)
        # The row has the id that it had.
        history = history_of(sequence_in(UUID(change_id).bytes))
        writer.histories = (HistoryStart(history, 0),)
        row = writer.row(change)
    except (ProtocolError, ValueError, LookupError):
        return False
    cursor.execute("SAVEPOINT letter")
    try:
        cursor.execute(
            _REMOVE_CHANGE.format(cursor.connection.log.replace("%", "%%")),
            [change_id, change.begin.committed_at],
        )
        copy_rows(cursor, [row])
        cursor.execute("DELETE FROM _bemi.dead_letters WHERE id = %s", [letter])
    except DataError:
        cursor.execute("ROLLBACK TO SAVEPOINT letter")
        return False
    cursor.execute("RELEASE SAVEPOINT letter")
    return True


def _change(message: bytes, origin: dict[str, Any]) -> Stitched:
    place = dead_letters.read_origin(origin)
    return read_again(place._replace(context=storable_json(place.context)), message)
