"""Read dead letters again: with a newer version, or with a right or a cast that was missing, it may work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple
from uuid import UUID

import psycopg2

from bemi_django.exceptions import BemiError
from bemi_django.ingest import known_change
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.copying import copy_rows
from bemi_django.ingest.destination.sealing import SealedRows, copy_sealed, is_sealing, note_replaced
from bemi_django.ingest.rows.catalog.calculator import Calculator
from bemi_django.ingest.rows.catalog.layout_catalog import LayoutCatalog
from bemi_django.ingest.rows.change_ids import ChangeIds
from bemi_django.ingest.rows.rendering import NOTHING
from bemi_django.ingest.rows.row_writer import RowWriter
from bemi_django.ingest.stitching.operations import BASELINE
from bemi_django.ingest.stitching.stitched import Stitched, read_again
from bemi_django.ingest.stitching.validation import storable_json
from bemi_django.ingest.stream.connections import connect_calculator, connect_destination, connect_source
from bemi_django.schema import append_only
from bemi_django.schema.replication.recorded_name import recorded_name
from bemi_django.wire.ids import sequence_in
from bemi_django.wire.sequence import HistoryStart, history_of

logger = logging.getLogger(__name__)

#: Letters that are in memory at once: each may be as large as a row.
_BATCH = 10
_LETTERS = """
SELECT id, change_id::text, message, origin FROM _bemi.dead_letters
WHERE slot = %s AND change_id IS NOT NULL AND origin -> 'begin' IS NOT NULL AND id > %s
ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
"""
_READ_CHANGE = """
SELECT {} FROM {}
WHERE id = %s AND committed_at = timestamptz '2000-01-01 00:00:00+00' + %s * interval '1 us'
"""
_REMOVE_CHANGE = """
DELETE FROM {}
WHERE id = %s AND committed_at = timestamptz '2000-01-01 00:00:00+00' + %s * interval '1 us'
"""
_MARK_DIVERGED = """
UPDATE {} SET diverged = true
WHERE id = %s AND committed_at = timestamptz '2000-01-01 00:00:00+00' + %s * interval '1 us'
"""
# Retention has dropped the change that such a letter would complete. What a consumer of a queue has kept does
# not say when its change was committed.
_PRUNE = """
DELETE FROM _bemi.dead_letters d
WHERE d.slot = %s AND d.change_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM {log} c WHERE c.id = d.change_id AND c.committed_at
        = timestamptz '2000-01-01 00:00:00+00' + (d.origin -> 'begin' ->> 1)::bigint * interval '1 us')
    AND NOT (d.origin -> 'begin' IS NULL AND EXISTS (SELECT FROM {log} c WHERE c.id = d.change_id))
"""
_COUNT = "SELECT _bemi.count_changes_v1(ARRAY[%s]::uuid[], %s)"
_WHO = {"command": "bemi retry-dead-letters"}
_DISMISS = "DELETE FROM _bemi.dead_letters WHERE slot = %s AND change_id IS NULL"


class _OtherwiseSaid(BemiError):
    """A letter says something else than the log."""


class RetriedLetters(NamedTuple):
    """The numbers of letters that became complete changes, that are left, and that were removed unread."""

    mended: int
    kept: int
    removed: int = 0


def retry(
    config: WorkerConfig,
    dismiss: Callable[[int], object] | None = None,
    who: Mapping[str, Any] = _WHO,
) -> RetriedLetters:
    """Replace the incomplete changes of dead letters where their messages can be read now.

    A letter that still cannot be read is left and does not keep the others. Letters whose change is no longer
    in the log are removed.

    Args:
        config: The worker whose letters are read.
        dismiss: Also remove letters that belong to no change, such as those of contexts: the rows have such a
            context as text already. Called with their number before they are gone; what it raises keeps them.
        who: Who replaces changes, for the chain of a sealed log.
    """
    with (
        closing(connect_source(config)) as server,
        closing(connect_destination(config)) as destination,
        closing(Calculator(lambda: connect_calculator(config), server)) as calculator,
    ):
        writer = _writer(server, destination, calculator, config)
        with destination, destination.cursor() as cursor:
            cursor.execute(_PRUNE.format(log=destination.log.replace("%", "%%")), [config.slot])
            removed = cursor.rowcount
            if dismiss is not None:
                cursor.execute(_DISMISS, [config.slot])
                removed += cursor.rowcount
                if cursor.rowcount:
                    dismiss(cursor.rowcount)
        mended = sum(_mend_batches(config, writer, destination, who))
        with destination, destination.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM _bemi.dead_letters WHERE slot = %s", [config.slot])
            (kept,) = cursor.fetchone()
    return RetriedLetters(mended, kept, removed)


def _writer(server: Any, destination: Any, calculator: Calculator, config: WorkerConfig) -> RowWriter:
    with server.cursor() as cursor:
        cursor.execute(
            "SELECT (pg_control_system()).system_identifier::text, "
            "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        )
        system_identifier, xid = cursor.fetchone()
        with destination, destination.cursor() as log:
            database = recorded_name(cursor, log, config.slot)
    catalog = LayoutCatalog(server, database, calculator, config.selection, config.masking)
    # Whether the rows are sealed or not: there are few of them.
    catalog.is_canonical = True
    writer = RowWriter(ChangeIds(system_identifier, database, xid), catalog.layouts)
    writer.render_context = catalog.render_context
    return writer


def _mend_batches(
    config: WorkerConfig, writer: RowWriter, destination: Any, who: Mapping[str, Any]
) -> Iterator[int]:
    """Yield the number of letters of each batch that became complete changes; each is a transaction."""
    last = 0
    while True:
        with destination, destination.cursor() as cursor:
            cursor.execute(_LETTERS, [config.slot, last, _BATCH])
            letters = cursor.fetchall()
            if not letters:
                return
            copier = _Copier(is_sealing(cursor, config.slot))
            yield sum(_mend(cursor, writer, copier, *letter) for letter in letters)
            note_replaced(cursor, copier.sealed, who)
            last = letters[-1][0]


class _Copier:
    """Writes the rows of a batch of letters, and keeps the digests of those that are to be sealed."""

    def __init__(self, is_sealing: bool) -> None:
        self._is_sealing = is_sealing
        self.sealed: list[SealedRows] = []

    def copy(self, cursor: Any, row: bytes) -> SealedRows | None:
        if self._is_sealing:
            return copy_sealed(cursor, [row])
        copy_rows(cursor, [row])
        return None


def _mend(
    cursor: Any, writer: RowWriter, copier: _Copier, letter: int, change_id: str, message: Any, origin: Any
) -> bool:
    cursor.execute("SAVEPOINT letter")
    try:
        change = _change(bytes(message), origin)
        if writer.layout(change).keeps_of_masked:
            # The log has their hashes, and the letter has not got the values.
            logger.warning("dead letter %s is kept: columns of its table are masked", letter)
            cursor.execute("RELEASE SAVEPOINT letter")
            return False
        # The row has the id that it had.
        history = history_of(sequence_in(UUID(change_id).bytes))
        writer.ids.histories = (HistoryStart(history, 0),)
        row = writer.row(change, NOTHING)
        cursor.execute(_COUNT, [change_id, True])
        sealed = _replace(cursor, [change_id, change.begin.committed_at], lambda: copier.copy(cursor, row))
        cursor.execute(_COUNT, [change_id, False])
        cursor.execute("DELETE FROM _bemi.dead_letters WHERE id = %s", [letter])
    except psycopg2.InterfaceError:
        raise
    except Exception as error:
        # Whatever is wrong with one letter must not keep the others. A message of the server may hold values.
        if isinstance(error, psycopg2.Error) and error.pgcode is None:
            # The connection was lost.
            raise
        code = getattr(error, "pgcode", None)
        reason = str(error) if isinstance(error, _OtherwiseSaid) else code or type(error).__name__
        logger.warning("dead letter %s is kept: %s", letter, reason)
        cursor.execute("ROLLBACK TO SAVEPOINT letter")
        return False
    cursor.execute("RELEASE SAVEPOINT letter")
    if sealed is not None:
        copier.sealed.append(sealed)
    return True


def _replace(cursor: Any, this: list[Any], copy: Callable[[], SealedRows | None]) -> SealedRows | None:
    """Replace a row, given by its id and commit time, by one that says more.

    Raises:
        _OtherwiseSaid: It says something else.
    """
    log = cursor.connection.log.replace("%", "%%")
    old = _known(cursor, log, this)
    with append_only.permitted(cursor, _WHO["command"]):
        cursor.execute(_REMOVE_CHANGE.format(log), this)
        sealed = copy()
        new = _known(cursor, log, this)
        if old is None or new is None or not old.is_completed_by(new):
            raise _OtherwiseSaid("it says something else than the log, not only what is missing there")
        if old.diverged:
            cursor.execute(_MARK_DIVERGED.format(log), this)
    return sealed


def _known(cursor: Any, log: str, this: list[Any]) -> known_change.KnownChange | None:
    cursor.execute(_READ_CHANGE.format(", ".join(known_change.COLUMNS), log), this)
    found = cursor.fetchone()
    return None if found is None else known_change.KnownChange(*found)


def _change(message: bytes, origin: dict[str, Any]) -> Stitched:
    header = dead_letters.read_origin(origin)
    change = read_again(header._replace(context=storable_json(header.context)), message)
    # The message of such a row is that of an insertion.
    return change._replace(operation=BASELINE) if origin.get("operation") == BASELINE else change
