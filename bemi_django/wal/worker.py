"""Stream, decode, stitch, write, confirm: the loop of ``manage.py bemi run``."""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg2

from bemi_django.wal import slot as slots
from bemi_django.wal.catalog import Catalog
from bemi_django.wal.decoder import Decoder
from bemi_django.wal.messages import Begin, Commit
from bemi_django.wal.partitions import Partitions
from bemi_django.wal.progress import Progress
from bemi_django.wal.rows import EPOCH_SECONDS, RowWriter
from bemi_django.wal.sink import Sink
from bemi_django.wal.source import Source
from bemi_django.wal.stitcher import Stitcher

logger = logging.getLogger(__name__)

#: Seconds between two confirmations.
_PACE = 1.0


class Worker:
    """Both parameter sets are libpq's; ``stop()`` may be called from a signal handler."""

    def __init__(
        self, source: dict[str, Any], destination: dict[str, Any], slot: str, publication: str
    ) -> None:
        self._stopping = False
        self._catalog_connection = psycopg2.connect(**source)
        self._catalog_connection.autocommit = True
        slots.ensure(self._catalog_connection, slot)
        self._sink_connection = psycopg2.connect(**destination)
        self._sink = Sink(self._sink_connection, slot)
        self._partitions = Partitions(self._sink_connection)
        self._checkpoint = self._confirmed = self._sink.checkpoint()
        self._skipping = False
        self._decoder = Decoder()
        self._stitcher = Stitcher()
        self._writer = self._row_writer()
        self._paced_at = 0.0
        self._progress = Progress()
        self._committed_at = 0
        self._source = Source(source, slot, publication)

    def run(self, until_current: bool = False) -> int:
        """Work until stopped, or until what is in the WAL now is written; return the changes written."""
        target = self._current_lsn() if until_current else None
        while not self._stopping:
            if self._sink.is_full or self._source.may_confirm_unasked:
                self._flush()
            message = self._source.read()
            if message is not None:
                self._take(message)
                continue
            self._flush()
            self._confirm_idle()
            if target is not None and self._reached() >= target and not self._stitcher.in_transaction:
                break
            self._source.wait(_PACE if target is None else 0.05)
        self._flush()
        self._confirm()
        return self._progress.total

    def stop(self, *_: object) -> None:
        """Finish the batch and leave."""
        self._stopping = True

    def close(self) -> None:
        for resource in (self._source, self._sink_connection, self._catalog_connection):
            resource.close()

    def _take(self, data: bytes) -> None:
        message = self._decoder.decode(data)
        if message is None:
            return
        if isinstance(message, Begin):
            # The server may send again what was written before it heard of it.
            self._skipping = message.commit_lsn < self._checkpoint
            self._committed_at = message.committed_at
            if not self._partitions.covers(message.committed_at):
                self._flush()
                self._partitions.make(message.committed_at)
        changes = self._stitcher.feed(message)
        if not self._skipping:
            for change in changes:
                self._sink.add(self._writer.row(change))
        if isinstance(message, Commit):
            self._sink.end(max(self._checkpoint, message.end_lsn))

    def _flush(self) -> None:
        # What a spilled transaction made durable on its way counts too.
        pending = self._sink.pending_lsn
        self._progress.add(self._sink.flush())
        self._checkpoint = max(self._checkpoint, pending)
        if self._progress.is_due:
            logger.info("%s", self._progress.line(*self._lag()))
        if pending and time.monotonic() - self._paced_at >= _PACE:
            self._confirm()

    def _confirm(self) -> None:
        self._paced_at = time.monotonic()
        if self._checkpoint > self._confirmed:
            self._confirmed = self._checkpoint
            self._source.confirm(self._confirmed)

    def _confirm_idle(self) -> None:
        if self._stitcher.in_transaction or time.monotonic() - self._paced_at < _PACE:
            return
        self._paced_at = time.monotonic()
        reached = self._reached()
        if reached > self._confirmed:
            self._confirmed = reached
            self._source.confirm(reached)

    def _reached(self) -> int:
        return max(self._source.position, self._checkpoint)

    def _current_lsn(self) -> int:
        with self._catalog_connection.cursor() as cursor:
            # Something to decode up to: an idle server would not move its position otherwise.
            cursor.execute("SELECT pg_logical_emit_message(false, '_bemi_target', '') - '0/0'")
            return int(cursor.fetchone()[0])

    def _lag(self) -> tuple[int, float]:
        with self._catalog_connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_current_wal_lsn() - '0/0', extract(epoch FROM clock_timestamp())::float8"
            )
            lsn, now = cursor.fetchone()
        return int(lsn) - self._checkpoint, now - EPOCH_SECONDS - self._committed_at / 1e6

    def _row_writer(self) -> RowWriter:
        with self._catalog_connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT system_identifier::text FROM pg_control_system()), current_database(), "
                "pg_snapshot_xmax(pg_current_snapshot())::text"
            )
            system, database, xid = cursor.fetchone()
        catalog = Catalog(self._catalog_connection, database)
        return RowWriter(system, database, int(xid), catalog.shape)
