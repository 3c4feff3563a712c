"""One session of a consumer of Debezium's records: read them, and write what they say to the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.debezium.early_refusals import EarlyRefusals
from bemi_django.ingest.debezium.log_beginning import (
    OpenLog,
    begin_log,
    find_log,
    server_of,
    show_open_transaction,
)
from bemi_django.ingest.debezium.order import require_database, start_before
from bemi_django.ingest.debezium.reading.envelope import event_of, place_of
from bemi_django.ingest.debezium.reading.record import Record, UnreadableRecord, read_line, read_value
from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.reading.record_source import RecordSource
from bemi_django.ingest.debezium.reading.record_stream import BATCH, Lack, RecordStream, StreamPlace
from bemi_django.ingest.debezium.record_stages import Stages, assemble_stages, connect
from bemi_django.ingest.loop.worker import advised
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.rows.row_writer import EPOCH_SECONDS
from bemi_django.ingest.timeouts import Timeouts

logger = logging.getLogger(__name__)

_HELD = (
    "the last deletion is not in the log yet: the next record tells whether both are an update; set "
    "provide.transaction.metadata or heartbeat.interval.ms of the connector, or give --complete with files"
)
_INCOMPLETE = "%d records could not be taken, or not completely: _bemi.dead_letters has them with the reasons"
#: Seconds without a message after which what is there is shown, and messages of which nothing is written.
_SETTLE, _UNWRITTEN = 2.0, 1000


class RecordConsumption:
    """Writes records of one database.

    Args:
        source: Where they come from.
        config: What the consumer works on.
        progress: Counts what is written.
        timeouts: Timeouts of the connections.
        is_stopping: Set when the session is to end.
    """

    def __init__(
        self,
        source: RecordSource,
        config: WorkerConfig,
        progress: Progress,
        timeouts: Timeouts,
        is_stopping: threading.Event,
    ) -> None:
        self._source, self._config, self._slot = source, config, config.slot
        self._progress, self._is_stopping = progress, is_stopping
        self._stages: Stages | None = None
        self._early = EarlyRefusals()
        #: The number of dead letters that were told.
        self._kept = 0
        #: The number of the last message that was taken, and the identity of the stream; empty in files.
        self._number, self._stream = 0, ""
        self._settle_at: float | None = None
        with ExitStack() as opened:
            self._connections = connect(config, timeouts, opened)
            server, destination = self._connections.server, self._connections.destination
            if config.name_slot is not None:
                with server.cursor() as cursor, destination, destination.cursor() as log_cursor:
                    self._slot = config.name_slot(cursor, log_cursor)
            self._server = server_of(server, destination, self._slot)
            self._log = find_log(destination, self._slot, self._server, source.accept)
            if self._log is not None:
                self._open(self._log)
            self.close: Callable[[], None] = opened.pop_all().close

    def run(self, until_current: bool = False) -> None:
        """Write records until told to stop.

        Args:
            until_current: Return when everything that is there now is in the log, as always with files.

        Raises:
            BemiError: An administrator has to do something.
            psycopg2.Error: One of the databases failed.
        """
        files = self._source.files
        with advised():
            self._read_files(files) if files else self._read_stream(until_current=until_current)

    def _read_files(self, files: RecordFiles) -> None:
        for line in files.lines():
            self._take(line, partial(read_line, line))
            if self._is_stopping.is_set():
                break
            if self._stages is not None and self._stages.sink.is_due:
                self._write()
        if self._source.is_complete and self._stages is not None and not self._is_stopping.is_set():
            self._stages.translator.finish()
        self._settle()

    def _read_stream(self, *, until_current: bool) -> None:
        queue, log, may_lack = self._config.queue, self._log, self._source.accept is not None
        assert queue is not None
        after, counted_in = (0, "") if log is None else (max(log.message, 0), log.stream)
        place = StreamPlace(queue, self._source.subjects, after, counted_in, may_lack)
        stream = RecordStream(place)
        self._stream = stream.identity
        if self._stages is not None:
            self._stages.sink.stream = self._stream
        try:
            while not self._is_stopping.is_set():
                try:
                    messages = stream.fetch()
                except ReplicationError:
                    # What was fetched before may be removed by now as well.
                    if self._stages is not None:
                        self._write()
                    raise
                if stream.lack is not None:
                    self._pass_over(stream.lack)
                    stream.lack = None
                for data, number in messages:
                    if self._is_stopping.is_set():
                        break
                    self._take(data, partial(read_value, data, number))
                    self._number = number
                self._write_of_stream(len(messages))
                if until_current and not messages and stream.is_read():
                    break
        finally:
            stream.close()
        self._settle()

    def _pass_over(self, lack: Lack) -> None:
        """Keep what is missing of the stream, and go on after it."""
        assert self._source.accept is not None
        self._source.accept(lack.reason)
        self._refuse(b"", lack.reason)
        if lack.after is None:
            return
        if not lack.after or self._stages is None or self._stages.sink.open_position is None:
            self._number = lack.after
        if self._stages is not None and not lack.after:
            # Numbers mean other messages now.
            self._stages.translator.forget_numbers()

    def _write_of_stream(self, fetched: int) -> None:
        """Write what was fetched, unless there is more; after a while without more, whatever is there."""
        if fetched:
            self._settle_at = time.monotonic() + _SETTLE
        elif self._stages is None and self._settle_at is not None and time.monotonic() > self._settle_at:
            self._early.require_none()
        if self._stages is not None and (fetched < BATCH or self._stages.sink.is_due):
            if self._stages.sink.is_gathering or self._number - self._stages.sink.message > _UNWRITTEN:
                self._write()
            if self._settle_at is not None and time.monotonic() > self._settle_at:
                self._settle_at = None
                self._settle()

    def _take(self, data: bytes, read: Callable[[], Record]) -> None:
        try:
            record = read()
            if self._stages is None and (place := place_of(record)) is not None:
                require_database(place, self._server.names)
                self._log = begin_log(
                    self._connections.destination, self._slot, self._server, start_before(place)
                )
                self._open(self._log)
            if self._stages is None:
                event_of(record, None)
        except UnreadableRecord as error:
            self._refuse(data, str(error))
            return
        if self._stages is not None:
            self._stages.translator.take(record)

    def _refuse(self, data: bytes, reason: str) -> None:
        if self._stages is None:
            # There is no log yet.
            self._early.add(data, reason)
        else:
            self._stages.translator.refuse(data, reason)

    def _open(self, log: OpenLog) -> None:
        self._stages = assemble_stages(
            self._connections,
            self._config,
            self._slot,
            self._server,
            log,
            self._progress.counts,
            lambda: not self._is_stopping.is_set(),
            records=self._source,
        )
        self._stages.sink.message, self._stages.sink.stream = log.message, self._stream
        self._number = self._number or max(log.message, 0)
        for data, reason in self._early.taken():
            self._stages.translator.refuse(data, reason)

    def _write(self) -> bool:
        """Write what was gathered, with where a later session goes on.

        Returns:
            Whether it was written: False if the consumer is to stop before the source shows all of it.
        """
        assert self._stages is not None
        translator, sink, awaited = self._stages
        # Tables and log must not be read together before the commit shows.
        if awaited is not None and not awaited.are_shown(sink.xids):
            return False
        opened, number = translator.open, self._number
        if opened is None or opened.begin is None:
            written = sink.write(number)
        else:
            # From where it is to be read: the number of a message, or the LSN in a file.
            message = opened.number - 1 if opened.number else -opened.lsn
            written = sink.write(message, opened.begin.commit_lsn)
        self._progress.add(written)
        if letters := sink.kept - self._kept:
            self._kept = sink.kept
            self._progress.counts["dead letters"] += letters
            logger.error(_INCOMPLETE, letters)
        repeated, translator.repeated = translator.repeated, 0
        if repeated:
            self._progress.counts["records left out, because they had been taken before"] += repeated
        if self._progress.is_due(time.time() - EPOCH_SECONDS - sink.committed_at / 1e6):
            logger.info("%s", self._progress.line(0, 0.0))
        return True

    def _settle(self) -> None:
        """Write everything that is there, also of a transaction whose end is not in sight."""
        if self._stages is None:
            self._early.require_none()
            return
        if not self._write():
            return
        if self._stages.translator.is_holding:
            logger.warning(_HELD)
        position = self._stages.sink.open_position
        if position is not None:
            show_open_transaction(self._connections.destination, self._slot, position)
