"""Record the rows of tables that have no change in the log, as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import psycopg2
import psycopg2.errors

from bemi_django.baseline.baselined import Baselined
from bemi_django.baseline.progress_record import BaselineProgress, ProgressRecord
from bemi_django.baseline.range_query import trial
from bemi_django.baseline.ranges import Ranges
from bemi_django.baseline.read_table import read_table
from bemi_django.exceptions import BemiError, LogBehind, first_line
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.destination.checkpoint import Checkpoints
from bemi_django.ingest.stream.connections import connect_destination, connect_source
from bemi_django.masking.references import masked_key
from bemi_django.schema.locking import Claim
from bemi_django.schema.replication.recorded_name import recorded_name
from bemi_django.verification.moment import wait_for_log
from bemi_django.verification.table.tracked_table import tracked_tables

#: Seconds without any progress of the log after which it is considered to stand still.
PATIENCE_SECONDS = 30.0
#: Rows that are read in one transaction.
RANGE_ROWS = 1000
#: How often a range is read again before the command gives up.
_ATTEMPTS = 20
_CHANGED = "one of its rows is being changed or locked all the time: run the command again, which continues"
_NO_LOG = "there is no log of the slot {} yet: run 'manage.py bemi run'"
_DEBEZIUM = "the log of {} is written from Debezium's records: let its connector take a snapshot"
#: Seconds to wait for a row that somebody changes, more with each attempt.
_FREE = 0.05

_LEAVES = """
SELECT c.oid::bigint FROM pg_class c
WHERE c.relkind = 'r' AND (
    c.oid = %(table)s
    OR c.oid IN (SELECT part.relid FROM pg_partition_tree(%(table)s) part WHERE part.isleaf))
ORDER BY c.oid
"""
_HISTORY = "SELECT system_identifier || '/' || start_lsn FROM _bemi.checkpoint WHERE slot = %s"
_OWNER = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = '_bemi'"
#: Seconds to wait for another run.
_CLAIM_SECONDS = 10.0


class BaselineOptions(NamedTuple):
    """How to record rows.

    Attributes:
        only: Tables, as ``schema.table``; empty for all tracked tables.
        condition: A condition on the rows, as SQL; empty for all.
        anew: Read rows again that an earlier run has read.
        rows: How many rows to read in one transaction.
        rate: How many rows to read in a second at most; 0 for no limit.
        context: The context of the rows in the log.
        patience: Seconds to wait for a log that makes no progress.
        watch: Called with a table and the part of it that was read, from 0 to 1.
        sink: What gets all rows, as ``sink_of_queue()`` or the slot of a sink names it; empty for the log,
            which gets those without a change.
        sleep: Called with the seconds to wait for others; what it raises ends the run, which can go on.
    """

    only: Sequence[str] = ()
    condition: str = ""
    anew: bool = False
    rows: int = RANGE_ROWS
    rate: float = 0.0
    context: Mapping[str, Any] = {}
    patience: float = PATIENCE_SECONDS
    watch: Callable[[str, float], None] = lambda table, part: None
    sink: str = ""
    sleep: Callable[[float], object] = time.sleep


def baseline(config: WorkerConfig, options: BaselineOptions) -> Iterator[Baselined]:
    """Record the rows of tracked tables that have no change in the present history of the log, or export all.

    Args:
        config: The worker that writes the log; it has to be running.
        options: How to record rows.

    Yields:
        The result of each table or partition.

    Raises:
        BemiError: A table is not tracked, or the log stands still, has not begun, or is written from
            Debezium's records.
    """
    with closing(connect_source(config)) as source, closing(connect_destination(config)) as destination:
        destination.set_session(autocommit=True)
        checkpoint = Checkpoints(destination, config.slot).read()
        if checkpoint is None:
            raise BemiError(_NO_LOG.format(config.slot))
        if not checkpoint.origin.publication:
            # It moves on, and nobody takes the rows.
            raise BemiError(_DEBEZIUM.format(config.slot))
        with source.cursor() as cursor:
            # Rows that are hidden would be left out.
            cursor.execute("SET row_security = off; SET lock_timeout = '10s'")
            with destination.cursor() as log:
                database = recorded_name(cursor, log, config.slot)
        recording = _Recording(config, source, destination, database, options)
        for table in tracked_tables(source, config.publication, options.only):
            with source.cursor() as cursor:
                cursor.execute(_LEAVES, {"table": table.oid})
                leaves = [leaf for (leaf,) in cursor.fetchall()]
            for leaf in leaves:
                yield recording.record(leaf, table.name)


class _Recording(NamedTuple):
    config: WorkerConfig
    source: Any
    destination: Any
    database: str
    options: BaselineOptions

    def record(self, oid: int, tracked: str) -> Baselined:
        name = tracked
        try:
            with self.source.cursor() as cursor:
                table = read_table(cursor, oid)
                name = str(table)
                if masked := masked_key(cursor, oid, table.root, self.config.masking):
                    raise BemiError(
                        f"its key ({', '.join(masked)}) is masked in the log, so its rows cannot be told "
                        "from those with changes: it is left out"
                    )
                if self.options.condition:
                    # What fails has not begun.
                    cursor.execute(trial(table, self.options.condition))
                sink = self.options.sink
                name_of_claim = f"_bemi.baseline/{sink and f'{sink}/'}{oid}/{self.options.condition}"
                claim = Claim(cursor, name_of_claim, "_bemi.baselines", "INSERT")
                if other := claim.take(_CLAIM_SECONDS):
                    raise BemiError(f"another 'bemi baseline' reads it ({other})")
                try:
                    record = ProgressRecord(cursor, oid, self.options.condition, self._history(), sink)
                    record.begin(table.root, anew=self.options.anew)
                    was_there = (standing := record.read()).has_ended
                    if not was_there:
                        standing = self._read_all(cursor, record, name, oid, table.estimate)
                    return Baselined(name, standing, was_there=was_there, sink=sink)
                finally:
                    if not self.source.closed:
                        claim.release()
        except psycopg2.errors.InsufficientPrivilege as error:
            return Baselined(name, failure=f"{first_line(error)}; run this as {self._owner()}")
        except psycopg2.errors.LockNotAvailable:
            return Baselined(name, failure="somebody has locked it")
        except psycopg2.ProgrammingError as error:
            return Baselined(name, failure=first_line(error))
        except psycopg2.DataError as error:
            # The server's message may hold values.
            return Baselined(name, failure=f"{type(error).__name__} ({error.pgcode})")
        except LogBehind:
            # As with all other tables.
            raise
        except BemiError as error:
            return Baselined(name, failure=str(error))

    def _read_all(
        self, cursor: Any, record: ProgressRecord, name: str, oid: int, estimate: int
    ) -> BaselineProgress:
        options = self.options
        of_rows = options.condition, options.context
        ranges = Ranges(self.source, cursor, record, oid, *of_rows, is_locking=bool(options.sink))
        attempts, size = 0, options.rows
        while True:
            standing = record.read()
            if standing.range is not None:
                attempts = 0 if self._settle(cursor, ranges, record, standing) else attempts + 1
                if attempts >= _ATTEMPTS:
                    raise BemiError(
                        "its rows are being changed by statements that are excluded from the log: try again "
                        "when they have ended"
                    )
                continue
            options.watch(name, min(standing.rows / max(estimate, standing.rows + 1), 0.99))
            begun = time.monotonic()
            try:
                read = ranges.leave_next(standing.upto, size)
            except (psycopg2.errors.SerializationFailure, psycopg2.errors.LockNotAvailable) as error:
                if not options.sink:
                    raise
                attempts += 1
                if attempts >= _ATTEMPTS:
                    raise BemiError(_CHANGED) from error
                # Somebody changes one of the rows: fewer are free more often.
                size = max(size // 2, 1)
                options.sleep(_FREE * attempts)
                continue
            if read is None:
                # The rows are too large together.
                size //= 2
                continue
            size = options.rows
            if options.sink:
                # Others change rows of the ranges that follow.
                attempts = 0
            if read == 0:
                record.end()
                options.watch(name, 1.0)
                return record.read()
            if options.rate:
                options.sleep(max(0.0, read / options.rate - (time.monotonic() - begun)))

    def _settle(
        self, cursor: Any, ranges: Ranges, record: ProgressRecord, standing: BaselineProgress
    ) -> bool:
        """Wait until the worker has taken a range; return False if it has to be read again."""
        if standing.range is None:
            return True
        moment = ranges.moment()
        waiting = self.options.patience, self.options.sleep
        wait_for_log(self.source, self.destination, self.config.slot, moment, *waiting)
        if reason := ranges.refusal(self.destination, self.config.slot, standing.range):
            ranges.close(standing.range, None)
            raise BemiError(
                f"the worker could not read a range of its rows ({reason}), which is a dead letter now: "
                "remove the reason and run the command again, which reads this range again"
            )
        if self.options.sink:
            recorded = ranges.left(standing.range) if self._history() == record.history else None
        else:
            recorded = ranges.recorded(self.destination, self.config.slot, self.database, standing.range)
        if recorded is None and self._history() != record.history:
            raise BemiError("the log has begun a new history meanwhile: run the command again")
        ranges.close(standing.range, recorded)
        return recorded is not None

    def _history(self) -> str:
        with self.destination.cursor() as cursor:
            cursor.execute(_HISTORY, [self.config.slot])
            found = cursor.fetchone()
        if found is None:
            raise BemiError(_NO_LOG.format(self.config.slot))
        return str(found[0])

    def _owner(self) -> str:
        with self.source.cursor() as cursor:
            cursor.execute(_OWNER)
            return str(cursor.fetchone()[0])
