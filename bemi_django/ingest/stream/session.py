"""Open the connections of a worker, and find the position at which the stream continues the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, TypeVar

import psycopg2
import psycopg2.errors

from bemi_django.exceptions import (
    Disrupted,
    ReplicationError,
    Unsendable,
    first_line,
)
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.batch import Pending
from bemi_django.ingest.destination.checkpoint import Origin
from bemi_django.ingest.destination.copying import RowCopier
from bemi_django.ingest.rows.catalog.calculator import Calculator
from bemi_django.ingest.stream import slot as slots
from bemi_django.ingest.stream.connections import (
    connect_calculator,
    connect_destination,
    connect_keys,
    connect_source,
    connect_stream,
    system_identifier,
)
from bemi_django.ingest.stream.log_start import LogStart
from bemi_django.ingest.stream.reach import Queued
from bemi_django.ingest.stream.source import SlotSource
from bemi_django.ingest.stream.watchdog import shut_down
from bemi_django.ingest.timeouts import Timeouts
from bemi_django.schema.replication.recorded_name import recorded_name
from bemi_django.wire.lsn import format_lsn
from bemi_django.wire.sequence import HistoryStart

Opened = TypeVar("Opened")

logger = logging.getLogger(__name__)

# SQLSTATEs, or the classes of them, that say nothing about what was to be sent: connections, conflicts,
# operators, files, a full disk.
_OF_THE_SERVER = ("08", "40", "57", "58", "53100")

# The name of a file of the WAL, in an error of whatever language.
_WAL_SEGMENT = re.compile(r"\b[0-9A-F]{24}\b")


class Session:
    """The connections of one session of the worker.

    Attributes:
        server: A plain connection to the source.
        source: The replication stream.
        slot: The name of the slot, which may be known only after :meth:`open`.
        destination: A connection to the database that holds the log.
        database: The name of the source's database in the log; ``server_name`` is that on its server.
        keys: Finds the keys with which values are encrypted.
    """

    server: Any = None
    destination: Any = None
    source: SlotSource
    #: The histories of the log, the oldest first, and what writes to it, once the start is known.
    histories: Sequence[HistoryStart]
    copier: RowCopier
    #: Rows of gaps that are to be exported.
    gaps: Sequence[Pending] = ()
    #: What the positions of the stream belong to.
    origin: Origin
    #: The number of lanes of the queue; 0 without one.
    lanes = 0

    def __init__(self, config: WorkerConfig, timeouts: Timeouts) -> None:
        self._config, self.slot = config, config.slot
        self._timeouts = timeouts
        self._opened: list[Any] = []

    @property
    def is_open(self) -> bool:
        """Whether there are open connections."""
        return bool(self._opened)

    def open(self, limit: float = 0.0) -> None:
        """Connect to the source and to the destination.

        Args:
            limit: Seconds that a statement may take on the source; 0 for no limit.

        Raises:
            SlotInUse: Another worker reads the slot. Calculator and stream were not opened by then.
            ReplicationError: The server cannot stream, or the slot belongs to something else.
        """
        config = self._config
        self.server = self.keep(connect_source(config, self._timeouts.answer))
        if limit:
            self.ask("SELECT set_config('statement_timeout', %s, false)", f"{limit:.0f}s")
        slots.require_primary(self.server)
        slots.require_logical(self.server)
        self.calculator = self.keep(Calculator(lambda: connect_calculator(config), self.server))
        destination = self.destination = self.keep(connect_destination(config, *self._timeouts.of_log))
        self.keys = self.keep(connect_keys(config, *self._timeouts.of_log))
        if config.name_slot is not None:
            with self.server.cursor() as source, destination, destination.cursor() as log:
                self.slot = config.name_slot(source, log)
            self._config = config = config._replace(slot=self.slot)
        slots.find(self.server, self.slot)
        self.server_name, encoding = self.ask("SELECT current_database(), current_setting('server_encoding')")
        with self.server.cursor() as source, destination, destination.cursor() as log:
            self.database = recorded_name(source, log, self.slot)
        self.source = self.keep(connect_stream(config, encoding, self._timeouts.silence))
        self._start = LogStart(self.server, self.source, destination, config, self.database)
        self.system_identifier = self._start.system_identifier
        # With a queue, what is confirmed does not depend on the WAL that holds the log.
        is_same = config.queue is None and system_identifier(destination) == self.system_identifier
        self._is_log_in_source = is_same

    def start(self, source: int, exported: int = 0, queued: Queued | None = None) -> int:
        """Begin to stream at the position where the log ends.

        Args:
            source: The number of the source in the ids of its changes.
            exported: The sequence number up to which an export has the changes; 0 for none.
            queued: What the queue has, if there is one.

        Returns:
            That position, in bytes.

        Raises:
            LostHistory: The slot does not continue there, and a gap was not accepted.
        """
        start = self.find_start(source, exported, queued)
        self._began = source, exported, queued
        self.source.start(self._config.slot, self._config.publication, start)
        logger.info("reading the slot %s from %s", self._config.slot, format_lsn(start))
        return start

    def messages(self) -> Iterator[bytes]:
        """Yield the messages of the stream that are there now.

        Raises:
            LostHistory: The server does not have the WAL that the slot needs, and a gap was not accepted.
        """
        try:
            yield from self.source.messages()
        except psycopg2.errors.UndefinedObject as error:
            self.require_publication()
            config = self._config
            raise ReplicationError(
                f"the slot {config.slot} begins before the publication {config.publication} was made: "
                f"run SELECT pg_drop_replication_slot('{config.slot}')"
            ) from error
        except psycopg2.errors.UndefinedFile as error:
            # A slot that was copied to another server does not know that its WAL is not there.
            if not _WAL_SEGMENT.search(first_line(error)):
                raise
            if self._config.export is not None and self._config.accept_gap:
                # The next session finds no slot, and exports the gap.
                slots.find(self.server, self._config.slot)
                slots.drop(self.server, self._config.slot)
            else:
                self._start.find(*self._began, is_wal_missing=True)
            raise Disrupted(first_line(error)) from error
        except psycopg2.Error as error:
            if not error.pgcode or error.pgcode.startswith(_OF_THE_SERVER):
                raise
            raise Unsendable(first_line(error)) from error

    def report(self) -> None:
        """Keep the stream alive; call this often.

        A server may be silent for minutes while it decodes a transaction with very many savepoints: as long
        as it works on the slot it is waited for.

        Raises:
            psycopg2.OperationalError: Nobody serves the stream any more.
        """
        self.source.report()
        if self.source.is_silent and not slots.is_served_by(
            self.server, self._config.slot, self.source.process
        ):
            raise psycopg2.OperationalError("the server of the stream does not answer")

    def ask(self, query: str, *parameters: object) -> tuple[Any, ...]:
        """Run a query on the source and return its first row."""
        with self.server.cursor() as cursor:
            cursor.execute(query, parameters or None)
            found: tuple[Any, ...] = cursor.fetchone()
        return found

    def log_end(self) -> int:
        """Return where the source's WAL ends that holds the log, in bytes; 0 if the log lives elsewhere."""
        if not self._is_log_in_source:
            return 0
        (end,) = self.ask("SELECT pg_current_wal_flush_lsn() - '0/0'")
        return int(end)

    def require_publication(self) -> None:
        """Check that the publication is the one with which the session began.

        The server does not say so itself: without a publication it fails or sends nothing, depending on its
        version. The next session reports what was lost.

        Raises:
            Disrupted: The publication was dropped.
        """
        self._start.require_publication()

    def abandon(self) -> None:
        """Interrupt a thread that waits for a server; a slot that is being created is given up."""
        if self.destination is not None:
            shut_down(self.destination)
        if self.server is not None:
            # cancel() would hold the interpreter's lock. What computes parameters may raise anything.
            with suppress(Exception):
                process = self.server.info.backend_pid
                with closing(connect_source(self._config)) as other, other.cursor() as cursor:
                    cursor.execute("SELECT pg_cancel_backend(%s)", [process])
            shut_down(self.server)

    @property
    def silent(self) -> str:
        """The server that was given up because it does not answer; empty if there is none."""
        watched = {"source": self.server, "destination": self.destination}
        return next((name for name, found in watched.items() if found and found.is_given_up), "")

    def keep(self, opened: Opened) -> Opened:
        """Register something to close with the session, before everything registered earlier."""
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Close all connections, the last one first."""
        while self._opened:
            self._opened.pop().close()

    def find_start(self, source: int, exported: int = 0, queued: Queued | None = None) -> int:
        """Do the same without streaming; the slot is created where it has to be."""
        start = self._start.find(source, exported, queued)
        self.histories, self.copier, self.lanes = self._start.histories, self._start.copier, self._start.lanes
        self.origin = self._start.origin
        self.gaps = self._start.gaps
        return start
