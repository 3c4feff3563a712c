"""Stream, decode, stitch, write, confirm: one session of the worker, from its connections to their end."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any, NamedTuple

import psycopg2

from bemi_django.exceptions import LostHistory, NotInstalled, ProtocolError, SlotInUse
from bemi_django.wal import dead_letters, history
from bemi_django.wal import slot as slots
from bemi_django.wal.catalog import SESSION, Catalog
from bemi_django.wal.checkpoint import Checkpoints, Origin
from bemi_django.wal.dead_letters import DeadLetter
from bemi_django.wal.decoder import Decoder
from bemi_django.wal.lsn import format_lsn
from bemi_django.wal.messages import Begin, Commit, Decoded, Message
from bemi_django.wal.partitions import Partitions
from bemi_django.wal.progress import Progress
from bemi_django.wal.rows import EPOCH_SECONDS, RowWriter, change_id
from bemi_django.wal.sink import Accepts, Pending, Sink
from bemi_django.wal.source import Source
from bemi_django.wal.stitcher import Stitched, Stitcher, invalid_context

logger = logging.getLogger(__name__)

_DDL = b"_bemi_ddl"
_MARK = b"_bemi_mark"
#: Seconds between two looks at how far the idle slot is behind, and the bytes that make it worth a mark.
_IDLE_SECONDS = 10.0
_IDLE_BYTES = 64 * 1024


class Job(NamedTuple):
    """What a worker works on; ``source`` and ``destination`` are libpq's parameters."""

    source: dict[str, Any]
    destination: dict[str, Any]
    slot: str
    publication: str
    accept_gap: bool = False


class Worker:
    """One session; ``stop()`` may be called from a signal handler."""

    def __init__(self, job: Job, progress: Progress, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._job = job
        self._progress = progress
        self._idle_seconds = idle_seconds
        self._stopping = False
        self._connections: list[Any] = []
        self._decoder = Decoder()
        self._stitcher = Stitcher()
        self._skipping = False
        self._marks: set[bytes] = set()
        self._marked_at = time.monotonic()
        self._committed_at = 0
        self._is_altering = False
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def run(self, until_current: bool = False) -> None:
        """Work until stopped, or until what is in the WAL now is written."""
        target = self._mark() if until_current else None
        while not self._stopping:
            if self._sink.is_full or self._source.may_confirm_unasked:
                self._flush()
            data = self._source.read()
            if data is not None:
                self._take(data)
                continue
            self._flush()
            if target is not None and target not in self._marks:
                return
            self._watch_idle_slot()
            self._wait(1.0)
        self._flush()

    def stop(self) -> None:
        """Finish the batch and leave."""
        self._stopping = True

    def close(self) -> None:
        for connection in reversed(self._connections):
            connection.close()

    def _open(self) -> None:
        job = self._job
        options = f"{job.source.get('options', '')} {SESSION} -c synchronous_commit=on".strip()
        source = {**job.source, "options": options}
        self._server = self._keep(psycopg2.connect(**source))
        self._server.autocommit = True
        slots.require_logical(self._server)
        self._destination = self._keep(psycopg2.connect(**job.destination))
        self._source = self._keep(Source(source))
        system_identifier, timeline = self._source.identify()
        database, xid, publication = self._ask(
            "SELECT current_database(), pg_snapshot_xmax(pg_current_snapshot())::text, "
            "coalesce((SELECT oid::bigint FROM pg_publication WHERE pubname = %s), 0)",
            job.publication,
        )
        self._catalog = Catalog(self._server, database)
        self._writer = RowWriter(system_identifier, database, int(xid), self._catalog.shapes)
        start = self._start_of(Origin(system_identifier, timeline, publication), database)
        self._catalog.stream_from(start)
        self._partitions = Partitions(self._destination)
        self._sink = Sink(self._destination, job.slot, start, self._repair)
        self._source.start(job.slot, job.publication, start)
        logger.info("reading the slot %s from %s", job.slot, format_lsn(start))

    def _keep(self, connection: Any) -> Any:
        self._connections.append(connection)
        return connection

    def _start_of(self, origin: Origin, database: str) -> int:
        """Where the log ends and the stream goes on. Raises LostHistory unless that is one place."""
        job = self._job
        checkpoints = Checkpoints(self._destination, job.slot)
        checkpoint = checkpoints.read()
        slot = slots.find(self._server, job.slot)
        if slot is not None and slot.active_pid is not None:
            raise SlotInUse(f"the slot {job.slot} is in use by process {slot.active_pid} of the server")
        gap = history.find_gap(checkpoint, slot, origin)
        if gap is not None and not job.accept_gap:
            raise LostHistory(f"{gap}. {LostHistory.__doc__}")
        if not origin.publication:
            raise NotInstalled(f"the publication {job.publication} is missing: run 'manage.py bemi sync'")
        if checkpoint is not None and gap is None:
            return checkpoint.lsn
        if slot is not None and gap is not None:
            slots.drop(self._server, job.slot)
            slot = None
        slot = slot or slots.create(self._server, job.slot)
        with self._destination, self._destination.cursor() as cursor:
            if gap is not None:
                history.record_gap(cursor, gap, database, self._writer.source, slot.confirmed)
                logger.warning("history was lost: %s; it goes on at %s", gap, format_lsn(slot.confirmed))
            checkpoints.start(cursor, slot.confirmed, origin)
        return slot.confirmed

    def _take(self, data: bytes) -> None:
        try:
            message = self._decoder.decode(data)
        except ProtocolError as error:
            self._take_undecodable(data, error)
            return
        if isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Message):
            self._take_message(message, data)
        elif isinstance(message, Commit):
            self._stitcher.feed(message)
            if self._is_altering:
                # For rows that others wrote before this commit, tables are as they were.
                self._writer.forget()
                self._is_altering = False
            self._sink.end(message.end_lsn, self._committed_at, self._is_notable)
        elif message is not None:
            self._take_changes(message, data)

    def _begin(self, begin: Begin) -> None:
        self._stitcher.feed(begin)
        # The server may send again what was written before it heard of it.
        self._skipping = begin.commit_lsn < self._sink.checkpoint
        self._is_notable = False
        self._committed_at = begin.committed_at
        if not self._partitions.covers(begin.committed_at):
            self._flush()
            self._partitions.make(begin.committed_at)

    def _take_message(self, message: Message, data: bytes) -> None:
        if message.prefix == _DDL:
            self._follow_ddl()
        elif message.prefix == _MARK:
            self._is_notable = True
            self._marks.discard(message.content)
        else:
            self._stitcher.feed(message)
            if self._stitcher.is_context_invalid and not self._skipping:
                self._sink.add_letter(
                    dead_letters.of_message(self._stitcher.begin, data, "the context is no JSON object")
                )

    def _follow_ddl(self) -> None:
        begin = self._stitcher.begin
        if begin is None:
            # Somebody else's message: ours are of a transaction.
            return
        xid = self._writer.full_xid(begin.xid)
        self._catalog.note_ddl(xid, begin.commit_lsn)
        while not self._stopping and not self._catalog.shows(xid):
            time.sleep(0.01)
        self._writer.forget()
        self._is_altering = True

    def _take_changes(self, message: Decoded, data: bytes) -> None:
        changes = self._stitcher.feed(message, self._source.position)
        if self._skipping:
            return
        for change in changes:
            try:
                row = self._writer.row(change)
            except (ValueError, LookupError):
                row = self._row_of_altered_type(change, data)
            self._sink.add(Pending(row, change, data))

    def _row_of_altered_type(self, change: Stitched, data: bytes) -> bytes:
        try:
            return self._writer.row_of_another_shape(change)
        except (ValueError, LookupError):
            row, letter = self._repair(Pending(b"", change, data), lambda json: True)
        self._sink.add_letter(letter)
        return row

    def _take_undecodable(self, data: bytes, error: ProtocolError) -> None:
        outline = self._decoder.outline(data)
        changes = self._stitcher.feed(outline, self._source.position) if outline is not None else []
        if self._skipping:
            return
        logger.error("a message of the server cannot be decoded; it is kept in bemi_dead_letters")
        if not changes:
            self._sink.add_letter(dead_letters.of_message(self._stitcher.begin, data, str(error)))
        for change in changes:
            self._sink.add_letter(self._letter(change, data, str(error)))
            self._sink.add(Pending(self._writer.row(change), change, data))

    def _repair(self, pending: Pending, accepts: Accepts) -> tuple[bytes, DeadLetter]:
        """Make a row of what is known, and a letter of the message."""
        change = pending.change
        lost, reasons = self._writer.salvage(change, accepts)
        if not accepts(change.context):
            reasons.append("context: not accepted as jsonb")
            change = change._replace(context=invalid_context(change.context))
        logger.error("a change cannot be stored as it is; it is kept in bemi_dead_letters")
        letter = self._letter(pending.change, pending.message, "; ".join(reasons) or "not accepted")
        return self._writer.row(change, lost), letter

    def _letter(self, change: Stitched, message: bytes, reason: str) -> DeadLetter:
        identifier = change_id(change.begin.commit_lsn, change.ordinal, self._writer.source)
        return dead_letters.of_change(change, identifier, message, reason)

    def _flush(self) -> None:
        if not self._sink.has_pending:
            return
        self._progress.add(self._sink.flush())
        self._source.confirm(self._sink.checkpoint)
        if self._progress.is_due:
            logger.info("%s", self._progress.line(*self._lag()))

    def _wait(self, seconds: float) -> None:
        if self._source.wait(seconds, self._server):
            # Nothing is expected there but the end: a server that shuts down waits for us to leave.
            self._ask("SELECT 1")

    def _watch_idle_slot(self) -> None:
        """Mark the WAL when much of it was not ours: the mark is confirmed as a change would be."""
        now = time.monotonic()
        if self._marks or now - self._marked_at < self._idle_seconds:
            return
        self._marked_at = now
        behind, _ = self._lag()
        if behind > _IDLE_BYTES:
            self._mark()

    def _mark(self) -> bytes:
        mark = uuid.uuid4().hex
        # Transactional, so that it is flushed, and so sent, at once.
        self._ask("SELECT pg_logical_emit_message(true, '_bemi_mark', %s)", mark)
        self._marks.add(mark.encode())
        return mark.encode()

    def _lag(self) -> tuple[int, float]:
        lsn, now = self._ask(
            "SELECT pg_current_wal_lsn() - '0/0', extract(epoch FROM clock_timestamp())::float8"
        )
        return int(lsn) - self._sink.checkpoint, now - EPOCH_SECONDS - self._committed_at / 1e6

    def _ask(self, query: str, *parameters: object) -> tuple[Any, ...]:
        with self._server.cursor() as cursor:
            cursor.execute(query, parameters or None)
            found: tuple[Any, ...] = cursor.fetchone()
        return found
