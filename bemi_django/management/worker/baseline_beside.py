"""``bemi run --baseline``: record the rows that are there while the worker runs, without another command."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from time import monotonic

import psycopg2
from django.db import DatabaseError, connections

from bemi_django.baseline.baseline import BaselineOptions, baseline
from bemi_django.baseline.baselined import Baselined
from bemi_django.events.operator_context import operator_context
from bemi_django.exceptions import BemiError, of_parameters
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.error_advice import told
from bemi_django.ingest.stream.connections import connect_destination
from bemi_django.management.baseline.named_sink import sink_of
from bemi_django.management.worker.configured_worker import worker_config
from bemi_django.sinks.addresses import ExportAddress
from bemi_django.wire.queue_address import QueueAddress

logger = logging.getLogger(__name__)

_MARK = "SELECT pg_catalog.pg_logical_emit_message(true, '_bemi_mark', '')"
#: Seconds between two looks whether the worker has begun.
_LOOK = 0.2
#: Seconds after which a publisher that may have had no slot yet is given another message.
_MARK_AGAIN = 5.0
#: Seconds after which what could not be read is tried again: at first, and at most.
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0
#: Seconds that the end of the worker waits for a statement that is at work.
_PATIENCE = 5.0


class _Stopping(Exception):
    """The worker ends: the next one continues."""


@contextmanager
def recording_baseline(database: str, address: ExportAddress | QueueAddress | None) -> Iterator[None]:
    """Record rows while the block runs, in a thread, until all tables were read to their end.

    Args:
        database: Alias of the source.
        address: The sink that gets all rows, or the queue, for logs that take what they have no change of;
            None for the log alone, where the worker asks it.
    """
    recorder = _Recorder(database, address)
    thread = threading.Thread(target=recorder.run, name=f"{database} baseline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        recorder.stopping.set()
        # It may wait for a server that is away.
        thread.join(_PATIENCE)


class _Recorder:
    """Records the rows of one database for one sink."""

    def __init__(self, database: str, address: ExportAddress | QueueAddress | None) -> None:
        self._database, self._address = database, address
        self.stopping = threading.Event()
        self._told: set[str] = set()

    def run(self) -> None:
        """Record rows, and try again what failed, until all is done or the worker ends."""
        pause = _FIRST_PAUSE
        try:
            while not self._is_done():
                self._sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        except _Stopping:
            pass
        # It must not end unnoticed. Messages of others may quote values.
        except Exception as error:
            logger.error("the baseline has ended (%s): run 'manage.py bemi baseline'", type(error).__name__)

    def _is_done(self) -> bool:
        try:
            return self._record()
        except Exception as error:
            unknown = of_parameters(error)
            if unknown is None and not isinstance(error, (BemiError, DatabaseError, psycopg2.Error)):
                raise
            self._tell(f"the baseline was interrupted, and will go on: {told(unknown or error)}")
            return False
        finally:
            # Those of the thread.
            connections.close_all()

    def _record(self) -> bool:
        named = sink_of(self._database, self._address)
        config = worker_config(self._database, named.slot)
        self._wait_for_beginning(config)
        options = BaselineOptions(
            context=operator_context("bemi run --baseline", {}, self._database, None),
            sink=named.sink,
            sleep=self._sleep,
            watch=lambda table, part: self._sleep(0),
        )
        return self._told_of([*baseline(config, options)])

    def _told_of(self, results: Sequence[Baselined]) -> bool:
        for result in results:
            if result.failure:
                self._tell(f"baseline of {result}")
            elif not result.was_there:
                logger.info("baseline of %s", result)
        return not any(result.failure for result in results)

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            logger.warning("%s", line)

    def _wait_for_beginning(self, config: WorkerConfig) -> None:
        """Wait until the worker has begun the log, or the sink."""
        with closing(connect_destination(config)) as connection:
            mark_at = 0.0
            while Checkpoints(connection, config.slot).read() is None:
                self._sleep(_LOOK)
                if self._address is not None and monotonic() >= mark_at:
                    # A log that consumers begin, begins with a message; the publisher sends one of this, if
                    # it has its slot already.
                    with connections[self._database].cursor() as cursor:
                        cursor.execute(_MARK)
                    mark_at = monotonic() + _MARK_AGAIN

    def _sleep(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise _Stopping
