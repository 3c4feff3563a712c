"""Stream, decode, stitch, write, confirm: one session of the worker, from its connections to their end."""

from __future__ import annotations

import logging
import sys
import time
import uuid

import psycopg2
import psycopg2.errors

from bemi_django.exceptions import ProtocolError, Superseded
from bemi_django.ingest import error_advice
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination import dead_letters
from bemi_django.ingest.destination.dead_letters import RejectedMessage
from bemi_django.ingest.destination.partitions import Partitions
from bemi_django.ingest.destination.sink import Accepts, Pending, Sink
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.protocol.decoder import Decoder
from bemi_django.ingest.protocol.messages import Begin, Commit, Decoded, Message
from bemi_django.ingest.rows.fast_path import FastPath
from bemi_django.ingest.rows.layout_catalog import LayoutCatalog
from bemi_django.ingest.rows.row_writer import EPOCH_SECONDS, RowWriter
from bemi_django.ingest.rows.stitcher import ChangeHeader, Stitched, Stitcher, invalid_context, read_again
from bemi_django.ingest.stream.session import Session
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.wire.ids import change_id

logger = logging.getLogger(__name__)

_DDL = b"_bemi_ddl"
_MARK = b"_bemi_mark"
#: Messages of a row: inserted, updated, deleted.
_ROWS = (b"I", b"U", b"D")
#: WAL that was not ours, in bytes, that is worth a checkpoint.
_IDLE_BYTES = 64 * 1024
#: Messages that are read between two looks at the clock: some milliseconds.
_MESSAGES = 1000
#: Seconds that the thread which sends a batch waits for the one that reads, at each of its steps: with
#: Python's own 5 ms the server waits for the next step a good part of the time.
_SWITCH_INTERVAL = 0.0005
#: Looks at an idle slot after the last change: by then the server has written where a restart may begin.
_QUIET_LOOKS = 3


class Worker:
    """One session, opened by its first run; all but ``run()`` and ``close()`` may come from elsewhere."""

    def __init__(self, config: WorkerConfig, progress: Progress, timeouts: Timeouts | None = None) -> None:
        timeouts = timeouts or Timeouts()
        self._config = config
        self._progress = progress
        self._idle = timeouts.idle
        self._session = Session(config, timeouts)
        self.abandon = self._session.abandon
        self.close = self._session.close
        self._stopping = False
        self._decoder = Decoder()
        self._stitcher = Stitcher()
        self._skipping = False
        self._marks: set[bytes] = set()
        self._glance_at = 0.0
        self._look_at = time.monotonic() + self._idle
        self._quiet_looks = 0
        self._committed_at = 0
        self._transaction = 0
        self._is_altering = False
        self._confirmed = 0
        self._counted = 0

    def run(self, until_current: bool = False) -> None:
        """Work until stopped, or until what is in the WAL now is written.

        Raises BemiError, or psycopg2.Error for what may pass.
        """
        sys.setswitchinterval(min(_SWITCH_INTERVAL, sys.getswitchinterval()))
        try:
            if not self._session.is_open:
                self._open()
            try:
                self._work(until_current)
            except psycopg2.Error:
                # What is on its way has a fate of its own: durable by now, or it tells what is the matter.
                self._sink.settle()
                self._count()
                raise
        except psycopg2.errors.UniqueViolation as error:
            # Changes have the same ids whoever writes them.
            raise Superseded from error
        except psycopg2.Error as error:
            if (refused := error_advice.of_statement(error)) is None:
                raise
            raise refused from error

    def stop(self) -> None:
        """Finish the batch and leave."""
        self._stopping = True

    def _open(self) -> None:
        session = self._session
        session.open()
        self._source = session.source
        (xid,) = session.ask("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        self._catalog = LayoutCatalog(session.server, session.database)
        self._writer = RowWriter(session.system_identifier, session.database, int(xid), self._catalog.layouts)
        start = session.start(self._writer.source)
        self._catalog.stream_from(start)
        self._fast_path = FastPath(self._decoder, self._stitcher, self._writer)
        self._partitions = Partitions(session.destination)
        self._sink = session.keep(Sink(session.destination, self._config.slot, start, self._repair))

    def _work(self, until_current: bool) -> None:
        # After a message of its own the stream confirms nothing unasked.
        target = self._mark()
        while not self._stopping:
            if time.monotonic() >= self._glance_at:
                self._glance_at_server()
            self._source.report()
            if self._take_some():
                continue
            if not self._sink.in_flight:
                # What comes meanwhile goes with the next batch.
                self._send()
            if until_current and target not in self._marks:
                break
            if self._progress.is_due:
                logger.info("%s", self._progress.line(self._source.position - self._sink.checkpoint, 0.0))
            self._look_at_idle_slot()
            readable = self._source.wait(min(0.5, self._idle), self._session.server, self._sink)
            if self._session.server in readable:
                self._glance_at = 0.0
            if self._sink in readable:
                self._settle(self._sink.in_flight - 1)
        self._flush()

    def _take_some(self) -> bool:
        """Take what is there, or so much that the clock is to be looked at; tell whether to go on at once."""
        source, read, take = self._source, self._session.read, self._take
        for _ in range(_MESSAGES):
            if source.may_confirm_unasked:
                self._flush()
            data = read()
            if data is None:
                return False
            take(data)
        return True

    def _take(self, data: bytes) -> None:
        kind = data[:1]
        if kind in _ROWS and not self._skipping:
            taken = self._fast_path.take(data, self._source.message_lsn)
            if taken is not None:
                self._sink.add(Pending(*taken, data))
                return
        elif kind == b"M" and self._fast_path.follow(data):
            self._look_at_context(data)
            return
        try:
            message = self._decoder.decode(data)
        except ProtocolError as error:
            self._take_undecodable(data, error)
            return
        if isinstance(message, Message):
            self._take_message(message)
        elif isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Commit):
            self._take_changes(message, data)
            if self._is_altering:
                # For rows that others wrote before this commit, tables are as they were.
                self._writer.forget()
                self._is_altering = False
            self._sink.end(message.end_lsn, self._committed_at, self._transaction, self._is_notable)
            if self._sink.is_full:
                self._send()
        elif message is not None:
            self._take_changes(message, data)

    def _begin(self, begin: Begin) -> None:
        self._stitcher.feed(begin)
        # The server may send again what was written before it heard of it.
        self._skipping = begin.commit_lsn < self._sink.checkpoint
        self._is_notable = False
        self._committed_at = begin.committed_at
        self._transaction = self._writer.full_xid(begin.xid)
        if not self._partitions.covers(begin.committed_at):
            self._flush()
            self._partitions.make(begin.committed_at)

    def _take_message(self, message: Message) -> None:
        if message.prefix == _DDL:
            self._follow_ddl()
        elif message.prefix == _MARK:
            self._is_notable = True
            self._marks.discard(message.content)

    def _look_at_context(self, data: bytes) -> None:
        if self._stitcher.is_context_invalid and not self._skipping:
            self._sink.add_letter(
                dead_letters.of_message(self._stitcher.begin, data, "the context is no JSON object")
            )

    def _follow_ddl(self) -> None:
        begin = self._stitcher.begin
        if begin is None:
            # Somebody else's message: ours are of a transaction.
            return
        self._catalog.note_ddl(self._transaction, begin.commit_lsn)
        while not self._stopping and not self._catalog.shows(self._transaction):
            time.sleep(0.01)
        self._writer.forget()
        self._is_altering = True

    def _take_changes(self, message: Decoded, data: bytes) -> None:
        changes = self._stitcher.feed(message, self._source.message_lsn)
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
            return self._writer.row_of_another_layout(change)
        except (ValueError, LookupError):
            row, letter = self._repair(Pending(b"", change, data), lambda json: True)
        self._sink.add_letter(letter)
        return row

    def _take_undecodable(self, data: bytes, error: ProtocolError) -> None:
        outline = self._decoder.outline(data)
        changes = self._stitcher.feed(outline, self._source.message_lsn) if outline is not None else []
        if self._skipping:
            return
        logger.error("a message of the server cannot be decoded; it is kept in bemi_dead_letters")
        if not changes:
            self._sink.add_letter(dead_letters.of_message(self._stitcher.begin, data, str(error)))
        for change in changes:
            self._sink.add_letter(self._letter(change, data, str(error)))
            self._sink.add(Pending(self._writer.row(change), change, data))

    def _repair(self, pending: Pending, accepts: Accepts) -> tuple[bytes, RejectedMessage]:
        """Make a row of what is known, and a letter of the message."""
        change = original = self._read_again(pending)
        lost, reasons = self._writer.salvage(change, accepts)
        if not accepts(change.context):
            reasons.append("context: not accepted as jsonb")
            change = change._replace(context=invalid_context(change.context))
        logger.error("a change cannot be stored as it is; it is kept in bemi_dead_letters")
        letter = self._letter(original, pending.message, "; ".join(reasons) or "not accepted")
        return self._writer.row(change, lost), letter

    def _read_again(self, pending: Pending) -> Stitched:
        change = pending.change
        return read_again(change, pending.message) if isinstance(change, ChangeHeader) else change

    def _letter(self, change: Stitched, message: bytes, reason: str) -> RejectedMessage:
        identifier = change_id(change.begin.commit_lsn, change.ordinal, self._writer.source)
        return dead_letters.of_change(change, identifier, message, reason)

    def _flush(self) -> None:
        """Make durable what is complete, and wait for it."""
        self._send()
        self._settle()

    def _send(self) -> None:
        if self._sink.has_pending:
            # Before the log says that it is complete.
            self._session.require_publication()
            self._sink.send()
            self._acknowledge()

    def _settle(self, in_flight: int = 0) -> None:
        self._sink.settle(in_flight)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Tell the source, and whoever watches, of what is durable."""
        checkpoint = self._sink.checkpoint
        if checkpoint > self._confirmed:
            self._confirmed = checkpoint
            self._source.confirm(checkpoint)
        if self._count():
            self._quiet_looks = 0
        if self._progress.is_due:
            logger.info("%s", self._progress.line(*self._lag()))

    def _count(self) -> int:
        fresh = self._sink.written - self._counted
        self._counted += fresh
        self._progress.add(fresh)
        return fresh

    def _glance_at_server(self) -> None:
        """A server that shuts down waits for us to leave: only its other connection tells."""
        self._glance_at = time.monotonic() + 1.0
        if self._session.server in self._source.wait(0, self._session.server):
            self._session.ask("SELECT 1")

    def _look_at_idle_slot(self) -> None:
        """Move the checkpoint, and so the slot, past WAL that was not ours.

        Where the log lives in the source the checkpoint is WAL too: only for much of it, and one last time.
        """
        now = time.monotonic()
        if now < self._look_at or self._stitcher.begin is not None or self._sink.in_flight:
            return
        self._look_at = now + self._idle
        position = self._source.position
        behind = position - self._sink.checkpoint
        self._session.require_publication()
        self._quiet_looks += 1
        if behind > _IDLE_BYTES or behind > 0 and self._quiet_looks == _QUIET_LOOKS:
            self._sink.end(position, 0, is_notable=True)
            self._flush()

    def _mark(self) -> bytes:
        mark = uuid.uuid4().hex
        # Transactional, so that it is flushed, and so sent, at once.
        self._session.ask("SELECT pg_logical_emit_message(true, '_bemi_mark', %s)", mark)
        self._marks.add(mark.encode())
        return mark.encode()

    def _lag(self) -> tuple[int, float]:
        lsn, now = self._session.ask(
            "SELECT pg_current_wal_lsn() - '0/0', extract(epoch FROM clock_timestamp())::float8"
        )
        return int(lsn) - self._sink.checkpoint, now - EPOCH_SECONDS - self._committed_at / 1e6
