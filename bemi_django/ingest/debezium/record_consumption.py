"""One session of a consumer of Debezium's records: read them, and write what they say to the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from bemi_django.exceptions import ReplicationError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.debezium.log_beginning import (
    OpenLog,
    begin_log,
    find_log,
    server_of,
    show_open_transaction,
)
from bemi_django.ingest.debezium.order import start_before
from bemi_django.ingest.debezium.reading.envelope import place_of
from bemi_django.ingest.debezium.reading.record import (
    DEFAULT_MODES,
    Modes,
    Record,
    UnreadableRecord,
    read_line,
)
from bemi_django.ingest.debezium.reading.record_files import RecordFiles
from bemi_django.ingest.debezium.record_stages import Connections, Stages, assemble_stages
from bemi_django.ingest.loop.worker import advised
from bemi_django.ingest.progress import Progress
from bemi_django.ingest.rows.calculator import Calculator
from bemi_django.ingest.rows.row_writer import EPOCH_SECONDS
from bemi_django.ingest.stream.connections import (
    connect_calculator,
    connect_destination,
    connect_keys,
    connect_source,
)
from bemi_django.ingest.timeouts import Timeouts

logger = logging.getLogger(__name__)

_SEALED = (
    "BEMI_TAMPER_EVIDENCE seals what the slot of 'bemi run' sends: it cannot be used with Debezium's records"
)
#: Seconds between two questions whether the source shows a transaction.
_SHOWN = 0.02


class RecordSource(NamedTuple):
    """Where records come from.

    ``files`` are names in the order in which they were written; without them, they come from the queue of the
    configuration. ``modes`` are settings of the connector.
    """

    files: tuple[str, ...] = ()
    modes: Modes = DEFAULT_MODES


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
        if config.is_sealed:
            raise ReplicationError(_SEALED)
        self._source, self._config, self._slot = source, config, config.slot
        self._progress = progress
        self._is_stopping = is_stopping
        self._stages: Stages | None = None
        self._waiting: list[tuple[bytes, str]] = []
        with ExitStack() as opened:
            server: Any = connect_source(config, timeouts.answer)
            opened.callback(server.close)
            calculator = Calculator(lambda: connect_calculator(config), server)
            opened.callback(calculator.close)
            destination = connect_destination(config, *timeouts.of_log)
            opened.callback(destination.close)
            keys = connect_keys(config, *timeouts.of_log)
            opened.callback(keys.close)
            self._connections = Connections(server, calculator, destination, keys)
            if config.name_slot is not None:
                with server.cursor() as cursor, destination, destination.cursor() as log_cursor:
                    self._slot = config.name_slot(cursor, log_cursor)
            self._server = server_of(server)
            self._log = find_log(destination, self._slot, self._server)
            if self._log is not None:
                self._open(self._log)
            self.close: Callable[[], None] = opened.pop_all().close

    def run(self, until_current: bool = False) -> None:
        """Write records until told to stop.

        Args:
            until_current: Return when everything that is there now is in the log; always so with files.

        Raises:
            BemiError: An administrator has to do something.
            psycopg2.Error: One of the databases failed.
        """
        with advised():
            self._read_files()

    def _read_files(self) -> None:
        for line in RecordFiles(self._source.files).lines():
            self._take(line, partial(read_line, line))
            if self._is_stopping.is_set():
                break
            if self._stages is not None and self._stages.sink.is_due:
                self._write()
        self._settle()

    def _take(self, data: bytes, read: Callable[[], Record]) -> None:
        try:
            record = read()
            if self._stages is None and (place := place_of(record)) is not None:
                self._log = begin_log(
                    self._connections.destination, self._slot, self._server, start_before(place)
                )
                self._open(self._log)
        except UnreadableRecord as error:
            self._refuse(data, str(error))
            return
        if self._stages is not None:
            self._stages.translator.take(record)

    def _refuse(self, data: bytes, reason: str) -> None:
        if self._stages is None:
            # There is no log yet.
            self._waiting.append((data, reason))
        else:
            self._stages.translator.refuse(data, reason)

    def _open(self, log: OpenLog) -> None:
        is_file = bool(self._source.files)
        self._stages = assemble_stages(
            self._connections,
            self._config,
            self._slot,
            self._server,
            log,
            self._progress.counts,
            lambda: not self._is_stopping.is_set(),
            first_lsn=log.message if is_file else 0,
            modes=self._source.modes,
        )
        self._stages.sink.message = log.message
        for data, reason in self._waiting:
            self._stages.translator.refuse(data, reason)
        self._waiting.clear()

    def _write(self) -> None:
        """Write what was gathered, with where a later session goes on."""
        assert self._stages is not None
        translator, sink = self._stages
        while not sink.are_shown() and not self._is_stopping.is_set():
            time.sleep(_SHOWN)
        opened = translator.open
        if opened is None or opened.begin is None:
            written = sink.write(0)
        else:
            written = sink.write(opened.lsn, opened.begin.commit_lsn)
        self._progress.add(written)
        repeated, translator.repeated = translator.repeated, 0
        if repeated:
            self._progress.counts["records left out, because they had been taken before"] += repeated
        if self._progress.is_due(time.time() - EPOCH_SECONDS - sink.committed_at / 1e6):
            logger.info("%s", self._progress.line(0, 0.0))

    def _settle(self) -> None:
        """Write everything that is there, also of a transaction whose end is not in sight."""
        if self._stages is None:
            if self._waiting:
                raise ReplicationError(f"no record of Debezium: {self._waiting[0][1]}")
            return
        self._stages.translator.release()
        self._write()
        position = self._stages.sink.open_position
        if position is not None:
            show_open_transaction(self._connections.destination, self._slot, position)
