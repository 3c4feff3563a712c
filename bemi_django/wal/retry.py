"""Read dead letters again: with the software, the types and the casts of today they may be readable."""

from __future__ import annotations

from contextlib import closing
from typing import Any, NamedTuple

from psycopg2 import DataError

from bemi_django.exceptions import ProtocolError
from bemi_django.wal import dead_letters
from bemi_django.wal.catalog import Catalog
from bemi_django.wal.job import Job
from bemi_django.wal.rows import RowWriter
from bemi_django.wal.sink import copy_rows
from bemi_django.wal.stitcher import Stitched, read_again, storable_json

_LETTERS = """
SELECT id, change_id::text, message, origin FROM bemi_dead_letters
WHERE slot = %s AND change_id IS NOT NULL ORDER BY id FOR UPDATE SKIP LOCKED
"""
_REMOVE_CHANGE = """
DELETE FROM changes
WHERE id = %s AND committed_at = timestamptz '2000-01-01 00:00:00+00' + %s * interval '1 us'
"""


class Retried(NamedTuple):
    """How many letters became whole changes, and how many are as they were."""

    mended: int
    kept: int


def retry(job: Job) -> Retried:
    """Replace the changes of dead letters by whole ones where they can be read now."""
    with closing(job.connect_source()) as server, closing(job.connect_destination()) as destination:
        writer = _writer(job, server)
        with destination, destination.cursor() as cursor:
            cursor.execute(_LETTERS, [job.slot])
            letters = cursor.fetchall()
            mended = sum(_mend(cursor, writer, *letter) for letter in letters)
            cursor.execute("SELECT count(*) FROM bemi_dead_letters WHERE slot = %s", [job.slot])
            (kept,) = cursor.fetchone()
    return Retried(mended, kept)


def _writer(job: Job, server: Any) -> RowWriter:
    with server.cursor() as cursor:
        cursor.execute(
            "SELECT (pg_control_system()).system_identifier::text, current_database(), "
            "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        )
        system_identifier, database, xid = cursor.fetchone()
    return RowWriter(system_identifier, database, xid, Catalog(server, database).shapes)


def _mend(cursor: Any, writer: RowWriter, letter: int, change_id: str, message: Any, origin: Any) -> bool:
    try:
        change = _change(bytes(message), origin)
        row = writer.row(change)
    except (ProtocolError, ValueError, LookupError):
        return False
    cursor.execute("SAVEPOINT letter")
    try:
        cursor.execute(_REMOVE_CHANGE, [change_id, change.begin.committed_at])
        copy_rows(cursor, [row])
        cursor.execute("DELETE FROM bemi_dead_letters WHERE id = %s", [letter])
    except DataError:
        cursor.execute("ROLLBACK TO SAVEPOINT letter")
        return False
    cursor.execute("RELEASE SAVEPOINT letter")
    return True


def _change(message: bytes, origin: dict[str, Any]) -> Stitched:
    place = dead_letters.read_origin(origin)
    return read_again(place._replace(context=storable_json(place.context)), message)
