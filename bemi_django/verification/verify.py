"""Compare every tracked table with its log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import timezone
from typing import Any, NamedTuple

import psycopg2

from bemi_django.encryption.key_table import find_keys
from bemi_django.encryption.project_keys import project_keys
from bemi_django.encryption.subject_key import SubjectKey
from bemi_django.exceptions import BemiError
from bemi_django.ingest.config import WorkerConfig
from bemi_django.ingest.stream.connections import connect_destination, connect_source, connect_tables
from bemi_django.masking.references import REFERENCES, referring
from bemi_django.masking.rules import Rules
from bemi_django.schema.replication.recorded_name import recorded_name
from bemi_django.verification.by_image import by_image
from bemi_django.verification.by_key import by_key
from bemi_django.verification.log_queries import SKIPPED
from bemi_django.verification.masked.encrypted_values import EncryptedValues
from bemi_django.verification.masked.key_connection import key_connection
from bemi_django.verification.masked.masked_columns import Masks, masks_of
from bemi_django.verification.moment import Moment, last_id_of_earlier_servers, take_moment, wait_for_log
from bemi_django.verification.omissions import read_omissions
from bemi_django.verification.records.acceptance import Acceptance
from bemi_django.verification.records.result import Verified
from bemi_django.verification.records.runs import Place, Run, begin
from bemi_django.verification.sample import RowSample
from bemi_django.verification.streams import snapshot
from bemi_django.verification.subject import Subject, bounds_of, names_of, removed_of
from bemi_django.verification.table.compared_table import ComparedTable, read_table
from bemi_django.verification.table.reused_names import ReusedNames
from bemi_django.verification.table.table_queries import Slice
from bemi_django.verification.table.tracked_table import TrackedTable, tracked_tables
from bemi_django.verification.table.versions import has_other_key

#: Settings with which the next keys of the log are read from its index.
IN_ORDER_OF_INDEXES = "SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0; SET jit = off"
#: Seconds without any progress of the log after which it is considered to stand still.
PATIENCE_SECONDS = 30.0


class Options(NamedTuple):
    """How to compare.

    Attributes:
        only: Tables to compare, as ``schema.table``; empty for all tracked tables.
        sample: The part of the rows to compare; None for all.
        resume: Continue the last run with the same tables and sample, if it was interrupted.
        accept: Accept all differences; who does, and why.
        patience: Seconds to wait for a log that makes no progress towards the moment of a comparison.
        watch: Called with a table and the part of it that was compared, from 0 to 1.
    """

    only: Sequence[str] = ()
    sample: RowSample | None = None
    resume: bool = False
    accept: Mapping[str, Any] | None = None
    patience: float = PATIENCE_SECONDS
    watch: Callable[[str, float], None] = lambda table, part: None


def verify(config: WorkerConfig, options: Options) -> Iterator[Verified]:
    """Compare tracked tables with the log, one after another, while both are written.

    Args:
        config: The worker whose log is compared.
        options: How to compare.

    Yields:
        The result of each table, in the order of their names.

    Raises:
        BemiError: If there is no log, if it stands still, or if a table in ``only`` is not tracked.
    """
    with (
        closing(connect_tables(config)) as source,
        closing(connect_source(config)) as server,
        closing(connect_destination(config)) as destination,
        ExitStack() as stack,
    ):
        destination.autocommit = True
        source.set_session(readonly=True, autocommit=True)
        with source.cursor() as cursor, destination.cursor() as log:
            # Rows that are hidden would seem to be missing.
            cursor.execute("SET row_security = off")
            # Each piece is looked up by key. Reading all rows for it is cheaper than that at most for a small
            # table, and then for every piece.
            for each in (cursor, log):
                each.execute("SET enable_seqscan = off")
            # Nobody analyzes the log as a whole, so the server would expect few keys, and gather and sort all
            # that are left for each piece instead of reading the next ones from the index.
            log.execute(IN_ORDER_OF_INDEXES)

        def wait(moment: Moment) -> int:
            return wait_for_log(server, destination, config.slot, moment, options.patience)

        tables = tracked_tables(server, config.publication, options.only)
        with source.cursor() as cursor, destination.cursor() as log:
            database = recorded_name(cursor, log, config.slot)
        with snapshot(source):
            moment = take_moment(source)
        start_xid = wait(moment)
        run = _begin(destination, config.slot, options)
        comparison = _Comparison(
            source,
            server,
            destination,
            config.slot,
            database,
            start_xid,
            wait,
            options,
            run,
            config.masking,
            stack.enter_context(key_connection(config, destination)),
        )
        wrong = 0
        for table in tables:
            result = comparison.compare(table)
            wrong += not result.is_true
            yield result
        run.end(len(tables), wrong)


def _begin(destination: Any, slot: str, options: Options) -> Run:
    sample = options.sample and options.sample.text
    try:
        return begin(destination, slot, options.only, sample, resume=options.resume)
    except psycopg2.errors.InsufficientPrivilege as error:
        raise BemiError(
            "this role may not note what it has compared: run what 'manage.py bemi grants' prints"
        ) from error


class _Comparison(NamedTuple):
    """A run, with the source by the path of its role, by ``pg_catalog`` alone, the log, and the keys."""

    source: Any
    server: Any
    destination: Any
    slot: str
    database: str
    start_xid: int
    wait: Callable[[Moment], int]
    options: Options
    run: Run
    masking: Rules
    keys: Any

    def compare(self, tracked: TrackedTable) -> Verified:
        """Compare one table; what is wrong with it does not keep the others from being compared."""
        result, place = self.run.result_of(tracked.name)
        if place is None:
            return result
        try:
            for reached, part in self._pieces(tracked, result, place):
                self.run.save(result, reached)
                self.options.watch(tracked.name, part)
        except psycopg2.Error as error:
            needed = (self.source, self.server, self.destination, self.keys)
            if any(connection.closed for connection in needed):
                raise
            # The server's message may hold values.
            result.failure = f"{type(error).__name__} ({error.pgcode})"
        self.run.save(result, None)
        self.options.watch(tracked.name, 1.0)
        return result

    def _pieces(self, tracked: TrackedTable, result: Verified, place: Place) -> Iterator[tuple[Place, float]]:
        table = read_table(self.server, tracked.oid)
        if table is None:
            result.leave_out("dropped meanwhile")
            return
        if table.obstacle:
            result.leave_out(f"not compared: {table.obstacle}")
            return
        subject = self._subject(table, tracked.estimate)
        if subject.part.of > 1 and not place:
            result.notes.append(f"part {subject.part.number + 1} of {subject.part.of}")
        if subject.removed is not None and not place:
            since = subject.removed.committed_at.astimezone(timezone.utc).isoformat(timespec="seconds")
            result.notes.append(f"the log is complete from {since} on")
        if table.foreign and not place:
            result.notes.append(f"without partitions that are foreign tables ({', '.join(table.foreign)})")
        key = [column.name for column in table.key]
        if not subject.masks.keys().isdisjoint(key):
            result.leave_out("not compared: its key is masked in the log")
            return
        types = {name: column.type for name, column in table.columns.items()}
        if table.key and not has_other_key(table.versions, key, types):
            yield from by_key(subject, result, place)
        else:
            if table.key:
                result.notes.append("compared without the key, which was another one")
            by_image(subject, result)
        ((result.skipped,),) = subject.fetch_log(SKIPPED, {})

    def _subject(self, table: ComparedTable, estimate: int) -> Subject:
        bounds = bounds_of(self.destination, self.slot, table)
        names = names_of(table, bounds)
        called = {(name.schema, name.table) for name in names} | {
            (leaf.schema, leaf.name) for leaf in table.leaves
        }
        sample = self.options.sample
        types = {name: column.told for name, column in table.columns.items()}
        earlier = last_id_of_earlier_servers(self.destination, self.slot)
        return Subject(
            self.source,
            self.destination,
            self.database,
            self.start_xid,
            earlier,
            self.wait,
            table,
            names,
            bounds,
            removed_of(self.destination, self.database, names, earlier),
            sample.part(self.run.round, estimate) if sample else Slice(),
            Acceptance(self.destination, self.slot, self.options.accept),
            read_omissions(self.destination, self.slot, names),
            {**masks_of(self.masking, called, types), **self._referring(table)},
            EncryptedValues(self._keys, [(self.database, name.schema, name.table) for name in names]),
            ReusedNames(self.source),
        )

    def _keys(self, numbers: Collection[str]) -> Mapping[str, SubjectKey | None]:
        with self.keys.cursor() as cursor:
            keys = project_keys(self.masking.encryption_keys, self.masking.key_store)
            return find_keys(cursor, numbers, keys)

    def _referring(self, table: ComparedTable) -> Masks:
        with self.source.cursor() as cursor:
            cursor.execute(REFERENCES, [[table.oid]])
            columns = {column for *_, column in referring(self.masking, cursor.fetchall())}
        hashed = self.masking.of_table((), columns, (), referring=columns)
        return {column: (mask,) for column, mask in hashed.items()}
